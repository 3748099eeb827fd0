//! Compaction: small files of a master dataset become large ones, sorted by event time, and rows of another reading are
//! read again for good.
//!
//! ```text
//!  run.rs: all sources, one after the other
//!     |
//!  dataset.rs     newest version --> choose.rs: which files --> rewrite.rs: sorted, spilled --> replace: one commit,
//!                 newest.rs: who may                                                            ^   |   same records
//!                 read rows again?             refresh; every file still live? -----------------+---+
//!                                                                                     somebody committed first
//! ```
//!
//! In: the live files of a source. Out: fewer files, and none of another reading.
//! Guarantee: no answer changes: rows that are read again are those that every reader of this definition made of them
//! before, and the facts count them so. A compaction is committed on exactly one predecessor that holds every file it
//! replaces; killed at any step, or losing a race, it leaves files that nobody sees. It never makes an archive drop
//! rows: its commit moves no position.
//! Not here: when to compact (`../run.rs`), deleting what was replaced (`../cleanup.rs`), what reading again means
//! (`records::master`).
//! Why so: an archive may commit every second, and a compaction takes longer. So a compaction that lost a race does not
//! start again: it commits the same files behind the newer version, where the same strict check decides again.

mod choose;
mod dataset;
mod newest;
mod rewrite;
mod run;

pub use choose::{Merge, choose_merges};
pub use dataset::{Compacted, compact, replace};
pub use rewrite::rewrite;
pub(crate) use rewrite::rewrite_erased;
pub(crate) use run::run_compaction;
