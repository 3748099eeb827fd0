//! What a long life brings: leaders that live and do nothing, parts that always fail, leftovers, entries of a later
//! version, and days without a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lake::{Lake, LakeError};
use object_store::memory::InMemory;
use object_store::{ObjectStoreExt as _, Result as StoreResult};
use positions::TimestampMicros;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use workflow::{
    Beat, CHUNK_BYTES, Change, Entry, Epoch, Executor, Leader, RunId, RunSpec, RunState, Standing, TaskError, TaskId,
    TaskKind, TaskOutput, TaskSpec, Work, Worker, WorkerId, Workflow, WorkflowComponents, WorkflowError,
    WorkflowSettings, run_workflow,
};

use super::fake::Fake;
use super::{process, spec, task};
use crate::lake::{lake_in, memory_lake};
use crate::support::object_layer::{Layer, Layered};

fn leader(workflow: &Workflow, settings: &WorkflowSettings) -> Leader {
    let executor: Arc<dyn Executor> = Arc::new(Fake::hanging_above(0));
    Leader::new(workflow, executor, None, settings.clone())
}

/// Its parameters are in an object of their own.
fn large_task() -> TaskSpec {
    TaskSpec { parameters: json!("x".repeat(CHUNK_BYTES + 1)), ..task(0, TaskKind::Compute, []) }
}

async fn objects_of_runs(lake: &Lake) -> Vec<String> {
    let objects = lake.objects(&lake.path("_workflow/runs")).await.unwrap();
    objects.iter().map(|object| object.location.filename().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_leader_that_lives_but_takes_no_step_is_replaced() {
    let lake = memory_lake(10);
    let (first, second) = (process(&lake, 1), process(&lake, 2));
    let settings = WorkflowSettings::default();
    let (mut leads, mut waits) = (leader(&first, &settings), leader(&second, &settings));
    let begin = Instant::now();
    assert_eq!(leads.step(begin).await.unwrap(), Standing::Leads);

    let last_step = 100;
    let mut replaced = None;
    for beat in 1..300 {
        let told = Beat { beat, steps: beat.min(last_step), ..Beat::default() };
        Worker::new(&first).tell(&told).await.unwrap();
        if waits.step(begin + Duration::from_secs(beat)).await.unwrap() == Standing::Leads {
            replaced = Some(beat);
            break;
        }
    }
    assert_eq!(replaced, Some(last_step + settings.step_patience().as_secs()));
    assert_eq!(leads.step(Instant::now()).await.unwrap(), Standing::Follows);
    assert_eq!(second.state().leader.as_ref(), Some(second.id()));
}

#[tokio::test]
async fn a_process_that_wakes_without_its_task_knows_that_it_was_taken_away() {
    let lake = memory_lake(10);
    let (first, second) = (process(&lake, 1), process(&lake, 2));
    let run = first.start(spec(json!(1)), &[task(0, TaskKind::Compute, [])]).await.unwrap().run();
    let sleeper = Worker::new(&first);
    let told = Beat { beat: 1, name: "host 7".to_owned(), ..Beat::default() };
    sleeper.tell(&told).await.unwrap();
    let token = sleeper.take(1).await.unwrap()[0];
    assert!(!sleeper.was_taken_away(token));
    let settings = WorkflowSettings::default();
    let (mut leader, begin) = (leader(&second, &settings), Instant::now());
    for at in [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(1) + settings.lease_patience] {
        assert_eq!(leader.step(begin + at).await.unwrap(), Standing::Leads);
    }
    first.refresh().await.unwrap();
    assert!(sleeper.was_taken_away(token));
    assert_eq!(second.state().task(run, TaskId(0)).unwrap().lost, 1);

    let other = Worker::new(&second);
    let token = other.take(1).await.unwrap()[0];
    assert!(other.report(token, &Ok(TaskOutput::default()), Work::default()).await.unwrap());
    assert!(!other.was_taken_away(token), "it was reported");
}

#[tokio::test]
async fn a_task_that_stands_still_and_cannot_be_split_is_taken_away() {
    let lake = memory_lake(10);
    let (first, second) = (process(&lake, 1), process(&lake, 2));
    let run = first.start(spec(json!(1)), &[large_task()]).await.unwrap().run();
    let worker = Worker::new(&first);
    assert_eq!(worker.take(1).await.unwrap().len(), 1);
    let settings = WorkflowSettings::default();
    let (mut leader, begin) = (leader(&second, &settings), Instant::now());
    assert_eq!(leader.step(begin).await.unwrap(), Standing::Leads);

    // What it would be split by is lost.
    for object in objects_of_runs(&lake).await {
        lake.delete_if_there(&lake.path(&format!("_workflow/runs/{object}"))).await.unwrap();
    }
    for (beat, at) in [(1, Duration::from_secs(1)), (2, Duration::from_secs(1) + settings.stall_limit)] {
        worker.tell(&Beat { beat, ..Beat::default() }).await.unwrap();
        assert_eq!(leader.step(begin + at).await.unwrap(), Standing::Leads);
    }
    let state = second.state();
    let task = state.task(run, TaskId(0)).unwrap();
    assert!(task.is_ready() && task.lost == 1 && state.leases.is_empty(), "{task:?}");
}

/// Whoever chooses anew counts on the numbers behind its own.
#[tokio::test]
async fn parts_bear_numbers_behind_their_task_and_leave_those_of_others_free() {
    const FAR: u32 = 1 << 18;
    let lake = memory_lake(10);
    let (first, second) = (process(&lake, 1), process(&lake, 2));
    let tasks = [task(1, TaskKind::Compute, []), task(2, TaskKind::Compute, []), task(FAR, TaskKind::Publish, [1, 2])];
    let run = first.start(spec(json!(1)), &tasks).await.unwrap().run();
    let worker = Worker::new(&first);
    let tokens = worker.take(2).await.unwrap();
    assert_eq!(tokens.len(), 2);
    let settings = WorkflowSettings::default();
    let (mut leader, begin) = (leader(&second, &settings), Instant::now());
    assert_eq!(leader.step(begin).await.unwrap(), Standing::Leads);
    for (beat, at) in [(1, Duration::from_secs(1)), (2, Duration::from_secs(1) + settings.stall_limit)] {
        worker.tell(&Beat { beat, ..Beat::default() }).await.unwrap();
        assert_eq!(leader.step(begin + at).await.unwrap(), Standing::Leads);
    }
    let state = second.state();
    let numbers: Vec<u32> = state.run(run).unwrap().tasks.iter().map(|task| task.id.0).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, FAR]);
    let last = state.task(run, TaskId(FAR)).unwrap();
    assert_eq!((last.after.len(), last.blocked_by), (4, 4), "it waits for the parts: {last:?}");
    // What the divided tasks still give.
    for token in tokens {
        assert!(!worker.report(token, &Ok(TaskOutput::default()), Work::default()).await.unwrap());
    }
}

