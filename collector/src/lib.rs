//! The collector: events over HTTP into the log, answered when the log has them.
//!
//! ```text
//!  POST --> form --> admission --> body --> inflate --> split --> intake (decode, append) --> receipt
//!         403, 415      429       408, 413  400, 413   400, 415         404, 503                 200
//!   |                                                    ^
//!   +--> sent_at: how far the client's clock is off      +-- envelope, cloud_event: bodies that hold more than events
//! ```
//!
//! `POST /v1/sources/{source}/events` takes a JSON array, one or more objects (`application/json`), or one object a
//! line (`application/x-ndjson`), plain or compressed; where the type says nothing (`text/plain`, none at all), the
//! body's beginning does. An object around events is taken apart where the source says so (`envelope.rs`), and a
//! CloudEvent in binary mode becomes one object (`cloud_event.rs`). Pages of other origins may send where
//! the setting has theirs. `GET /v1/sources/{source}` tells what such an object holds, and whether it may be
//! sent twice ([`SourceDetails`]). The answer to events is
//! `{"accepted": 2, "rejected": 1, "errors": [{"index": 1, "error": "...", "stored": true}], "token": "..."}`; every
//! other answer is a problem document ([`edge::Problem`]). `token` is a position token: a query that carries it sees
//! the events.
//!
//! Guarantee: an event counts as accepted once the log acknowledged it, and is checked by the very rules of
//! [`records::decode`]. Nothing is stored by half without saying so: see `receipt.rs`.
//!
//! **Bad events.** What can be set apart as one record goes to the log, good or bad, and a bad one is answered with its
//! reason and `"stored": true`: it ends in the master dataset with `_error` and payload, is counted, can be looked at,
//! and can be recomputed should the schema or the decoder have been wrong. Most senders of events do not read answers,
//! and what they send must not vanish. A sender that repairs and sends again asks for `?on_error=refuse`: bad events
//! are then left out, `"stored": false`. What the log can never hold (too large with its id, or against the brokers'
//! own rules) is left out, too, whatever was asked for. A body that cannot be taken apart (broken JSON around the
//! events, not gzip, not UTF-8) is refused as a whole, 400, nothing stored; so is one that is plainly something else
//! (a Parquet file, CSV), 415. A source whose topic is not archived any more until an operator has acted takes nothing,
//! 503: what is acknowledged must reach the record.
//!
//! Not here: how the log is reached (`event-log`), what becomes of an event in it (`batch-layer`, `speed-layer`).

mod admission;
mod body;
mod cloud_event;
mod config;
mod details;
mod envelope;
mod foreign;
mod form;
mod inflate;
mod intake;
pub mod metrics;
mod origins;
mod receipt;
mod sent_at;
mod sources;
mod split;
mod told;

use std::fmt;
use std::sync::Arc;

use ::metrics::counter;
use axum::body::BodyDataStream;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use positions::Clock;
use views::SourceDefinition;

use admission::Admission;
pub use config::CollectorSettings;
pub use details::{EventColumn, SourceDetails};
pub use origins::{allow_origins, page_rules};
pub use sources::{OpenSources, StoppedSource};

