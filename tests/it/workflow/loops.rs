//! The loops of real processes in paused time: sharing, taking over, splitting, giving back, keeping the journal short.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lake::Lake;
use positions::{Backoff, Clock, TimestampMicros};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use workflow::{
    Due, Duties, Executor, MemoryLimit, Overview, Refused, Run, RunId, RunSpec, RunState, Start, State, TaskKind,
    TaskState, Workflow, WorkflowComponents, WorkflowError, WorkflowSettings, run_workflow,
};

use super::fake::Fake;
use super::{process, spec, task};
use crate::lake::memory_lake;
use crate::support::seams::{ManualClock, SeededIds};

/// Looks of whoever waits, a tenth of a second apart.
const MOST_LOOKS: usize = 100_000;

/// Processes on one lake; they end with it.
struct World {
    lake: Lake,
    fake: Arc<Fake>,
    processes: JoinSet<Result<(), WorkflowError>>,
}

impl World {
    fn new(fake: Fake) -> Self {
        Self { lake: memory_lake(10), fake: Arc::new(fake), processes: JoinSet::new() }
    }

    /// A process that takes part until it is told to stop.
    fn begin(&mut self, seed: u64, settings: WorkflowSettings) -> (Workflow, CancellationToken) {
        self.begin_with(process(&self.lake, seed), settings, None)
    }

    fn begin_with(
        &mut self,
        workflow: Workflow,
        settings: WorkflowSettings,
        duties: Option<Arc<dyn Duties>>,
    ) -> (Workflow, CancellationToken) {
        let stop = CancellationToken::new();
        let executor = Arc::clone(&self.fake) as Arc<dyn Executor>;
        let components = WorkflowComponents { workflow: workflow.clone(), executor, duties, name: "a test".to_owned() };
        self.processes.spawn(run_workflow(components, settings, stop.clone()));
        (workflow, stop)
    }
}

/// Waits until the state, as it is read by `workflow`, is as expected.
async fn until(workflow: &Workflow, what: &str, is_so: impl Fn(&State) -> bool) -> Arc<State> {
    until_seen(workflow, what, |overview| is_so(&overview.state)).await.state
}

