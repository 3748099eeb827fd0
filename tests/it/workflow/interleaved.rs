//! Several processes, each a seeded series of single steps, on one store that delays and fails before or behind any
//! write. They are killed, sleep with their leases and come back, take each other's lead; and all of it must not show.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use lake::Lake;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, PutOptions, PutPayload, PutResult, Result as StoreResult};
use positions::Backoff;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tokio::time::{Instant, sleep};
use workflow::{
    AtWork, Beat, Change, Entry, Executor, Leader, Progress, Refused, RunId, RunSpec, RunState, Start, State,
    TaskError, TaskId, TaskKind, TaskOutput, TaskState, Token, Work, Worker, WorkerId, Workflow, WorkflowError,
    WorkflowSettings,
};

use super::fake::Fake;
use super::{process, spec, task};
use crate::lake::lake_in;
use crate::support::object_layer::{Layer, Layered};
use crate::support::seeds;

const PLACES: u64 = 4;
const RUNS: u32 = 5;
/// Steps of one process, and looks of whoever waits for the runs: far more than any seed needs.
const MOST: u64 = 20_000;

/// A store that takes a while for each request, and fails some, before or behind what they do.
#[derive(Debug)]
struct Flaky {
    inner: Arc<InMemory>,
    rng: std::sync::Mutex<StdRng>,
    percent: Arc<AtomicU32>,
}

impl Flaky {
    fn draw(&self, below: u32) -> u32 {
        self.rng.lock().unwrap().random_range(0..below)
    }

    fn fails(&self) -> bool {
        self.draw(100) < self.percent.load(Ordering::SeqCst)
    }
}

fn timed_out() -> object_store::Error {
    let error = std::io::Error::from(std::io::ErrorKind::TimedOut);
    object_store::Error::Generic { store: "Flaky", source: Box::new(error) }
}

impl Layer for Flaky {
    type Inner = InMemory;

    fn inner(&self) -> &InMemory {
        &self.inner
    }

    async fn put(&self, path: &Path, payload: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        if self.fails() {
            return Err(timed_out());
        }
        let put = self.inner.put_opts(path, payload, options).await;
        if self.fails() { Err(timed_out()) } else { put }
    }

    async fn call<T: Send>(&self, name: &str, request: impl Future<Output = StoreResult<T>> + Send) -> StoreResult<T> {
        for _ in 0..self.draw(4) {
            tokio::task::yield_now().await;
        }
        let fails = !name.starts_with("put") && self.fails();
        if fails { Err(timed_out()) } else { request.await }
    }
}

/// What all processes of one seed share.
struct World {
    seed: u64,
    store: Arc<InMemory>,
    percent: Arc<AtomicU32>,
    is_over: AtomicBool,
    fake: Arc<Fake>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            store: Arc::new(InMemory::new()),
            percent: Arc::new(AtomicU32::new(4)),
            is_over: AtomicBool::new(false),
            fake: Arc::new(Fake::new(seed, 10)),
        }
    }

    fn lake(&self, number: u64) -> Lake {
        let rng = std::sync::Mutex::new(StdRng::seed_from_u64(self.seed ^ (number << 32)));
        let flaky = Flaky { inner: Arc::clone(&self.store), rng, percent: Arc::clone(&self.percent) };
        lake_in(Arc::new(Layered::new(flaky)), 10)
    }

    /// A process that never was before.
    fn process(&self, number: u64) -> Workflow {
        process(&self.lake(number), self.seed ^ (number << 16))
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }
}

fn settings() -> WorkflowSettings {
    WorkflowSettings {
        retry: Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(5) },
        snapshot_entries: 15,
        ..WorkflowSettings::default()
    }
}

/// Only the store may fail here.
fn tolerated<T>(done: Result<T, WorkflowError>) -> Option<T> {
    match done {
        Err(error) if !error.is_transient() => panic!("{error}"),
        done => done.ok(),
    }
}

/// Processes one after the other, until all is over.
async fn live_in_place(world: &World, place: u64) {
    let mut rng = StdRng::seed_from_u64(world.seed * 1_000 + place);
    for life in 0..MOST {
        if world.is_over() {
            return;
        }
        let workflow = world.process(place * 100_000 + life + 1);
        live(world, &workflow, &mut rng).await;
        sleep(Duration::from_millis(rng.random_range(0..2_000))).await;
    }
    panic!("lives without end");
}

