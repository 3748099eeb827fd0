//! Names of the batch layer's metrics, and the one way to raise them. Measured per commit, never per event.

use metrics::{counter, gauge, histogram};
use records::decode::REASON_KINDS;
use views::{Pipeline, SourceDefinition, Unreadable};

/// Rows committed to the master dataset.
pub const ARCHIVE_ROWS: &str = "twofold_archive_rows_total";
/// Rejected records among them, by the kind of their reason.
pub const ARCHIVE_REJECTED: &str = "twofold_archive_rejected_total";
/// Values that are NULL because they could not be read, by column, of sources that are not strict.
pub const ARCHIVE_UNREADABLE: &str = "twofold_archive_unreadable_total";
/// Declared columns that no row has given a value since the archive started, while keys came that may be meant for
/// them.
pub const ARCHIVE_UNSEEN: &str = "twofold_archive_unseen_columns";
/// Rejected records that were appended to the topic `<topic>.dead`, of archives that do so.
pub const ARCHIVE_DEAD: &str = "twofold_archive_dead_total";
/// Rejected records that were not, and will not be.
pub const ARCHIVE_DEAD_MISSED: &str = "twofold_archive_dead_missed_total";
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
/// Rows on which an expression of a view failed, and so is NULL, once for each recompute of them.
pub const BATCH_FAILED_ROWS: &str = "twofold_batch_failed_rows_total";
/// Seconds from the start of a recompute to its publication.
pub const BATCH_SECONDS: &str = "twofold_batch_recompute_seconds";
/// The newest published version.
pub const BATCH_VERSION: &str = "twofold_batch_version_number";
/// Records below the newest cut.
pub const BATCH_ROWS: &str = "twofold_batch_covered_rows";
/// Compactions of a master dataset.
pub const COMPACTIONS: &str = "twofold_compaction_commits_total";
/// Files that they replaced.
pub const COMPACTION_FILES: &str = "twofold_compaction_files_total";
/// Rows that they rewrote.
pub const COMPACTION_ROWS: &str = "twofold_compaction_rows_total";
/// Seconds from the start of a compaction to its commit.
pub const COMPACTION_SECONDS: &str = "twofold_compaction_seconds";
/// Compactions dropped, because somebody else replaced the files or committed first too often.
pub const COMPACTION_RACES: &str = "twofold_compaction_races_total";
/// Failed attempts to compact.
pub const COMPACTION_FAILURES: &str = "twofold_compaction_failures_total";
/// Versions of views that were published with coarser buckets.
pub const FOLDS: &str = "twofold_fold_commits_total";
/// Failed attempts to fold.
pub const FOLD_FAILURES: &str = "twofold_fold_failures_total";
/// Live files of a master dataset, as the last look for a compaction found or left them.
pub const MASTER_FILES: &str = "twofold_master_live_files";

/// Tells all metrics of the archive of `source` once, at 0: a counter that appears with its first failure shows no
/// rise.
pub(crate) fn announce_archive(definition: &SourceDefinition) {
    let source = definition.name.as_str();
    let counters = [ARCHIVE_ROWS, ARCHIVE_COMMITS, ARCHIVE_RACES, ARCHIVE_FAILURES, ARCHIVE_HOLES];
    for name in counters.into_iter().chain([ARCHIVE_DEAD, ARCHIVE_DEAD_MISSED]) {
        count(name, source, 0);
    }
    set_source(ARCHIVE_UNSEEN, source, 0.0);
    for kind in REASON_KINDS {
        count_rejected(source, kind, 0);
    }
    if definition.unreadable == Unreadable::Null {
        definition.declared.fields().iter().for_each(|column| count_unreadable(source, column.name(), 0));
    }
}

/// Tells all counters of what is done for batch views and master datasets once, at 0.
pub fn announce_batch(pipeline: &Pipeline) {
    for source in &pipeline.sources {
        for name in [COMPACTIONS, COMPACTION_FILES, COMPACTION_ROWS, COMPACTION_RACES, COMPACTION_FAILURES] {
            count(name, source.name.as_str(), 0);
        }
    }
    for view in pipeline.views.iter().filter(|view| view.source.is_recomputed()) {
        for name in [BATCH_PUBLICATIONS, BATCH_FAILURES, FOLDS, FOLD_FAILURES] {
            count_view(name, view.name.as_str(), 0);
        }
        for expression in view.plans.fallible_inputs().unwrap_or_default() {
            count_failed_rows(view.name.as_str(), &expression, 0);
        }
    }
}

/// Raises a counter of the archive or the compaction of `source`.
pub(crate) fn count(name: &'static str, source: &str, by: u64) {
    counter!(name, "source" => source.to_owned()).increment(by);
}

/// Raises the counter of rejected records of `source` for one kind of reason, of `REASON_KINDS`: columns are no label,
/// a reason may lie at any depth of them.
pub(crate) fn count_rejected(source: &str, kind: &'static str, by: u64) {
    counter!(ARCHIVE_REJECTED, "source" => source.to_owned(), "reason" => kind).increment(by);
}

/// Raises the counter of unreadable values of `source` for one of its declared columns: as many as the pipeline file
/// names, whatever records hold.
pub(crate) fn count_unreadable(source: &str, column: &str, by: u64) {
    counter!(ARCHIVE_UNREADABLE, "source" => source.to_owned(), "column" => column.to_owned()).increment(by);
}

/// Raises a counter of a view's recomputes or foldings.
pub(crate) fn count_view(name: &'static str, view: &str, by: u64) {
    counter!(name, "view" => view.to_owned()).increment(by);
}

/// Raises the counter of rows that an expression of a view failed on: as many expressions as its definition has.
pub(crate) fn count_failed_rows(view: &str, expression: &str, by: u64) {
    counter!(BATCH_FAILED_ROWS, "view" => view.to_owned(), "expression" => expression.to_owned()).increment(by);
}

/// Sets a gauge of a view.
pub(crate) fn set_view(name: &'static str, view: &str, value: f64) {
    gauge!(name, "view" => view.to_owned()).set(value);
}

/// Sets a gauge of a source.
pub(crate) fn set_source(name: &'static str, source: &str, value: f64) {
    gauge!(name, "source" => source.to_owned()).set(value);
}

/// Notes how long something took.
pub(crate) fn time_source(name: &'static str, source: &str, seconds: f64) {
    histogram!(name, "source" => source.to_owned()).record(seconds);
}
