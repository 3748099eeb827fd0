//! Groups that other machines compute: a scheduler and executors as processes of their own, killed in the middle of a
//! plan, one of two and both.
//!
//! Not here: the same within one process, with all measures (`batch/elsewhere`).

use std::collections::BTreeMap;
use std::fs::{OpenOptions, read_to_string};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use workflow::{Run, RunId, TaskState};

use super::world::{Member, VIEW, World, event};
use crate::support::process::{DEADLINE, FAIL_POINTS_MISSING, Running, Setup, binary, free_port};

/// An executor stands still at its first look into an event, with a part of a plan in hand.
const HELD: (&str, &str) = ("lake.master.read.file.before", "1*sleep(600000)");
/// What an executor says of each part of a plan.
const TAKEN: &str = "Received task";
/// The least that there is.
const LOST_AFTER: &str = "10s";

/// A scheduler or an executor. Killed when it goes out of scope.
struct Machine {
    setup: Setup,
    child: Child,
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Machine {
    fn start(setup: Setup, command: &str) -> Self {
        let log = OpenOptions::new().create(true).append(true).open(setup.data_dir.with_extension("log")).unwrap();
        let child = Command::new(binary())
            .args([command, "--log", "warn,twofold=info,ballista_executor=info", "--data-dir"])
            .arg(&setup.data_dir)
            .envs(setup.settings.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { setup, child }
    }

    fn has_taken(&self) -> bool {
        read_to_string(self.setup.data_dir.with_extension("log")).unwrap().contains(TAKEN)
    }

    /// SIGKILL.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A world whose groups are all computed by executors, and the processes beside these.
struct Elsewhere {
    world: World,
    scheduler: String,
    up: Running,
    worker: Member,
    _scheduler: Machine,
}

impl Elsewhere {
    async fn new() -> Self {
        let scheduler = format!("127.0.0.1:{}", free_port());
        let settings = [
            ("BATCH__ENGINE", "ballista"),
            // All hours in one group.
            ("BATCH__TASK_BYTES", "256MiB"),
            ("BALLISTA__SCHEDULER", &scheduler),
            ("BALLISTA__SCHEDULER_LISTEN", &scheduler),
            ("BALLISTA__FROM", "1B"),
            ("BALLISTA__PARTITIONS", "4"),
            ("BALLISTA__LOST_AFTER", LOST_AFTER),
            ("BALLISTA__SLOTS", "1"),
            // Shorter than an executor is waited for: a plan on other machines does not stand still.
            ("WORKFLOW__STALL_LIMIT", "5s"),
        ];
        let world = settings.iter().fold(World::new().await, |world, (key, value)| world.with(key, value));
        let machine = Machine::start(world.setup.beside("scheduler"), "scheduler");
        let worker = world.join(&world.worker("worker"), &["worker"]).await;
        let up = world.join(&world.setup, &["up"]).await.process;
        world.check_exact(&up).await;
        Self { world, scheduler, up, worker, _scheduler: machine }
    }

    /// How to start an executor.
    fn executor(&self, name: &str) -> Setup {
        self.world.setup.beside(name).with("BALLISTA__EXECUTOR_LISTEN", &format!("127.0.0.1:{}", free_port()))
    }

    /// Starts an executor that computes.
    fn add(&self, name: &str) -> Machine {
        Machine::start(self.executor(name), "executor")
    }

    /// Starts an executor that stands still with the first part of a plan that it takes.
    fn add_held(&self, name: &str) -> Machine {
        Machine::start(self.executor(name).at_fail_point(HELD.0, HELD.1), "executor")
    }

    /// Waits until the scheduler has heard of so many executors.
    async fn until_ready(&self, executors: usize) {
        let ready = format!("ready: {executors} executors registered");
        let deadline = Instant::now() + DEADLINE;
        loop {
            let asked = reqwest::get(format!("http://{}/readyz", self.scheduler)).await;
            let told = match asked {
                Ok(answer) => answer.text().await.unwrap_or_default(),
                Err(_) => String::new(),
            };
            if told.starts_with(&ready) {
                return;
            }
            self.world.wait(&ready, deadline).await;
        }
    }

    /// Waits until one of these executors has a part of a plan in hand; the run is then in its middle.
    async fn until_taken(&self, run: RunId, executors: &[&Machine]) {
        let deadline = Instant::now() + DEADLINE;
        while !executors.iter().any(|executor| executor.has_taken()) {
            self.world.wait("an executor has something in hand", deadline).await;
        }
        let run = self.world.workflow.run(run).await.unwrap();
        assert!(!run.state.is_ended(), "it has ended too soon: {FAIL_POINTS_MISSING}\n{:?}", run.failure);
    }

    /// Waits until `runs show` tells something of a run.
    async fn until_shown(&self, run: RunId, text: &str) {
        let deadline = Instant::now() + DEADLINE;
        while !self.world.command(&["runs", "show", &run.to_string()]).await.contains(text) {
            self.world.wait(text, deadline).await;
        }
    }

    /// The batch version that answers come from.
    async fn version(&self) -> i64 {
        self.up.rows(VIEW, &[("by", "")]).await["envelope"]["version"].as_i64().unwrap()
    }

    /// Waits until answers come from a version behind this one.
    async fn until_newer(&self, before: i64) {
        let deadline = Instant::now() + DEADLINE;
        while self.version().await <= before {
            self.world.wait("answers from the new version", deadline).await;
        }
    }

    /// A run that is done has published once, no task of it was taken away, and every group is as the events say.
    async fn check(&self, run: &Run) {
        let is_whole = |state: &TaskState| matches!(state, TaskState::Done { .. } | TaskState::Skipped);
        for task in &run.tasks {
            assert!(task.lost == 0 && is_whole(&task.state), "{task:?}\n{}", self.world.logs());
        }
        self.world.check_published_once().await;
        self.world.check_exact(&self.up).await;
        let answer = self.up.rows(VIEW, &[("by", "hour,page"), ("limit", "1000")]).await;
        let answered: BTreeMap<(String, String), Value> =
            answer["rows"].as_array().unwrap().iter().map(group).collect();
        assert_eq!(answered, folded(self.world.sent()), "{}\n{}", answer["envelope"], self.world.logs());
    }
}

/// A row of an answer by its dimensions.
fn group(row: &Value) -> ((String, String), Value) {
    let [hour, page] = ["hour", "page"].map(|name| row[name].as_str().unwrap().to_owned());
    ((hour, page), json!([row["hits"], row["amount"]]))
}

/// What the first `sent` events come to.
fn folded(sent: i64) -> BTreeMap<(String, String), Value> {
    let mut folded: BTreeMap<(String, String), (i64, i64)> = BTreeMap::new();
    for number in 0..sent {
        let event: Value = serde_json::from_str(&event(number)).unwrap();
        let hour = format!("{}:00:00Z", &event["time"].as_str().unwrap()[..13]);
        let (hits, amount) = folded.entry((hour, event["page"].as_str().unwrap().to_owned())).or_default();
        *hits += 1;
        *amount += event["amount"].as_i64().unwrap();
    }
    folded.into_iter().map(|(group, (hits, amount))| (group, json!([hits, amount]))).collect()
}

/// Whether a task has failed, and is at work again.
fn waits(run: &Run) -> bool {
    run.tasks.iter().any(|task| task.failures > 0 && matches!(task.state, TaskState::Leased { .. }))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_executor_had_taken_is_computed_by_another() {
    let elsewhere = Elsewhere::new().await;
    let (world, up) = (&elsewhere.world, &elsewhere.up);
    let mut held = elsewhere.add_held("held");
    elsewhere.until_ready(1).await;
    let before = elsewhere.version().await;
    let (run, _other) = world
        .asking(up, async {
            let run = world.start_full_run().await;
            elsewhere.until_taken(run, &[&held]).await;
            // It takes what is left.
            let other = elsewhere.add("other");
            elsewhere.until_ready(2).await;
            held.kill();
            assert_eq!(elsewhere.version().await, before, "{}", world.logs());
            world.send(up).await;
            (world.until_done(run).await, other)
        })
        .await;
    elsewhere.until_newer(before).await;
    elsewhere.check(&run).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_executors_are_all_killed_says_so_and_is_done_once_there_is_one() {
    let elsewhere = Elsewhere::new().await;
    let (world, up) = (&elsewhere.world, &elsewhere.up);
    let [mut first, mut second] = ["first", "second"].map(|name| elsewhere.add_held(name));
    elsewhere.until_ready(2).await;
    let before = elsewhere.version().await;
    let doctor = world.setup.beside("doctor");
    let (run, _third) = world
        .asking(up, async {
            let run = world.start_full_run().await;
            elsewhere.until_taken(run, &[&first, &second]).await;
            first.kill();
            second.kill();
            world.send(up).await;
            // The plan that they had is given up; the next one waits for others.
            world.until_said(&elsewhere.worker.process, "all executors were lost").await;
            let waiting = world.until("it is tried again", |state| state.runs.values().find(|run| waits(run)).cloned());
            elsewhere.until_shown(waiting.await.id, "on other machines").await;
            let told = String::from_utf8(doctor.run_command(&["doctor"]).await.stdout).unwrap();
            assert!(told.contains("answers, and has no executor"), "{told}");
            assert_eq!(elsewhere.version().await, before, "{}", world.logs());
            let third = elsewhere.add("third");
            (world.until_done(run).await, third)
        })
        .await;
    elsewhere.until_newer(before).await;
    elsewhere.check(&run).await;
}
