//! `batch.interval`: views that no schedule names are computed by runs, at once and then whenever there is something
//! new. A look that finds nothing writes nothing; a view that fails holds up no other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use batch_layer::hold::PATIENCE;
use positions::{Clock, DefinitionNumber, IdSource, ViewName};
use serving_layer::registry::FormerView;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use twofold::definitions::{Definitions, Registered, RunningDefinitions};
use twofold::workflow::interval::run::{Interval, compute_at_intervals};
use twofold::workflow::looks::Looks;
use twofold::workflow::outcomes::failing_views;
use twofold::workflow::tasks::RecomputeTasks;
use views::{Pipeline, PlannedView};
use workflow::{Run, RunKind, RunState, State, Workflow, WorkflowComponents, run_workflow};

use super::hold::OBJECT;
use super::recompute::check_equals_fold;
use super::runs::{archived, config, until, versions};
use super::world::World;
use crate::support::seams::SeededIds;
use crate::support::surroundings::foreign_plans;

/// The default.
const INTERVAL: Duration = Duration::from_secs(60);

/// A process with the batch role.
struct Process {
    workflow: Workflow,
    definitions: watch::Sender<RunningDefinitions>,
    registered: watch::Sender<Registered>,
    looks: Arc<Looks>,
    _tasks: JoinSet<()>,
}

fn workflow(world: &World, seed: u64) -> Workflow {
    let ids = Arc::new(SeededIds::new(seed)) as Arc<dyn IdSource>;
    Workflow::new(&world.lake, Arc::clone(&world.clock) as Arc<dyn Clock>, ids)
}

impl Process {
    fn begin(world: &World, pipeline: &Arc<Pipeline>, text: &str, seed: u64) -> Self {
        let (config, workflow) = (Arc::new(config(text)), workflow(world, seed));
        let seams = || (Arc::clone(&world.clock) as Arc<dyn Clock>, Arc::clone(&world.ids) as Arc<dyn IdSource>);
        let set = RunningDefinitions { pipeline: Arc::clone(pipeline), ..RunningDefinitions::default() };
        let (definitions, looks) = (watch::Sender::new(set), Arc::new(Looks::default()));
        let handle = || Definitions::of(&definitions);
        let executor = RecomputeTasks::of(world.lake.clone(), Arc::clone(&config), seams(), handle());
        let of_lake = (workflow.clone(), world.lake.clone());
        let registered = watch::Sender::default();
        let defined = (handle(), registered.subscribe());
        let interval = Interval::of(of_lake, Arc::clone(&config), seams(), defined, Arc::clone(&looks));
        let name = format!("process {seed}");
        let components =
            WorkflowComponents { workflow: workflow.clone(), executor: Arc::new(executor), duties: None, name };
        let mut tasks = JoinSet::new();
        let settings = config.workflow.takes_part.clone();
        tasks.spawn(async move { run_workflow(components, settings, CancellationToken::new()).await.unwrap() });
        tasks.spawn(compute_at_intervals(interval));
        Self { workflow, definitions, registered, looks, _tasks: tasks }
    }

    async fn until_done(&self, count: usize) -> Arc<State> {
        let is_meant = |run: &&Arc<Run>| run.spec.kind == RunKind::Recompute && run.state == RunState::Done;
        let done = |state: &State| state.runs.values().filter(is_meant).count();
        until(&self.workflow, &format!("{count} runs are done"), |state| done(state) >= count).await
    }
}

/// Everything that is sent is archived, and below the cut of whoever looks next.
async fn send(world: &mut World, events: usize) {
    world.send(events).await;
    world.clock.advance(Duration::from_secs(40));
    world.archive().await;
}

async fn entries(world: &World) -> usize {
    world.lake.objects(&world.lake.path("_workflow/journal")).await.unwrap().len()
}

async fn until_others_than(world: &World, before: &[i64]) {
    for _ in 0..2_000 {
        if versions(world).await != before {
            return;
        }
        sleep(Duration::from_secs(1)).await;
    }
    panic!("nothing newer than versions {before:?} is ever published");
}

async fn until_version(world: &World, view: &str, number: i64) {
    for _ in 0..2_000 {
        if world.newest(&world.view(view)).await.is_some_and(|version| version.number().0 >= number) {
            return;
        }
        sleep(Duration::from_secs(1)).await;
    }
    panic!("version {number} of {view} is never published");
}

#[tokio::test]
async fn what_is_new_is_computed_and_a_quiet_source_writes_nothing() {
    let mut world = archived(40, 60).await;
    tokio::time::pause();
    let process = Process::begin(&world, &world.pipeline, "", 1);
    let mut before = Vec::new();
    for _ in 0..3 {
        until_others_than(&world, &before).await;
        sleep(INTERVAL * 5).await;
        before = versions(&world).await;
        assert_eq!(before.len(), 3);
        check_equals_fold(&world).await;
        let written = entries(&world).await;
        sleep(INTERVAL * 50).await;
        assert_eq!(entries(&world).await, written, "a look that found nothing is in the journal");
        assert_eq!(versions(&world).await, before);
        send(&mut world, 40).await;
    }
    assert_eq!(process.looks.correct(BTreeMap::new()), BTreeMap::new());
}