/// Waits until what the state and the signs of life say is as expected.
async fn until_seen(workflow: &Workflow, what: &str, is_so: impl Fn(&Overview) -> bool) -> Overview {
    for _ in 0..MOST_LOOKS {
        let overview = workflow.overview().await.unwrap();
        if is_so(&overview) {
            return overview;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("never: {what}; {:?}", workflow.state());
}

async fn ended(workflow: &Workflow, run: RunId) -> Arc<Run> {
    let state = until(workflow, "the run ends", |state| state.run(run).is_some_and(|run| run.state.is_ended())).await;
    Arc::clone(&state.runs[&run])
}

async fn start(workflow: &Workflow, spec: RunSpec) -> RunId {
    match workflow.start(spec, &[task(0, TaskKind::Choose, [])]).await.unwrap() {
        Start::Started(run) => run,
        Start::Joined(run) => panic!("run {run} does it already"),
    }
}

#[tokio::test(start_paused = true)]
async fn processes_share_a_run_that_a_command_from_outside_starts() {
    let mut world = World::new(Fake::new(1, 0));
    let outside = process(&world.lake, 9);
    world.begin(1, WorkflowSettings { slots: 2, ..WorkflowSettings::default() });
    world.begin(2, WorkflowSettings { slots: 2, may_lead: false, ..WorkflowSettings::default() });
    let run = start(&outside, spec(json!({ "groups": 40 }))).await;
    let run = ended(&outside, run).await;
    assert_eq!((run.state, run.counts.done, run.work.rows), (RunState::Done, 42, 40));
    assert_eq!(world.fake.versions().len(), 1);
    let overview = outside.overview().await.unwrap();
    assert_eq!(overview.processes.len(), 2);
    assert_eq!(overview.run_advance(&run).fraction, Some(1.0));
    assert_eq!(overview.state.leader.as_ref().map(|leader| overview.processes[leader].name.as_str()), Some("a test"));
}

#[tokio::test(start_paused = true)]
async fn a_killed_process_loses_its_tasks_and_its_lead_to_another() {
    let mut world = World::new(Fake::hanging_above(1_000));
    let (first, _stop) = world.begin(1, WorkflowSettings { slots: 3, ..WorkflowSettings::default() });
    let run = start(&first, RunSpec { retries: 0, ..spec(json!({ "groups": 2, "weight": 2_000 })) }).await;
    until(&first, "both groups hang", |state| state.leases.len() == 2 && state.leader.is_some()).await;
    world.processes.abort_all();
    while world.processes.join_next().await.is_some() {}

    // One that can do what hung there.
    world.fake = Arc::new(Fake::new(1, 0));
    let (second, _stop) = world.begin(2, WorkflowSettings::default());
    let run = ended(&second, run).await;
    assert_eq!(run.state, RunState::Done);
    assert_eq!(
        run.tasks.iter().map(|task| (task.attempt, task.lost)).collect::<Vec<_>>(),
        [(1, 0), (2, 1), (2, 1), (1, 0)]
    );
    let state = second.state();
    assert_eq!((state.leader.as_ref(), state.epoch.0), (Some(second.id()), 2));
}

#[tokio::test(start_paused = true)]
async fn whoever_leads_tells_of_whom_it_has_heard_nothing_until_that_is_forgotten() {
    let mut world = World::new(Fake::new(1, 0));
    let (lake, fake) = (world.lake.clone(), Arc::clone(&world.fake));
    let mut dying = World { lake, fake, processes: JoinSet::new() };
    let (leader, _stop) = world.begin(1, WorkflowSettings::default());
    let settings = WorkflowSettings { may_lead: false, ..WorkflowSettings::default() };
    let patience = settings.lease_patience;
    let (dead, _stop) = dying.begin(2, settings);
    // Looks once now and then, and has watched nobody.
    let outside = process(&world.lake, 9);
    let is_there = |overview: &Overview| overview.processes.contains_key(dead.id());
    let both = until_seen(&outside, "both are there", |overview| overview.state.leader.is_some() && is_there(overview));
    assert_eq!(both.await.living().count(), 2);
    dying.processes.abort_all();
    while dying.processes.join_next().await.is_some() {}

    let silent = until_seen(&outside, "one is silent", |overview| overview.silence(dead.id()).is_some()).await;
    let first = silent.silence(dead.id()).unwrap();
    assert!(first >= patience && silent.silence(leader.id()).is_none() && silent.living().count() == 1);
    until_seen(&outside, "it is silent for longer", |overview| overview.silence(dead.id()) > Some(first)).await;
    let forgotten = until_seen(&outside, "it is forgotten", |overview| !is_there(overview)).await;
    assert_eq!((forgotten.processes.len(), forgotten.living().count()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_told_to_stop_gives_everything_back() {
    let mut world = World::new(Fake::hanging_above(1_000));
    let (first, stop) = world.begin(1, WorkflowSettings::default());
    start(&first, spec(json!({ "groups": 2, "weight": 2_000 }))).await;
    until(&first, "a group hangs", |state| {
        state.leases.iter().any(|lease| lease.token.task.0 > 0) && state.leader.is_some()
    })
    .await;
    stop.cancel();
    while let Some(stopped) = world.processes.join_next().await {
        stopped.unwrap().unwrap();
    }
    let outside = process(&world.lake, 9);
    let overview = outside.overview().await.unwrap();
    assert!(overview.state.leases.is_empty() && overview.processes.is_empty());
    assert_eq!(overview.state.leader, None);
    let lost = overview.state.runs.values().flat_map(|run| &run.tasks).map(|task| task.lost);
    assert_eq!(lost.sum::<u32>(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_stands_still_is_split_until_its_parts_can_be_done() {
    let mut world = World::new(Fake::hanging_above(1_000));
    let settings = WorkflowSettings { slots: 2, stall_limit: Duration::from_secs(60), ..WorkflowSettings::default() };
    let (workflow, _stop) = world.begin(1, settings);
    let run = start(&workflow, spec(json!({ "groups": 2, "weight": 4_000 }))).await;
    let run = ended(&workflow, run).await;
    assert_eq!(run.state, RunState::Done);
    let done = run.tasks.iter().filter(|task| matches!(task.state, TaskState::Done { .. }));
    let computed: Vec<u64> = done.filter(|task| task.kind == TaskKind::Compute).map(|task| task.weight_bytes).collect();
    assert_eq!(computed, [1_000; 8], "two of 4,000 in quarters");
    assert_eq!(world.fake.versions()[0].groups.len(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_process_takes_no_more_than_fits_into_its_memory() {
    let mut world = World::new(Fake::hanging_above(1_000));
    // Each of the groups needs eight of these nine.
    let memory = MemoryLimit { all: Some(9_000), task: 8_000 };
    let settings = WorkflowSettings { slots: 3, memory, ..WorkflowSettings::default() };
    let (workflow, _stop) = world.begin(1, settings.clone());
    start(&workflow, spec(json!({ "groups": 3, "weight": 2_000 }))).await;
    until(&workflow, "a group hangs", |state| state.leases.iter().any(|lease| lease.token.task.0 > 0)).await;
    sleep(Duration::from_secs(30)).await;
    assert_eq!(workflow.refresh().await.unwrap().leases.len(), 1, "two slots are free, and wait");
    world.begin(2, WorkflowSettings { may_lead: false, ..settings });
    until(&workflow, "another process has memory of its own", |state| state.leases.len() == 2).await;
}

#[tokio::test(start_paused = true)]
async fn failures_of_the_moment_are_tried_again_and_others_are_told() {
    let mut world = World::new(Fake::new(3, 30));
    let retry = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(5) };
    let (workflow, _stop) = world.begin(1, WorkflowSettings { slots: 2, retry, ..WorkflowSettings::default() });
    let run = start(&workflow, RunSpec { retries: 50, ..spec(json!({ "groups": 40 })) }).await;
    let run = ended(&workflow, run).await;
    assert_eq!(run.state, RunState::Done);
    assert!(run.tasks.iter().any(|task| task.failures > 0), "the seed draws no failure");

    world.fake = Arc::new(Fake::new(1, 0));
    let (workflow, _stop) = world.begin(2, WorkflowSettings::default());
    let vacuum = [task(0, TaskKind::Vacuum, [])];
    let keyed = RunSpec { cause_key: Some("a".to_owned()), ..spec(json!("cannot be done")) };
    let failing = workflow.start(keyed.clone(), &vacuum).await.unwrap().run();
    // Whichever process does it.
    let run = ended(&workflow, failing).await;
    assert_eq!(run.state, RunState::Failed);
    let reason = &run.failure.as_ref().unwrap().failure.reason;
    assert!(["it cannot be done: change the definition", "bad luck"].contains(&reason.as_str()), "{reason}");
}

/// What is due once an hour, and cannot be done.
struct Hourly;

const HOUR: i64 = 3_600_000_000;

#[async_trait]
impl Duties for Hourly {
    async fn due(&self, state: &State, now: TimestampMicros) -> Vec<Due> {
        let hour = now.0 / HOUR;
        if state.notes.get("hourly") == Some(&json!(hour)) {
            return vec![];
        }
        let notes = vec![("hourly".to_owned(), json!(hour))];
        let spec = RunSpec {
            schedule: Some("hourly".to_owned()),
            cause_key: Some("limit 1".to_owned()),
            ..spec(json!("cannot be done"))
        };
        vec![Due { spec, tasks: vec![task(0, TaskKind::Vacuum, [])], notes }]
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_due_is_started_once_and_a_lasting_failure_is_not_repeated() {
    let mut world = World::new(Fake::new(1, 0));
    let clock = Arc::new(ManualClock::at(0));
    let workflow = Workflow::new(&world.lake, Arc::clone(&clock) as Arc<dyn Clock>, Arc::new(SeededIds::new(1)));
    let duties: Arc<dyn Duties> = Arc::new(Hourly);
    let (workflow, _stop) = world.begin_with(workflow, WorkflowSettings::default(), Some(duties));
    let run = ended(&workflow, RunId(1)).await;
    assert_eq!(run.state, RunState::Failed);

    clock.advance(Duration::from_secs(3_600));
    let state = until(&workflow, "the next hour is noted", |state| state.notes.get("hourly") == Some(&json!(1))).await;
    assert_eq!(state.runs.len(), 1, "it would fail again");
    let again = workflow.start((*run.spec).clone(), &[task(0, TaskKind::Vacuum, [])]).await.unwrap_err();
    assert!(matches!(again, WorkflowError::Refused(Refused::SameFailure { .. })), "{again}");
    workflow.retry(RunId(1)).await.unwrap();
    assert_eq!(ended(&workflow, RunId(1)).await.tasks[0].attempt, 2);
}

#[tokio::test(start_paused = true)]
async fn old_runs_go_into_the_history_and_old_entries_go() {
    let mut world = World::new(Fake::new(1, 0));
    // Everything is old to this clock.
    let clock = Arc::new(ManualClock::at(4_000_000_000_000_000));
    let workflow = Workflow::new(&world.lake, clock, Arc::new(SeededIds::new(1)));
    let settings =
        WorkflowSettings { recent_runs: 1, history_runs: 2, snapshot_entries: 10, ..WorkflowSettings::default() };
    let (workflow, stop) = world.begin_with(workflow, settings, None);
    for number in 0..6 {
        let run = start(&workflow, spec(json!({ "groups": 3, "number": number }))).await;
        assert_eq!(ended(&workflow, run).await.state, RunState::Done);
    }
    let is_short = |state: &State| {
        let archived = state.runs.values().map(|run| (run.id.0, run.is_archived)).collect::<Vec<_>>();
        archived == [(5, true), (6, false)]
    };
    let state = until(&workflow, "only two runs are kept", is_short).await;
    assert_eq!(workflow.run(RunId(5)).await.unwrap().tasks.len(), 5, "its tasks are in the history");
    assert!(matches!(workflow.run(RunId(4)).await, Err(WorkflowError::Refused(Refused::NoRun(RunId(4))))));
    assert_eq!(workflow.run(RunId(6)).await.unwrap().tasks, state.runs[&RunId(6)].tasks);
    stop.cancel();
    while world.processes.join_next().await.is_some() {}

    let objects = world.lake.objects(&world.lake.path("_workflow")).await.unwrap();
    let count = |folder: &str| objects.iter().filter(|object| object.location.to_string().contains(folder)).count();
    assert!(count("/snapshots/") <= 3, "{objects:?}");
    assert!(count("/journal/") < 30, "{objects:?}");
    let keys = [5, 6].map(|run| state.runs[&RunId(run)].key.to_string());
    let of_others = objects.iter().filter(|object| object.location.to_string().contains("/runs/"));
    let of_others = of_others.filter(|object| !keys.iter().any(|key| object.location.to_string().contains(key)));
    assert_eq!(of_others.count(), 0, "{objects:?}");
    assert_eq!(*process(&world.lake, 9).refresh().await.unwrap(), *workflow.refresh().await.unwrap());
}
