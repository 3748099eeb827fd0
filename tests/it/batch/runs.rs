//! Recomputes as runs: tasks that any process takes publish what a round would; a lease that is lost, a race that is
//! lost, definitions that change and stores that fail cost work, and never a version too much.

use std::sync::Arc;
use std::time::Duration;

use batch_layer::recompute::{Mode, Outcome, recompute};
use positions::{Backoff, Clock, IdSource, SourceName, ViewName};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use twofold::config::{Config, ConfigInputs};
use twofold::definitions::{Definitions, RunningDefinitions};
use twofold::notify::{Judge, Notifier, Waiting};
use twofold::workflow::duties::ScheduledRuns;
use twofold::workflow::interval::{INTERVAL, Pace};
use twofold::workflow::outcomes::{failing_views, given_up_views};
use twofold::workflow::specs::{RunRequest, run_of_former, runs_of};
use twofold::workflow::tasks::RecomputeTasks;
use views::Pipeline;
use workflow::{
    Assignment, Duties, Executor, Leader, Priority, Progress, Refused, Run, RunId, RunKind, RunMode, RunSpec, RunState,
    Standing, Start, State, TaskError, TaskId, TaskKind, TaskState, Work, Worker, Workflow, WorkflowComponents,
    WorkflowError, WorkflowSettings, run_workflow,
};

use super::interval::{FORMER, former_of};
use super::recompute::{all_finished, check_equals_fold};
use super::steps::settings;
use super::world::{Event, HOUR, START, World};
use crate::support::seams::SeededIds;
use crate::support::seeds::seeds;

/// Looks of whoever waits, a tenth of a second apart.
const MOST_LOOKS: usize = 20_000;

const VIEWS: [&str; 3] = ["by_page", "by_day", "in_all"];

/// Everything that was sent is archived, and below the cut.
pub async fn archived(seed: u64, events: usize) -> World {
    let mut world = World::new(seed).await;
    world.send(events).await;
    world.clock.advance(Duration::from_secs(40));
    world.archive().await;
    world
}

pub fn config(text: &str) -> Config {
    let files = vec![("test.toml".to_owned(), format!("[batch]\nthreads = 2\n{text}"))];
    Config::read(ConfigInputs { files, ..ConfigInputs::default() }).unwrap()
}

/// A recompute by hand of these views, of all where none is named.
pub fn request(views: &[&str], mode: RunMode) -> RunRequest {
    RunRequest {
        source: None,
        views: views.iter().map(ViewName::new).collect(),
        mode,
        kind: RunKind::Recompute,
        priority: Priority::ByHand,
        retries: None,
        max_concurrent: None,
        idempotency_key: None,
        deadline: None,
        schedule: None,
    }
}

/// What processes share: the world's tables, settings, definitions.
pub struct Crew<'a> {
    pub world: &'a World,
    pub config: Arc<Config>,
    definitions: watch::Sender<RunningDefinitions>,
    processes: JoinSet<Result<(), WorkflowError>>,
}

impl<'a> Crew<'a> {
    pub fn new(world: &'a World, config: Config) -> Self {
        let set = RunningDefinitions { pipeline: Arc::clone(&world.pipeline), ..RunningDefinitions::default() };
        let (definitions, config) = (watch::Sender::new(set), Arc::new(config));
        Self { world, config, definitions, processes: JoinSet::new() }
    }

    /// The definitions change: they have no such view any more.
    fn drop_view(&self, name: &str) {
        self.definitions.send_modify(|set| {
            let mut views = set.pipeline.views.clone();
            views.retain(|view| view.name.as_str() != name);
            set.pipeline = Arc::new(Pipeline { views, ..(*set.pipeline).clone() });
        });
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.world.clock) as Arc<dyn Clock>
    }

    /// A process that does nothing yet.
    pub fn process(&self, seed: u64) -> (Workflow, Arc<RecomputeTasks>) {
        let ids = || Arc::new(SeededIds::new(seed)) as Arc<dyn IdSource>;
        let workflow = Workflow::new(&self.world.lake, self.clock(), ids());
        let of_process = (self.clock(), Arc::clone(&self.world.ids) as Arc<dyn IdSource>);
        let definitions = Definitions::of(&self.definitions);
        let tasks = RecomputeTasks::of(self.world.lake.clone(), Arc::clone(&self.config), of_process, definitions);
        (workflow, Arc::new(tasks))
    }

    /// A process that takes part until the crew is dropped.
    pub fn begin(&mut self, seed: u64, duties: Option<Arc<dyn Duties>>) -> Workflow {
        let (workflow, tasks) = self.process(seed);
        let settings = WorkflowSettings {
            retry: Backoff { first: Duration::from_millis(50), longest: Duration::from_secs(1) },
            ..self.config.workflow.takes_part.clone()
        };
        let name = format!("process {seed}");
        let components = WorkflowComponents { workflow: workflow.clone(), executor: tasks, duties, name };
        self.processes.spawn(run_workflow(components, settings, CancellationToken::new()));
        workflow
    }

    fn duties(&self, workflow: &Workflow, notifier: Notifier) -> ScheduledRuns {
        let definitions = Definitions::of(&self.definitions);
        let seams = (self.clock(), Arc::clone(&self.world.ids) as Arc<dyn IdSource>);
        let of_lake = (workflow.clone(), self.world.lake.clone());
        ScheduledRuns::of(of_lake, Arc::clone(&self.config), seams, definitions, notifier)
    }

    pub async fn start(&self, workflow: &Workflow, request: &RunRequest) -> Result<RunId, WorkflowError> {
        let (spec, tasks) = runs_of(&self.world.pipeline, request, &self.config).unwrap().pop().unwrap();
        Ok(workflow.start(spec, &tasks).await?.run())
    }

    /// Starts a run, and waits for its end.
    async fn run(&self, workflow: &Workflow, request: &RunRequest) -> Arc<Run> {
        let run = self.start(workflow, request).await.unwrap();
        ended(workflow, run).await
    }
}

