//! How notices reach their receivers: posted with a signature, sent again where that helps, given up where it does not,
//! and never in the way of anybody.

use std::collections::VecDeque;
use std::io::Read as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use twofold::config::{Config, ConfigInputs, NotifySettings};
use twofold::notify::run::{Sender, send_all};
use twofold::notify::{Judge, MissedDeadline, Notifier};
use workflow::RunState;
use workflow::schedule::ScheduleName;

use super::event;
use crate::support::process::DEADLINE;
use crate::support::seams::ManualClock;

const NOW: i64 = 1_780_012_800_999_999;

/// What a server does with a request.
#[derive(Clone, Debug)]
enum Answer {
    Status(u16),
    Redirect(String),
    Hang,
}

/// A server that answers as it is told, and with 200 from then on.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Answer>>,
    requests: Mutex<Vec<(HeaderMap, Bytes)>>,
}

struct Server {
    address: String,
    script: Arc<Script>,
}

impl Server {
    async fn start(answers: &[Answer]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let script = Arc::new(Script { answers: Mutex::new(answers.to_vec().into()), requests: Mutex::default() });
        let router = Router::new().fallback(answer).with_state(script.clone());
        tokio::spawn(axum::serve(listener, router).into_future());
        Self { address, script }
    }

    fn requests(&self) -> Vec<(HeaderMap, Bytes)> {
        self.script.requests.lock().unwrap().clone()
    }

