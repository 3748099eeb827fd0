//! Names of the metrics of the speed layer.

/// Records that stand in appended runs.
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
pub(crate) const VIEW_FAILURES: &str = "twofold_speed_view_failures_total";
/// From a poll's return to the last append of its records.
pub(crate) const BATCH_SECONDS: &str = "twofold_speed_batch_seconds";
