//! Recomputes as runs: tasks that any process takes publish what a round would; a lease that is lost, a race that is
//! lost, definitions that change and stores that fail cost work, and never a version too much.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use batch_layer::recompute::{Mode, Outcome};
use batch_layer::run::run_batch;
use batch_layer::{BatchComponents, BatchSettings, BatchStatus, NoFormer, NoRuns, RunsAtWork};
use positions::{Backoff, Clock, IdSource, SourceName, ViewName};
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use twofold::config::{Config, ConfigInputs};
use twofold::definitions::{Definitions, RunningDefinitions};
use twofold::notify::{Judge, Notifier, Waiting};
use twofold::workflow::duties::ScheduledRuns;
use twofold::workflow::specs::{RunRequest, runs_of};
use twofold::workflow::tasks::RecomputeTasks;
use views::Pipeline;
use workflow::{
    Assignment, Duties, Executor, Leader, Priority, Progress, Refused, Run, RunId, RunKind, RunMode, RunState,
    Standing, Start, State, TaskError, TaskKind, Work, Worker, Workflow, WorkflowComponents, WorkflowError,
    WorkflowSettings, run_workflow,
};

use super::recompute::{all_finished, check_equals_fold};
use super::world::World;
use crate::support::seams::SeededIds;
use crate::support::seeds::seeds;

/// Looks of whoever waits, a tenth of a second apart.
const MOST_LOOKS: usize = 20_000;

const VIEWS: [&str; 3] = ["by_page", "by_day", "in_all"];

/// Everything that was sent is archived, and below the cut.
async fn archived(seed: u64, events: usize) -> World {
    let mut world = World::new(seed).await;
    world.send(events).await;
    world.clock.advance(Duration::from_secs(40));
    world.archive().await;
    world
}

fn config(text: &str) -> Config {
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
struct Crew<'a> {
    world: &'a World,
    config: Arc<Config>,
    definitions: watch::Sender<RunningDefinitions>,
    processes: JoinSet<Result<(), WorkflowError>>,
}

impl<'a> Crew<'a> {
    fn new(world: &'a World, config: Config) -> Self {
        let set = RunningDefinitions { pipeline: Arc::clone(&world.pipeline), ..RunningDefinitions::default() };
        let (definitions, config) = (watch::Sender::new(set), Arc::new(config));
        Self { world, config, definitions, processes: JoinSet::new() }
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.world.clock) as Arc<dyn Clock>
    }

    /// A process that does nothing yet.
    fn process(&self, seed: u64) -> (Workflow, Arc<RecomputeTasks>) {
        let ids = || Arc::new(SeededIds::new(seed)) as Arc<dyn IdSource>;
        let workflow = Workflow::new(&self.world.lake, self.clock(), ids());
        let of_process = (self.clock(), Arc::clone(&self.world.ids) as Arc<dyn IdSource>);
        let definitions = Definitions::of(&self.definitions);
        let tasks = RecomputeTasks::of(self.world.lake.clone(), Arc::clone(&self.config), of_process, definitions);
        (workflow, Arc::new(tasks))
    }

    /// A process that takes part until the crew is dropped.
    fn begin(&mut self, seed: u64, duties: Option<Arc<dyn Duties>>) -> Workflow {
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
        ScheduledRuns::of(workflow.clone(), self.world.lake.clone(), Arc::clone(&self.config), definitions, notifier)
    }

    async fn start(&self, workflow: &Workflow, request: &RunRequest) -> Result<RunId, WorkflowError> {
        let (spec, tasks) = runs_of(&self.world.pipeline, request, &self.config).unwrap().pop().unwrap();
        Ok(workflow.start(spec, &tasks).await?.run())
    }

    /// Starts a run, and waits for its end.
    async fn run(&self, workflow: &Workflow, request: &RunRequest) -> Arc<Run> {
        let run = self.start(workflow, request).await.unwrap();
        ended(workflow, run).await
    }
}

