//! The lives of a topic under its name: where the offsets of each stand in one line of offsets that never goes back.
//!
//! ```text
//!  offsets of the log:   life 0: 0 ....... 900      another topic takes the name, life 1: 0 ......
//!  offsets everywhere:           0 ....... 900 [hole) 950 ................................. 950 + n
//! ```
//!
//! Guarantee: pure. Above the log an offset names one record for ever, whichever topic held it.
//! Not here: telling that another topic bears the name (`event-log`), beginning a life (`records`).
//! Why so: cuts, runs, holes and tokens compare offsets in a hundred places; with one line of offsets none of them
//! knows of lives, and only the log's own offsets are translated, where records are read and appended.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Incarnation, Offset, PartitionId, Position};

/// The present life of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Counts the lives; 0: the first.
    pub incarnation: Incarnation,
    /// Where its partitions begin. One that is absent begins at 0, in both.
    pub starts: BTreeMap<PartitionId, LifeStart>,
}

/// Where a partition begins in a life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifeStart {
    /// The offset of its first record; everything below belongs to former lives.
    pub offset: Offset,
    /// What the log calls that offset.
    pub log_offset: Offset,
}

impl Life {
    /// Whether no other came before it.
    pub fn is_first(&self) -> bool {
        *self == Self::default()
    }

    /// The position at which a partition begins.
    pub fn start(&self, partition: PartitionId) -> Position {
        Position::start(self.incarnation).at_offset(self.start_of(partition).offset)
    }

    /// The offset of what the log calls `log_offset`.
    pub fn offset(&self, partition: PartitionId, log_offset: Offset) -> Offset {
        let start = self.start_of(partition);
        Offset(log_offset.0 - start.log_offset.0 + start.offset.0)
    }

    /// What the log calls an offset; `None` below the start of the partition, which no record of this life has.
    pub fn log_offset(&self, partition: PartitionId, offset: Offset) -> Option<Offset> {
        let start = self.start_of(partition);
        (offset >= start.offset).then(|| Offset(offset.0 - start.offset.0 + start.log_offset.0))
    }

    fn start_of(&self, partition: PartitionId) -> LifeStart {
        self.starts.get(&partition).copied().unwrap_or_default()
    }
}
