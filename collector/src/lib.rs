//! The collector: events over HTTP into the log, answered when the log has them.
//!
//! ```text
//!  POST --> admission --> body (read, inflate) --> split --> intake (decode, append) --> receipt
//!             429           408, 413, 415           400          404, 503                  200
//! ```
//!
//! `POST /v1/sources/{source}/events` takes a JSON array, one or more objects (`application/json`), or one object a line
//! (`application/x-ndjson`), plain or gzip. `GET /v1/sources/{source}` tells what such an object holds, and whether it
//! may be sent twice ([`SourceDetails`]). The answer to events is
//! `{"accepted": 2, "rejected": 1, "errors": [{"index": 1, "error": "...", "stored": true}], "token": "..."}`; every other
//! answer is a problem detail ([`edge`]). `token` is a position token: a query that carries it sees the events.
//!
//! Guarantee: an event counts as accepted once the log acknowledged it, and is judged by the very rules of
//! [`records::decode`]. Nothing is stored by half without saying so: see `receipt.rs`.
//!
//! **Bad events.** What can be set apart as one record goes to the log, good or bad, and a bad one is answered with its
//! reason and `"stored": true`: it ends in the master dataset with `_error` and payload, is counted, can be looked at, and
//! can be recomputed should the schema or the decoder have been wrong. Most senders of events do not read answers, and
//! what they send must not vanish. A sender that repairs and sends again asks for `?on_error=refuse`: bad events are then
//! left out, `"stored": false`. What the log can never hold (too large with its id, or against the brokers' own rules) is
//! left out, too, whatever was asked for. A body that cannot be
//! taken apart (broken JSON around the events, no gzip, no UTF-8) is refused as a whole, 400, nothing stored.
//!
//! Not here: who may send (a later issue), how the log is reached (`kafka.rs`), correcting clients' clocks (later).

mod admission;
mod body;
mod details;
mod intake;
pub mod metric;
mod receipt;
mod settings;
mod sources;
mod split;

use std::fmt;
use std::sync::Arc;

use axum::body::BodyDataStream;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use metrics::counter;
use positions::Clock;
use serde::Deserialize;

use admission::Admission;
pub use details::{SourceColumn, SourceDetails};
pub use settings::CollectorSettings;
pub use sources::OpenSources;

use crate::metric::{COLLECTOR_BYTES, COLLECTOR_REQUESTS};
use crate::sources::Entered;
use edge::Problem;
use event_log::EventLog;

/// What the collector works with.
#[derive(Clone)]
pub struct CollectorComponents {
    /// Where events go.
    pub log: Arc<dyn EventLog>,
    /// The sources that take events; others may come and go.
    pub sources: Arc<OpenSources>,
    /// The time that records are stamped with.
    pub clock: Arc<dyn Clock>,
}

/// Takes events of all open sources.
pub struct Collector {
    components: CollectorComponents,
    settings: CollectorSettings,
    admission: Admission,
}

impl Collector {
    /// A collector. Does no IO; topics must exist before the first event comes.
    pub fn new(components: CollectorComponents, settings: CollectorSettings) -> Self {
        Self { admission: Admission::new(&settings), components, settings }
    }

    /// Answers a request once its body has been read, also where it is refused before.
    async fn collect(&self, source: &str, options: Options, request: Request) -> Result<Response, Problem> {
        let (parts, body) = request.into_parts();
        let mut body = body.into_data_stream();
        let collected = self.collect_from(source, options, &parts.headers, &mut body).await;
        if collected.as_ref().is_err_and(|problem| problem.status() != StatusCode::REQUEST_TIMEOUT) {
            body::discard(&mut body, &parts.headers, &self.settings).await;
        }
        collected
    }

    async fn collect_from(
        &self,
        source: &str,
        options: Options,
        headers: &HeaderMap,
        body: &mut BodyDataStream,
    ) -> Result<Response, Problem> {
        let source = self.source(source)?;
        let form = body::form(headers)?;
        let encoding = body::encoding(headers)?;
        let mut admitted = self.admission.enter()?;
        let mut bytes = body::read(body, headers, &self.settings, &mut admitted).await?;
        if encoding == body::Encoding::Gzip {
            bytes = body::inflate(&bytes, self.settings.max_inflated_bytes, &mut admitted).await?;
        }
        counter!(COLLECTOR_BYTES).increment(bytes.len() as u64);
        let events = split::split(&bytes, form, self.settings.max_events)?;
        let receipt = self.take_in(&source.definition, events, options.on_error).await?;
        Ok(receipt.into_response(self.retry_after_seconds()))
    }

    fn source(&self, name: &str) -> Result<Entered, Problem> {
        self.components.sources.enter(name).map_err(|known| {
            let detail = format!("no source is named {name}");
            Problem::new(StatusCode::NOT_FOUND, "unknown-source", "Unknown source", detail)
                .with_hint(format!("sources of this pipeline: {}", known.join(", ")))
                .with_member("known", known.into())
        })
    }

    fn retry_after_seconds(&self) -> u64 {
        self.settings.retry_after.as_secs().max(1)
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The routes in words, for an answer to an unknown one.
pub const ROUTES: [&str; 2] = ["GET /v1/sources/{source}", "POST /v1/sources/{source}/events"];

/// The routes of the collector; to be merged with those of other roles.
pub fn router(collector: Arc<Collector>) -> Router {
    let events = post(post_events).fallback(async || other_method("events are sent with POST", "POST"));
    // The collector keeps its own limit on the body, which a setting names.
    let events = events.layer(axum::extract::DefaultBodyLimit::disable());
    let details = get(get_details).fallback(async || other_method("a source is asked for with GET", "GET"));
    Router::new()
        .route("/v1/sources/{source}", details)
        .route("/v1/sources/{source}/events", events)
        .with_state(collector)
}

/// What a request may ask for.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    on_error: OnError,
}

/// What becomes of an event that cannot be decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OnError {
    /// It is stored and counted as rejected.
    #[default]
    Keep,
    /// It is left out.
    Refuse,
}

async fn post_events(
    State(collector): State<Arc<Collector>>,
    source: Result<Path<String>, PathRejection>,
    options: Result<Query<Options>, QueryRejection>,
    request: Request,
) -> Response {
    let response = match (source, options) {
        (Ok(Path(source)), Ok(Query(options))) => {
            collector.collect(&source, options, request).await.unwrap_or_else(IntoResponse::into_response)
        }
        (Err(rejection), _) => bad_request(rejection.body_text()).into_response(),
        (_, Err(rejection)) => bad_request(rejection.body_text())
            .with_hint("the only parameter is `on_error`: keep (the default) or refuse")
            .into_response(),
    };
    counter!(COLLECTOR_REQUESTS, "status" => response.status().as_str().to_owned()).increment(1);
    response
}

async fn get_details(
    State(collector): State<Arc<Collector>>,
    source: Result<Path<String>, PathRejection>,
) -> Result<Json<SourceDetails>, Problem> {
    let Path(source) = source.map_err(|rejection| bad_request(rejection.body_text()))?;
    collector.source(&source).map(|source| Json(SourceDetails::new(&source.definition)))
}

fn other_method(detail: &str, allowed: &'static str) -> Response {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed", detail)
        .with_header(header::ALLOW, HeaderValue::from_static(allowed))
        .into_response()
}

fn bad_request(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-request", "Request cannot be understood", detail)
}
