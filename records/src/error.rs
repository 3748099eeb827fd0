//! What can go wrong with decoded records and the master dataset, by what the caller should do.

use lake::Version;
use positions::{Offset, PartitionId, SchemaId};

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
    /// A record names a schema that is not known: everything before it was read; learn the schema and try again.
    #[error(
        "partition {partition} waits at offset {offset} for schema {id}: {reason}; should no registry ever have it, \
         name it in the source's OPTIONS (reject_schemas '{id}'), which rejects its records"
    )]
    SchemaMissing {
        /// The partition.
        partition: PartitionId,
        /// The first record that names it.
        offset: Offset,
        /// The schema.
        id: SchemaId,
        /// Why it is not known.
        reason: String,
    },
    /// Archived records name a schema that is not known: learn it and try again.
    #[error(
        "archived records of an earlier definition of the source name schema {id}: {reason}; should no registry ever \
         have it, name it in the source's OPTIONS (reject_schemas '{id}'), which rejects its records"
    )]
    ArchivedSchemaMissing {
        /// The schema.
        id: SchemaId,
        /// Why it is not known.
        reason: String,
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
