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
