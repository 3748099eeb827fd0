//! A whole system in this process whose views stand, phase by phase, in realtime, in batch and in both.

use std::time::{Duration, Instant};

use batch_layer::recompute::Mode;
use serde_json::Value;
use twofold::client::{Client, SendOutcome};
use twofold::config::{Config, ConfigInputs};
use twofold::system::System;
use views::Pipeline;

use crate::support::parts::AT_ONCE;

const DEADLINE: Duration = Duration::from_secs(60);

/// What happens before questions are asked: first a publication, then events up to so many.
pub struct Phase {
    pub publish: Option<Mode>,
    pub events: usize,
    /// Whether batch and whether realtime then have records in each view.
    pub layers: (bool, bool),
}

/// Every event has a time among those of the others: what comes later is late, and falls into buckets that batch has.
pub const PHASES: [Phase; 5] = [
    Phase { publish: None, events: 700, layers: (false, true) },
    Phase { publish: Some(Mode::Incremental), events: 700, layers: (true, false) },
    Phase { publish: None, events: 1_000, layers: (true, true) },
    Phase { publish: Some(Mode::Incremental), events: 1_200, layers: (true, true) },
    Phase { publish: Some(Mode::Full), events: 1_200, layers: (true, false) },
];

pub struct World {
    pub client: Client,
    system: System,
    views: Vec<String>,
    sent: usize,
    token: String,
    _data: tempfile::TempDir,
}

impl World {
    pub async fn start(pipeline: Pipeline) -> Self {
        let data = tempfile::tempdir().unwrap();
        let flags = vec![("system.data_dir".to_owned(), data.path().to_str().unwrap().to_owned())];
        let files = vec![("test".to_owned(), AT_ONCE.to_owned())];
        let config = Config::read(ConfigInputs { files, flags, environment: Vec::new() }).unwrap();
        let views = pipeline.views.iter().map(|view| view.name.to_string()).collect();
        let system = System::start(config, pipeline).await.unwrap();
        let client = Client::new(&system.url()).unwrap();
        Self { client, system, views, sent: 0, token: String::new(), _data: data }
    }

    /// Brings the world into a phase; of `events` those are sent that were not yet.
    pub async fn enter(&mut self, phase: &Phase, events: &[Value]) {
        if let Some(mode) = phase.publish {
            self.publish_all(mode).await;
        }
        if self.sent < phase.events {
            self.send(&events[self.sent..phase.events]).await;
            self.sent = phase.events;
        }
        for view in &self.views {
            assert_eq!(self.layers(view).await, phase.layers, "batch and realtime of {view}");
        }
    }

    /// Every tenth event twice: a copy counts once.
    async fn send(&mut self, events: &[Value]) {
        let copies = events.iter().step_by(10);
        let lines: String = events.iter().chain(copies).map(|event| format!("{event}\n")).collect();
        let receipt = match self.client.send_events("events", lines.into()).await.unwrap() {
            SendOutcome::Received(receipt) => receipt,
            SendOutcome::Later { reason, .. } => panic!("{reason}"),
        };
        assert_eq!(receipt.rejected, 0, "{:?}", receipt.errors);
        self.token = receipt.token;
    }

    /// Whether batch and whether realtime have records in an answer about everything that was sent.
    async fn layers(&self, view: &str) -> (bool, bool) {
        let parameters = [("after", self.token.as_str()), ("timeout", "30s"), ("limit", "1")];
        let answer = self.client.get(&format!("/v1/views/{view}/rows"), &parameters).await.unwrap();
        (answer["envelope"]["batch_rows"] != 0, answer["envelope"]["realtime_rows"] != 0)
    }

    /// Recomputes until nothing of any view's answer is realtime's.
    async fn publish_all(&self, mode: Mode) {
        let deadline = Instant::now() + DEADLINE;
        for view in &self.views {
            while self.layers(view).await != (true, false) {
                assert!(Instant::now() < deadline, "batch never covered all of {view}");
                let round = self.system.recompute(mode).await.unwrap();
                assert!(round.values().all(|outcome| outcome.is_ok()), "{round:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    pub async fn stop(self) {
        self.system.stop().await.unwrap();
    }
}