#[tokio::test]
async fn nothing_is_begun_while_all_runs_are_paused() {
    let world = archived(41, 60).await;
    tokio::time::pause();
    workflow(&world, 9).pause(None).await.unwrap();
    let process = Process::begin(&world, &world.pipeline, "", 1);
    sleep(INTERVAL * 10).await;
    assert_eq!(versions(&world).await, [0_i64; 0]);
    assert!(process.workflow.refresh().await.unwrap().runs.is_empty());
    process.workflow.resume(None).await.unwrap();
    process.until_done(1).await;
    assert_eq!(versions(&world).await, [1, 1, 1]);
}

#[tokio::test]
async fn a_view_that_fails_leaves_the_others_fresh_and_is_tried_again() {
    let mut world = archived(42, 60).await;
    tokio::time::pause();
    let mut broken = (*world.pipeline).clone();
    let by_day = broken.views.iter_mut().find(|view| view.name.as_str() == "by_day").unwrap();
    by_day.plans = foreign_plans();
    let process = Process::begin(&world, &Arc::new(broken), "", 1);
    for number in 1..=3 {
        until_version(&world, "by_page", number).await;
        until_version(&world, "in_all", number).await;
        assert!(world.newest(&world.view("by_day")).await.is_none());
        send(&mut world, 40).await;
    }
    let has_failed = |state: &State| state.runs.values().any(|run| run.state == RunState::Failed);
    let state = until(&process.workflow, "a run fails", has_failed).await;
    let failing = failing_views(&state, &process.definitions.borrow());
    assert_eq!(failing.keys().map(ViewName::as_str).collect::<Vec<_>>(), ["by_day"], "{failing:?}");

    let whole = Arc::clone(&world.pipeline);
    process.definitions.send_modify(|set| set.pipeline = whole);
    until_version(&world, "by_day", 1).await;
    let failing = |state: &State| failing_views(state, &process.definitions.borrow());
    let is_well = |state: &State| process.looks.correct(failing(state)).is_empty();
    until(&process.workflow, "nothing is wrong", is_well).await;
    check_equals_fold(&world).await;
}

#[tokio::test]
async fn the_interval_leaves_out_what_schedules_name() {
    let world = archived(13, 60).await;
    tokio::time::pause();
    let text = "[schedules.daily]\ncron = \"0 2 * * *\"\nviews = [\"by_day\"]\n";
    let process = Process::begin(&world, &world.pipeline, text, 1);
    let state = process.until_done(1).await;
    let spec = &state.runs.values().next().unwrap().spec;
    let views: Vec<&str> = spec.views.iter().map(|(view, _)| view.as_str()).collect();
    assert_eq!((views, spec.schedule.as_deref()), (vec!["by_page", "in_all"], Some("batch.interval")));
    assert!(world.newest(&world.view("by_day")).await.is_none());
    assert!(world.newest(&world.view("by_page")).await.is_some());
}

#[tokio::test]
async fn a_new_view_does_not_wait_for_the_interval() {
    let world = archived(43, 60).await;
    tokio::time::pause();
    let mut views = world.pipeline.views.clone();
    views.retain(|view| view.name.as_str() != "by_day");
    let without = Arc::new(Pipeline { views, ..(*world.pipeline).clone() });
    let process = Process::begin(&world, &without, "interval = \"30d\"\n", 1);
    process.until_done(1).await;
    let whole = Arc::clone(&world.pipeline);
    process.definitions.send_modify(|set| set.pipeline = whole);
    process.until_done(2).await;
    assert_eq!(versions(&world).await, [1, 1, 1]);
    let state = process.workflow.refresh().await.unwrap();
    let computed = state.runs.values().filter(|run| run.spec.kind == RunKind::Recompute);
    let views: Vec<usize> = computed.map(|run| run.spec.views.len()).collect();
    assert_eq!(views, [2, 1], "of the others there is nothing new");
}

async fn until_former(world: &World, view: &PlannedView, number: i64) -> i64 {
    for _ in 0..2_000 {
        match world.newest(view).await.map(|version| version.number().0) {
            Some(found) if found >= number => return found,
            _ => sleep(Duration::from_secs(1)).await,
        }
    }
    panic!("version {number} of a former definition is never published");
}

/// Over another reading of the source.
pub const FORMER: &str = "CREATE UNBOUNDED EXTERNAL TABLE hits (time TIMESTAMP NOT NULL, page VARCHAR)
    STORED AS JSON LOCATION 'kafka://hits'
    OPTIONS (event_time 'time', grid '8', gap '30 seconds', late_after '1 minute', partitions '2');
    CREATE MATERIALIZED VIEW by_page AS SELECT page, count(*) AS hits FROM hits GROUP BY page;";

