//! Runs of the workflow, done by processes of their own on one folder: what a run costs beside its work, how two
//! workers share one, what a run costs that has little to compute, and how much memory leading ten thousand tasks takes.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use records::master::{MasterDataset, MasterSnapshot};
use serde_json::json;
use tests::process::{Running, Setup, binary, memory_now, memory_peak};
use tests::services::Services;
use twofold::config::{Config, ConfigInputs};
use twofold::data_dir::DataDir;
use twofold::wiring::open_lake;
use twofold::workflow::specs::{RunRequest, runs_of};
use views::{Pipeline, SourceDefinition};
use workflow::{
    Beat, Priority, RunKind, RunMode, RunSpec, RunState, TaskId, TaskKind, TaskOutput, TaskSpec, Work, Worker, Workflow,
};

use crate::data::{PIPELINE, RandomIds, SystemClock, Traffic};
use crate::recompute::{append, recompute_in_full};
use crate::report::Report;

/// Events of a run that has next to nothing to compute.
const FEW: usize = 10_000;
/// Runs of which the median counts.
const RUNS: usize = 11;
/// Days of the longer history; the shorter one has one of them.
const DAYS: u32 = 10;
const TASKS: u32 = 10_000;
/// Between two looks whether a run has ended: short beside the shortest, and next to nothing of what a core can do.
const LOOK: Duration = Duration::from_millis(10);
/// The longest that a run is waited for.
const DEADLINE: Duration = Duration::from_secs(1_800);

/// All figures.
pub async fn measure(report: &mut Report) {
    let events = std::env::var("TWOFOLD_BENCH_EVENTS").map_or(10_000_000, |events| events.parse().unwrap());
    measure_overhead(report, Place::new().await, "on a local folder").await;
    match Place::in_s3().await {
        Some(place) => measure_overhead(report, place, "in S3").await,
        None => eprintln!("  run in S3: skipped, there is none"),
    }
    measure_leader(report).await;
    let short = measure_increment(&mut Place::new().await, 1, events).await;
    let mut place = Place::new().await;
    let long = measure_increment(&mut place, DAYS, events).await;
    report.add(
        "incremental run, 1 % new events in a new hour, three views",
        long.increment,
        "s",
        ("full run of the same", long.full),
    );
    report.add(
        format!("incremental run, {DAYS} times the history, the same new events"),
        long.increment,
        "s",
        ("with one of these days", short.increment),
    );
    measure_workers(report, &place, events).await;
}

