//! What every commit of a master dataset says beside its rows.

use std::collections::BTreeMap;

use positions::{Archived, Counters, Offset, PartitionId};
use serde::{Deserialize, Serialize};

/// What a commit says about one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedPartition {
    /// How far it is archived.
    pub archived: Archived,
    /// Everything since its start.
    pub counters: Counters,
}

/// A range of offsets that expired before they were archived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hole {
    /// The partition.
    pub partition: PartitionId,
    /// The first offset lost.
    pub from: Offset,
    /// The first offset after it that was not.
    pub to: Offset,
}

/// The facts of every commit of a master dataset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterFacts {
    /// By partition.
    pub partitions: BTreeMap<PartitionId, ArchivedPartition>,
    /// All holes so far.
    pub holes: Vec<Hole>,
    /// Rows in all live files, as the commits count them.
    pub rows: u64,
}