    /// The requests, once there are so many.
    async fn wait_for(&self, count: usize) -> Vec<(HeaderMap, Bytes)> {
        let is_there = async {
            while self.requests().len() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(DEADLINE, is_there).await;
        assert!(waited.is_ok(), "{count} requests expected, got {:?}", self.requests());
        self.requests()
    }

    /// The runs that its requests tell of.
    fn runs(&self) -> Vec<String> {
        self.requests().iter().map(|(_, body)| json(body)["run"].as_str().unwrap().to_owned()).collect()
    }
}

async fn answer(State(script): State<Arc<Script>>, headers: HeaderMap, body: Bytes) -> Response {
    script.requests.lock().unwrap().push((headers, body));
    let next = script.answers.lock().unwrap().pop_front();
    match next {
        None => StatusCode::OK.into_response(),
        Some(Answer::Status(status)) => StatusCode::from_u16(status).unwrap().into_response(),
        Some(Answer::Redirect(to)) => (StatusCode::TEMPORARY_REDIRECT, [("location", to)]).into_response(),
        Some(Answer::Hang) => std::future::pending().await,
    }
}

fn json(body: &Bytes) -> Value {
    serde_json::from_slice(body).unwrap()
}

fn settings(lines: &str) -> NotifySettings {
    let quick = "retry_min = \"1ms\"\nretry_max = \"5ms\"\ntimeout = \"10s\"\nretries = 3\n";
    let file = ("test.toml".to_owned(), format!("[notify]\n{quick}{lines}\n"));
    Config::read(ConfigInputs { files: vec![file], ..ConfigInputs::default() }).unwrap().notify
}

/// A notifier, and the task that sends.
fn started(settings: &NotifySettings, stop: &CancellationToken) -> (Notifier, JoinHandle<()>) {
    let (notifier, queues) = Notifier::new(settings, Judge::default());
    let sender = Sender::new(settings, Arc::new(ManualClock::at(NOW))).unwrap();
    (notifier, tokio::spawn(send_all(sender, queues, stop.clone())))
}

/// Waits until all is sent or given up, which is when nobody tells of anything any more.
async fn finish(notifier: Notifier, task: JoinHandle<()>) {
    drop(notifier);
    tokio::time::timeout(DEADLINE, task).await.expect("the sender ends").unwrap();
}

/// Of different sources, so that each failure is told.
fn fail(notifier: &mut Notifier, run: &str) {
    let mut failed = event(run, RunState::Failed, 1);
    failed.source = positions::SourceName::new(format!("source_{run}"));
    notifier.run_changed(&failed);
}

#[tokio::test]
async fn a_notice_is_sent_again_until_it_is_taken_each_time_signed() {
    let answers = [Answer::Status(500), Answer::Status(429), Answer::Status(503)];
    let server = Server::start(&answers).await;
    let settings = settings(&format!("webhook = \"{}/hook\"\nwebhook_secret = \"key\"", server.address));
    let (mut notifier, task) = started(&settings, &CancellationToken::new());
    notifier.run_changed(&event("r1", RunState::Failed, 1));
    finish(notifier, task).await;
    let requests = server.requests();
    assert_eq!(requests.len(), 4, "three that fail, and one that is taken");
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"key");
    for (headers, body) in &requests {
        let header = |name: &str| headers[name].to_str().unwrap();
        assert_eq!(header("content-type"), "application/json");
        assert_eq!(header("x-twofold-timestamp"), "1780012800");
        assert_eq!(header("x-twofold-notice"), json(body)["id"]);
        let signed = [header("x-twofold-timestamp").as_bytes(), &b"."[..], &body[..]].concat();
        let signature = header("x-twofold-signature").strip_prefix("v1=").unwrap();
        let bytes: Vec<u8> = (0..signature.len() / 2)
            .map(|at| u8::from_str_radix(&signature[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        hmac::verify(&key, &signed, &bytes).expect("another library agrees with the signature");
        assert_eq!(json(body)["run"], "r1");
    }
    assert!(requests.iter().all(|(_, body)| *body == requests[0].1));
}

#[tokio::test]
async fn without_a_secret_nothing_is_signed() {
    let server = Server::start(&[]).await;
    let (mut notifier, task) =
        started(&settings(&format!("webhook = \"{}\"", server.address)), &CancellationToken::new());
    notifier.run_changed(&event("r1", RunState::Failed, 1));
    finish(notifier, task).await;
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert!(!requests[0].0.contains_key("x-twofold-signature") && requests[0].0.contains_key("x-twofold-notice"));
}

#[tokio::test]
async fn what_is_never_taken_is_given_up_and_the_next_one_sent() {
    let always = [Answer::Status(500), Answer::Status(500), Answer::Status(500), Answer::Status(500)];
    let server = Server::start(&always).await;
    let (mut notifier, task) =
        started(&settings(&format!("webhook = \"{}\"", server.address)), &CancellationToken::new());
    fail(&mut notifier, "r1");
    fail(&mut notifier, "r2");
    finish(notifier, task).await;
    assert_eq!(server.runs(), ["r1", "r1", "r1", "r1", "r2"], "one attempt and three more");
}

#[tokio::test]
async fn what_the_receiver_refuses_for_good_is_not_sent_again() {
    for status in [400, 401, 404, 410] {
        let server = Server::start(&[Answer::Status(status)]).await;
        let settings = settings(&format!("webhook = \"{}\"", server.address));
        let (mut notifier, task) = started(&settings, &CancellationToken::new());
        fail(&mut notifier, "r1");
        fail(&mut notifier, "r2");
        finish(notifier, task).await;
        assert_eq!(server.runs(), ["r1", "r2"], "{status}");
    }
}

#[tokio::test]
async fn an_answer_sends_no_notice_to_another_address() {
    let other = Server::start(&[]).await;
    let server = Server::start(&[Answer::Redirect(other.address.clone())]).await;
    let (mut notifier, task) =
        started(&settings(&format!("webhook = \"{}\"", server.address)), &CancellationToken::new());
    fail(&mut notifier, "r1");
    finish(notifier, task).await;
    assert_eq!((server.requests().len(), other.requests().len()), (1, 0));
}

#[tokio::test]
async fn a_receiver_that_hangs_is_given_up_in_time_and_asked_again() {
    let server = Server::start(&[Answer::Hang, Answer::Hang]).await;
    let lines = format!("webhook = \"{}\"", server.address);
    let mut settings = settings(&lines);
    settings.timeout = Duration::from_millis(200);
    let (mut notifier, task) = started(&settings, &CancellationToken::new());
    fail(&mut notifier, "r1");
    server.wait_for(3).await;
    finish(notifier, task).await;
}

#[tokio::test]
async fn a_receiver_that_is_not_there_holds_nobody_up() {
    // What listened there is gone.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = listener.local_addr().unwrap();
    drop(listener);
    let lineage = Server::start(&[]).await;
    let lines = format!("webhook = \"http://{gone}\"\nopenlineage = \"{}/api/v1/lineage\"", lineage.address);
    let (mut notifier, task) = started(&settings(&lines), &CancellationToken::new());
    for run in ["r1", "r2", "r3"] {
        fail(&mut notifier, run);
    }
    finish(notifier, task).await;
    assert_eq!(lineage.requests().len(), 3);
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_no_other_and_no_stop() {
    let (hanging, lineage) = (Server::start(&[Answer::Hang]).await, Server::start(&[]).await);
    let (key, path) = ("openlineage_key = \"token\"", "/api/v1/lineage");
    let lines = format!("webhook = \"{}\"\nopenlineage = \"{}{path}\"\n{key}", hanging.address, lineage.address);
    let stop = CancellationToken::new();
    let mut settings = settings(&lines);
    settings.timeout = DEADLINE * 2;
    let (mut notifier, task) = started(&settings, &stop);
    notifier.run_changed(&event("r1", RunState::Running, 1));
    notifier.run_changed(&event("r1", RunState::Failed, 2));
    let requests = lineage.wait_for(2).await;
    let types: Vec<Value> = requests.iter().map(|(_, body)| json(body)["eventType"].clone()).collect();
    assert_eq!(types, ["START", "FAIL"]);
    assert!(requests.iter().all(|(headers, _)| headers["authorization"] == "Bearer token"));
    hanging.wait_for(1).await;
    stop.cancel();
    tokio::time::timeout(DEADLINE, task).await.expect("a stop does not wait for an answer").unwrap();
    // Nobody sends any more: telling still does no harm.
    fail(&mut notifier, "r2");
}

#[tokio::test]
async fn beyond_the_queue_notices_are_dropped_and_nobody_waits() {
    let server = Server::start(&[]).await;
    let settings = settings(&format!("webhook = \"{}\"\nqueue = 2", server.address));
    let (mut notifier, queues) = Notifier::new(&settings, Judge::default());
    for run in ["r1", "r2", "r3", "r4"] {
        fail(&mut notifier, run);
    }
    let sender = Sender::new(&settings, Arc::new(ManualClock::at(NOW))).unwrap();
    finish(notifier, tokio::spawn(send_all(sender, queues, CancellationToken::new()))).await;
    assert_eq!(server.runs(), ["r1", "r2"]);
}

#[tokio::test]
async fn only_what_was_asked_for_is_told() {
    let server = Server::start(&[]).await;
    let settings = settings(&format!("webhook = \"{}\"\non = [\"recovery\", \"missed_deadline\"]", server.address));
    let (mut notifier, task) = started(&settings, &CancellationToken::new());
    notifier.run_changed(&event("r1", RunState::Failed, 1));
    notifier.run_changed(&event("r2", RunState::Done, 2));
    let (schedule, at) = (ScheduleName("nightly".to_owned()), event("r3", RunState::Running, 3).at);
    notifier.deadline_missed(&MissedDeadline { schedule, occurrence: at, run: Some("r3".to_owned()) }, at);
    finish(notifier, task).await;
    let told: Vec<Value> = server.requests().iter().map(|(_, body)| json(body)["event"].clone()).collect();
    assert_eq!(told, ["recovery", "missed_deadline"]);
}

#[tokio::test]
async fn a_program_reads_notices_and_is_started_again_where_it_fails() {
    let folder = tempfile::tempdir().unwrap();
    let (told, mark) = (folder.path().join("told"), folder.path().join("mark"));
    let script = format!(
        "cat >> {told}; echo >> {told}; test -e {mark} || {{ touch {mark}; exit 3; }}",
        told = told.display(),
        mark = mark.display()
    );
    let mut settings = settings("");
    settings.command = vec!["sh".to_owned(), "-c".to_owned(), script];
    let (mut notifier, task) = started(&settings, &CancellationToken::new());
    notifier.run_changed(&event("r1", RunState::Failed, 1));
    notifier.run_changed(&event("r2", RunState::Done, 2));
    finish(notifier, task).await;
    let text = std::fs::read_to_string(told).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said: Vec<(&str, &str)> =
        lines.iter().map(|line| (line["event"].as_str().unwrap(), line["run"].as_str().unwrap())).collect();
    assert_eq!(said, [("failure", "r1"), ("failure", "r1"), ("recovery", "r2")]);
}

#[tokio::test]
async fn a_program_that_is_not_there_or_does_not_end_is_given_up() {
    for command in [vec!["/nowhere/to/be/found".to_owned()], vec!["sleep".to_owned(), "1000".to_owned()]] {
        let mut settings = settings("");
        settings.retries = 1;
        settings.timeout = Duration::from_millis(100);
        settings.command = command;
        let (mut notifier, task) = started(&settings, &CancellationToken::new());
        notifier.run_changed(&event("r1", RunState::Failed, 1));
        finish(notifier, task).await;
    }
}

#[tokio::test]
async fn of_a_program_that_is_given_up_nothing_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut settings = settings("");
    settings.timeout = DEADLINE * 2;
    // The shell's own child holds the pipe open as long as it lives.
    let script = format!("exec 3>{}; echo up >&3; sleep 600 & wait", pipe.display());
    settings.command = vec!["sh".to_owned(), "-c".to_owned(), script];
    let stop = CancellationToken::new();
    let (mut notifier, task) = started(&settings, &stop);
    let (is_up, up) = tokio::sync::oneshot::channel();
    let (is_over, over) = tokio::sync::oneshot::channel();
    // No task of the runtime: a failed test must not wait for it.
    std::thread::spawn(move || {
        let mut file = std::fs::File::open(pipe).unwrap();
        let mut word = [0; 3];
        file.read_exact(&mut word).unwrap();
        is_up.send(word).unwrap();
        is_over.send(file.read_to_end(&mut Vec::new()).unwrap()).unwrap();
    });
    notifier.run_changed(&event("r1", RunState::Failed, 1));
    assert_eq!(tokio::time::timeout(DEADLINE, up).await.expect("the program starts").unwrap(), *b"up\n");
    stop.cancel();
    tokio::time::timeout(DEADLINE, task).await.expect("a stop does not wait for a program").unwrap();
    let rest = tokio::time::timeout(DEADLINE, over).await.expect("nobody holds the pipe any more").unwrap();
    assert_eq!(rest, 0);
}
