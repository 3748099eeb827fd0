//! Erasing: events of a source out of everything that the layers store of it. An operator asks for it, by
//! `twofold erase`.
//!
//! ```text
//!  search.rs   which events: a condition on rows, a text in rejected records          (nothing is changed)
//!      |
//!  list        what is erased is put on the list: from now on whoever reads the log leaves it out
//!      |
//!  raw.rs      files of the master dataset rewritten: rejected rows with a stone for their payload
//!  run.rs      views computed anew from that; their former states are gone
//!  purge.rs    former versions, their logs and files; what was left of compactions
//!              realtime views forgotten: speed workers begin again from the batch views
//! ```
//!
//! In: what is wanted. Out: what was found, or what was done.
//! Guarantee: each step brings one store into line with the whole list, so that a call after a kill, or a second one,
//! goes on and finds nothing to do in the end. A row keeps its place, its timestamp and the fingerprint of its record:
//! no position, cut or border moves. The law holds for what is left, since both layers then read the same: the copy of
//! an erased event counts if it is not erased itself, and an event that comes later counts, whatever it is of.
//! Not here: what is left of a record (`records::decode`), the embedded log (`event-log`), the command and its words
//! (`twofold`).
//! Why the archive runs first: what is in the log when the command begins is in the master dataset then, which alone is
//! searched.

mod purge;
mod raw;
mod run;
mod search;

use std::sync::Arc;

use positions::{ErasedRecord, ViewName};
use serving_layer::RealtimeStore;
use views::SourceDefinition;

use crate::{BatchContext, RecomputeSettings};

pub use run::{archive_to_end, erase};
pub use search::search;

/// What erasing works with.
pub struct EraseComponents {
    /// Lake, pipeline, clock and ids.
    pub context: BatchContext,
    /// The source.
    pub source: Arc<SourceDefinition>,
    /// Where realtime views may outlive a process; `None` for those in memory.
    pub store: Option<Arc<dyn RealtimeStore>>,
    /// Memory and threads.
    pub settings: RecomputeSettings,
}

/// What is to be erased.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Rows for which this SQL condition is true.
    pub condition: Option<String>,
    /// Rejected records whose payload holds this text.
    pub text: Option<String>,
}

/// What was found, none of it erased before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Where the events are.
    pub records: Vec<ErasedRecord>,
    /// How many events were chosen by the condition, rejected ones among them.
    pub events: u64,
    /// How many rejected records, or parts of one, hold the text.
    pub rejected: u64,
    /// Events that hold the text in their record and are not chosen: they stay.
    pub mentions: u64,
    /// Files of the master dataset that may hold what was found, by their bounds.
    pub files: usize,
    /// All files of the master dataset.
    pub all_files: usize,
    /// Versions of master dataset and views that are kept, and go.
    pub versions: u64,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Records on the list of the source, of this and all earlier calls.
    pub listed: usize,
    /// Files of the master dataset that were rewritten.
    pub files: usize,
    /// Views that were computed anew.
    pub views: Vec<ViewName>,
    /// Objects that were deleted: files, logs of versions, facts.
    pub deleted: u64,
    /// Tables of views that the pipeline does not name, which are left for an operator to look at.
    pub left: Vec<String>,
}
