//! What the archive has read and not yet committed, and every decision on it.
//!
//! In: records in the order of their partitions, and their decoded rows. Out: rows and facts of the next commit.
//! Guarantee: pure. A record below its partition's position is ignored, one at or above it moves the position by
//! `Archived::advance`; the facts always describe exactly the rows held.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use event_log::Record;
use positions::{Archived, BorderRule, Offset, PartitionId, Position, SchemaId, TimestampMicros};
use records::RecordsError;
use records::decode;
use records::decode::wire::StoredSchema;
use records::master::{MasterFacts, Recount};

use super::ArchiveSettings;

/// Offsets between the expected record and the one that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jump {
    /// The partition.
    pub partition: PartitionId,
    /// The offset expected next.
    pub from: Offset,
    /// The offset of the record that came instead.
    pub to: Offset,
}

/// The next commit, as far as it has been read.
#[derive(Clone, Debug)]
pub struct Pending {
    facts: MasterFacts,
    rule: BorderRule,
    batches: Vec<RecordBatch>,
    rows: u64,
    /// By the kind of their reason.
    rejected: BTreeMap<&'static str, u64>,
    /// By the place of their column among the declared ones.
    unreadable: BTreeMap<usize, u64>,
    bytes: usize,
    since: Option<TimestampMicros>,
}

impl Pending {
    /// Nothing read yet, after a version with these facts.
    pub fn new(facts: &MasterFacts, rule: BorderRule) -> Self {
        Self {
            facts: facts.clone(),
            rule,
            batches: Vec::new(),
            rows: 0,
            rejected: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            bytes: 0,
            since: None,
        }
    }

    /// Where reading goes on, for the partitions of the topic.
    pub fn starts(&self, partitions: &BTreeSet<PartitionId>) -> BTreeMap<PartitionId, Offset> {
        partitions.iter().map(|partition| (*partition, self.position(*partition).offset)).collect()
    }

    /// How far a partition has been read.
    pub fn position(&self, partition: PartitionId) -> Position {
        let known = self.facts.partitions.get(&partition);
        known.map_or_else(|| self.facts.life.start(partition), |known| known.archived.end)
    }

    /// The records at or above their partition's position: after a seek a log may repeat earlier ones.
    pub fn unread(&self, records: Vec<Record>) -> Vec<Record> {
        let mut next: BTreeMap<PartitionId, Offset> = BTreeMap::new();
        let mut records = records;
        records.retain(|record| {
            let expected = next.entry(record.partition).or_insert_with(|| self.position(record.partition).offset);
            let is_unread = record.offset >= *expected;
            if is_unread {
                *expected = record.offset.next();
            }
            is_unread
        });
        records
    }

    /// Where the first record of a partition does not stand at the partition's position.
    pub fn jumps(&self, records: &[Record]) -> Vec<Jump> {
        let mut seen = BTreeSet::new();
        let first = records.iter().filter(|record| seen.insert(record.partition));
        let jumps = first.filter_map(|record| {
            let from = self.position(record.partition).offset;
            (from < record.offset).then_some(Jump { partition: record.partition, from, to: record.offset })
        });
        jumps.collect()
    }

    /// Takes records that [`Self::unread`] let through, with their decoded rows in the same order.
    ///
    /// # Errors
    /// If the rows lack a column: a defect of the caller. Nothing was taken.
    pub fn take(&mut self, records: &[Record], rows: RecordBatch, now: TimestampMicros) -> Result<(), RecordsError> {
        let (classes, rejections) = (decode::classes(&rows)?, decode::rejections(&rows)?);
        let ends = decode::record_ends(&rows)?;
        let starts = std::iter::once(0).chain(ends.iter().copied());
        for (record, (start, end)) in records.iter().zip(starts.zip(&ends)) {
            self.bytes += record.payload.len();
            let known = self.facts.partition_mut(record.partition);
            known.archived = known.archived.advance(&record.mark(), &self.rule);
            classes[start..*end].iter().for_each(|class| known.counters += class.counters());
        }
        for (kind, count) in rejections {
            *self.rejected.entry(kind).or_default() += count;
        }
        self.rows += rows.num_rows() as u64;
        self.facts.rows += rows.num_rows() as u64;
        self.batches.push(rows);
        self.since.get_or_insert(now);
        Ok(())
    }

    /// Counts the unreadable values of rows that were taken, one number for each declared column.
    pub fn note_unreadable(&mut self, counts: &[u64]) {
        for (column, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            *self.unreadable.entry(column).or_default() += count;
        }
    }

    /// Takes in a schema that rows of the next commit name, or that rows before it name. It may not be committed before
    /// there is anything else to commit.
    pub fn note_schema(&mut self, id: SchemaId, schema: &Arc<StoredSchema>) {
        self.facts.schemas.entry(id).or_insert_with(|| Arc::clone(schema));
    }

    /// Notes under which reading all schemas are known that rows name; `None`: rows may name others.
    pub fn note_schemas_for(&mut self, reading: Option<i32>) {
        self.facts.schemas_for = reading;
    }

    /// Has the facts committed, rows or not.
    pub fn commit_facts(&mut self, now: TimestampMicros) {
        self.since.get_or_insert(now);
    }

    /// Notes that the records from the partition's position to `to` expired unread, and goes on behind them.
    pub fn declare_hole(&mut self, partition: PartitionId, to: Offset, now: TimestampMicros) {
        self.facts.note_hole(partition, to);
        let known = self.facts.partition_mut(partition);
        known.archived = skip_to(known.archived, to, &self.rule);
        self.since.get_or_insert(now);
    }

    /// Takes in that rows before these were counted anew: from `from`, which this was read behind, to `to`. False where
    /// that is not all that lies between them; nothing was changed then.
    pub fn count_again(&mut self, from: &MasterFacts, to: &MasterFacts) -> bool {
        let Some(counted) = Recount::between(from, to).and_then(|recount| recount.apply(&self.facts)) else {
            return false;
        };
        self.facts = counted;
        true
    }

    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.since.is_none()
    }

    /// Whether it is time to commit: by age, by bytes or by rows.
    pub fn is_due(&self, now: TimestampMicros, settings: &ArchiveSettings) -> bool {
        let Some(since) = self.since else { return false };
        now.micros_since(since) >= positions::micros(settings.commit_interval)
            || self.bytes >= settings.commit_bytes
            || self.rows >= settings.commit_rows as u64
    }

    /// The facts of the next commit.
    pub fn facts(&self) -> &MasterFacts {
        &self.facts
    }

    /// The rows of the next commit.
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// Rows in the next commit.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Rejected records among the rows, by the kind of their reason.
    pub fn rejected(&self) -> &BTreeMap<&'static str, u64> {
        &self.rejected
    }

    /// Values that are NULL because they could not be read, by the place of their column among the declared ones;
    /// columns without any are left out.
    pub fn unreadable(&self) -> &BTreeMap<usize, u64> {
        &self.unreadable
    }

    /// Payload bytes of the rows.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The archived place behind offsets that hold no record that can be read.
fn skip_to(archived: Archived, to: Offset, rule: &BorderRule) -> Archived {
    let end = archived.end.at_offset(to);
    let reached = rule.grid_floor(to);
    Archived { end, grid: if reached > archived.grid.offset { end.at_offset(reached) } else { archived.grid } }
}
