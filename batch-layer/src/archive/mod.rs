//! The archive: from the log to the master dataset, record for record.
//!
//! ```text
//!  poll --> pending: decoded, growing  -- seal, when due -->  sealed: does not change any more --> commit
//!  (archiver.rs)     (pending.rs)                             at most one, kept until it is in the table (append.rs)
//! ```
//!
//! In: polled records. Out: commits of rows, positions, counters and holes, each on exactly its predecessor.
//! Guarantee: killed at any step, or racing with a second archiver, every record is archived once: positions are
//! committed with the rows and read back from the table at each start. Nothing is dropped while the object store
//! fails: the rows stay in memory, and polling stops until they are committed. Nothing is skipped while the log fails:
//! what was read and not taken is read again.
//! Rejected records are appended to a topic of their own before the commit that holds them, where the settings ask for
//! it (`dead.rs`).
//! what was read and not taken is read again. A record whose schema is not known is waited for by its partition, while
//! the others go on; the schemas of rows are in the facts of the commit that first holds such a row.
//! Not here: decoding (`records::decode`), what an append checks (`records::master`).
//! Why so: writing a file costs more than reading what is in it, so both happen at a time (`run.rs`); one commit in
//! flight keeps the order strict and the memory bounded by two commits.

mod append;
mod archiver;
mod config;
mod dead;
mod erased;
mod held;
mod lessons;
mod pending;
mod run;
mod status;
mod tell;
mod watch;

pub use archiver::ArchiveComponents;
pub use config::ArchiveSettings;
pub use dead::dead_topic;
pub(crate) use erased::load_erased;
pub use pending::{Jump, Pending};
pub use run::run_archive;
pub use status::{ArchiveState, ArchiveStatus, UnseenColumn};
