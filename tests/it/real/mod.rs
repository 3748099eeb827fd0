//! The system on real Kafka, Redis and S3, where these do what embedded parts cannot: partitions that move and grow,
//! topics that vanish, sources that change under load, stores that are slow, silent, restored from an older copy.

mod backlog;
mod kafka;
mod proxy;
mod redis;
mod roles;
mod s3;
mod schema;
mod topics;
mod workflow;

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Instant;

use serde_json::{Value, json};
use tests::services::Services;

use crate::support::process::{DEADLINE, Running, Setup};

const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (
  id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, page VARCHAR NOT NULL, amount BIGINT NOT NULL
) STORED AS JSON LOCATION 'kafka://hits'
  OPTIONS (event_time 'time', event_id 'id', grid '64', gap '500ms', partitions '4');

CREATE MATERIALIZED VIEW hits_by_page AS
SELECT page, count(*) AS hits, sum(amount) AS amount FROM hits GROUP BY page;
";
const VIEW: &str = "hits_by_page";
const EVENTS_PER_REQUEST: i64 = 100;

/// What outlives the processes of one test, and the events that were sent so far.
struct World {
    services: Services,
    setup: Setup,
    _folder: tempfile::TempDir,
    // Event `n` is the same in every world; what is below was acknowledged.
    sent: AtomicI64,
    newest_token: std::sync::Mutex<String>,
}

impl World {
    /// `None` where there are no services.
    fn new() -> Option<Self> {
        let services = Services::find()?;
        let folder = tempfile::tempdir().unwrap();
        let setup = Setup::new(folder.path(), &services.pipeline(PIPELINE), services.settings())
            .with_short_waits()
            .with("ARCHIVE__COMMIT_INTERVAL", "100ms")
            .with("BATCH__INTERVAL", "1s")
            .with("SPEED__COURTESY", "500ms")
            .with("LOG__SESSION_TIMEOUT", "3s");
        Some(Self { services, setup, _folder: folder, sent: AtomicI64::new(0), newest_token: Default::default() })
    }

    fn with(mut self, key: &str, value: &str) -> Self {
        self.setup = self.setup.with(key, value);
        self
    }

    /// With another option of the source: `with_option("grid '64'", "grid '4096'")`.
    fn with_option(self, old: &str, new: &str) -> Self {
        let text = std::fs::read_to_string(&self.setup.pipeline).unwrap();
        assert!(text.contains(old), "no {old} in the pipeline");
        std::fs::write(&self.setup.pipeline, text.replace(old, new)).unwrap();
        self
    }

    fn topic(&self) -> String {
        self.services.named("hits")
    }

    fn sent(&self) -> i64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// Sends one request of new events; repeated until all are stored.
    async fn send(&self, to: &Running) {
        let first = self.sent();
        let lines: Vec<String> = (first..first + EVENTS_PER_REQUEST).map(event).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let deadline = Instant::now() + DEADLINE;
        let token = loop {
            match to.try_post("hits", &lines).await {
                Ok((200, body)) if body["accepted"] == json!(lines.len()) => break body["token"].clone(),
                answer => assert!(Instant::now() < deadline, "nothing is taken: {answer:?}\n{}", to.log()),
            }
        };
        self.sent.fetch_add(EVENTS_PER_REQUEST, Ordering::SeqCst);
        *self.newest_token.lock().unwrap() = token.as_str().unwrap().to_owned();
    }

    /// Sends requests while `condition` is awaited, and at least `least`.
    async fn send_until<T>(&self, to: &Running, least: i64, condition: impl Future<Output = T>) -> T {
        let is_met = AtomicBool::new(false);
        let from = self.sent();
        let sending = async {
            while !is_met.load(Ordering::SeqCst) || self.sent() < from + least * EVENTS_PER_REQUEST {
                self.send(to).await;
            }
        };
        let waiting = async {
            let met = condition.await;
            is_met.store(true, Ordering::SeqCst);
            met
        };
        tokio::join!(sending, waiting).1
    }

    /// What was acknowledged is answered exactly, by whichever layers.
    async fn check_exact(&self, gateway: &Running) -> Value {
        let token = self.newest_token.lock().unwrap().clone();
        let answer = gateway.rows(VIEW, &[("by", ""), ("after", &token), ("timeout", "30s")]).await;
        let (sent, row) = (self.sent(), &answer["rows"][0]);
        assert_eq!(row["hits"], json!(sent), "{}\n{}", answer["envelope"], gateway.log());
        assert_eq!(row["amount"], json!(sent * (sent - 1) / 2), "{}", answer["envelope"]);
        answer
    }

    /// Waits until batch alone answers for everything, exactly.
    async fn check_batch(&self, gateway: &Running) -> Value {
        eventually(gateway, "batch covers everything", || async {
            let answer = self.check_exact(gateway).await;
            (answer["envelope"]["realtime_rows"] == json!(0)).then_some(answer)
        })
        .await
    }

    /// Asks once: whatever the answer says, it must be right for the head that it claims, and the head must not go
    /// back.
    async fn check_claim(&self, gateway: &Running, seen: &mut i64) -> Value {
        let answer = gateway.rows(VIEW, &[("by", "")]).await;
        let envelope = &answer["envelope"];
        let head: i64 = envelope["head"].as_object().unwrap().values().map(|offset| offset.as_i64().unwrap()).sum();
        let hits = answer["rows"][0]["hits"].as_i64().unwrap_or(0);
        let copies = envelope["copies"].as_i64().unwrap();
        assert_eq!(hits + copies, head, "{envelope}\n{}", gateway.log());
        assert!(head >= *seen, "the head went back from {seen}: {envelope}");
        *seen = head;
        answer
    }
}

fn event(number: i64) -> String {
    let (hour, minute, page) = (number / 60 % 24, number % 60, number % 7);
    format!(r#"{{"id":"e{number}","time":"2026-01-05T{hour:02}:{minute:02}:00Z","page":"p{page}","amount":{number}}}"#)
}

/// Asks again and again until there is an answer.
async fn eventually<T, F: Future<Output = Option<T>>>(process: &Running, what: &str, ask: impl Fn() -> F) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(Instant::now() < deadline, "never came: {what}\n{}", process.log());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// Waits until a process has written `text` more than `before` times.
async fn until_logged(process: &Running, text: &str, before: usize) {
    eventually(process, text, || async { (process.log().matches(text).count() > before).then_some(()) }).await;
}

/// Waits until the source has stopped; why.
async fn until_stopped(process: &Running) -> String {
    eventually(process, "the source stops", || async {
        let status = process.status().await;
        status["system"]["stopped_sources"]["hits"].as_str().map(str::to_owned)
    })
    .await
}