pub async fn until(workflow: &Workflow, what: &str, is_so: impl Fn(&State) -> bool) -> Arc<State> {
    for _ in 0..MOST_LOOKS {
        // What fails is asked again: a store may be told to.
        if let Ok(state) = workflow.refresh().await
            && is_so(&state)
        {
            return state;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("never: {what}; {:?}", workflow.state());
}

pub async fn ended(workflow: &Workflow, run: RunId) -> Arc<Run> {
    let is_ended = |state: &State| state.run(run).is_some_and(|run| run.state.is_ended());
    let state = until(workflow, "the run ends", is_ended).await;
    Arc::clone(&state.runs[&run])
}

/// Takes the next task, if there is one.
pub async fn take(workflow: &Workflow) -> Option<Assignment> {
    let worker = Worker::new(workflow);
    let token = worker.take(1).await.unwrap().pop()?;
    Some(worker.assignment(token).await.unwrap().unwrap())
}

/// Does a task, and reports it. Says of which kind it was, and how it ended.
pub async fn finish(
    workflow: &Workflow,
    tasks: &RecomputeTasks,
    work: &Assignment,
) -> (TaskKind, Result<(), TaskError>) {
    let result = tasks.execute(work, &Progress::default()).await;
    assert!(Worker::new(workflow).report(work.token, &result, Work::default()).await.unwrap());
    (work.task.kind, result.map(drop))
}

/// Does tasks until one of this kind is next; it is taken already. `None`: there is no further task.
pub async fn take_up_to(workflow: &Workflow, tasks: &RecomputeTasks, kind: TaskKind) -> Option<Assignment> {
    while let Some(work) = take(workflow).await {
        if work.task.kind == kind {
            return Some(work);
        }
        finish(workflow, tasks, &work).await.1.unwrap();
    }
    None
}

/// The numbers of the newest versions.
pub async fn versions(world: &World) -> Vec<i64> {
    let mut numbers = Vec::new();
    for name in VIEWS {
        numbers.extend(world.newest(&world.view(name)).await.map(|version| version.number().0));
    }
    numbers
}

#[tokio::test]
async fn a_run_publishes_what_a_round_would() {
    for seed in seeds(3) {
        let world = archived(seed, 200).await;
        tokio::time::pause();
        let mut crew = Crew::new(&world, config(""));
        let workflow = crew.begin(1, None);
        let run = crew.run(&workflow, &request(&[], RunMode::Full)).await;
        assert_eq!((run.state, run.counts.done), (RunState::Done, 3), "{:?}", run.failure);
        assert_eq!(versions(&world).await, [1, 1, 1]);
        check_equals_fold(&world).await;
        let by_run = all_finished(&world).await;
        let version = world.newest(&world.view("by_day")).await.unwrap();
        let publisher = version.facts.publisher.as_ref().unwrap();
        assert_eq!((publisher.run.as_str(), publisher.attempt), ("1", 1));
        assert!(run.work.rows > 0, "{:?}", run.work);

        let again = crew.run(&workflow, &request(&[], RunMode::Incremental)).await;
        assert_eq!((again.state, again.counts.done), (RunState::Done, 1), "there is nothing new");
        world.recompute(Mode::Full).await;
        assert_eq!(all_finished(&world).await, by_run);
        tokio::time::resume();
    }
}

#[tokio::test]
async fn many_groups_are_shared_by_processes_and_published_once() {
    for seed in seeds(3) {
        let world = archived(seed, 400).await;
        tokio::time::pause();
        let mut crew = Crew::new(&world, config("task_bytes = \"1B\"\n"));
        let workflow = crew.begin(1, None);
        crew.begin(2, None);
        // A view that is one bucket would make one group of all.
        let run = crew.run(&workflow, &request(&["by_page", "by_day"], RunMode::Full)).await;
        assert_eq!(run.state, RunState::Done, "{:?}", run.failure);
        let computed = run.tasks.iter().filter(|task| task.kind == TaskKind::Compute).count();
        let published = run.tasks.iter().filter(|task| task.kind == TaskKind::Publish).count();
        assert!(computed > 1 && published == 1, "{computed} groups, {published} publications");
        assert_eq!(versions(&world).await, [1, 1]);
        check_equals_fold(&world).await;
        tokio::time::resume();
    }
}

/// A leader that takes away every lease of others.
pub async fn take_leases_away(crew: &Crew<'_>, seed: u64) {
    let (workflow, tasks) = crew.process(seed);
    let mut leader = Leader::new(&workflow, tasks, None, WorkflowSettings::default());
    let now = Instant::now();
    for seconds in [0, 1, 60, 61] {
        assert_eq!(leader.step(now + Duration::from_secs(seconds)).await.unwrap(), Standing::Leads);
    }
    assert!(workflow.refresh().await.unwrap().leases.is_empty());
    leader.resign().await.unwrap();
}

#[tokio::test]
async fn a_process_whose_lease_is_lost_publishes_nothing() {
    let world = archived(5, 100).await;
    let crew = Crew::new(&world, config(""));
    let (late, tasks) = crew.process(1);
    crew.start(&late, &request(&[], RunMode::Full)).await.unwrap();
    let work = take_up_to(&late, &tasks, TaskKind::Publish).await.unwrap();
    take_leases_away(&crew, 2).await;

    let result = tasks.execute(&work, &Progress::default()).await;
    assert!(matches!(&result, Err(TaskError::Transient { reason }) if reason.contains("lease")), "{result:?}");
    assert!(!Worker::new(&late).report(work.token, &result, Work::default()).await.unwrap());
    assert_eq!(versions(&world).await, [0_i64; 0]);

    let (other, tasks) = crew.process(3);
    let work = take(&other).await.unwrap();
    assert_eq!((work.task.kind, work.token.attempt), (TaskKind::Publish, 2));
    finish(&other, &tasks, &work).await.1.unwrap();
    assert_eq!(other.refresh().await.unwrap().runs[&RunId(1)].state, RunState::Done);
    assert_eq!(versions(&world).await, [1, 1, 1]);
    check_equals_fold(&world).await;
}

/// A leader with great patience for workers, and none for tasks: takes away, and divides, what is at work.
async fn divide_what_stands_still(crew: &Crew<'_>, seed: u64) {
    let (workflow, tasks) = crew.process(seed);
    let lease_patience = Duration::from_secs(10_000);
    let settings =
        WorkflowSettings { lease_patience, stall_limit: Duration::from_secs(10), ..WorkflowSettings::default() };
    let mut leader = Leader::new(&workflow, tasks, None, settings);
    let now = Instant::now();
    for seconds in [0, 1, 12] {
        assert_eq!(leader.step(now + Duration::from_secs(seconds)).await.unwrap(), Standing::Leads);
    }
    assert!(workflow.refresh().await.unwrap().leases.is_empty());
    leader.resign().await.unwrap();
}

#[tokio::test]
async fn a_group_that_stands_still_is_divided_and_what_it_gives_late_is_refused() {
    let mut world = World::new(15).await;
    for number in 0..240_i64 {
        let time = START - number % 12 * 24 * HOUR;
        world.send_one(Some(Event { time, page: Some("/a".to_owned()), ..Event::default() })).await;
    }
    world.clock.advance(Duration::from_secs(40));
    world.archive().await;
    let bytes: u64 = world.snapshot().await.snapshot.files().iter().map(|file| file.size_bytes).sum();
    let crew = Crew::new(&world, config(&format!("task_bytes = \"{bytes}B\"\n")));
    let (late, tasks) = crew.process(1);
    crew.start(&late, &request(&["by_page", "by_day"], RunMode::Full)).await.unwrap();
    let whole = take_up_to(&late, &tasks, TaskKind::Compute).await.unwrap();
    divide_what_stands_still(&crew, 2).await;

    let split = |state: &State, work: &Assignment| match &state.task(RunId(1), work.token.task).unwrap().state {
        TaskState::Split { into } => into.clone(),
        other => panic!("it is {other:?}"),
    };
    let halves = split(&late.refresh().await.unwrap(), &whole);
    assert_eq!(halves.len(), 2);
    let result = tasks.execute(&whole, &Progress::default()).await;
    assert!(result.is_ok(), "{result:?}");
    assert!(!Worker::new(&late).report(whole.token, &result, Work::default()).await.unwrap(), "its lease is stale");

    // The heavier half again; the other one, and what came of it, are done as they are.
    let (other, tasks) = crew.process(3);
    let heavier = |state: &State| {
        let weight = |id: &TaskId| state.task(RunId(1), *id).unwrap().weight_bytes;
        halves.iter().copied().max_by_key(weight).unwrap()
    };
    let heavier = heavier(&other.refresh().await.unwrap());
    while let Some(work) = take(&other).await {
        if work.token.task == heavier {
            divide_what_stands_still(&crew, 4).await;
            assert_eq!(split(&other.refresh().await.unwrap(), &work).len(), 2, "a part of a part");
            continue;
        }
        assert_eq!(finish(&other, &tasks, &work).await.1, Ok(()));
    }
    let state = other.refresh().await.unwrap();
    let run = &state.runs[&RunId(1)];
    assert_eq!(run.state, RunState::Done, "{:?}", run.failure);
    let computed = run.tasks.iter().filter(|task| task.kind == TaskKind::Compute);
    let done = computed.filter(|task| matches!(task.state, TaskState::Done { .. })).count();
    assert_eq!(done, 3, "a half, and two halves of the other one");
    assert_eq!(versions(&world).await, [1, 1]);
    check_equals_fold(&world).await;
}

#[tokio::test]
async fn a_small_group_that_stands_still_is_done_again_as_it_is() {
    let world = archived(16, 60).await;
    let crew = Crew::new(&world, config("task_bytes = \"1GiB\"\n"));
    let (late, tasks) = crew.process(1);
    crew.start(&late, &request(&["by_day"], RunMode::Full)).await.unwrap();
    let work = take_up_to(&late, &tasks, TaskKind::Compute).await.unwrap();
    divide_what_stands_still(&crew, 2).await;
    let again = take(&late).await.unwrap();
    assert_eq!((again.token.task, again.token.attempt), (work.token.task, 2));
    assert_eq!(again.task, work.task);
}

#[tokio::test]
async fn groups_that_an_older_version_planned_are_computed_and_never_divided() {
    let world = archived(17, 200).await;
    let crew = Crew::new(&world, config("task_bytes = \"1B\"\n"));
    let (workflow, tasks) = crew.process(1);
    crew.start(&workflow, &request(&["by_page", "by_day"], RunMode::Full)).await.unwrap();
    let work = take(&workflow).await.unwrap();
    let mut chosen = tasks.execute(&work, &Progress::default()).await.unwrap();
    for next in chosen.next.iter_mut().filter(|next| next.kind == TaskKind::Compute) {
        assert!(next.parameters.as_object_mut().unwrap().remove("part").is_some());
    }
    assert!(Worker::new(&workflow).report(work.token, &Ok(chosen), Work::default()).await.unwrap());
    while let Some(work) = take(&workflow).await {
        assert!(tasks.split(&work.run, &work.task).is_none());
        assert_eq!(finish(&workflow, &tasks, &work).await.1, Ok(()));
    }
    assert_eq!(versions(&world).await, [1, 1]);
    check_equals_fold(&world).await;
}

#[tokio::test]
async fn what_was_published_before_the_process_died_is_not_published_again() {
    let world = archived(6, 100).await;
    let crew = Crew::new(&world, config(""));
    let (dying, tasks) = crew.process(1);
    crew.start(&dying, &request(&[], RunMode::Full)).await.unwrap();
    let work = take_up_to(&dying, &tasks, TaskKind::Publish).await.unwrap();
    tasks.execute(&work, &Progress::default()).await.unwrap();
    assert_eq!(versions(&world).await, [1, 1, 1]);
    // It dies before it has said so.
    take_leases_away(&crew, 2).await;

    let (other, tasks) = crew.process(3);
    let work = take(&other).await.unwrap();
    let (kind, result) = finish(&other, &tasks, &work).await;
    assert_eq!((kind, result), (TaskKind::Publish, Ok(())));
    assert!(take(&other).await.is_none());
    assert_eq!(other.refresh().await.unwrap().runs[&RunId(1)].state, RunState::Done);
    assert_eq!(versions(&world).await, [1, 1, 1]);
    check_equals_fold(&world).await;
}

/// Before a task of this kind is done, another publisher is first.
async fn lose_before(kind: TaskKind, seed: u64) {
    let world = archived(seed, 100).await;
    let crew = Crew::new(&world, config(""));
    let (workflow, tasks) = crew.process(1);
    crew.start(&workflow, &request(&[], RunMode::Full)).await.unwrap();
    let work = take_up_to(&workflow, &tasks, kind).await.unwrap();
    let round = world.recompute(Mode::Full).await;
    assert!(round.values().all(|outcome| matches!(outcome, Outcome::Published(_))));
    finish(&workflow, &tasks, &work).await.1.unwrap();
    assert_eq!(versions(&world).await, [1, 1, 1], "those of the round");
    let mut kinds = vec![kind];
    while let Some(work) = take(&workflow).await {
        let (kind, result) = finish(&workflow, &tasks, &work).await;
        assert_eq!(result, Ok(()));
        kinds.push(kind);
    }
    let all = [TaskKind::Compute, TaskKind::Publish, TaskKind::Choose, TaskKind::Compute, TaskKind::Publish];
    assert_eq!(kinds, all[5 - kinds.len()..], "lost, chosen anew, computed, published");
    assert_eq!(workflow.refresh().await.unwrap().runs[&RunId(1)].state, RunState::Done);
    assert_eq!(versions(&world).await, [2, 2, 2]);
    check_equals_fold(&world).await;
}

/// What the tasks that are left find out is no failure of theirs: it would end a run that is tried again so seldom.
#[tokio::test]
async fn a_race_that_is_lost_before_all_is_computed_is_no_failure() {
    for overtaken in [&["by_page"][..], &["by_page", "by_day"]] {
        let world = archived(19, 400).await;
        let crew = Crew::new(&world, config("task_bytes = \"1B\"\n"));
        let (workflow, tasks) = crew.process(1);
        let asked = RunRequest { retries: Some(0), ..request(&["by_page", "by_day"], RunMode::Full) };
        crew.start(&workflow, &asked).await.unwrap();
        let first = take_up_to(&workflow, &tasks, TaskKind::Compute).await.unwrap();
        finish(&workflow, &tasks, &first).await.1.unwrap();
        recompute_views(&world, overtaken).await;

        let mut kinds = Vec::new();
        while let Some(work) = take(&workflow).await {
            let (kind, result) = finish(&workflow, &tasks, &work).await;
            assert_eq!(result, Ok(()), "{kind:?} with {overtaken:?} published by others");
            kinds.push(kind);
        }
        let first_choice = kinds.iter().position(|kind| *kind == TaskKind::Choose).unwrap();
        assert_eq!(kinds[first_choice - 1], TaskKind::Publish, "{kinds:?}");
        assert!(first_choice > 1, "nothing was left to be computed: {kinds:?}");
        let state = workflow.refresh().await.unwrap();
        assert_eq!(state.runs[&RunId(1)].state, RunState::Done, "{:?}", state.runs[&RunId(1)].failure);
        let by_day = if overtaken.len() == 1 { 1 } else { 2 };
        assert_eq!(versions(&world).await, [2, by_day]);
        check_equals_fold(&world).await;
    }
}

/// What somebody else publishes meanwhile.
async fn recompute_views(world: &World, views: &[&str]) {
    let mut components = world.recompute_components();
    components.views.retain(|view| views.contains(&view.name.as_str()));
    let round = recompute(&components, Mode::Full, &settings(u64::MAX)).await;
    assert!(round.values().all(|outcome| matches!(outcome, Ok(Outcome::Published(_)))), "{round:?}");
}

#[tokio::test]
async fn views_wait_for_runs_that_would_lose_to_them() {
    let world = archived(20, 60).await;
    let crew = Crew::new(&world, config(""));
    let (workflow, tasks) = crew.process(1);
    let now = Instant::now();
    let backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(60) };
    let mut pace = Pace::new(Duration::from_secs(60), backoff, RunId(0));
    let named: Vec<_> = world.pipeline.views.iter().map(|view| (view.name.clone(), view.hash)).collect();
    pace.keep(&named, now);
    let source = &world.pipeline.sources[0].name;
    let mut due = |state: &State| {
        pace.follow(state, source, now);
        assert_eq!(pace.next().is_none(), pace.due(now).is_empty());
        VIEWS.map(|view| pace.due(now).contains(&ViewName::new(view)))
    };
    assert_eq!(due(&workflow.refresh().await.unwrap()), [true; 3]);

    // One of everything goes first, but where somebody has paused it, and until it is done.
    let run = crew.start(&workflow, &request(&["by_page"], RunMode::Full)).await.unwrap();
    assert_eq!(due(&workflow.refresh().await.unwrap()), [false, true, true]);
    workflow.pause(Some(run)).await.unwrap();
    assert_eq!(due(&workflow.refresh().await.unwrap()), [true; 3]);
    workflow.resume(Some(run)).await.unwrap();
    assert_eq!(due(&workflow.refresh().await.unwrap()), [false, true, true]);
    assert!(take_up_to(&workflow, &tasks, TaskKind::Vacuum).await.is_none());
    assert_eq!(due(&workflow.refresh().await.unwrap()), [true; 3]);

    // One of what is new does once it has lost.
    crew.start(&workflow, &request(&["by_day"], RunMode::Incremental)).await.unwrap();
    let work = take_up_to(&workflow, &tasks, TaskKind::Publish).await.unwrap();
    assert_eq!(due(&workflow.refresh().await.unwrap()), [true; 3]);
    recompute_views(&world, &["by_day"]).await;
    finish(&workflow, &tasks, &work).await.1.unwrap();
    assert_eq!(due(&workflow.refresh().await.unwrap()), [true, false, true]);
}

#[tokio::test]
async fn a_schedule_of_what_is_new_waits_for_a_run_of_everything() {
    let world = archived(21, 20).await;
    tokio::time::pause();
    // Nobody works at it.
    let mut crew = Crew::new(&world, config("[schedules.often]\nevery = \"1m\"\n[workflow]\nslots = 0\n"));
    let (notifier, _) = Notifier::new(&crew.config.notify, Judge::default());
    let (outside, _) = crew.process(90);
    let full = crew.start(&outside, &request(&["by_page"], RunMode::Full)).await.unwrap();
    let duties: Arc<dyn Duties> = Arc::new(crew.duties(&outside, notifier));
    let workflow = crew.begin(1, Some(duties));
    until(&workflow, "the schedule is known", |state| state.notes.contains_key("schedules/often")).await;
    for _ in 0..5 {
        world.clock.advance(Duration::from_secs(60));
        sleep(Duration::from_secs(5)).await;
    }
    assert_eq!(outside.refresh().await.unwrap().runs.len(), 1, "that would be in vain");
    outside.pause(Some(full)).await.unwrap();
    until(&workflow, "what is due starts", |state| state.runs.len() == 2).await;
}

#[tokio::test]
async fn what_is_lost_to_another_publisher_is_chosen_anew() {
    lose_before(TaskKind::Publish, 7).await;
    lose_before(TaskKind::Compute, 17).await;
}

#[tokio::test]
async fn definitions_that_change_in_mid_run_end_it() {
    let world = archived(8, 100).await;
    let crew = Crew::new(&world, config(""));
    let (workflow, tasks) = crew.process(1);
    crew.start(&workflow, &request(&[], RunMode::Full)).await.unwrap();
    let work = take_up_to(&workflow, &tasks, TaskKind::Publish).await.unwrap();
    crew.drop_view("by_day");
    let (_, result) = finish(&workflow, &tasks, &work).await;
    let Err(TaskError::Permanent { reason, .. }) = result else { panic!("{result:?}") };
    assert!(reason.contains("changed"), "{reason}");
    assert_eq!(workflow.refresh().await.unwrap().runs[&RunId(1)].state, RunState::Failed);
    assert_eq!(versions(&world).await, [0_i64; 0]);
}

/// Wherever the flip finds a run of the interval, nothing is wrong: one of a former definition is done without a
/// version, one that is of other views as well ends for those of the present ones.
#[tokio::test]
async fn a_run_of_the_interval_whose_definition_answers_no_more_is_no_fault() {
    let by_interval = RunRequest { schedule: Some(INTERVAL.to_owned()), ..request(&[], RunMode::Incremental) };
    for kind in [TaskKind::Choose, TaskKind::Compute, TaskKind::Publish] {
        let world = archived(18, 100).await;
        let crew = Crew::new(&world, config(""));
        let (workflow, tasks) = crew.process(1);
        let former = former_of(&world, FORMER);
        let (spec, first) = run_of_former(&former.view, &by_interval, &crew.config);
        workflow.start(spec, &first).await.unwrap();
        crew.definitions.send_modify(|set| set.former = vec![former.clone()]);
        let work = take_up_to(&workflow, &tasks, kind).await.unwrap();
        crew.definitions.send_modify(|set| set.former.clear());
        finish(&workflow, &tasks, &work).await.1.unwrap();
        assert_eq!(take_up_to(&workflow, &tasks, TaskKind::Import).await.map(|work| work.token), None);
        let state = workflow.refresh().await.unwrap();
        assert_eq!(state.runs[&RunId(1)].state, RunState::Done, "{kind:?}");
        assert!(world.newest(&former.view).await.is_none());
    }
    let world = archived(18, 100).await;
    let crew = Crew::new(&world, config("[notify]\nwebhook = \"http://127.0.0.1:9/\"\n"));
    let (workflow, tasks) = crew.process(1);
    crew.start(&workflow, &by_interval).await.unwrap();
    let work = take_up_to(&workflow, &tasks, TaskKind::Compute).await.unwrap();
    crew.drop_view("by_day");
    let (_, result) = finish(&workflow, &tasks, &work).await;
    assert!(matches!(result, Err(TaskError::Superseded { .. })), "{result:?}");
    let state = workflow.refresh().await.unwrap();
    assert_eq!(state.runs[&RunId(1)].state, RunState::Failed);
    let (notifier, mut waiting) = Notifier::new(&crew.config.notify, Judge::default());
    assert!(!crew.duties(&workflow, notifier).notes(&state, world.clock.now()).await.is_empty());
    assert_eq!(told(&mut waiting), [""; 0], "nobody is told");
}

#[tokio::test]
async fn what_fails_for_good_is_not_tried_again_until_a_limit_changes() {
    let world = archived(9, 2_000).await;
    tokio::time::pause();
    const LITTLE: &str = "memory = \"1B\"\nspill_limit = \"1B\"\n";
    let mut crew = Crew::new(&world, config(LITTLE));
    let workflow = crew.begin(1, None);
    let scheduled = RunRequest { schedule: Some("often".to_owned()), ..request(&[], RunMode::Full) };
    let run = crew.run(&workflow, &scheduled).await;
    assert_eq!(run.state, RunState::Failed);
    assert!(run.tasks.iter().all(|task| task.attempt <= 1), "{:?}", run.tasks);
    let reason = &run.failure.as_ref().unwrap().failure.reason;
    assert!(reason.contains("batch.memory"), "{reason}");
    let refused = crew.start(&workflow, &scheduled).await;
    assert!(matches!(refused, Err(WorkflowError::Refused(Refused::SameFailure { .. }))), "{refused:?}");
    // By the interval, a schedule in another mode, or with other limits it is tried again, and told so.
    let given_up = |limits: &str, schedule: &str| {
        let config = config(&format!("{limits}{schedule}"));
        let given_up = given_up_views(&workflow.state(), &crew.definitions.borrow(), &config);
        assert!(given_up.values().all(|failed| *failed == run.id));
        given_up.len()
    };
    let often = |mode: &str| format!("[schedules.often]\nevery = \"1h\"\nmode = \"{mode}\"\n");
    let failing = failing_views(&workflow.state(), &crew.definitions.borrow()).len();
    assert_eq!(given_up(LITTLE, &often("full")), failing);
    assert!(failing > 0);
    for (limits, schedule) in [(LITTLE, String::new()), (LITTLE, often("incremental")), ("", often("full"))] {
        assert_eq!(given_up(limits, &schedule), 0, "{limits}{schedule}");
    }

    drop(crew);
    let mut crew = Crew::new(&world, config(""));
    let workflow = crew.begin(2, None);
    let run = crew.run(&workflow, &scheduled).await;
    assert_eq!(run.state, RunState::Done, "{:?}", run.failure);
    check_equals_fold(&world).await;
}

#[tokio::test]
async fn a_store_that_fails_once_anywhere_fails_no_run() {
    // One in eleven: each is a run of its own.
    for number in (1..400).step_by(11) {
        let is_after = number % 2 == 0;
        let world = archived(10, 60).await;
        tokio::time::pause();
        let mut crew = Crew::new(&world, config(""));
        let workflow = crew.begin(1, None);
        let run = crew.start(&workflow, &request(&[], RunMode::Full)).await.unwrap();
        world.faults.fail_call(number, is_after);
        let run = ended(&workflow, run).await;
        let is_over = !world.faults.has_failed();
        world.faults.fail_call(0, false);
        assert_eq!(run.state, RunState::Done, "call {number}, after {is_after}: {:?}", run.failure);
        assert_eq!(versions(&world).await, [1, 1, 1], "call {number}, after {is_after}");
        check_equals_fold(&world).await;
        tokio::time::resume();
        if is_over {
            return;
        }
    }
}

#[tokio::test]
async fn a_schedule_starts_each_occurrence_once_and_is_told() {
    let world = archived(11, 60).await;
    tokio::time::pause();
    let text = "[schedules.often]\nevery = \"1h\"\nmode = \"full\"\n[notify]\nwebhook = \"http://127.0.0.1:9/\"\n\
                openlineage = \"http://127.0.0.1:9/\"\n";
    let mut crew = Crew::new(&world, config(text));
    let (notifier, mut waiting) = Notifier::new(&crew.config.notify, Judge::default());
    // That of whoever leads: the process below has another id, and cancels nothing here.
    let (handle, _) = crew.process(90);
    let duties: Arc<dyn Duties> = Arc::new(crew.duties(&handle, notifier));
    let workflow = crew.begin(1, Some(duties));
    let first = ended(&workflow, RunId(1)).await;
    assert_eq!((first.state, first.spec.schedule.as_deref()), (RunState::Done, Some("often")), "{:?}", first.failure);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(workflow.refresh().await.unwrap().runs.len(), 1, "the clock stands");

    world.clock.advance(Duration::from_secs(3_600));
    let second = ended(&workflow, RunId(2)).await;
    assert_eq!(second.state, RunState::Done, "{:?}", second.failure);
    assert_ne!(second.spec.idempotency_key, first.spec.idempotency_key);
    sleep(Duration::from_secs(60)).await;
    let state = workflow.refresh().await.unwrap();
    assert_eq!(state.runs.len(), 2);
    assert!(state.notes.contains_key("schedules/often"), "{:?}", state.notes);
    check_equals_fold(&world).await;

    let lineage = waiting.pop().unwrap();
    let mut messages = lineage.messages;
    let mut types = Vec::new();
    while let Ok(message) = messages.try_recv() {
        let body: Value = serde_json::from_slice(&message.body).unwrap();
        types.push(body["eventType"].as_str().unwrap().to_owned());
    }
    assert_eq!(types, ["START", "COMPLETE", "START", "COMPLETE"]);
}

/// What the one receiver was told of.
fn told(waiting: &mut [Waiting]) -> Vec<String> {
    let mut events = Vec::new();
    while let Ok(message) = waiting[0].messages.try_recv() {
        let body: Value = serde_json::from_slice(&message.body).unwrap();
        events.push(body["event"].as_str().unwrap().to_owned());
    }
    events
}

#[tokio::test]
async fn a_failure_is_told_once_and_its_end_by_whoever_leads_then() {
    let world = archived(16, 2_000).await;
    tokio::time::pause();
    let notify = "[notify]\nwebhook = \"http://127.0.0.1:9/\"\n";
    let mut crew = Crew::new(&world, config(&format!("memory = \"1B\"\nspill_limit = \"1B\"\n{notify}")));
    let (notifier, mut waiting) = Notifier::new(&crew.config.notify, Judge::default());
    let (outside, _) = crew.process(90);
    let duties: Arc<dyn Duties> = Arc::new(crew.duties(&outside, notifier));
    let workflow = crew.begin(1, Some(duties));
    for _ in 0..2 {
        let run = crew.run(&workflow, &request(&[], RunMode::Full)).await;
        assert_eq!(run.state, RunState::Failed);
    }
    sleep(Duration::from_secs(10)).await;
    assert_eq!(told(&mut waiting), ["failure"]);
    drop(crew);

    let mut crew = Crew::new(&world, config(notify));
    let (notifier, mut waiting) = Notifier::new(&crew.config.notify, Judge::default());
    let duties: Arc<dyn Duties> = Arc::new(crew.duties(&outside, notifier));
    let workflow = crew.begin(2, Some(duties));
    let run = crew.run(&workflow, &request(&[], RunMode::Full)).await;
    assert_eq!(run.state, RunState::Done, "{:?}", run.failure);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(told(&mut waiting), ["recovery"]);
}

fn count(state: &State, schedule: &str) -> usize {
    state.runs.values().filter(|run| run.spec.schedule.as_deref() == Some(schedule)).count()
}

/// A leader with these schedules sees some minutes pass, each after all runs are done.
async fn pass_minutes(world: &World, seed: u64, schedules: &str) -> Arc<State> {
    let mut crew = Crew::new(world, config(schedules));
    let (notifier, _) = Notifier::new(&crew.config.notify, Judge::default());
    let (outside, _) = crew.process(90 + seed);
    let duties: Arc<dyn Duties> = Arc::new(crew.duties(&outside, notifier));
    let workflow = crew.begin(seed, Some(duties));
    for _ in 0..6 {
        sleep(Duration::from_secs(30)).await;
        until(&workflow, "all runs are done", |state| state.open_runs().next().is_none()).await;
        world.clock.advance(Duration::from_secs(60));
    }
    workflow.refresh().await.unwrap()
}

#[tokio::test]
async fn an_interval_of_what_is_new_starts_nothing_where_nothing_is() {
    let mut world = archived(19, 60).await;
    tokio::time::pause();
    let schedules = "[schedules.often]\nevery = \"1m\"\nviews = [\"by_page\"]\n\
                     [schedules.whole]\nevery = \"1m\"\nmode = \"full\"\nviews = [\"in_all\"]\n";
    let state = pass_minutes(&world, 1, schedules).await;
    assert_eq!(count(&state, "often"), 1, "{:?}", state.runs);
    assert!(count(&state, "whole") > 2, "{:?}", state.runs);

    world.send(40).await;
    world.clock.advance(Duration::from_secs(40));
    world.archive().await;
    let state = pass_minutes(&world, 2, schedules).await;
    assert_eq!(count(&state, "often"), 2, "{:?}", state.runs);

    // A moment that somebody chose has its run in the history.
    let nightly = "[schedules.nightly]\ncron = \"* * * * *\"\nviews = [\"by_day\"]\n";
    let state = pass_minutes(&world, 3, nightly).await;
    assert!(count(&state, "nightly") > 2, "{:?}", state.runs);
}

#[tokio::test]
async fn what_a_schedule_leaves_out_costs_no_entry() {
    let world = archived(15, 20).await;
    tokio::time::pause();
    let mut crew = Crew::new(&world, config("[schedules.often]\nevery = \"1m\"\nmode = \"full\"\n"));
    let (notifier, _) = Notifier::new(&crew.config.notify, Judge::default());
    let (outside, _) = crew.process(90);
    // Its first run waits, so that every further occurrence meets it.
    outside.pause(None).await.unwrap();
    let duties: Arc<dyn Duties> = Arc::new(crew.duties(&outside, notifier));
    let workflow = crew.begin(1, Some(duties));
    until(&workflow, "the first occurrence is queued", |state| state.runs.len() == 1).await;
    sleep(Duration::from_secs(10)).await;
    outside.refresh().await.unwrap();
    let entries = outside.entries_read().unwrap();
    for _ in 0..5 {
        world.clock.advance(Duration::from_secs(60));
        sleep(Duration::from_secs(5)).await;
    }
    let state = outside.refresh().await.unwrap();
    assert_eq!((state.runs.len(), outside.entries_read()), (1, Some(entries)));

    outside.resume(None).await.unwrap();
    let run = ended(&outside, RunId(1)).await;
    assert_eq!(run.state, RunState::Done, "{:?}", run.failure);
    // The next occurrence, and none for those that were left out.
    sleep(Duration::from_secs(5)).await;
    assert_eq!(outside.refresh().await.unwrap().runs.len(), 1);
    world.clock.advance(Duration::from_secs(60));
    ended(&outside, RunId(2)).await;
}

#[tokio::test]
async fn a_joined_run_is_the_same_and_a_key_is_one_run() {
    let world = archived(12, 20).await;
    let crew = Crew::new(&world, config(""));
    let (workflow, _) = crew.process(1);
    let with_key = RunRequest { idempotency_key: Some("tonight".to_owned()), ..request(&[], RunMode::Full) };
    let [one, two] = [&with_key, &request(&[], RunMode::Full)]
        .map(|request| runs_of(&world.pipeline, request, &crew.config).unwrap().pop().unwrap());
    assert_eq!(one.0.idempotency_key.as_deref(), Some("tonight"));
    assert_eq!(workflow.start(one.0.clone(), &one.1).await.unwrap(), Start::Started(RunId(1)));
    assert_eq!(workflow.start(two.0, &two.1).await.unwrap(), Start::Joined(RunId(1)));
    assert_eq!(workflow.start(one.0.clone(), &one.1).await.unwrap(), Start::Joined(RunId(1)));
    // A key that joined it finds it, also from another process and once it has ended.
    let late = RunSpec { idempotency_key: Some("late".to_owned()), ..one.0.clone() };
    assert_eq!(workflow.start(late.clone(), &one.1).await.unwrap(), Start::Joined(RunId(1)));
    workflow.cancel(RunId(1)).await.unwrap();
    let (other, _) = crew.process(2);
    assert_eq!(other.start(late, &one.1).await.unwrap(), Start::Joined(RunId(1)));
    let unheard = RunSpec { idempotency_key: Some("unheard of".to_owned()), ..one.0 };
    assert_eq!(other.start(unheard, &one.1).await.unwrap(), Start::Started(RunId(2)));
}

#[test]
fn a_request_of_what_the_pipeline_lacks_is_refused_by_name() {
    let pipeline = Pipeline::default();
    let error = runs_of(&pipeline, &request(&["hits"], RunMode::Full), &config("")).unwrap_err().to_string();
    assert!(error.contains("there is no view `hits`"), "{error}");
    let source = RunRequest { source: Some(SourceName::new("clicks")), ..request(&[], RunMode::Full) };
    let error = runs_of(&pipeline, &source, &config("")).unwrap_err().to_string();
    assert!(error.contains("there is no source `clicks`"), "{error}");
    assert!(runs_of(&pipeline, &request(&[], RunMode::Full), &config("")).is_err());
}
