//! What an erasing works with, what is wanted, and what came of it. Values.

use std::sync::Arc;
use std::time::Duration;

use positions::{ErasedRecord, TimestampMicros, ViewName};
use serving_layer::RealtimeStore;
use views::SourceDefinition;

use crate::{BatchContext, RecomputeSettings};

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
    /// Rows of the days before this age, counted from the newest record: by the time of their event, or, of rejected
    /// records, by that of the record.
    pub older_than: Option<Duration>,
}

/// What was found, none of it erased before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Where the events are.
    pub records: Vec<ErasedRecord>,
    /// How many records these are.
    pub record_count: u64,
    /// Before when what is old enough lies, where an age was wanted and there is anything to count it from.
    pub before: Option<TimestampMicros>,
    /// The newest timestamp of these records, by which a log lets go of them; `None` where there are none.
    pub newest: Option<TimestampMicros>,
    /// How many events were chosen by the condition or by their age, rejected ones among them.
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
    /// Files of imports that are at work or were cut short, which nobody sees and which were left.
    pub imports_left: usize,
}
