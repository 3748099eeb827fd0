//! Names of the batch layer's metrics, and the one way to raise them. Measured per commit, never per event.

use metrics::{counter, gauge, histogram};

/// Rows committed to the master dataset.
pub const ARCHIVE_ROWS: &str = "twofold_archive_rows_total";
/// Rejected records among them.
pub const ARCHIVE_REJECTED: &str = "twofold_archive_rejected_total";
/// Commits to the master dataset.
pub const ARCHIVE_COMMITS: &str = "twofold_archive_commits_total";
/// Commits lost to another archiver.
pub const ARCHIVE_RACES: &str = "twofold_archive_races_total";
/// Failed attempts to read the log or to commit.
pub const ARCHIVE_FAILURES: &str = "twofold_archive_failures_total";
/// Offsets that expired before they were archived.
pub const ARCHIVE_HOLES: &str = "twofold_archive_holes_offsets_total";
/// Published versions.
pub const BATCH_PUBLICATIONS: &str = "twofold_batch_publications_total";
/// Recomputes that failed.
pub const BATCH_FAILURES: &str = "twofold_batch_failures_total";
/// Seconds from the start of a recompute to its publication.
pub const BATCH_SECONDS: &str = "twofold_batch_recompute_seconds";
/// The newest published version.
pub const BATCH_VERSION: &str = "twofold_batch_version_number";
/// Events below the newest cut.
pub const BATCH_ROWS: &str = "twofold_batch_covered_rows";

/// Raises a counter of the archive of `source`.
pub(crate) fn count(name: &'static str, source: &str, by: u64) {
    counter!(name, "source" => source.to_owned()).increment(by);
}

/// Raises a counter of a view's recomputes.
pub(crate) fn count_view(name: &'static str, view: &str) {
    counter!(name, "view" => view.to_owned()).increment(1);
}

/// Sets a gauge of a view.
pub(crate) fn set_view(name: &'static str, view: &str, value: f64) {
    gauge!(name, "view" => view.to_owned()).set(value);
}

/// Notes how long something took.
pub(crate) fn time_source(name: &'static str, source: &str, seconds: f64) {
    histogram!(name, "source" => source.to_owned()).record(seconds);
}