/// A definition of `by_page` that answers until that of the world does.
pub fn former_of(world: &World, text: &str) -> FormerView {
    let view = Pipeline::read(text, &BTreeMap::new()).unwrap().view("by_page").unwrap().clone();
    FormerView { view, set: DefinitionNumber(1), building: world.view("by_page").hash }
}

#[tokio::test]
async fn a_view_that_its_former_definition_answers_for_does_not_wait_for_the_interval() {
    let mut world = archived(48, 60).await;
    tokio::time::pause();
    let process = Process::begin(&world, &world.pipeline, "interval = \"30d\"\n", 1);
    let former = former_of(&world, FORMER);
    process.definitions.send_modify(|set| set.former = vec![former]);
    until_version(&world, "by_page", 1).await;
    send(&mut world, 40).await;
    until_version(&world, "by_page", 2).await;
    assert_eq!(versions(&world).await, [2, 1, 1], "the others wait");
    check_equals_fold(&world).await;
}

/// Realtime keeps it from above its first version on, so it takes a later one to answer.
#[tokio::test]
async fn a_new_view_does_not_wait_for_the_interval_until_it_answers() {
    let mut world = archived(48, 60).await;
    tokio::time::pause();
    let process = Process::begin(&world, &world.pipeline, "interval = \"30d\"\n", 1);
    process.until_done(1).await;
    let number = Some(process.definitions.borrow().number);
    let other = number.map(|number| DefinitionNumber(number.0 + 1));
    let being_built = |number, names: &[&str]| {
        let being_built = names.iter().map(|name| (*name).to_owned()).collect();
        process.registered.send_replace(Registered { number, being_built });
    };
    being_built(other, &["by_day"]);
    being_built(number, &["by_page"]);
    send(&mut world, 40).await;
    until_version(&world, "by_page", 2).await;
    assert_eq!(versions(&world).await, [2, 1, 1], "the others wait");
    being_built(number, &[]);
    sleep(Duration::from_secs(60)).await;
    send(&mut world, 40).await;
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!(versions(&world).await, [2, 1, 1], "it answers");
    check_equals_fold(&world).await;
}

#[tokio::test]
async fn former_definitions_are_computed_by_runs_of_their_own_until_they_are_over() {
    let mut world = archived(45, 60).await;
    tokio::time::pause();
    let replayed = FORMER.replace("partitions '2'", "partitions '2', mode 'kappa'");
    let former = [FORMER, replayed.as_str()].map(|text| former_of(&world, text));
    let [view, replayed] = former.clone().map(|former| former.view);
    let process = Process::begin(&world, &world.pipeline, "", 1);
    process.definitions.send_modify(|set| set.former = former.to_vec());
    let first = until_former(&world, &view, 1).await;
    until_version(&world, "by_page", 1).await;
    send(&mut world, 40).await;
    until_former(&world, &view, first + 1).await;
    let state = process.workflow.refresh().await.unwrap();
    let own = state.runs.values().filter(|run| run.spec.views == [(view.name.clone(), view.hash)]);
    assert!(own.count() >= 2, "{:?}", state.runs);
    assert!(world.newest(&replayed).await.is_none(), "nothing recomputes a view in kappa mode");
    check_equals_fold(&world).await;

    process.definitions.send_modify(|set| set.former.clear());
    sleep(INTERVAL * 5).await;
    let (last, before) = (until_former(&world, &view, first + 1).await, versions(&world).await);
    send(&mut world, 40).await;
    until_others_than(&world, &before).await;
    sleep(INTERVAL * 5).await;
    assert_eq!(until_former(&world, &view, last).await, last, "it goes on, and answers no more");
    assert_eq!(process.looks.correct(BTreeMap::new()), BTreeMap::new());
}

#[tokio::test]
async fn processes_that_have_the_same_views_due_share_their_runs() {
    let mut world = archived(44, 60).await;
    tokio::time::pause();
    let [process, _other] = [1, 2].map(|seed| Process::begin(&world, &world.pipeline, "", seed));
    process.until_done(1).await;
    sleep(INTERVAL * 10).await;
    assert_eq!(versions(&world).await, [1, 1, 1], "computed twice");
    let written = entries(&world).await;
    sleep(INTERVAL * 10).await;
    assert_eq!(entries(&world).await, written);
    send(&mut world, 40).await;
    until_others_than(&world, &[1, 1, 1]).await;
    check_equals_fold(&world).await;
}

#[tokio::test]
async fn the_hold_of_a_process_that_died_is_passed_over() {
    let world = archived(31, 60).await;
    let hold = world.lake.path(OBJECT);
    world.lake.put(&hold, "somebody 1".into()).await.unwrap();
    tokio::time::pause();
    let began = Instant::now();
    let process = Process::begin(&world, &world.pipeline, "", 1);
    process.until_done(1).await;
    assert!(began.elapsed() >= PATIENCE, "it began after {:?}", began.elapsed());
    assert_eq!(world.lake.get(&hold).await.unwrap(), None, "the next start does not wait for it");
    check_equals_fold(&world).await;
}
