//! What the routes of one source have in common: which source is meant, and how they tell the time of a record.
//!
//! Not here: the routes (`log_route.rs`, `rejected_route.rs`).

use std::sync::Arc;

use edge::{Principal, Problem};
use positions::TimestampMicros;
use views::SourceDefinition;

use crate::definitions::Definitions;

/// The source of this name at this moment, for who may operate the system or write to the source; but for nobody from
/// whom rows are hidden, since what is told counts all of them.
///
/// # Errors
/// 404 with the names of those that there are, for whoever asks.
pub(crate) fn source_named(
    definitions: &Definitions,
    name: &str,
    principal: &Principal,
) -> Result<Arc<SourceDefinition>, Problem> {
    let pipeline = definitions.current().pipeline;
    let is_seen = |name: &str| principal.sees_all_rows() && (principal.may_operate() || principal.may_write(name));
    let known = || pipeline.sources.iter().map(|known| known.name.as_str()).filter(|name| is_seen(name));
    let found = pipeline.source(name).filter(|_| is_seen(name)).cloned();
    found.ok_or_else(|| Problem::unknown("source", name, known()))
}

/// A record's timestamp in UTC as RFC 3339, in milliseconds; `None` beyond what that can say.
pub(crate) fn time_of(timestamp: TimestampMicros) -> Option<String> {
    let at = chrono::DateTime::from_timestamp_micros(timestamp.0)?;
    Some(at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
}
