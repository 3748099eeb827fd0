//! What reading rows again changes in the counts of the commits: pure.
//!
//! In: some rows as they were stored, and the rows of the same records as they are read by now. Out: both counts, and
//! facts that take the difference in.
//! Guarantee: facts that count every row as it is stored still do so, whatever part of the rows was replaced, whoever
//! appended meanwhile, and whatever was imported.
//! Why a difference: it holds behind any commit that left these rows alone, so that a compaction that lost a race, and
//! an archive that meets a compaction, need no second look at a row.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use positions::{Archived, Counters, PartitionId};
use views::column;

use super::MasterFacts;
use crate::RecordsError;
use crate::decode::classes;
use crate::imported_list::ImportedSoFar;

/// What some rows count for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// Rows in files.
    pub rows: u64,
    /// By partition.
    pub partitions: BTreeMap<PartitionId, Counters>,
}

impl RowCounts {
    /// Adds the rows of a batch, of which it needs the partition and what tells their class; copies and holes are not
    /// seen in rows.
    ///
    /// # Errors
    /// If a column is missing: a defect of the caller.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<(), RecordsError> {
        let missing = || ArrowError::SchemaError(format!("column {} is missing or of another type", column::PARTITION));
        let partitions = batch.column_by_name(column::PARTITION).ok_or_else(missing)?;
        let partitions = partitions.as_primitive_opt::<Int32Type>().ok_or_else(missing)?;
        for (partition, class) in partitions.values().iter().zip(classes(batch)?) {
            *self.partitions.entry(PartitionId(*partition)).or_default() += class.counters();
            self.rows += 1;
        }
        Ok(())
    }

    fn of(facts: &MasterFacts) -> Self {
        let partitions = facts.partitions.iter().map(|(partition, known)| (*partition, known.counters));
        Self { rows: facts.rows, partitions: partitions.collect() }
    }
}

/// The rows of some records, counted twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recount {
    /// As they were stored.
    pub stored: RowCounts,
    /// As they are read by now.
    pub read: RowCounts,
    /// How much of what was erased they are without.
    pub erased: u64,
    /// What was imported beside them, where anything may have been.
    pub imports: Option<Imports>,
}

/// How far files were imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imports {
    /// Where the partitions of imported files end.
    ends: BTreeMap<PartitionId, Archived>,
    so_far: Option<ImportedSoFar>,
}

impl Imports {
    fn of(facts: &MasterFacts) -> Self {
        let imported = facts.partitions.iter().filter(|(partition, _)| partition.is_imported());
        let ends = imported.map(|(partition, known)| (*partition, known.archived));
        Self { ends: ends.collect(), so_far: facts.imports.clone() }
    }

    fn apply(&self, facts: &mut MasterFacts) {
        for (partition, archived) in &self.ends {
            facts.partition_mut(*partition).archived = *archived;
        }
        facts.imports.clone_from(&self.so_far);
    }
}

impl Recount {
    /// What came between facts of the same records of the log, imported files among it; `None` where somebody moved a
    /// position of the log, noted a hole or began a life.
    pub fn between(from: &MasterFacts, to: &MasterFacts) -> Option<Self> {
        from.is_of_same_records(to).then(|| Self {
            stored: RowCounts::of(from),
            read: RowCounts::of(to),
            erased: to.erased,
            imports: Some(Imports::of(to)),
        })
    }

    /// The facts with these rows counted as they are read; `None` where they do not count as much as was stored.
    pub fn apply(&self, facts: &MasterFacts) -> Option<MasterFacts> {
        let mut next = facts.clone();
        next.erased = next.erased.max(self.erased);
        self.imports.iter().for_each(|imports| imports.apply(&mut next));
        next.rows = next.rows.checked_sub(self.stored.rows)? + self.read.rows;
        for (partition, stored) in &self.stored.partitions {
            let known = next.partitions.get_mut(partition)?;
            known.counters = known.counters.checked_sub(*stored)?;
        }
        for (partition, read) in &self.read.partitions {
            next.partitions.get_mut(partition)?.counters += *read;
        }
        Some(next)
    }
}
