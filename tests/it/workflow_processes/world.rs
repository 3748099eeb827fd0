//! What the processes of one test share: the folder with the lake, what was sent, and the journal as the test reads it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lake::Lake;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use serde_json::json;
use serving_layer::{BatchFacts, BatchViewStore};
use views::Pipeline;
use workflow::{Run, RunId, RunKind, RunMode, RunState, State, TaskKind, Token, WorkerId, Workflow};

use crate::support::process::{DEADLINE, FAIL_POINTS_MISSING, Running, Setup};
use crate::support::seams::{ManualClock, SeededIds};

pub const VIEW: &str = "hits_by_hour";
/// As many as groups of buckets.
pub const HOURS: i64 = 24;
const EVENTS_PER_REQUEST: i64 = 120;
/// Requests before the first version.
const REQUESTS: i64 = 20;
/// More than any test publishes.
const ALL_VERSIONS: usize = 1_000;

pub const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (
  id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, page VARCHAR NOT NULL, amount BIGINT NOT NULL
) STORED AS JSON LOCATION 'kafka://hits'
  OPTIONS (event_time 'time', event_id 'id', grid '64', gap '500ms', partitions '2');

CREATE MATERIALIZED VIEW hits_by_hour WITH (bucket = 'hour') AS
SELECT date_bin(INTERVAL '1 hour', time) AS hour, page, count(*) AS hits, sum(amount) AS amount
FROM hits GROUP BY hour, page;
";

