//! Import: whole files straight into the master dataset, as partitions that no log has. An operator asks for it, by
//! `twofold import`.
//!
//! ```text
//!  portions of a file --> parts --> decoded, each a file of the master dataset --+   (several at a time)
//!  portions of a file --> parts --> ...                                          +--> list of files, one commit
//! ```
//!
//! In: files of events, each as portions in their order. Out: commits, each of one or more whole files.
//! Guarantee: a file is in as a whole or not at all, and once: the commit that brings its rows names it on the list of
//! what was imported. Killed at any step, what was written and not committed is seen by nobody, and swept later; the
//! next import finds on the list what is in. Archive, compaction and other imports may commit meanwhile.
//! **Positions**: partitions from `PartitionId::FIRST_IMPORTED` on, offsets without gaps from 0, one record for each
//! row of a file or line; the timestamps that `records::decode` gives them. What is committed is below the cut of the
//! next batch version, so head and cut of these partitions are the same place, and the law holds as it stands: the
//! copies of an event that the log has, too, count once from that version on.
//! Memory: as many parts as are worked on at a time, the one being read among them, each of at most [`PART_BYTES`] and
//! one portion before it is decoded ([`PART_MEMORY_BYTES`] in all).
//! Not here: finding and reading files (`twofold/src/import`), what rows become (`records::decode`), the commit
//! (`records::master`).
//! Why imports go on with one partition: a partition for each file would stand in every cut. Two imports at a time use
//! two: the one that comes second finds the end moved, and begins again behind the last partition.

mod components;
mod part;
mod reading;
mod run;
mod session;

pub use components::{FileId, ImportComponents};
pub use part::{PART_BYTES, PART_MEMORY_BYTES, PART_RECORDS, Portion};
pub use reading::{FileOutcome, Finding};
pub use run::read_file;
pub use session::{Committed, Import, Known};
