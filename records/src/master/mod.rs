//! The master dataset: every record of a source, for ever, in one table to which records are only added.
//!
//! In: decoded batches and the facts that the archive computed. Out: versions, scans, ranges of offsets, rejected
//! records.
//! Guarantee: an append succeeds only on the snapshot whose positions it continues; the ledger says whether the live
//! files hold what the commits say. A lost race leaves files that no version names.
//! Not here: reading the log and deciding when to append (`batch-layer`, archive), decoding (`../decode/`).

mod compaction;
mod dataset;
mod decode_exec;
mod eraser;
mod facts;
mod imports;
mod lost_files;
mod reading;
mod recount;
mod rejected;
mod snapshot;
mod stored_names;

pub use compaction::Compaction;
pub use dataset::MasterDataset;
pub use eraser::Eraser;
pub use facts::{ArchivedPartition, MasterFacts};
pub use positions::Hole;
pub use reading::reading_of_file;
pub use recount::{Imports, Recount, RowCounts};
pub use rejected::{PayloadStart, RejectedRecord, RejectedRecords, RejectedSearch};
pub use snapshot::MasterSnapshot;
