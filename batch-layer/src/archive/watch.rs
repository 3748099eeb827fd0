//! What an archive notices about the declared columns of its source, and what it has told of them.
//!
//! In: decoded rows, and of each commit the first payloads. Out: the columns that no row has given a value, while keys
//! came that may be meant for them.
//! Guarantee: lives as long as the archive of a process, however often that starts again from the table, so each
//! finding is warned of once. Once every column was seen, a look costs nothing.
//! Not here: what comes near (`records::decode::near_keys`), counts and warnings (`archiver.rs`).

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::Array;
use arrow::record_batch::RecordBatch;
use event_log::Record;
use records::decode::near_keys;
use views::{Envelope, SourceDefinition};

use super::UnseenColumn;

/// Payloads of one commit whose keys are looked at, as long as a column was never seen.
const PAYLOADS: usize = 16;
/// Near keys of a column that are counted.
const MAX_KEYS: usize = 8;

/// See the module. Columns are known by their places among the declared ones.
#[derive(Debug)]
pub(crate) struct ColumnWatch {
    /// Of which the log says already that values are lost.
    lossy: BTreeSet<usize>,
    /// That no row has given a value.
    unseen: BTreeSet<usize>,
    /// Of these, the keys that come near, each with the number of payloads that had it.
    near: BTreeMap<usize, BTreeMap<String, u64>>,
    /// Of which the log says already that they were never seen.
    told: BTreeSet<usize>,
    /// Payloads of this commit that are still looked at.
    left: usize,
}

impl ColumnWatch {
    /// Nothing was seen of the columns of a source. Those that say themselves where they stand are not watched, nor any
    /// where events stand inside of others: the keys around them are nobody's.
    pub fn new(source: &SourceDefinition) -> Self {
        let is_watched = |at: &usize| source.envelope == Envelope::None && source.mapping[*at].path.is_empty();
        Self {
            lossy: BTreeSet::new(),
            unseen: (0..source.declared.fields().len()).filter(is_watched).collect(),
            near: BTreeMap::new(),
            told: BTreeSet::new(),
            left: PAYLOADS,
        }
    }

    /// Whether to warn that values of a column are lost: once.
    pub fn is_newly_lossy(&mut self, at: usize) -> bool {
        self.lossy.insert(at)
    }

    /// Takes note of records and their rows. Rejected ones count, too: a column that is NOT NULL rejects every record
    /// that has it under another name.
    pub fn note(&mut self, source: &SourceDefinition, records: &[Record], rows: &RecordBatch) {
        if self.unseen.is_empty() {
            return;
        }
        self.unseen.retain(|at| rows.column(*at).null_count() == rows.num_rows());
        self.near.retain(|at, _| self.unseen.contains(at));
        for record in records.iter().take(self.left) {
            for (at, key) in near_keys(source, &self.unseen, &record.payload) {
                let keys = self.near.entry(at).or_default();
                if keys.len() < MAX_KEYS || keys.contains_key(&key) {
                    *keys.entry(key).or_default() += 1;
                }
            }
        }
        self.left = self.left.saturating_sub(records.len());
    }

    /// The columns that were never seen while a near key was, each with whether to warn of it: once. Payloads of the
    /// next commit are looked at again.
    pub fn take_unseen(&mut self, source: &SourceDefinition) -> Vec<(UnseenColumn, bool)> {
        self.left = PAYLOADS;
        let found = self.near.iter().map(|(at, keys)| {
            let column = source.declared.field(*at).name().clone();
            (UnseenColumn { column, keys: keys.clone() }, self.told.insert(*at))
        });
        found.collect()
    }
}
