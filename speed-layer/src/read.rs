//! Reading: records from the log, or rows from the master dataset where the log does not reach back, as chunks.
//!
//! Guarantee: a chunk follows the position of its partition and skips nothing but offsets that no record has, or that
//! the archive has declared lost. What neither log nor master dataset has yet is waited for.
//! Not here: declaring holes (the archive alone), pauses between attempts (`policy.rs`, `run.rs`).

use std::collections::BTreeMap;

use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use event_log::{EventLogError, Record};
use positions::{Offset, PartitionId};
use records::decode::{self, master_schema};
use records::master::MasterSnapshot;

use crate::SpeedError;
use crate::chunk::Chunk;
use crate::context::Context;
use crate::partition::{Partition, Running};
use crate::prime::first_offset;

/// Sorts polled records into chunks; records that no owned partition waits for are left out.
///
/// # Errors
/// A defect of decoding.
pub(crate) fn chunks_of(
    context: &Context,
    partitions: &BTreeMap<PartitionId, Partition>,
    records: Vec<Record>,
) -> Result<Vec<Chunk>, SpeedError> {
    let mut sorted: BTreeMap<PartitionId, Vec<Record>> = BTreeMap::new();
    for record in records {
        let Some(running) = partitions.get(&record.partition).and_then(Partition::running) else { continue };
        let found = sorted.entry(record.partition).or_default();
        let next = found.last().map_or(running.read_from, |last| last.offset.next());
        // What lies before was read already, and an interrupted consumer may have left records out.
        if running.is_sought && running.is_readable() && record.offset >= next {
            found.push(record);
        }
    }
    sorted.retain(|_, records| !records.is_empty());
    sorted.into_iter().map(|(partition, records)| chunk_of(context, partitions, partition, &records)).collect()
}

fn chunk_of(
    context: &Context,
    partitions: &BTreeMap<PartitionId, Partition>,
    partition: PartitionId,
    records: &[Record],
) -> Result<Chunk, SpeedError> {
    let running = partitions[&partition].running().expect("records of other partitions were left out");
    let marks = records.iter().map(Record::mark).collect();
    let rows = context.decode(records)?;
    Ok(Chunk { partition, from: running.position, marks, row_ends: decode::record_ends(&rows)?, rows })
}

/// Reads on in the master dataset from the position of a partition whose log does not reach back that far.
///
/// `None` once everything archived has been read: the partition then continues in the log.
///
/// # Errors
/// [`SpeedError::NotArchived`]: wait for the archive. Others: try again.
pub(crate) async fn read_archived(
    context: &Context,
    partition: PartitionId,
    running: &mut Running,
) -> Result<Option<Chunk>, SpeedError> {
    let Some(low) = running.expired_below.filter(|_| running.pending.is_none()) else { return Ok(None) };
    let head = running.position.offset;
    let missing = SpeedError::NotArchived { partition, from: head, to: low };
    let Some(snapshot) = context.master().await? else { return Err(missing) };
    let end = snapshot.facts.partitions.get(&partition).map_or(Offset(0), |facts| facts.archived.end.offset);
    if end <= head && end < low {
        return Err(missing);
    }
    let holes = snapshot.facts.holes.iter().filter(|hole| hole.partition == partition && hole.to > head);
    running.holes = holes.copied().collect();
    if let Some(rows) = read_next(context, &snapshot, partition, head, end).await? {
        let rows = concat_batches(&master_schema(&context.components.source), &rows)?;
        let (marks, row_ends) = (decode::marks(&rows)?, decode::record_ends(&rows)?);
        return Ok(Some(Chunk { partition, from: running.position, marks, row_ends, rows }));
    }
    running.expired_below = None;
    running.read_from = head.max(end);
    Ok(None)
}

/// The first rows in `[from, end)`, as many as a micro-batch takes. Offsets without rows are passed in one step: a
/// hole, or a jump of the log, may be of any size. They are looked for only where the next rows are not there: a replay
/// would search all that is left at each step.
async fn read_next(
    context: &Context,
    snapshot: &MasterSnapshot,
    partition: PartitionId,
    from: Offset,
    end: Offset,
) -> Result<Option<Vec<RecordBatch>>, SpeedError> {
    let step = i64::try_from(context.settings.max_records).unwrap_or(i64::MAX);
    let behind = |first: Offset| Offset(first.0.saturating_add(step).min(end.0));
    let next = snapshot.read_range(partition, from, behind(from)).await?;
    if !next.is_empty() {
        return Ok(Some(next));
    }
    let Some(first) = first_offset(context, snapshot, partition, behind(from), end).await? else { return Ok(None) };
    Ok(Some(snapshot.read_range(partition, first, behind(first)).await?))
}

/// Notes that the log does not reach back any more; returns whether the error was about that.
pub(crate) fn note_expired(partitions: &mut BTreeMap<PartitionId, Partition>, error: &EventLogError) -> bool {
    let EventLogError::Expired { partition, low, .. } = error else { return false };
    let running = partitions.get_mut(partition).and_then(Partition::running_mut);
    running.map(|running| running.expired_below = Some(*low)).is_some()
}
