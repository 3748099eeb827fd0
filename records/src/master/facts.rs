//! What every commit of a master dataset says beside its rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use positions::{Archived, Counters, Hole, Incarnation, Life, LifeStart, Offset, PartitionId, Position, SchemaId};
use serde::{Deserialize, Serialize};

use crate::decode::wire::StoredSchema;
use crate::imported_list::ImportedSoFar;

/// What a commit says about one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedPartition {
    /// How far it is archived.
    pub archived: Archived,
    /// Everything since its start, as its rows are stored: as each was read when it was archived or last rewritten.
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
    /// The schemas that rows name. They are written by the commit that first holds such a row, so that the rows can be
    /// read again without a registry.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub schemas: BTreeMap<SchemaId, Arc<StoredSchema>>,
    /// The reading of the source ([`reading_of`](crate::decode::reading_of)) under which `schemas` are known to be all
    /// that rows name; `None` while its payloads are JSON, which name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schemas_for: Option<i32>,
    /// How many entries of the list of what was erased the rows are without (`erased_list.rs`).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub erased: u64,
    /// Which files were imported; `None` before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imports: Option<ImportedSoFar>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl MasterFacts {
    /// The facts with which the next life of the topic begins, before anything of it was read.
    ///
    /// `starts` names where partitions begin, each archived one among them, none below the end of what is archived:
    /// what lies between is a hole. No border is needed to cut there: no run reaches from one life into the next.
    pub fn next_life(&self, starts: BTreeMap<PartitionId, LifeStart>) -> Self {
        let life = Life { incarnation: Incarnation(self.life.incarnation.0 + 1), starts };
        let mut next = self.clone();
        let archived = self.of_log().map(|(partition, _)| partition);
        for partition in archived.chain(life.starts.keys()) {
            let start = life.start(*partition);
            if start.offset > next.partition_mut(*partition).archived.end.offset {
                next.note_hole(*partition, start.offset);
            }
            next.partition_mut(*partition).archived = Archived::begin(start);
        }
        Self { life, ..next }
    }

    /// Records of which no event could be read, of all partitions since their start.
    pub fn rejected(&self) -> u64 {
        self.partitions.values().map(|known| known.counters.rejected).sum()
    }

    /// The partitions of the topic, without those of imported files, which have no log, no life and no end to wait for.
    pub fn of_log(&self) -> impl Iterator<Item = (&PartitionId, &ArchivedPartition)> {
        self.partitions.iter().filter(|(partition, _)| !partition.is_imported())
    }

    /// Whether both are facts of the very same records of the log, whatever these were counted for, and whatever was
    /// imported: no position, hole or life lies between them. Every append moves a position or notes a hole.
    pub fn is_of_same_records(&self, other: &Self) -> bool {
        let positions = |facts: &Self| -> Vec<_> {
            facts.of_log().map(|(partition, known)| (*partition, known.archived)).collect()
        };
        self.life == other.life
            && self.holes == other.holes
            && positions(self) == positions(other)
            && (&self.schemas, self.schemas_for) == (&other.schemas, other.schemas_for)
    }

    /// What is known of a partition: that it begins in the present life, where nothing was archived of it.
    pub fn partition_mut(&mut self, partition: PartitionId) -> &mut ArchivedPartition {
        // Imported files are of no life of the topic.
        let start = match partition.is_imported() {
            true => Position::start(Incarnation::default()),
            false => self.life.start(partition),
        };
        let archived = Archived::begin(start);
        self.partitions.entry(partition).or_insert(ArchivedPartition { archived, counters: Counters::default() })
    }

    /// Notes that the records from the end of what is archived up to `to` are lost. The end stays: the caller moves it.
    pub fn note_hole(&mut self, partition: PartitionId, to: Offset) {
        let known = self.partition_mut(partition);
        let from = known.archived.end.offset;
        known.counters.holes += (to.0 - from.0).unsigned_abs();
        self.holes.push(Hole { partition, from, to });
    }
}