#[tokio::test]
async fn objects_of_a_run_that_was_never_started_go() {
    let lake = memory_lake(10);
    let workflow = process(&lake, 1);
    let settings = WorkflowSettings { snapshot_entries: 1, ..WorkflowSettings::default() };
    let (mut leader, begin) = (leader(&workflow, &settings), Instant::now());
    assert_eq!(leader.step(begin).await.unwrap(), Standing::Leads);
    let run = workflow.start(spec(json!(1)), &[large_task()]).await.unwrap().run();
    let stray = "00ff.tasks-first-0.json";
    lake.put(&lake.path(&format!("_workflow/runs/{stray}")), "{}".into()).await.unwrap();

    let second = Duration::from_secs(1);
    for (at, is_there) in [(second, true), (settings.trim_grace, true), (second + settings.trim_grace, false)] {
        assert_eq!(leader.step(begin + at).await.unwrap(), Standing::Leads);
        assert_eq!(objects_of_runs(&lake).await.contains(&stray.to_owned()), is_there, "after {at:?}");
        // It is looked for with each snapshot.
        match workflow.state().is_paused {
            true => workflow.resume(None).await.unwrap(),
            false => workflow.pause(None).await.unwrap(),
        }
    }
    let left = objects_of_runs(&lake).await;
    let key = workflow.state().run(run).unwrap().key.to_string();
    assert!(left.len() == 1 && left[0].starts_with(&key), "{left:?}");
}

