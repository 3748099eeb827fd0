//! What can go wrong with decoded records and the master dataset, by what the caller should do.

use lake::Version;

/// An error of decoding or of the master dataset.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// A definition, a table or a batch that cannot be worked with: fix it and start again.
    #[error("{0}")]
    Unusable(String),
    /// Somebody else committed first, an archiver or a compaction: read the table again.
    #[error("master dataset of {table} was changed by somebody else")]
    Conflict {
        /// The table.
        table: String,
    },
    /// This version can no longer be opened: it was too old to be kept. Take a newer one.
    #[error(
        "master dataset of {table}: version {version} is gone, or was never there; the newest is {}",
        newest.map_or("none".to_owned(), |newest| newest.to_string())
    )]
    VersionGone {
        /// The table.
        table: String,
        /// What was asked for.
        version: Version,
        /// What there is.
        newest: Option<Version>,
    },
    /// The files of a compaction do not hold what those hold that they would replace: a defect; nothing was replaced.
    #[error("compaction of {table}: the new files differ from the old ones in column {column}")]
    RowsDiffer {
        /// The table.
        table: String,
        /// The first column that differs.
        column: String,
    },
    /// The commits count less than the rows hold that were to be read again: a defect; nothing was replaced.
    #[error("compaction of {table}: its commits count fewer rows, rejected or late ones than the files hold")]
    CountsDiffer {
        /// The table.
        table: String,
    },
    /// The counts of live files and of commits differ: rows were doubled or lost; nothing may be published.
    #[error("ledger of {table}: files hold {files} rows, commits say {commits}")]
    LedgerMismatch {
        /// The table.
        table: String,
        /// Rows in live files.
        files: u64,
        /// Rows according to the commits.
        commits: u64,
    },
    /// The object store failed.
    #[error(transparent)]
    Lake(#[from] lake::LakeError),
    /// Arrow refused a batch: a defect.
    #[error("batch: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// DataFusion refused or failed while the master dataset was read.
    #[error("query engine: {0}")]
    Engine(#[from] datafusion::error::DataFusionError),
}
