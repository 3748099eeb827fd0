//! Events towards a process that changes, and questions to it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Result;
use positions::PositionToken;
use serde_json::Value;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use twofold::client::{Client, SendOutcome};

const DEADLINE: Duration = Duration::from_secs(60);
/// Events of one request.
const EVENTS: u64 = 5;

/// Numbered events of one source, each sent until it is acknowledged.
#[derive(Clone)]
pub struct Feed(Arc<State>);

struct State {
    source: &'static str,
    may_close: bool,
    sent: AtomicU64,
    acknowledged: AtomicU64,
    token: Mutex<PositionToken>,
}

impl Feed {
    /// `may_close`: whether the source may be unknown now and then.
    pub fn new(source: &'static str, may_close: bool) -> Self {
        let (sent, acknowledged) = (AtomicU64::new(0), AtomicU64::new(0));
        Self(Arc::new(State { source, may_close, sent, acknowledged, token: Mutex::default() }))
    }

    pub fn view(&self) -> String {
        format!("{}_count", self.0.source)
    }

    pub fn acknowledged(&self) -> u64 {
        self.0.acknowledged.load(Ordering::SeqCst)
    }

    pub fn token(&self) -> String {
        self.0.token.lock().unwrap().encode()
    }

    /// Returns when so many more events have been acknowledged.
    pub async fn wait_for(&self, more: u64) {
        let (goal, deadline) = (self.acknowledged() + more, Instant::now() + DEADLINE);
        while self.acknowledged() < goal {
            assert!(Instant::now() < deadline, "{}: {} of {goal} events", self.0.source, self.acknowledged());
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Sends until `stop`, and then until the last events are acknowledged.
    pub async fn send_on(self, client: Client, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let first = self.0.sent.fetch_add(EVENTS, Ordering::SeqCst);
            let line = |id: u64| format!(r#"{{"id":"{id}","time":"2026-01-05T10:00:00Z","page":"/{}"}}"#, id % 7);
            let lines = (first..first + EVENTS).map(line).collect::<Vec<_>>().join("\n");
            let token = self.send(&client, lines).await;
            self.0.token.lock().unwrap().merge(&PositionToken::decode(&token).unwrap());
            self.0.acknowledged.fetch_add(EVENTS, Ordering::SeqCst);
        }
    }

    async fn send(&self, client: &Client, lines: String) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match client.send_events(self.0.source, lines.clone().into()).await {
                Ok(SendOutcome::Received(receipt)) => {
                    assert_eq!(receipt.accepted, EVENTS, "{:?}", receipt.errors);
                    return receipt.token;
                }
                Ok(SendOutcome::Later { .. }) => {}
                Err(error) => {
                    let is_closed = error.to_string().contains("there is no source");
                    assert!(self.0.may_close && is_closed, "{}: {error:#}", self.0.source);
                }
            }
            assert!(Instant::now() < deadline, "{} takes nothing", self.0.source);
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Asks for all rows as of a token.
pub async fn rows(client: &Client, view: &str, token: &str) -> Result<Value> {
    client.get(&format!("/v1/views/{view}/rows"), &[("after", token), ("timeout", "30s")]).await
}

/// The events in an answer.
pub fn total(answer: &Value) -> u64 {
    answer["rows"].as_array().unwrap().iter().map(|row| row["n"].as_u64().unwrap()).sum()
}

/// Asks until `stop`: every answer holds what was acknowledged before, and nothing that was not sent. `is_calm`: it is
/// fresh, too.
pub async fn ask_on(client: Client, feed: Feed, is_calm: bool, stop: CancellationToken) {
    // Before there is anything to answer with, a view is being built.
    feed.wait_for(EVENTS).await;
    while !stop.is_cancelled() {
        let (least, token) = (feed.acknowledged(), feed.token());
        let answer = match rows(&client, &feed.view(), &token).await {
            Ok(answer) => answer,
            Err(error) => panic!("{error:#}\n{:#}", client.get("/v1/status", &[]).await.unwrap_or_default()),
        };
        let (found, most) = (total(&answer), feed.0.sent.load(Ordering::SeqCst));
        assert!((least..=most).contains(&found), "{found} is not in {least}..={most}: {answer:#}");
        assert!(!is_calm || answer["envelope"]["stale"] == false, "{answer:#}");
        sleep(Duration::from_millis(5)).await;
    }
}
