//! The answer to a request: what became of every event of it.
//!
//! Guarantee: nothing ambiguous. An event that `errors` does not name was good, and is stored. One that it names says
//! with `stored` whether it is in the log: `true`, `false`, or `null` where the log did not tell.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use views::{Offset, PartitionId, PositionToken, SourceName};

use crate::EventLogError;
use crate::problem::Problem;

/// What became of the events of one request.
#[derive(Clone, Debug, Default)]
pub(super) struct Receipt {
    /// Good events that the log acknowledged.
    pub accepted: usize,
    /// Events that are no good, stored as rejected ones or refused.
    pub rejected: usize,
    /// Why, of every event that is not accepted, in the order of the body.
    pub errors: Vec<EventError>,
    /// Covers everything that the log acknowledged.
    pub token: PositionToken,
    /// Events that the log did not acknowledge.
    pub unacknowledged: usize,
}

/// One event that was not accepted.
#[derive(Clone, Debug, Serialize)]
pub(super) struct EventError {
    /// Its place in the body.
    pub index: usize,
    /// Why.
    pub error: String,
    /// Whether the log holds it; `None`: the log did not tell.
    pub stored: Option<bool>,
}

impl Receipt {
    /// Notes an event that was never handed to the log.
    pub fn refuse(&mut self, index: usize, error: String) {
        self.rejected += 1;
        self.errors.push(EventError { index, error, stored: Some(false) });
    }

    /// Notes what the log said of an event; `bad` is why it is no good.
    pub fn note(
        &mut self,
        source: &SourceName,
        index: usize,
        bad: Option<String>,
        stored: Result<(PartitionId, Offset), &EventLogError>,
    ) {
        match stored {
            Ok((partition, offset)) => {
                self.token.cover(source, partition, offset.next());
                match bad {
                    None => self.accepted += 1,
                    Some(error) => {
                        self.rejected += 1;
                        self.errors.push(EventError { index, error, stored: Some(true) });
                    }
                }
            }
            Err(error) => {
                self.unacknowledged += 1;
                self.errors.push(EventError { index, error: error.to_string(), stored: None });
            }
        }
    }

    /// 200 where the log acknowledged everything it was given, else 503.
    pub fn into_response(mut self, retry_after_seconds: u64) -> Response {
        self.errors.sort_by_key(|error| error.index);
        let token = self.token.encode();
        if self.unacknowledged == 0 {
            let body = json!({
                "accepted": self.accepted, "rejected": self.rejected, "errors": self.errors, "token": token,
            });
            let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
            return (no_store, Json(body)).into_response();
        }
        let detail = format!(
            "the event log did not acknowledge {} of {} events",
            self.unacknowledged,
            self.accepted + self.rejected + self.unacknowledged
        );
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-acknowledged", "Event log did not acknowledge", detail)
            .with_hint(
                "send the events again whose `stored` is null; they may be in the log already: events with an id are \
                 still counted once",
            )
            .with_member("accepted", json!(self.accepted))
            .with_member("rejected", json!(self.rejected))
            .with_member("unacknowledged", json!(self.unacknowledged))
            .with_member("errors", json!(self.errors))
            .with_member("token", json!(token))
            .with_retry_after(retry_after_seconds)
            .into_response()
    }
}