async fn until(workflow: &Workflow, what: &str, is_so: impl Fn(&State) -> bool) -> Arc<State> {
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

async fn ended(workflow: &Workflow, run: RunId) -> Arc<Run> {
    let is_ended = |state: &State| state.run(run).is_some_and(|run| run.state.is_ended());
    let state = until(workflow, "the run ends", is_ended).await;
    Arc::clone(&state.runs[&run])
}

/// Takes the next task, if there is one.
async fn take(workflow: &Workflow) -> Option<Assignment> {
    let worker = Worker::new(workflow);
    let token = worker.take(1).await.unwrap().pop()?;
    Some(worker.assignment(token).await.unwrap().unwrap())
}

/// Does a task, and reports it. Says of which kind it was, and how it ended.
async fn finish(workflow: &Workflow, tasks: &RecomputeTasks, work: &Assignment) -> (TaskKind, Result<(), TaskError>) {
    let result = tasks.execute(work, &Progress::default()).await;
    assert!(Worker::new(workflow).report(work.token, &result, Work::default()).await.unwrap());
    (work.task.kind, result.map(drop))
}

/// Does tasks until one of this kind is next; it is taken already. `None`: there is no further task.
async fn take_up_to(workflow: &Workflow, tasks: &RecomputeTasks, kind: TaskKind) -> Option<Assignment> {
    while let Some(work) = take(workflow).await {
        if work.task.kind == kind {
            return Some(work);
        }
        finish(workflow, tasks, &work).await.1.unwrap();
    }
    None
}

/// The numbers of the newest versions.
async fn versions(world: &World) -> Vec<i64> {
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
async fn take_leases_away(crew: &Crew<'_>, seed: u64) {
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

#[tokio::test]
async fn what_is_lost_to_another_publisher_is_chosen_anew() {
    let world = archived(7, 100).await;
    let crew = Crew::new(&world, config(""));
    let (workflow, tasks) = crew.process(1);
    crew.start(&workflow, &request(&[], RunMode::Full)).await.unwrap();
    let work = take_up_to(&workflow, &tasks, TaskKind::Publish).await.unwrap();
    let round = world.recompute(Mode::Full).await;
    assert!(round.values().all(|outcome| matches!(outcome, Outcome::Published(_))));
    finish(&workflow, &tasks, &work).await.1.unwrap();
    assert_eq!(versions(&world).await, [1, 1, 1], "those of the round");
    let mut kinds = Vec::new();
    while let Some(work) = take(&workflow).await {
        let (kind, result) = finish(&workflow, &tasks, &work).await;
        assert_eq!(result, Ok(()));
        kinds.push(kind);
    }
    assert_eq!(kinds, [TaskKind::Choose, TaskKind::Compute, TaskKind::Publish]);
    assert_eq!(workflow.refresh().await.unwrap().runs[&RunId(1)].state, RunState::Done);
    assert_eq!(versions(&world).await, [2, 2, 2]);
    check_equals_fold(&world).await;
}

#[tokio::test]
async fn definitions_that_change_in_mid_run_end_it() {
    let world = archived(8, 100).await;
    let crew = Crew::new(&world, config(""));
    let (workflow, tasks) = crew.process(1);
    crew.start(&workflow, &request(&[], RunMode::Full)).await.unwrap();
    let work = take_up_to(&workflow, &tasks, TaskKind::Publish).await.unwrap();
    crew.definitions.send_modify(|set| {
        let mut views = set.pipeline.views.clone();
        views.retain(|view| view.name.as_str() != "by_day");
        set.pipeline = Arc::new(Pipeline { views, ..(*set.pipeline).clone() });
    });
    let (_, result) = finish(&workflow, &tasks, &work).await;
    let Err(TaskError::Permanent { reason, .. }) = result else { panic!("{result:?}") };
    assert!(reason.contains("changed"), "{reason}");
    assert_eq!(workflow.refresh().await.unwrap().runs[&RunId(1)].state, RunState::Failed);
    assert_eq!(versions(&world).await, [0_i64; 0]);
}

#[tokio::test]
async fn what_fails_for_good_is_not_tried_again_until_a_limit_changes() {
    let world = archived(9, 2_000).await;
    tokio::time::pause();
    let mut crew = Crew::new(&world, config("memory = \"1B\"\nspill_limit = \"1B\"\n"));
    let workflow = crew.begin(1, None);
    let scheduled = RunRequest { schedule: Some("often".to_owned()), ..request(&[], RunMode::Full) };
    let run = crew.run(&workflow, &scheduled).await;
    assert_eq!(run.state, RunState::Failed);
    assert!(run.tasks.iter().all(|task| task.attempt <= 1), "{:?}", run.tasks);
    let reason = &run.failure.as_ref().unwrap().failure.reason;
    assert!(reason.contains("batch.memory"), "{reason}");
    let refused = crew.start(&workflow, &scheduled).await;
    assert!(matches!(refused, Err(WorkflowError::Refused(Refused::SameFailure { .. }))), "{refused:?}");

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

#[tokio::test]
async fn what_a_schedule_leaves_out_costs_no_entry() {
    let world = archived(15, 20).await;
    tokio::time::pause();
    let mut crew = Crew::new(&world, config("[schedules.often]\nevery = \"1m\"\n"));
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
    assert_eq!(workflow.start(one.0, &one.1).await.unwrap(), Start::Joined(RunId(1)));
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

fn loop_components(world: &World, status: watch::Sender<BatchStatus>, runs: Arc<dyn RunsAtWork>) -> BatchComponents {
    // Nobody asks for a round.
    let (_, requests) = mpsc::channel(1);
    let (context, turn) = (world.batch_context(), Arc::new(Semaphore::new(1)));
    BatchComponents { context, requests, status, turn, former: Arc::new(NoFormer), runs }
}

#[tokio::test]
async fn the_interval_leaves_out_what_schedules_name() {
    let world = archived(13, 60).await;
    let (status, mut told) = watch::channel(BatchStatus::default());
    let settings = BatchSettings {
        interval: Duration::from_secs(3_600),
        left_out: [ViewName::new("by_day")].into(),
        ..BatchSettings::default()
    };
    let shutdown = CancellationToken::new();
    let waiting = async {
        told.wait_for(|status| status.finished_at.is_some()).await.unwrap();
        shutdown.cancel();
    };
    let components = loop_components(&world, status, Arc::new(NoRuns));
    let (ended, ()) = tokio::join!(run_batch(components, settings, shutdown.clone()), waiting);
    ended.unwrap();
    assert!(world.newest(&world.view("by_day")).await.is_none());
    assert!(world.newest(&world.view("by_page")).await.is_some());
}

/// At work until it is told otherwise.
struct Busy(AtomicBool);

impl RunsAtWork for Busy {
    fn is_at_work(&self, source: &SourceName) -> bool {
        assert_eq!(source.as_str(), "hits");
        self.0.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_loop_waits_while_a_run_is_at_work() {
    let world = archived(14, 60).await;
    tokio::time::pause();
    let (status, mut told) = watch::channel(BatchStatus::default());
    let busy = Arc::new(Busy(AtomicBool::new(true)));
    let settings = BatchSettings { interval: Duration::from_secs(3_600), ..BatchSettings::default() };
    let shutdown = CancellationToken::new();
    let waiting = async {
        sleep(Duration::from_secs(120)).await;
        assert_eq!(told.borrow().finished_at, None, "it began a round");
        busy.0.store(false, Ordering::SeqCst);
        told.wait_for(|status| status.finished_at.is_some()).await.unwrap();
        shutdown.cancel();
    };
    let components = loop_components(&world, status, Arc::clone(&busy) as Arc<dyn RunsAtWork>);
    let (ended, ()) = tokio::join!(run_batch(components, settings, shutdown.clone()), waiting);
    ended.unwrap();
    check_equals_fold(&world).await;
}
