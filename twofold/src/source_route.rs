//! What the routes of one source have in common: which source is meant.
//!
//! Not here: the routes (`log_route.rs`, `rejected_route.rs`).

use std::sync::Arc;

use edge::{Principal, Problem};
use views::SourceDefinition;

use crate::definitions::Definitions;

/// The source of this name at this moment, for who may operate the system, or write to the source and sees all rows:
/// what is told of a source is of all its records.
///
/// # Errors
/// 404 with the names of those that there are, for whoever asks.
pub(crate) fn source_named(
    definitions: &Definitions,
    name: &str,
    principal: &Principal,
) -> Result<Arc<SourceDefinition>, Problem> {
    let pipeline = definitions.current().pipeline;
    let is_seen = |name: &str| principal.may_operate() || (principal.may_write(name) && principal.sees_all_rows());
    let known = || pipeline.sources.iter().map(|known| known.name.as_str()).filter(|name| is_seen(name));
    let found = pipeline.source(name).filter(|_| is_seen(name)).cloned();
    found.ok_or_else(|| Problem::unknown("source", name, known()))
}
