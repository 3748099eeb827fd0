//! Holes: offsets of a partition that were lost before they were archived.
//!
//! Guarantee: pure. Not here: who declares a hole (the archive), and who passes over one (every reader of the log).

use serde::{Deserialize, Serialize};

use crate::{Offset, PartitionId};

/// A range of offsets `[from, to)` that had expired before they were archived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hole {
    /// The partition.
    pub partition: PartitionId,
    /// The first offset lost.
    pub from: Offset,
    /// The first offset after it that was not.
    pub to: Offset,
}

impl Hole {
    /// What of it lies in `[from, to)`; `None` where nothing does.
    pub fn within(self, from: Offset, to: Offset) -> Option<Self> {
        let part = Self { from: self.from.max(from), to: self.to.min(to), ..self };
        (part.from < part.to).then_some(part)
    }

    /// How many offsets were lost.
    pub fn lost(self) -> u64 {
        u64::try_from(self.to.0 - self.from.0).unwrap_or(0)
    }
}