#[tokio::test]
async fn a_failed_run_can_be_retried_however_many_are_done_since() {
    let lake = memory_lake(10);
    let workflow = process(&lake, 1);
    let settings = WorkflowSettings { recent_runs: 1, history_runs: 2, ..WorkflowSettings::default() };
    let (mut leader, begin) = (leader(&workflow, &settings), Instant::now());
    assert_eq!(leader.step(begin).await.unwrap(), Standing::Leads);
    let worker = Worker::new(&workflow);
    for number in 1..=6 {
        workflow.start(spec(json!(number)), &[task(0, TaskKind::Compute, [])]).await.unwrap();
        let token = worker.take(1).await.unwrap()[0];
        let result = match number {
            1 => Err(TaskError::Permanent { reason: "so it is".to_owned(), cause_key: None }),
            _ => Ok(TaskOutput::default()),
        };
        assert!(worker.report(token, &result, Work::default()).await.unwrap());
    }
    for second in 1..5 {
        assert_eq!(leader.step(begin + Duration::from_secs(second)).await.unwrap(), Standing::Leads);
    }
    let state = workflow.state();
    let kept: Vec<(u64, bool)> = state.runs.values().map(|run| (run.id.0, run.is_archived)).collect();
    assert_eq!(kept, [(1, false), (5, true), (6, false)]);
    workflow.retry(RunId(1)).await.unwrap();
}

/// A view that is computed each second leaves the runs of a night in the history.
#[tokio::test]
async fn what_runs_often_does_not_push_out_what_runs_seldom() {
    let lake = memory_lake(10);
    let workflow = process(&lake, 1);
    let settings = WorkflowSettings { recent_runs: 2, history_runs: 6, ..WorkflowSettings::default() };
    let (mut leader, begin) = (leader(&workflow, &settings), Instant::now());
    assert_eq!(leader.step(begin).await.unwrap(), Standing::Leads);
    let worker = Worker::new(&workflow);
    for number in 1..=40_u64 {
        let schedule = match number {
            1 | 2 => Some("nightly"),
            3 => None,
            _ => Some("often"),
        };
        let often = RunSpec { schedule: schedule.map(str::to_owned), ..spec(json!(number)) };
        workflow.start(often, &[task(0, TaskKind::Compute, [])]).await.unwrap();
        let token = worker.take(1).await.unwrap()[0];
        assert!(worker.report(token, &Ok(TaskOutput::default()), Work::default()).await.unwrap());
        leader.step(begin + Duration::from_secs(number)).await.unwrap();
    }
    for second in 41..60 {
        leader.step(begin + Duration::from_secs(second)).await.unwrap();
    }
    let kept: Vec<u64> = workflow.state().runs.keys().map(|run| run.0).collect();
    assert_eq!(kept, [1, 2, 3, 38, 39, 40]);
}

#[tokio::test]
async fn an_entry_of_a_later_version_is_not_passed_over() {
    let lake = memory_lake(10);
    let workflow = process(&lake, 1);
    workflow.start(spec(json!(1)), &[task(0, TaskKind::Compute, [])]).await.unwrap();
    let known = workflow.refresh().await.unwrap();
    let changes = vec![Change::Paused { run: None }];
    let entry = Entry { epoch: Epoch(0), by: WorkerId::from_drawn(7), at: TimestampMicros(0), changes };
    let (entry, object) = (serde_json::to_value(entry).unwrap(), lake.path("_workflow/journal/0000000002.json"));
    let enveloped = |entry: &Value| json!({ "nonce": "7", "entry": entry }).to_string();

    let mut later = entry.clone();
    later["changes"] = json!([{ "unheard_of": {} }]);
    lake.put(&object, enveloped(&later).into()).await.unwrap();
    let error = workflow.refresh().await.unwrap_err();
    assert!(!error.is_transient() && error.to_string().contains("update this process"), "{error}");
    Worker::new(&workflow).take(1).await.unwrap_err();
    assert_eq!(*workflow.state(), *known, "nothing is taken");

    lake.put(&object, enveloped(&entry).into()).await.unwrap();
    assert!(workflow.refresh().await.unwrap().is_paused);
}