/// Event `number` is the same in every world.
pub fn event(number: i64) -> String {
    let (hour, minute, page) = (number % HOURS, number / HOURS % 60, number % 7);
    format!(r#"{{"id":"e{number}","time":"2026-01-05T{hour:02}:{minute:02}:00Z","page":"p{page}","amount":{number}}}"#)
}

/// See the module.
pub struct World {
    /// Of the process that takes events, archives and answers. It works at no tasks.
    pub setup: Setup,
    pub workflow: Workflow,
    lake: Lake,
    folder: tempfile::TempDir,
    // Event `n` is the same in every world; what is below was acknowledged.
    sent: Cell<i64>,
    newest_token: RefCell<String>,
}

/// A process that takes part in the workflow.
pub struct Member {
    pub process: Running,
    /// As the journal calls it.
    pub id: WorkerId,
}

impl World {
    /// A lake with events of one day and a version of the view; nothing runs.
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lake_folder = folder.path().join("lake");
        std::fs::create_dir(&lake_folder).unwrap();
        let store = LocalFileSystem::new_with_prefix(&lake_folder).unwrap();
        let lake = Lake::new(Arc::new(store), Path::default());
        let location = ("TWOFOLD_LAKE__LOCATION".to_owned(), lake_folder.to_str().unwrap().to_owned());
        Self::on(lake, vec![location], folder).await
    }

    /// The same in another place, which `settings` name; processes have their folders in `folder`.
    pub async fn on(lake: Lake, settings: Vec<(String, String)>, folder: tempfile::TempDir) -> Self {
        let setup = [
            ("ARCHIVE__COMMIT_INTERVAL", "100ms"),
            ("BATCH__INTERVAL", "1d"),
            ("BATCH__KEEP_VERSIONS", "1000"),
            // A task for each bucket.
            ("BATCH__TASK_BYTES", "1B"),
            ("WORKFLOW__SLOTS", "0"),
            ("WORKFLOW__POLL", "100ms"),
        ];
        let setup = setup
            .iter()
            .fold(Setup::new(folder.path(), PIPELINE, settings), |setup, (key, value)| setup.with(key, value));
        let workflow = Workflow::new(&lake, Arc::new(ManualClock::at(0)), Arc::new(SeededIds::new(1)));
        let world = Self {
            setup: setup.with_short_waits(),
            workflow,
            lake,
            folder,
            sent: Cell::new(0),
            newest_token: RefCell::default(),
        };
        let up = Running::start(&world.setup).await;
        for _ in 0..REQUESTS {
            world.send(&up).await;
        }
        up.wait_until_archived(world.sent.get()).await;
        let first = up.run_batch(&["--full"]).await;
        assert!(first.status.success(), "{first:?}\n{}", world.logs());
        world.check_exact(&up).await;
        assert!(up.terminate().success(), "{}", world.logs());
        world
    }

    /// How many events were acknowledged.
    pub fn sent(&self) -> i64 {
        self.sent.get()
    }

    /// The same with another setting of all processes.
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.setup = self.setup.with(key, value);
        self
    }

    /// How to start a worker beside the others.
    pub fn worker(&self, name: &str) -> Setup {
        self.setup.beside(name).with("WORKFLOW__SLOTS", "1")
    }

    /// Starts a process and learns how the journal calls it.
    pub async fn join(&self, setup: &Setup, role: &[&str]) -> Member {
        let known = self.present().await;
        let process = Running::start_role(setup, role).await;
        let deadline = Instant::now() + DEADLINE;
        loop {
            let present = self.present().await;
            if let Some(id) = present.into_keys().find(|id| !known.contains_key(id)) {
                return Member { process, id };
            }
            self.wait("a sign of life of the new process", deadline).await;
        }
    }

    /// The processes that said that they live, each with the number of its newest sign.
    async fn present(&self) -> BTreeMap<WorkerId, u64> {
        let overview = self.workflow.overview().await.unwrap();
        overview.processes.into_iter().map(|(id, beat)| (id, beat.beat)).collect()
    }

    /// Waits until a process has said `more` times that it lives.
    pub async fn until_alive(&self, member: &Member, more: u64) {
        let deadline = Instant::now() + DEADLINE;
        let before = self.present().await.get(&member.id).copied().unwrap_or(0);
        while self.present().await.get(&member.id).is_none_or(|beat| *beat < before + more) {
            self.wait("signs of life", deadline).await;
        }
    }

    /// Waits until a process has written something.
    pub async fn until_said(&self, process: &Running, text: &str) {
        let deadline = Instant::now() + DEADLINE;
        while !process.log().contains(text) {
            self.wait(text, deadline).await;
        }
    }

    /// A little time, unless the deadline has passed.
    pub async fn wait(&self, what: &str, deadline: Instant) {
        assert!(Instant::now() < deadline, "never came: {what}\n{}", self.logs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    /// What all processes have written.
    pub fn logs(&self) -> String {
        let files = std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut logs: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "log")).collect();
        logs.sort();
        let log = |path: &PathBuf| format!("--- {}\n{}", path.display(), std::fs::read_to_string(path).unwrap());
        logs.iter().map(log).collect()
    }

    /// Sends one request of new events, again until all are stored.
    pub async fn send(&self, to: &Running) {
        let first = self.sent.get();
        let lines: Vec<String> = (first..first + EVENTS_PER_REQUEST).map(event).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let deadline = Instant::now() + DEADLINE;
        let token = loop {
            match to.try_post("hits", &lines).await {
                Ok((200, body)) if body["accepted"] == json!(lines.len()) => break body["token"].clone(),
                _ => self.wait("events are taken", deadline).await,
            }
        };
        self.sent.set(first + EVENTS_PER_REQUEST);
        *self.newest_token.borrow_mut() = token.as_str().unwrap().to_owned();
    }

    /// Everything that was acknowledged is answered exactly, by whichever layers.
    pub async fn check_exact(&self, gateway: &Running) {
        let token = self.newest_token.borrow().clone();
        let answer = gateway.rows(VIEW, &[("by", ""), ("after", &token), ("timeout", "30s")]).await;
        let (sent, row) = (self.sent.get(), &answer["rows"][0]);
        assert_eq!(row["hits"], json!(sent), "{}\n{}", answer["envelope"], self.logs());
        assert_eq!(row["amount"], json!(sent * (sent - 1) / 2), "{}", answer["envelope"]);
    }

    /// Asks all the while: each answer is right for the head that it claims, and no head is behind an earlier one.
    pub async fn asking<T>(&self, gateway: &Running, scenario: impl Future<Output = T>) -> T {
        let answers = Cell::new(0_u64);
        let mut asking = pin!(self.ask_for_ever(gateway, &answers));
        let done = tokio::select! {
            biased;
            done = scenario => done,
            never = &mut asking => match never {},
        };
        // Where all that it waits for is there already, it is over before the first answer comes.
        let deadline = Instant::now() + DEADLINE;
        let answered = async {
            while answers.get() == 0 {
                self.wait("an answer", deadline).await;
            }
        };
        tokio::select! {
            biased;
            () = answered => done,
            never = asking => match never {},
        }
    }

    async fn ask_for_ever(&self, gateway: &Running, answers: &Cell<u64>) -> Infallible {
        let mut seen = 0;
        loop {
            let answer = gateway.rows(VIEW, &[("by", "")]).await;
            let envelope = &answer["envelope"];
            let head: i64 = envelope["head"].as_object().unwrap().values().map(|offset| offset.as_i64().unwrap()).sum();
            let hits = answer["rows"][0]["hits"].as_i64().unwrap();
            assert_eq!(hits + envelope["copies"].as_i64().unwrap(), head, "{envelope}\n{}", self.logs());
            assert!(head >= seen, "the head went back from {seen}: {envelope}");
            seen = head;
            answers.set(answers.get() + 1);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the journal says something.
    pub async fn until<T>(&self, what: &str, found: impl Fn(&State) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let state = self.workflow.refresh().await.unwrap();
            if let Some(found) = found(&state) {
                return found;
            }
            self.wait(what, deadline).await;
        }
    }

    /// Starts a run as an operator does; its number.
    pub async fn start_run(&self, words: &[&str]) -> RunId {
        let before = self.workflow.refresh().await.unwrap().last_run;
        self.command(words).await;
        self.until("the run", |state| (state.last_run > before).then_some(state.last_run)).await
    }

    /// Starts a full run of the view.
    pub async fn start_full_run(&self) -> RunId {
        self.start_run(&["runs", "start", "--view", VIEW, "--full"]).await
    }

    /// A command that must succeed; what it wrote.
    pub async fn command(&self, words: &[&str]) -> String {
        let output = self.setup.run_command(words).await;
        assert!(output.status.success(), "{words:?}: {output:?}\n{}", self.logs());
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits until some tasks of a run are done, and others are not.
    pub async fn until_under_way(&self, run: RunId) {
        self.until("some tasks are done", |state| {
            let run = state.run(run)?;
            assert!(!run.state.is_ended(), "it has ended too soon: {FAIL_POINTS_MISSING}\n{:?}", run.failure);
            (run.counts.done >= 4 && run.counts.pending >= 4).then_some(())
        })
        .await;
    }

    /// Waits until a process has a task of a kind; its lease.
    pub async fn until_leased(&self, member: &Member, kind: TaskKind) -> Token {
        self.until("the task is taken", |state| {
            let mut leases = state.leases_of(&member.id);
            leases.find(|token| state.task(token.run, token.task).is_some_and(|task| task.kind == kind))
        })
        .await
    }

    /// Waits until a run has ended well.
    pub async fn until_done(&self, run: RunId) -> Arc<Run> {
        let ended = self.until_ended(run).await;
        assert_eq!(ended.state, RunState::Done, "{:?}\n{}", ended.failure, self.logs());
        ended
    }

    /// Waits until a run has ended.
    pub async fn until_ended(&self, run: RunId) -> Arc<Run> {
        self.until("the run has ended", |state| state.runs.get(&run).filter(|run| run.state.is_ended()).cloned()).await
    }

    /// What runs have published, oldest first.
    pub async fn published(&self, pipeline: &str) -> Vec<Arc<BatchFacts>> {
        let pipeline = Pipeline::read(pipeline, &BTreeMap::new()).unwrap();
        let store = BatchViewStore::new(&self.lake, pipeline.view(VIEW).unwrap().clone());
        let versions = store.newest_versions(ALL_VERSIONS, &[]).await.unwrap();
        let facts = versions.into_iter().rev().map(|version| version.facts);
        facts.filter(|facts| facts.publisher.is_some()).collect()
    }

    /// No run has published twice, and each that is done has, unless it found nothing new.
    pub async fn check_published_once(&self) {
        let mut versions: BTreeMap<String, usize> = BTreeMap::new();
        for facts in self.published(PIPELINE).await {
            *versions.entry(facts.publisher.as_ref().unwrap().run.clone()).or_default() += 1;
        }
        let state = self.workflow.refresh().await.unwrap();
        for run in state.runs.values() {
            let published = versions.remove(&run.id.to_string()).unwrap_or(0);
            let is_of_views = matches!(run.spec.kind, RunKind::Recompute | RunKind::Backfill);
            let must_have = is_of_views && run.state == RunState::Done && run.spec.mode != RunMode::Incremental;
            let is_right = published == 1 || (published == 0 && !must_have);
            assert!(is_right, "run {} has published {published} versions\n{}", run.id, self.logs());
        }
        assert!(versions.is_empty(), "of runs that nobody knows: {versions:?}");
    }
}