use crate::cloud_event::BinaryEvent;
use crate::form::Form;
use crate::inflate::Compression;
use crate::metrics::{COLLECTOR_BYTES, COLLECTOR_REQUESTS};
use crate::sent_at::{Correction, SentAt, SentInBody};
use crate::sources::Entered;
use crate::split::Sent;
use edge::{AllowedOrigins, Parameters, Principal, Problem, ProblemKind, Spending};
use event_log::EventLog;
use records::in_place;

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
        crate::metrics::announce();
        Self { admission: Admission::new(&settings), components, settings }
    }

    /// Answers a request once its body has been read, also where it is refused before.
    async fn collect(
        &self,
        principal: &Principal,
        source: &str,
        asked: &Asked,
        request: Request,
    ) -> Result<Response, Problem> {
        let (parts, body) = request.into_parts();
        let mut body = body.into_data_stream();
        let collected = match self.going_source(principal, source) {
            Ok(source) => self.collect_from(principal, source, asked, &parts.headers, &mut body).await,
            Err(problem) => Err(problem),
        };
        if collected.as_ref().is_err_and(|problem| problem.kind() != ProblemKind::SlowBody) {
            body::discard(&mut body, &parts.headers, &self.settings).await;
        }
        collected
    }

    async fn collect_from(
        &self,
        principal: &Principal,
        source: Entered,
        asked: &Asked,
        headers: &HeaderMap,
        body: &mut BodyDataStream,
    ) -> Result<Response, Problem> {
        let received = self.record_time();
        // Who still owes is refused before a body is inflated and taken apart for nothing.
        principal.spend(Spending::Bytes, 0)?;
        principal.spend(Spending::Events, 0)?;
        let sent_at = SentAt::of_request(headers, asked.sent_at.as_deref())?;
        let content = Content::of(headers, &self.settings.allowed_origins, source.decoder.source().name.as_str())?;
        let compression = Compression::of(headers)?;
        let mut admitted = self.admission.enter()?;
        let mut bytes = body::read(body, headers, &self.settings, &mut admitted).await?;
        let turn = self.admission.turn(bytes.len()).await;
        if let Some(compression) = compression.or_else(|| content.compression(&bytes)) {
            bytes = inflate::inflate(&bytes, compression, self.settings.max_inflated_bytes, &mut admitted).await?;
        }
        principal.spend(Spending::Bytes, bytes.len() as u64)?;
        counter!(COLLECTOR_BYTES).increment(bytes.len() as u64);
        let taken = in_place(bytes.len(), || self.take_apart(source.decoder.source(), &content, &bytes));
        let (events, sent_in_body) = taken?;
        drop(turn);
        principal.spend(Spending::Events, events.len() as u64)?;
        // Events that are no slices of it are held in its stead.
        drop(bytes);
        let correction = Correction::new(sent_at, sent_in_body, received, &self.settings)?;
        let receipt = self.store_events(&source, events, correction, asked.on_error).await?;
        Ok(told::receipt(principal, receipt).into_response(self.retry_after_seconds()))
    }

    /// A body to its events, and to the time at which it says that it was sent.
    fn take_apart(
        &self,
        source: &SourceDefinition,
        content: &Content,
        body: &Bytes,
    ) -> Result<(Vec<Sent>, SentInBody), Problem> {
        let form = match content {
            Content::Data(event) => return Ok((vec![event.with_data(body)?], Ok(None))),
            Content::Events(form) => *form,
        };
        let max_events = self.settings.max_events;
        match envelope::open(body, source.events_at(), max_events) {
            Some(envelope) => {
                let sent_at = SentAt::of_envelope(&envelope.sent_at);
                Ok((split::at_most(envelope.events, max_events)?, sent_at))
            }
            None => Ok((split::split(body, form, max_events)?, Ok(None))),
        }
    }

    /// The source, for who may write to it; for others there is none.
    fn source(&self, principal: &Principal, name: &str) -> Result<Entered, Problem> {
        let found = self.components.sources.enter(name, |name| principal.may_write(name));
        found.map_err(|known| Problem::unknown("source", name, known))
    }

    /// The source, unless it has stopped: what would be acknowledged now might never be counted.
    fn going_source(&self, principal: &Principal, name: &str) -> Result<Entered, Problem> {
        let source = self.source(principal, name)?;
        match self.components.sources.stopped(&source.decoder.source().name) {
            Some(stop) => Err(told::stopped(principal, name, stop)),
            None => Ok(source),
        }
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

/// The path that takes events.
const EVENTS: &str = "/v1/sources/{source}/events";

/// The routes in words, for an answer to an unknown one.
pub const ROUTES: [&str; 2] = ["GET /v1/sources/{source}", "POST /v1/sources/{source}/events"];

/// The routes of the collector; to be merged with those of other roles, inside of [`allow_origins`].
pub fn router(collector: Arc<Collector>) -> Router {
    // The collector keeps its own limit on the body, which a setting names.
    let events = post(post_events).layer(axum::extract::DefaultBodyLimit::disable());
    let router = Router::new().route("/v1/sources/{source}", get(get_details)).route(EVENTS, events);
    edge::refuse_other_methods(router, &ROUTES).with_state(collector)
}

/// What a body holds, as the headers say.
enum Content {
    /// Events, set apart in this form; without one the body tells.
    Events(Option<Form>),
    /// The data of one event, whose attributes are headers.
    Data(BinaryEvent),
}

impl Content {
    fn of(headers: &HeaderMap, allowed: &AllowedOrigins, source: &str) -> Result<Self, Problem> {
        match BinaryEvent::of(headers)? {
            Some(event) => Ok(Self::Data(event)),
            None => form::form_of(headers, allowed, source).map(Self::Events),
        }
    }

    /// How a body is compressed that does not say so. Data may well be an archive, and are taken as they are.
    fn compression(&self, body: &[u8]) -> Option<Compression> {
        match self {
            Self::Events(_) => Compression::of_magic(body),
            Self::Data(_) => None,
        }
    }
}

/// What the parameters of a request ask for.
#[derive(Debug)]
struct Asked {
    on_error: OnError,
    sent_at: Option<String>,
}

impl Asked {
    fn of(uri: &Uri) -> Result<Self, Problem> {
        let mut parameters = Parameters::of(uri)?;
        let on_error = parameters.one_of("on_error", &[("keep", OnError::Keep), ("refuse", OnError::Refuse)])?;
        let sent_at = parameters.take(sent_at::PARAMETER)?;
        parameters.finish()?;
        Ok(Self { on_error: on_error.unwrap_or_default(), sent_at })
    }
}

/// What becomes of an event that cannot be decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum OnError {
    /// It is stored and counted as rejected.
    #[default]
    Keep,
    /// It is left out.
    Refuse,
}

async fn post_events(
    State(collector): State<Arc<Collector>>,
    principal: Principal,
    source: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let asked = edge::path_text(source).and_then(|source| Ok((source, Asked::of(request.uri())?)));
    let collected = match asked {
        Ok((source, asked)) => collector.collect(&principal, &source, &asked, request).await,
        Err(problem) => Err(problem),
    };
    let response = collected.unwrap_or_else(IntoResponse::into_response);
    counter!(COLLECTOR_REQUESTS, "status" => response.status().as_str().to_owned()).increment(1);
    response
}

async fn get_details(
    State(collector): State<Arc<Collector>>,
    principal: Principal,
    source: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Json<SourceDetails>, Problem> {
    edge::no_parameters(&uri)?;
    let source = edge::path_text(source)?;
    collector.source(&principal, &source).map(|source| Json(SourceDetails::new(source.decoder.source())))
}