/// One process: until it is killed, which it does not notice.
async fn live(world: &World, workflow: &Workflow, rng: &mut StdRng) {
    let worker = Worker::new(workflow);
    let mut leader = Leader::new(workflow, Arc::clone(&world.fake) as Arc<dyn Executor>, None, settings());
    let mut ended: BTreeMap<Token, Result<TaskOutput, TaskError>> = BTreeMap::new();
    let mut steps = 0;
    for beat in 1..MOST {
        if world.is_over() {
            return;
        }
        match rng.random_range(0..300) {
            0 | 1 => return,
            // Long enough for others to take its leases and its lead away.
            2 => sleep(Duration::from_secs(40)).await,
            _ => {}
        }
        let at_work = ended.keys().map(|token| at_work(*token)).collect();
        tolerated(worker.tell(&Beat { beat, steps, slots: 2, at_work, ..Beat::default() }).await);
        match rng.random_range(0..4) {
            0 => {
                steps += u64::from(tolerated(leader.step(Instant::now()).await).is_some());
            }
            1 => {
                tolerated(worker.take(rng.random_range(1..3)).await);
            }
            2 => {
                let leases = tolerated(worker.leases().await).unwrap_or_default();
                if let Some(token) = leases.into_iter().find(|token| !ended.contains_key(token))
                    && let Some(assignment) = tolerated(worker.assignment(token).await).flatten()
                {
                    ended.insert(token, world.fake.execute(&assignment, &Progress::default()).await);
                }
            }
            _ => {
                if let Some((token, result)) = ended.pop_first()
                    && tolerated(worker.report(token, &result, Work::default()).await).is_none()
                {
                    ended.insert(token, result);
                }
            }
        }
        sleep(Duration::from_millis(rng.random_range(50..300))).await;
    }
    panic!("a process without end");
}

fn at_work(token: Token) -> AtWork {
    AtWork { token, elapsed_millis: 0, reached: Progress::default().reached() }
}

/// Gives a command until it is heard.
macro_rules! insist {
    ($call:expr) => {
        'insist: {
            for _ in 0..MOST {
                match $call.await {
                    Err(error) if error.is_transient() => sleep(Duration::from_millis(50)).await,
                    done => break 'insist done,
                }
            }
            panic!("it is never heard")
        }
    };
}

fn nth_run(number: u32, groups: u32) -> RunSpec {
    RunSpec {
        idempotency_key: Some(format!("key {number}")),
        max_concurrent: (number == 1).then_some(1),
        ..spec(json!({ "number": number, "groups": groups }))
    }
}

/// Somebody who starts runs, commands them, and waits until each has ended as it should.
async fn command(world: &World) -> Option<RunId> {
    let mut rng = StdRng::seed_from_u64(!world.seed);
    let workflow = world.process(99_999_999);
    let mut cancelled = None;
    for number in 0..RUNS {
        let (asked, first) = (nth_run(number, rng.random_range(1..6)), [task(0, TaskKind::Choose, [])]);
        let run = insist!(workflow.start(asked.clone(), &first)).unwrap().run();
        assert_eq!(run, RunId(u64::from(number) + 1), "none is doubled, whatever replies are lost");
        // Also from another process, or a second time.
        if number % 2 == 0 {
            let other = world.process(88_888_888 + u64::from(number));
            let again = insist!(other.start(asked.clone(), &first)).unwrap();
            assert_eq!(again, Start::Joined(run));
        }
        if rng.random_bool(0.2) {
            let paused = rng.random_bool(0.5).then_some(run);
            let is_paused = insist!(workflow.pause(paused));
            sleep(Duration::from_secs(5)).await;
            // It may have ended before.
            if is_paused.is_ok() {
                let resumed = insist!(workflow.resume(paused));
                // What was at work may have ended it.
                assert!(resumed.is_ok() || paused.is_some(), "{resumed:?}");
            }
        }
        if cancelled.is_none() && rng.random_bool(0.2) {
            // Refused where it has ended, be it by a cancel whose reply was lost.
            let is_cancelled = insist!(workflow.cancel(run)).is_ok()
                || workflow.state().run(run).is_some_and(|run| run.state == RunState::Cancelled);
            cancelled = is_cancelled.then_some(run);
        }
        sleep(Duration::from_millis(rng.random_range(0..3_000))).await;
    }
    for _ in 0..MOST {
        let state = insist!(workflow.refresh()).unwrap();
        for run in state.runs.values().filter(|run| run.state == RunState::Failed) {
            insist!(retried(&workflow, run.id)).unwrap();
        }
        if state.runs.values().all(|run| matches!(run.state, RunState::Done | RunState::Cancelled)) {
            return cancelled;
        }
        sleep(Duration::from_secs(1)).await;
    }
    panic!("runs that never end: {:?}", workflow.state());
}

