//! The collector over real HTTP on loopback: what it stores, what it answers, and how little a client can take from it.

mod answers;
mod clocks;
mod cloud_events;
mod encodings;
mod envelopes;
pub mod fake;
mod fuzz;
mod limits;
mod pages;
mod stopped;
mod types;

use std::sync::Arc;

use collector::{Collector, CollectorComponents, CollectorSettings, OpenSources, allow_origins, router};
use reqwest::header::HeaderMap;
use reqwest::{Body, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use views::SourceDefinition;

use crate::decode::{NOW, clicks};
use crate::support::principals::as_anyone;
use crate::support::seams::ManualClock;
pub use answers::gzip;
use fake::FakeLog;

pub const JSON: &str = "application/json";
pub const LINES: &str = "application/x-ndjson";

/// An event with an id.
pub fn event(id: &str) -> String {
    format!(r#"{{"time":"2026-01-31T11:59:59.5Z", "id":"{id}", "page":"/{id}"}}"#)
}

/// A collector over one source.
pub fn collector_of(log: Arc<FakeLog>, source: SourceDefinition, settings: CollectorSettings) -> Arc<Collector> {
    let sources = Arc::new(OpenSources::of([Arc::new(source)]));
    // Not on a whole millisecond: records carry no more.
    let clock = Arc::new(ManualClock::at(NOW + 999));
    Arc::new(Collector::new(CollectorComponents { log, sources, clock }, settings))
}

/// A collector that listens.
pub struct Server {
    pub log: Arc<FakeLog>,
    pub stop: CancellationToken,
    pub tasks: JoinSet<()>,
    pub address: String,
}

impl Server {
    pub async fn start(settings: CollectorSettings) -> Self {
        Self::start_for(clicks(), settings).await
    }

    pub async fn start_for(source: SourceDefinition, settings: CollectorSettings) -> Self {
        let log = Arc::new(FakeLog::default());
        let allowed = settings.allowed_origins.clone();
        let collector = collector_of(log.clone(), source, settings);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let stopped = stop.clone().cancelled_owned();
        tasks.spawn(async move {
            let app = as_anyone(allow_origins(router(collector), allowed));
            axum::serve(listener, app).with_graceful_shutdown(stopped).await.unwrap();
        });
        Self { log, stop, tasks, address }
    }

    /// Where events go.
    pub fn events(&self) -> String {
        format!("{}/v1/sources/clicks/events", self.address)
    }

    pub fn request(&self, path: &str, content_type: &str, body: impl Into<Body>) -> reqwest::RequestBuilder {
        let url = format!("{}/v1/sources/{path}", self.address);
        reqwest::Client::new().post(url).header("content-type", content_type).body(body)
    }

    pub async fn post(&self, content_type: &str, body: impl Into<Body>) -> Answer {
        Answer::of(self.request("clicks/events", content_type, body).send().await.unwrap()).await
    }

    /// With a `Content-Encoding`.
    pub async fn post_packed(&self, content_type: &str, encoding: &str, body: Vec<u8>) -> Answer {
        let request = self.request("clicks/events", content_type, body).header("content-encoding", encoding);
        Answer::of(request.send().await.unwrap()).await
    }

    /// As `post`, or without any `Content-Type`.
    pub async fn post_of(&self, content_type: Option<&str>, body: impl Into<Body>) -> Answer {
        let request = reqwest::Client::new().post(self.events()).body(body);
        let request = content_type.into_iter().fold(request, |request, value| request.header("content-type", value));
        Answer::of(request.send().await.unwrap()).await
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub retry_after: Option<String>,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub async fn of(response: Response) -> Self {
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (content_type, retry_after) = (header("content-type").unwrap_or_default(), header("retry-after"));
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Self { status, content_type, retry_after, headers, body }
    }

    /// Fails unless this is a problem of the kind, with a text that holds `part`.
    #[track_caller]
    pub fn check_problem(&self, status: u16, name: &str, part: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.content_type, "application/problem+json");
        assert_eq!(self.body["status"], status, "{self:?}");
        assert_eq!(self.body["type"], format!("urn:twofold:problem:{name}"), "{self:?}");
        assert!(self.body["title"].is_string());
        assert!(self.body["detail"].as_str().unwrap().contains(part), "{self:?}");
    }

    /// A header, where there is one.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The way out that a problem names; empty where it names none.
    pub fn hint(&self) -> &str {
        self.body["hint"].as_str().unwrap_or_default()
    }

    /// Fails unless these many events were accepted and rejected.
    #[track_caller]
    pub fn check_counts(&self, accepted: usize, rejected: usize) {
        assert_eq!(self.status, 200, "{self:?}");
        assert_eq!((&self.body["accepted"], &self.body["rejected"]), (&accepted.into(), &rejected.into()), "{self:?}");
    }
}
