//! A strict table in object storage: open at a version, list live files, commit on exactly one predecessor.
//!
//! ```text
//!  RecordBatch --> write_file --> DataFile --+
//!                                            +--> commit(on: &Snapshot, Change) --> Snapshot (version + 1) | Conflict
//!  facts (JSON) --> sidecar object ----------+
//!
//!  <table>/_delta_log/00000000000000000007.json      the commit: one conditional put decides every race
//!  <table>/_delta_log/...10.checkpoint.parquet       so that opening need not read every commit
//!  <table>/_twofold/<transaction>.json               the facts, named by the commit's transaction number
//!  <table>/<version>-<name>.parquet                  data, invisible until a commit up to that version names it
//! ```
//!
//! Beside the tables stand sequences ([`sequence`]): numbered, append-only series of small objects; and `format.json`,
//! the version of all this (`format.rs`).
//!
//! Guarantee: a commit succeeds only on the very snapshot it was computed from; a lost race leaves files without a
//! commit, which nobody sees. Facts are atomic with the commit that names them, and survive checkpoints.
//!
//! Why so: tables are in Delta format, so that other tools read them, but the log is written and read here, by hand.
//! The high-level operations of Delta libraries rebase a stale commit onto a newer version, merge overwrites, and let
//! two rewriters of one file both win; what is left to do strictly is one JSON object per commit, put under the next
//! number on condition that it does not exist. A checkpoint is summed up from the log's own objects and must agree with
//! the snapshot in memory. The second opinion on both, `deltalake-core`, is asked by the tests and is not part of the
//! product.
//!
//! Durability is the store's. S3 and its like acknowledge what survives a power cut. Files on a local disk survive the
//! end of the process at any moment (an object appears whole, by a link), but are not synced: a power cut can take the
//! last seconds, and may keep a commit while it loses a file that the commit names. That is never answered wrongly: the
//! missing or short object is [`LakeError::Corrupt`] with its name, and an operator must restore or repair the table
//! (`repair.rs`).
//!
//! Not here: what the rows mean (`records`, `serving-layer`); when to retry a conflict: only the caller can, because
//! it must compute its change again.

mod action;
mod chain;
mod checkpoint;
mod commit;
mod config;
mod connecting;
mod error;
mod file;
mod foreign;
mod format;
mod log;
mod moved;
mod open;
mod reads;
mod repair;
mod scan;
mod schema;
pub mod sequence;
mod snapshot;
mod stats;
mod store;
mod table;
mod told;
mod vacuum;
mod version;
mod written;

pub use chain::chain;
pub use config::LakeSettings;
pub use connecting::connection_way_out;
pub use error::LakeError;
pub use file::{FileWriter, Packing};
pub use format::{FORMAT, FORMAT_WITH_FOLDED, FORMAT_WITH_IMPORTS};
pub use reads::{FailedReads, has_store_failed};
pub use repair::{Examination, Unreadable};
pub use snapshot::{Change, DataFile, Snapshot};
pub use stats::{Bounds, extreme};
pub use store::Lake;
pub use table::Table;
pub use told::describe_skew;
pub use vacuum::Vacuumed;
pub use version::Version;
pub use written::WrittenFile;
