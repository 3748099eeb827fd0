//! What every commit of a master dataset says beside its rows.

use std::collections::BTreeMap;

use positions::{Archived, Counters, Hole, Incarnation, Life, LifeStart, PartitionId};
use serde::{Deserialize, Serialize};

/// What a commit says about one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedPartition {
    /// How far it is archived.
    pub archived: Archived,
    /// Everything since its start.
    pub counters: Counters,
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
    /// The life of the topic that is being archived.
    #[serde(default, skip_serializing_if = "Life::is_first")]
    pub life: Life,
}

impl MasterFacts {
    /// The facts with which the next life of the topic begins, before anything of it was read.
    ///
    /// `starts` names where partitions begin, each archived one among them, none below the end of what is archived: what
    /// lies between is a hole. No border is needed to cut there: no run reaches from one life into the next.
    pub fn next_life(&self, starts: BTreeMap<PartitionId, LifeStart>) -> Self {
        let life = Life { incarnation: Incarnation(self.life.incarnation.0 + 1), starts };
        let mut next = self.clone();
        for partition in life.starts.keys() {
            let begin = || ArchivedPartition {
                archived: Archived::begin(self.life.start(*partition)),
                counters: Counters::default(),
            };
            next.partitions.entry(*partition).or_insert_with(begin);
        }
        for (partition, known) in &mut next.partitions {
            let (from, start) = (known.archived.end.offset, life.start(*partition));
            if start.offset > from {
                next.holes.push(Hole { partition: *partition, from, to: start.offset });
                known.counters.holes += (start.offset.0 - from.0).unsigned_abs();
            }
            known.archived = Archived::begin(start);
        }
        Self { life, ..next }
    }
}
