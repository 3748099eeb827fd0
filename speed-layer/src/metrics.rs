//! The metrics of the speed layer, and the one way to raise them. Measured per micro-batch or run, never per event.
//!
//! Guarantee: labels are bounded: sources, views, and the expressions that views have.

use std::collections::BTreeMap;
use std::time::Duration;

use metrics::{counter, histogram};
use positions::{SourceName, ViewName};
use views::PlannedView;

/// Records in appended runs.
pub(crate) const RECORDS: &str = "twofold_speed_records_total";
/// Rejected records among them.
pub(crate) const REJECTED: &str = "twofold_speed_rejected_total";
/// Copies left out among them.
pub(crate) const COPIES: &str = "twofold_speed_copies_total";
/// Late events among them.
pub(crate) const LATE: &str = "twofold_speed_late_total";
/// Runs appended.
pub(crate) const RUNS: &str = "twofold_speed_runs_total";
/// Merges of runs.
pub(crate) const MERGES: &str = "twofold_speed_merges_total";
/// Runs dropped because batch versions cover them.
pub(crate) const DROPPED_RUNS: &str = "twofold_speed_dropped_runs_total";
/// Partitions started.
pub(crate) const STARTS: &str = "twofold_speed_starts_total";
/// Steps that failed and are tried again.
pub(crate) const FAILURES: &str = "twofold_speed_failures_total";
/// Micro-batches that a view's plan failed on.
const VIEW_FAILURES: &str = "twofold_speed_view_failures_total";
/// Rows on which an expression of a view failed, and so is NULL, once for each micro-batch that holds them.
const FAILED_ROWS: &str = "twofold_speed_failed_rows_total";
/// From a poll's return to the last append of its records.
const BATCH_SECONDS: &str = "twofold_speed_batch_seconds";

/// Reports all counters once, at 0: a counter that first appears with its first failure shows no increase.
pub(crate) fn announce<'a>(source: &SourceName, views: impl Iterator<Item = &'a PlannedView>) {
    for name in [RECORDS, REJECTED, COPIES, LATE, RUNS, MERGES, DROPPED_RUNS, STARTS, FAILURES] {
        count(name, source, 0);
    }
    for view in views {
        count_view_failures(&view.name, 0);
        let expressions = view.plans.fallible_inputs().unwrap_or_default();
        count_failed_rows(&view.name, expressions.into_iter().map(|expression| (expression, 0)).collect());
    }
}

/// Raises a counter of `source`.
pub(crate) fn count(name: &'static str, source: &SourceName, by: u64) {
    counter!(name, "source" => source.to_string()).increment(by);
}

/// Notes micro-batches that the plan of `view` failed on.
pub(crate) fn count_view_failures(view: &ViewName, by: u64) {
    counter!(VIEW_FAILURES, "view" => view.to_string()).increment(by);
}

/// Notes rows that expressions of `view` failed on, by the expression.
pub(crate) fn count_failed_rows(view: &ViewName, failed: BTreeMap<String, u64>) {
    for (expression, rows) in failed {
        counter!(FAILED_ROWS, "view" => view.to_string(), "expression" => expression).increment(rows);
    }
}

/// Notes how long it took from a poll's return to the last append of its records.
pub(crate) fn time_batch(source: &SourceName, took: Duration) {
    histogram!(BATCH_SECONDS, "source" => source.to_string()).record(took.as_secs_f64());
}