/// Where a lake lies, and how processes are started on it.
struct Place {
    folder: tempfile::TempDir,
    setup: Setup,
    lake: lake::Lake,
    pipeline: Pipeline,
    workflow: Workflow,
    config: Config,
    newest: MasterSnapshot,
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lake = folder.path().join("lake");
        std::fs::create_dir(&lake).unwrap();
        let location = ("TWOFOLD_LAKE__LOCATION".to_owned(), lake.to_str().unwrap().to_owned());
        Self::of(folder, vec![location]).await
    }

    /// `None` where there is no S3.
    async fn in_s3() -> Option<Self> {
        let mut settings = Services::find()?.settings();
        settings.retain(|(key, _)| key.starts_with("TWOFOLD_LAKE__"));
        Some(Self::of(tempfile::tempdir().unwrap(), settings).await)
    }

    async fn of(folder: tempfile::TempDir, lake_settings: Vec<(String, String)>) -> Self {
        // Cuts that leave next to nothing out.
        let text = PIPELINE.replace("65536", "1024");
        let pipeline = Pipeline::read(&text, &BTreeMap::new()).unwrap();
        let setup = Setup::new(folder.path(), &text, lake_settings)
            // Otherwise the figures are those of the time between two looks for tasks.
            .with("WORKFLOW__POLL", "10ms")
            .with("BATCH__TASK_BYTES", "32MiB");
        let config =
            Config::read(ConfigInputs { environment: setup.settings.clone(), ..ConfigInputs::default() }).unwrap();
        let data_dir = DataDir::find(&setup.data_dir, false).unwrap();
        let lake = open_lake(&config.lake, &data_dir).await.unwrap();
        let workflow = Workflow::new(&lake, Arc::new(SystemClock), Arc::new(RandomIds));
        let newest = MasterDataset::new(&lake, Arc::clone(&pipeline.sources[0])).create().await.unwrap();
        Self { folder, setup, lake, pipeline, workflow, config, newest }
    }

    fn source(&self) -> &Arc<SourceDefinition> {
        &self.pipeline.sources[0]
    }

    fn master(&self) -> MasterDataset {
        MasterDataset::new(&self.lake, Arc::clone(self.source()))
    }

    async fn add(&mut self, mut traffic: Traffic, events: usize) {
        self.newest = append(&self.master(), self.source(), self.newest.clone(), &mut traffic, events).await;
    }

    async fn worker(&self, name: &str) -> Running {
        Running::start_role(&self.setup.beside(name), &["worker"]).await
    }

    /// A worker that has one core for itself, and works at one task at a time as one does that has no more.
    async fn pinned_worker(&self, name: &str, core: usize) -> Running {
        let script = self.folder.path().join(name).with_extension("sh");
        let text = format!("#!/bin/sh\nexec taskset -c {core} '{}' \"$@\"\n", binary().display());
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
        let setup = self.setup.beside(name).with("WORKFLOW__SLOTS", "1");
        Running::start_role_of(&script, &setup, &["worker"]).await
    }

    fn spec(&self, mode: RunMode) -> (RunSpec, Vec<TaskSpec>) {
        let request = RunRequest {
            source: None,
            views: Vec::new(),
            mode,
            kind: RunKind::Recompute,
            priority: Priority::ByHand,
            retries: Some(0),
            max_concurrent: None,
            idempotency_key: None,
            deadline: None,
            schedule: None,
        };
        runs_of(&self.pipeline, &request, &self.config).unwrap().remove(0)
    }

    /// Starts a run; how many seconds until it is done.
    async fn run(&self, mode: RunMode) -> f64 {
        let (spec, tasks) = self.spec(mode);
        let began = Instant::now();
        let id = self.workflow.start(spec, &tasks).await.unwrap().run();
        loop {
            let state = self.workflow.refresh().await.unwrap();
            let run = state.run(id).unwrap();
            if run.state.is_ended() {
                assert_eq!(run.state, RunState::Done, "{:?}", run.failure);
                return began.elapsed().as_secs_f64();
            }
            assert!(began.elapsed() < DEADLINE, "the run does not end: {:?}", run.counts);
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// What journal, leases and tasks add to a round, where its lake is `at`.
async fn measure_overhead(report: &mut Report, mut place: Place, at: &str) {
    place.add(Traffic::new(FEW), FEW).await;
    let _worker = place.worker("worker").await;
    let (mut runs, mut rounds) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        runs.push(place.run(RunMode::Full).await * 1_000.0);
        let began = Instant::now();
        recompute_in_full(&place.lake, place.master(), &place.pipeline).await;
        rounds.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    let (run, round) = (median(runs), median(rounds));
    let what = format!("run of {FEW} events by a worker process, three views, {at}");
    report.add(what, run, "ms", ("a round in this process", round));
    report.note(format!("what a run adds to its work, {at}"), run - round, "ms");
}

/// What a leader holds of a run with very many tasks, which this process does.
async fn measure_leader(report: &mut Report) {
    let place = Place::new().await;
    let leads = place.setup.beside("leader").with("WORKFLOW__SLOTS", "0");
    let leader = Running::start_role(&leads, &["worker"]).await;
    let began = Instant::now();
    while place.workflow.refresh().await.unwrap().leader.is_none() {
        assert!(began.elapsed() < DEADLINE, "nobody leads");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let before = memory_now(leader.process_id()) as f64 / 1e6;
    // As large as the parameters of groups.
    let parameters = json!({ "plan": 0, "group": 0, "buckets": "x".repeat(200) });
    let task = |id| TaskSpec {
        id: TaskId(id),
        kind: TaskKind::Compute,
        after: Vec::new(),
        parameters: parameters.clone(),
        weight_bytes: 1 << 28,
    };
    let tasks: Vec<TaskSpec> = (1..=TASKS).map(task).collect();
    let id = place.workflow.start(place.spec(RunMode::Full).0, &tasks).await.unwrap().run();
    let (worker, mut beat) = (Worker::new(&place.workflow), Beat::default());
    let began = Instant::now();
    loop {
        beat.beat += 1;
        worker.tell(&beat).await.unwrap();
        let taken = worker.take(100).await.unwrap();
        if taken.is_empty() {
            break;
        }
        for token in taken {
            assert!(worker.report(token, &Ok(TaskOutput::default()), Work::default()).await.unwrap());
        }
    }
    assert_eq!(place.workflow.refresh().await.unwrap().run(id).unwrap().state, RunState::Done);
    let rate = f64::from(TASKS) / began.elapsed().as_secs_f64();
    report.note(format!("tasks of a run of {TASKS}, taken by hundreds and reported one by one"), rate, "tasks/s");
    let peak = memory_peak(leader.process_id()) as f64 / 1e6;
    report.add(format!("leader of a run of {TASKS} tasks, memory at most"), peak, "MB", ("before it", before));
}

/// Seconds of a full run, and of one that has a hundredth of new events in a new hour to compute.
struct Increment {
    full: f64,
    increment: f64,
}

/// The same new events, after so many days of ten.
async fn measure_increment(place: &mut Place, days: u32, events: usize) -> Increment {
    let (per_day, new) = (events / DAYS as usize, events / 100);
    let history = per_day * days as usize;
    place.add(Traffic::starting(Duration::ZERO, per_day, 0), history).await;
    let worker = place.worker("worker").await;
    place.run(RunMode::Full).await;
    let full = place.run(RunMode::Full).await;
    // None of them falls into the hour before.
    let later = Duration::from_secs(u64::from(days) * 86_400 + 10);
    place.add(Traffic::starting(later, new * 25, events), new).await;
    let increment = place.run(RunMode::Incremental).await;
    assert!(worker.terminate().success());
    Increment { full, increment }
}

/// Two workers beside one, each pinned to a core.
async fn measure_workers(report: &mut Report, place: &Place, events: usize) {
    let cores = cores();
    let [first, second, ..] = cores[..] else {
        eprintln!("  two workers: skipped, this process may use one core only");
        return;
    };
    let one = place.pinned_worker("pinned-1", first).await;
    let alone = place.run(RunMode::Full).await.min(place.run(RunMode::Full).await);
    let other = place.pinned_worker("pinned-2", second).await;
    let both = place.run(RunMode::Full).await.min(place.run(RunMode::Full).await);
    assert!(one.terminate().success() && other.terminate().success());
    let events = events as f64;
    report.add(
        "full run, three views, two worker processes on two cores",
        events / both,
        "events/s",
        ("one pinned to a core", events / alone),
    );
}

/// The cores that this process may use.
fn cores() -> Vec<usize> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    let span = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        from.parse::<usize>().unwrap()..=to.parse::<usize>().unwrap()
    };
    list.trim().split(',').flat_map(span).collect()
}
