//! Compaction: small files of a master dataset become large ones, sorted by event time, and rows of another reading are
//! read again for good.
//!
//! ```text
//!  step.rs: what is due, then each merge by itself, as steps that several processes share
//!     |
//!  newest version --> choose.rs: which files --> rewrite.rs: sorted, spilled --> dataset.rs: one commit, same records
//!  newest.rs: who may                                                               ^   |
//!  read rows again?              refresh; every file still live? -------------------+---+
//!                                                                             somebody committed first
//! ```
//!
//! In: the live files of a source. Out: fewer files, and none of another reading.
//! Guarantee: no answer changes: rows that are read again are those that every reader of this definition made of them
//! before, and the facts count them so. A compaction is committed on exactly one predecessor that holds every file it
//! replaces; killed at any step, or losing a race, it leaves files that nobody sees. It never makes an archive drop
//! rows: its commit moves no position.
//! Not here: when to compact, and who takes which step (runs of the workflow do), deleting what was replaced
//! (`../cleanup.rs`), what reading again means (`records::master`).
//! Why so: an archive may commit every second, and a compaction takes longer. So a compaction that lost a race does not
//! start again: it commits the same files behind the newer version, where the same strict check decides again.

mod choose;
mod dataset;
mod newest;
mod report;
mod rewrite;
mod step;

pub use choose::{Merge, choose_merges};
pub use dataset::replace;
pub use report::report_compaction_failure;
pub use rewrite::rewrite;
pub(crate) use rewrite::rewrite_erased;
pub use step::{Merged, NamedMerge, due_merges, merge_files};
