//! Files of the master dataset that are gone from the store: what was in them, and putting something in their place.
//!
//! In: a version, and those of its files that are gone. Out: the offsets that nothing else holds; the next version,
//! with the rows that could be read from the log again, and the rest as holes.
//! Guarantee: one commit on exactly the version that was looked at. The ledger is true of the files that are left, and
//! no position moves: whoever reads the dataset on meets the rows again, or a hole that says what is missing.
//! Not here: reading the log again (`batch-layer`).

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::record_batch::RecordBatch;
use datafusion::scalar::ScalarValue;
use futures::TryStreamExt;
use lake::{Change, DataFile};
use positions::{Counters, Hole, Offset, PartitionId};
use views::column;

use super::dataset::split_all;
use super::snapshot::may_hold;
use super::{MasterDataset, MasterSnapshot, RowCounts};
use crate::RecordsError;

impl MasterSnapshot {
    /// The offsets that files which are gone may have held, as far as no other file and no hole accounts for them: in
    /// the order of partitions and offsets. Reads two small columns of the files that meet them.
    ///
    /// # Errors
    /// [`RecordsError::Lake`], [`RecordsError::Engine`]: the object store failed.
    pub async fn offsets_lost(&self, lost: &[DataFile]) -> Result<Vec<Hole>, RecordsError> {
        let mut missing = Vec::new();
        for (partition, (from, to)) in self.places_of(lost) {
            let meets = |file: &&DataFile| !lost.contains(file) && may_hold(file, partition, from, to);
            let files: Vec<DataFile> = self.snapshot.files().iter().filter(meets).cloned().collect();
            let mut known = self.offsets_in(&files, partition, from.0..to.0).await?;
            let holes = self.facts.holes.iter().filter(|hole| hole.partition == partition);
            known.extend(holes.map(|hole| (hole.from.0, hole.to.0)));
            let gaps = gaps(from.0, to.0, known).into_iter();
            missing.extend(gaps.map(|(from, to)| Hole { partition, from: Offset(from), to: Offset(to) }));
        }
        Ok(missing)
    }

    /// Between which offsets of each partition the rows of these files lie, as far as their bounds tell.
    fn places_of(&self, files: &[DataFile]) -> BTreeMap<PartitionId, (Offset, Offset)> {
        let mut places: BTreeMap<PartitionId, (Offset, Offset)> = BTreeMap::new();
        for file in files {
            for (partition, known) in &self.facts.partitions {
                let end = known.archived.end.offset;
                if !may_hold(file, *partition, Offset(0), end) {
                    continue;
                }
                let (from, to) = match file.bounds.get(column::OFFSET) {
                    Some((ScalarValue::Int64(Some(least)), ScalarValue::Int64(Some(most)), _)) => {
                        (Offset(*least), Offset(most.saturating_add(1)).min(end))
                    }
                    _ => (Offset(0), end),
                };
                let place = places.entry(*partition).or_insert((from, to));
                *place = (place.0.min(from), place.1.max(to));
            }
        }
        places
    }

    /// The offsets of a partition within `range` that some files hold, those that follow each other as one.
    async fn offsets_in(
        &self,
        files: &[DataFile],
        partition: PartitionId,
        range: Range<i64>,
    ) -> Result<Vec<(i64, i64)>, RecordsError> {
        let mut offsets: Vec<(i64, i64)> = Vec::new();
        let mut rows = self.snapshot.stream(files, Some(&[column::PARTITION, column::OFFSET]))?;
        while let Some(batch) = rows.try_next().await? {
            let partitions = batch.column(0).as_primitive::<Int32Type>().values().iter();
            let of_rows = partitions.zip(batch.column(1).as_primitive::<Int64Type>().values());
            for (_, offset) in of_rows.filter(|(of, offset)| **of == partition.0 && range.contains(*offset)) {
                match offsets.last_mut() {
                    Some((from, to)) if (*from..=*to).contains(offset) => *to = (*to).max(offset + 1),
                    _ => offsets.push((*offset, offset + 1)),
                }
            }
        }
        Ok(offsets)
    }

    /// What the rows of some live files count for as they are stored. Reads three small columns.
    ///
    /// # Errors
    /// [`RecordsError::Lake`], [`RecordsError::Engine`]: the object store failed.
    pub async fn count_stored(&self, files: &[DataFile]) -> Result<RowCounts, RecordsError> {
        let columns = [column::PARTITION, crate::decode::column::ERROR, crate::decode::column::LATE];
        let mut rows = self.snapshot.stream(files, Some(&columns))?;
        let mut counts = RowCounts::default();
        while let Some(batch) = rows.try_next().await? {
            counts.add(&batch)?;
        }
        Ok(counts)
    }
}

impl MasterDataset {
    /// Takes files that are gone out of exactly `on`, puts `rows` in their place, and notes `holes` for the rest.
    ///
    /// # Errors
    /// [`RecordsError::Conflict`]: somebody committed first; look again. [`RecordsError::Lake`],
    /// [`RecordsError::Engine`]: the object store failed.
    pub async fn replace_lost(
        &self,
        on: &MasterSnapshot,
        lost: &[DataFile],
        rows: &[RecordBatch],
        holes: &[Hole],
        nonce: u128,
    ) -> Result<MasterSnapshot, RecordsError> {
        let on = &self.with_all_columns(on, nonce).await?;
        let left: Vec<DataFile> = on.snapshot.files().iter().filter(|file| !lost.contains(file)).cloned().collect();
        let mut counts = on.count_stored(&left).await?;
        rows.iter().try_for_each(|batch| counts.add(batch))?;
        let mut facts = on.facts.clone();
        facts.rows = counts.rows;
        for (partition, known) in &mut facts.partitions {
            let counted = counts.partitions.get(partition).copied().unwrap_or_default();
            let of_partition = holes.iter().filter(|hole| hole.partition == *partition);
            let lost: u64 = of_partition.map(|hole| hole.lost()).sum();
            let Counters { copies, holes, .. } = known.counters;
            known.counters = Counters { copies, holes: holes + lost, ..counted };
        }
        facts.holes.extend_from_slice(holes);
        let (on_time, late) = split_all(rows)?;
        let on_time = self.write(on, format!("{nonce:032x}"), on_time).await?;
        let late = self.write(on, format!("{nonce:032x}-late"), late).await?;
        let add = on_time.into_iter().chain(late).collect();
        let remove = lost.iter().map(|file| file.path.clone()).collect();
        self.commit(on, Change { add, remove, changes_data: true }, facts, nonce).await
    }
}

/// The parts of `[from, to)` that none of `known` covers.
fn gaps(from: i64, to: i64, mut known: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    known.sort_unstable();
    let (mut gaps, mut next) = (Vec::new(), from);
    for (start, end) in known {
        if next < start.min(to) {
            gaps.push((next, start.min(to)));
        }
        next = next.max(end);
    }
    if next < to {
        gaps.push((next, to));
    }
    gaps
}
