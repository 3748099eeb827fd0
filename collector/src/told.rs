//! What a sender is told of the log and of what stops a source, by who sends.
//!
//! In: the whole of it. Out: for who may operate the system all of it, unchanged; for others what to do with their
//! events, and no word of a store.
//! Guarantee: what is left out depends on the principal alone, never on what would be told. Pure.
//! Why so: a page shows its key to all its visitors, and what a log says of itself names brokers, folders and topics.

use edge::{Principal, Problem, ProblemKind};

use crate::receipt::Receipt;
use crate::sources::StoppedSource;

/// In the place of reasons that are for operators.
const OPERATORS_SEE_WHY: &str = "whoever operates the system sees why in its log and in /v1/status";

/// The refusal of a source that takes no events.
pub(super) fn stopped(principal: &Principal, source: &str, stop: StoppedSource) -> Problem {
    let (reason, way_out) = if principal.may_operate() {
        (stop.reason, stop.way_out)
    } else {
        (OPERATORS_SEE_WHY.to_owned(), "tell whoever operates the system".to_owned())
    };
    let detail = format!("source {source} takes no events, it has stopped: {reason}");
    Problem::new(ProblemKind::SourceStopped, detail).with_hint(way_out)
}

/// The receipt of a request.
pub(super) fn receipt(principal: &Principal, mut receipt: Receipt) -> Receipt {
    if !principal.may_operate() {
        // What is stored, or never will be, has an error of its own.
        let of_log = receipt.errors.iter_mut().filter(|error| error.stored.is_none());
        of_log.for_each(|error| error.error = format!("the event log did not take it now: {OPERATORS_SEE_WHY}"));
    }
    receipt
}