/// A retry that was heard without a reply is refused the second time.
async fn retried(workflow: &Workflow, run: RunId) -> Result<(), WorkflowError> {
    match workflow.retry(run).await {
        Err(WorkflowError::Refused(Refused::NothingToRetry(_))) => Ok(()),
        retried => retried,
    }
}

/// Who had which lease when, told from the accepted entries alone.
#[derive(Default)]
struct Replay {
    state: State,
    leases: BTreeMap<Token, WorkerId>,
    /// Accepted results, by run and task.
    done: BTreeMap<(RunId, TaskId), u32>,
    leaders: BTreeMap<u64, WorkerId>,
}

impl Replay {
    fn append(&mut self, entry: &Entry) {
        if self.state.apply(entry).is_err() {
            return;
        }
        for change in &entry.changes {
            match change {
                Change::Lead => {
                    let former = self.leaders.insert(entry.epoch.0 + 1, entry.by.clone());
                    assert_eq!(former, None, "two lead in epoch {}", entry.epoch.0 + 1);
                }
                Change::Leased { token } => {
                    let is_free = |other: &Token| (other.run, other.task) != (token.run, token.task);
                    assert!(self.leases.keys().all(is_free), "{token} beside another lease");
                    self.leases.insert(*token, entry.by.clone());
                }
                Change::Done { token, .. } => {
                    self.end(token, &entry.by);
                    *self.done.entry((token.run, token.task)).or_default() += 1;
                }
                Change::Failed { token, .. } | Change::Released { token } => self.end(token, &entry.by),
                Change::Expired { token, .. } | Change::Split { token, .. } => {
                    assert_eq!(self.leaders.get(&entry.epoch.0), Some(&entry.by));
                    assert!(self.leases.remove(token).is_some(), "{token}");
                }
                Change::Cancelled { run } => self.leases.retain(|token, _| token.run != *run),
                _ => {}
            }
        }
    }

    fn end(&mut self, token: &Token, by: &WorkerId) {
        assert_eq!(self.leases.remove(token).as_ref(), Some(by), "the result of a lost lease: {token}");
    }
}

/// What the journal holds, entry by entry.
async fn replayed(lake: &Lake) -> Replay {
    let mut replay = Replay::default();
    for numbered in lake.sequence("_workflow/journal").entries().await.unwrap() {
        replay.append(&numbered.read().unwrap());
    }
    replay
}

fn assert_published_once(world: &World, state: &State) {
    let versions = world.fake.versions();
    for run in state.runs.values() {
        let of_run: Vec<_> = versions.iter().filter(|version| *version.run_key == *run.key).collect();
        let expected = usize::from(run.state == RunState::Done);
        // Of one that was cancelled nothing may be published, or all of it just before.
        assert!(of_run.len() == expected || (run.state == RunState::Cancelled && of_run.len() == 1), "run {}", run.id);
        for version in of_run {
            let computed = run.tasks.iter().filter(|task| task.kind == TaskKind::Compute);
            let groups: Vec<(TaskId, u32)> = computed.map(|task| (task.id, task.attempt)).collect();
            assert_eq!(version.groups, groups, "by {}", version.token);
        }
    }
    assert!(versions.len() <= state.runs.len());
}

#[tokio::test(start_paused = true)]
async fn whoever_dies_sleeps_or_is_too_late_each_run_ends_and_is_published_once() {
    for seed in seeds::seeds(20) {
        eprintln!("repeat with TWOFOLD_SEED={seed}");
        let world = World::new(seed);
        let commanded = async {
            let cancelled = command(&world).await;
            world.is_over.store(true, Ordering::SeqCst);
            cancelled
        };
        let places = futures::future::join_all((0..PLACES).map(|place| live_in_place(&world, place)));
        let (cancelled, _) = tokio::join!(commanded, places);

        world.percent.store(0, Ordering::SeqCst);
        let replay = replayed(&world.lake(0)).await;
        assert_eq!(
            *world.process(77).refresh().await.unwrap(),
            replay.state,
            "a start finds what was, by a snapshot, too"
        );
        assert!(replay.done.values().all(|count| *count == 1), "a result was taken twice");
        assert_published_once(&world, &replay.state);
        for run in replay.state.runs.values() {
            let is_cancelled = cancelled == Some(run.id);
            let expected = if is_cancelled { RunState::Cancelled } else { RunState::Done };
            assert_eq!(run.state, expected, "run {}", run.id);
            let is_done = |state: &TaskState| matches!(state, TaskState::Done { .. });
            assert!(is_cancelled || run.tasks.iter().all(|task| is_done(&task.state)));
        }
        assert!(replay.state.leases.is_empty());
    }
}