#[tokio::test]
async fn of_a_journal_that_lost_an_entry_the_way_out_is_told_and_helps() {
    let lake = memory_lake(10);
    let workflow = process(&lake, 1);
    for run in 1..=3 {
        workflow.start(spec(json!(run)), &[task(0, TaskKind::Compute, [])]).await.unwrap();
    }
    lake.store().delete(&lake.path("_workflow/journal/0000000002.json")).await.unwrap();
    let broken = process(&lake, 2).refresh().await.unwrap_err();
    assert!(!broken.is_transient(), "{broken}");
    let reader = process(&lake, 5);
    assert_eq!(reader.broken(), None);
    reader.refresh().await.unwrap_err();
    assert_eq!(reader.broken(), Some(broken.to_string()));
    for part in ["_workflow/journal/0000000002.json", "from a backup", "delete its folder `_workflow`"] {
        assert!(broken.to_string().contains(part), "{broken}");
    }
    let all = lake.objects(&lake.path("_workflow")).await.unwrap();
    for object in all {
        lake.store().delete(&object.location).await.unwrap();
    }
    let anew = process(&lake, 3);
    anew.start(spec(json!(1)), &[task(0, TaskKind::Compute, [])]).await.unwrap();
    reader.refresh().await.unwrap();
    assert_eq!(reader.broken(), None);
    assert_eq!(process(&lake, 4).refresh().await.unwrap().runs.len(), 1);
}

#[test]
fn what_a_store_has_lost_keeps_no_schedule_from_trying_again() {
    let lost = LakeError::Corrupt { object: "an output".to_owned(), reason: "the object is missing".to_owned() };
    let lost = TaskError::from(WorkflowError::Lake(lost));
    assert!(matches!(lost, TaskError::Transient { .. }), "{lost}");
    let too_large = TaskError::from(WorkflowError::TooLarge { what: "it", bytes: 2, limit: 1 });
    assert!(matches!(too_large, TaskError::Permanent { cause_key: None, .. }), "{too_large}");
}

/// A store that counts what is asked of it.
#[derive(Debug)]
pub struct Counting {
    pub inner: InMemory,
    pub requests: Arc<AtomicU64>,
}

impl Layer for Counting {
    type Inner = InMemory;

    fn inner(&self) -> &InMemory {
        &self.inner
    }

    async fn call<T: Send>(&self, _name: &str, request: impl Future<Output = StoreResult<T>> + Send) -> StoreResult<T> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        request.await
    }
}

#[tokio::test(start_paused = true)]
async fn processes_without_work_ask_little_of_the_store_and_begin_soon() {
    let requests = Arc::new(AtomicU64::new(0));
    let store = Layered::new(Counting { inner: InMemory::new(), requests: Arc::clone(&requests) });
    let lake = lake_in(Arc::new(store), 10);
    let fake = Arc::new(Fake::new(1, 0));
    let mut processes = JoinSet::new();
    for seed in [1, 2] {
        let components = WorkflowComponents {
            workflow: process(&lake, seed),
            executor: Arc::clone(&fake) as Arc<dyn Executor>,
            duties: None,
            name: "a test".to_owned(),
        };
        processes.spawn(run_workflow(components, WorkflowSettings::default(), CancellationToken::new()));
    }
    sleep(Duration::from_secs(10)).await;
    let before = requests.load(Ordering::SeqCst);
    sleep(Duration::from_secs(100)).await;
    let asked = requests.load(Ordering::SeqCst) - before;
    // Each second a sign of life of the leader; each two seconds its step of four requests, and of the other a sign of
    // life and a step of two; a look for tasks now and then; and of both, four times a second, one whether there is an
    // entry behind the last.
    assert!((1_000..=1_300).contains(&asked), "{asked} requests in 100 s");

    let outside = process(&lake, 9);
    let run = outside.start(spec(json!({ "groups": 20 })), &[task(0, TaskKind::Choose, [])]).await.unwrap().run();
    for _ in 0..1_000 {
        sleep(Duration::from_millis(100)).await;
        if outside.refresh().await.unwrap().run(run).is_some_and(|run| run.state == RunState::Done) {
            return;
        }
    }
    panic!("the run does not end: {:?}", outside.state());
}
