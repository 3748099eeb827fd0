//! The answer to a request: what became of every event of it.
//!
//! Guarantee: nothing ambiguous. An event that `errors` does not name was good, and is stored. One that it names says
//! with `stored` whether it is in the log: `true`, `false` (and never will be, as it is), or `null` where the log did
//! not take it now: send it again.
//! Why so: a client that sends again whatever is `null`, and only that, comes to an end. An event that the log will
//! never take must not keep it from that, so it is an error of its row and never a 503.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use positions::{Offset, PartitionId, PositionToken, SourceName};
use serde::Serialize;
use serde_json::{Value, json};
use views::SourceDefinition;

use edge::{Problem, ProblemKind};
use event_log::EventLogError;

/// The member with how many values are lost, by column; only where some are.
const UNREADABLE: &str = "unreadable";
/// The member with what was added to the times of the events; only where something was.
const CLOCK_SHIFT: &str = "clock_shift_ms";
/// The member that says why nothing was added, although the body says when it was sent.
const CLOCK_PASSED_OVER: &str = "clock_passed_over";

/// What became of the events of one request.
#[derive(Clone, Debug, Default)]
pub(super) struct Receipt {
    /// Good events that the log acknowledged.
    pub accepted: usize,
    /// Events that cannot be decoded or never be stored: kept as rejected ones, or refused.
    pub rejected: usize,
    /// Why, of every event that is not accepted, in the order of the body.
    pub errors: Vec<EventError>,
    /// By column, the values of good events that are NULL because the column cannot take them.
    pub unreadable: BTreeMap<String, u64>,
    /// Covers everything that the log acknowledged.
    pub token: PositionToken,
    /// Events that the log did not acknowledge.
    pub unacknowledged: usize,
    /// Those of them that the log has no room for at the moment.
    pub overloaded: usize,
    /// What is added to the times of the events, in microseconds; `None`: nothing.
    pub clock_shift: Option<i64>,
    /// Why a time at which the body says that it was sent is passed over.
    pub clock_passed_over: Option<String>,
}

/// One event that was not accepted.
#[derive(Clone, Debug, Serialize)]
pub(super) struct EventError {
    /// Its place in the body.
    pub index: usize,
    /// Why.
    pub error: String,
    /// Whether the log holds it; `None`: it is to be sent again, and may be in the log nevertheless.
    pub stored: Option<bool>,
}

impl Receipt {
    /// Notes an event that the log does not hold, and never will.
    pub fn refuse(&mut self, index: usize, error: String) {
        self.rejected += 1;
        self.errors.push(EventError { index, error, stored: Some(false) });
    }

    /// Notes how many values are lost of each declared column.
    pub fn note_unreadable(&mut self, source: &SourceDefinition, counts: &[u64]) {
        for (column, count) in source.declared.fields().iter().zip(counts).filter(|(_, count)| **count > 0) {
            *self.unreadable.entry(column.name().clone()).or_default() += count;
        }
    }

    /// Notes what the log said of an event; `rejection` is why it cannot be decoded.
    pub fn note(
        &mut self,
        source: &SourceName,
        index: usize,
        rejection: Option<String>,
        stored: Result<(PartitionId, Offset), &EventLogError>,
    ) {
        match stored {
            Ok((partition, offset)) => {
                self.token.cover(source, partition, offset.next());
                match rejection {
                    None => self.accepted += 1,
                    Some(error) => {
                        self.rejected += 1;
                        self.errors.push(EventError { index, error, stored: Some(true) });
                    }
                }
            }
            Err(error @ (EventLogError::TooLarge { .. } | EventLogError::Refused(_))) => {
                self.refuse(index, error.to_string());
            }
            Err(error) => {
                self.unacknowledged += 1;
                self.overloaded += usize::from(matches!(error, EventLogError::Overloaded(_)));
                self.errors.push(EventError { index, error: error.to_string(), stored: None });
            }
        }
    }

    /// 200 where nothing is to be sent again, 429 where the log only has no room for it now, else 503.
    pub fn into_response(mut self, retry_after_seconds: u64) -> Response {
        self.errors.sort_by_key(|error| error.index);
        let token = self.token.encode();
        if self.unacknowledged == 0 {
            let mut body = json!({
                "accepted": self.accepted, "rejected": self.rejected, "errors": self.errors, "token": token,
            });
            for (name, value) in self.rare_members() {
                body[name] = value;
            }
            let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
            return (no_store, Json(body)).into_response();
        }
        self.rare_members()
            .into_iter()
            .fold(self.problem(), |problem, (name, value)| problem.with_member(name, value))
            .with_member("accepted", self.accepted)
            .with_member("rejected", self.rejected)
            .with_member("unacknowledged", self.unacknowledged)
            .with_member("errors", json!(self.errors))
            .with_member("token", token)
            .with_retry_after(retry_after_seconds)
            .into_response()
    }

    /// What was lost, and what was done about the client's clock; mostly nothing.
    fn rare_members(&self) -> Vec<(&'static str, Value)> {
        let unreadable = (!self.unreadable.is_empty()).then(|| (UNREADABLE, json!(self.unreadable)));
        let shift = self.clock_shift.map(|micros| (CLOCK_SHIFT, json!(micros.div_euclid(1_000))));
        let passed_over = self.clock_passed_over.as_ref().map(|reason| (CLOCK_PASSED_OVER, json!(reason)));
        unreadable.into_iter().chain(shift).chain(passed_over).collect()
    }

    /// Why events are to be sent again: told by the first of them, as they mostly share one reason.
    fn problem(&self) -> Problem {
        let first = self.errors.iter().find(|error| error.stored.is_none());
        let detail = format!(
            "the event log did not acknowledge {} of {} events: {}",
            self.unacknowledged,
            self.accepted + self.rejected + self.unacknowledged,
            first.map_or("", |error| &error.error),
        );
        if self.overloaded == self.unacknowledged {
            let hint = "send the events again whose `stored` is null, after the time in Retry-After";
            return Problem::new(ProblemKind::Overloaded, detail).with_hint(hint);
        }
        Problem::new(ProblemKind::NotAcknowledged, detail).with_hint(
            "send the events again whose `stored` is null; they may be in the log already: events with an id are \
                 still counted once",
        )
    }
}
