//! Where the rejected records of a source are shown: named by the status, and by SQL that asks elsewhere.
//!
//! Not here: the table of SQL (`rejected_table.rs`), and the route. That reads the master dataset, which the gateway
//! never does, and belongs to the binary (`twofold/src/rejected_route.rs`), as the command does.

use serde::Serialize;

/// The table as a query writes it.
const TABLE: &str = "system.rejected";

/// How many records of a source were rejected, and where the reasons are read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RejectedStatus {
    /// How many, of those that batch and realtime have counted.
    pub records: u64,
    /// The command that shows the newest of them.
    pub command: String,
    /// The route that it asks.
    pub route: String,
}

impl RejectedStatus {
    /// Of a source; `None` where nothing was rejected.
    pub(crate) fn of(source: &str, records: u64) -> Option<Self> {
        (records > 0).then(|| Self { records, command: command(source), route: route(source) })
    }
}

/// What SQL that asks a source is told to do instead.
pub(crate) fn instead_of_source(source: &str, views: &[String]) -> String {
    let ask = if views.is_empty() { "no view reads it".to_owned() } else { format!("ask {}", views.join(" or ")) };
    let (command, route) = (command(source), route(source));
    format!("{ask}; `{command}`, {route} or the table {TABLE} shows which of its records were rejected, and why")
}

/// What is meant by a name that no view has, where that is rejected records.
pub(crate) fn instead_of_view(name: &str) -> Option<String> {
    (name == "rejected").then(|| format!("rejected records are in the table {TABLE}, which SQL reads"))
}

// Names of sources are letters, digits, `_` and `-`.
fn command(source: &str) -> String {
    format!("twofold rejected {source}")
}

fn route(source: &str) -> String {
    format!("GET /v1/sources/{source}/rejected")
}
