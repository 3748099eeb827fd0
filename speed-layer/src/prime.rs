//! Priming: the copies that lie within one horizon before the position at which a partition goes on.
//!
//! In: the position. Out: the window that a worker would have that had read everything before it.
//! Guarantee: a pure function of the log: the suffix that is replayed begins at the first record whose timestamp is at
//! or after `T`, one horizon before the position's running maximum. All records before it lie before `T`, so from there
//! on the running maximum is known, and nothing before it is remembered at the position. Where a record was too far
//! ahead to be believed whole (`positions::running_max`), this holds behind the last such record, which the position
//! names; what lies before that one is a day older, and read from the start if the horizon is as long. What former
//! lives of the topic held is never remembered: a worker that began with this life has not seen it.
//! Not here: the window itself (`positions::CopyWindow`).
//! Why from both places: what is archived may have expired in the log, what is new is not archived yet.

use std::collections::BTreeMap;

use arrow::array::{Array, Int64Array, TimestampMicrosecondArray};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use datafusion::functions_aggregate::expr_fn::min;
use datafusion::prelude::{DataFrame, Expr, ident, lit};
use datafusion::scalar::ScalarValue;
use event_log::{EventLog, EventLogError, Poll, PollLimit};
use futures::TryStreamExt;
use positions::{CopyWindow, Fingerprint, MAX_RAISE, Offset, PartitionId, Position, TimestampMicros, is_plausible};
use records::decode;
use records::master::MasterSnapshot;
use views::{SourceDefinition, column};

use crate::SpeedError;
use crate::columns::typed;
use crate::context::Context;

/// Polls without a record before priming gives up until the next attempt.
const MAX_EMPTY_POLLS: usize = 50;

/// The copies that count at `position`.
///
/// # Errors
/// [`SpeedError::NotArchived`]: wait for the archive. Others: try again.
pub(crate) async fn prime(
    context: &Context,
    master: Option<&MasterSnapshot>,
    (partition, position): (PartitionId, Position),
) -> Result<CopyWindow, SpeedError> {
    let source = &context.components.source;
    let start = context.log.life().start(partition);
    let mut replay = Replay::before(position, start.offset, source);
    if position.fingerprint == Fingerprint(0) {
        return Ok(replay.window);
    }
    let mut end = start;
    if let Some(snapshot) = master {
        end = snapshot.facts.partitions.get(&partition).map_or(end, |facts| facts.archived.end);
        replay_archived(context, &mut replay, snapshot, partition).await?;
    }
    if end.offset < position.offset {
        replay.go_on_at(end);
        let from = end.offset.max(replay.floor);
        replay_log(context, &mut replay, partition, from).await?;
    }
    Ok(replay.window)
}

/// The records before a position, seen one after the other.
struct Replay<'a> {
    source: &'a SourceDefinition,
    window: CopyWindow,
    /// Where the replay ends.
    position: Position,
    /// Copies are remembered from this running maximum on.
    since: TimestampMicros,
    /// Nothing before this offset is remembered at the position.
    floor: Offset,
    /// The suffix begins at the floor, not at the first record behind it that reaches `since`.
    is_whole: bool,
    /// Known once the suffix has begun.
    running_max: Option<TimestampMicros>,
    /// The record of the last row, which raised it: each record does so once, however many events it holds.
    last: Option<i64>,
}

impl<'a> Replay<'a> {
    /// `start`: where the partition begins in this life of the topic.
    fn before(position: Position, start: Offset, source: &'a SourceDefinition) -> Self {
        let since = position.max_timestamp.minus(source.horizon);
        let from_start = (start, true, Some(TimestampMicros::MIN));
        let (floor, is_whole, running_max) = match position.capped {
            // No record had a timestamp that counts: all of them are remembered.
            _ if position.max_timestamp == TimestampMicros::MIN => from_start,
            None => (start, false, None),
            Some(capped) if capped.max_timestamp < since => (capped.offset.next(), false, None),
            Some(capped) => match capped.max_timestamp.minus(MAX_RAISE) {
                before if before < since => (capped.offset, true, Some(before)),
                _ => from_start,
            },
        };
        Self { source, window: CopyWindow::default(), position, since, floor, is_whole, running_max, last: None }
    }

    /// All records before `end` have been seen, or have no identity.
    fn go_on_at(&mut self, end: Position) {
        if end.offset > self.floor {
            self.running_max = Some(end.max_timestamp).filter(|reached| self.is_whole || *reached >= self.since);
        }
    }

    /// Sees decoded rows of the partition, in offset order.
    fn observe(&mut self, rows: &RecordBatch) -> Result<(), SpeedError> {
        let offsets: &Int64Array = typed(rows, column::OFFSET)?;
        let timestamps: &TimestampMicrosecondArray = typed(rows, column::TIMESTAMP)?;
        let keys = decode::event_keys(rows)?;
        let within = self.floor.0..self.position.offset.0;
        for row in (0..rows.num_rows()).filter(|row| within.contains(&offsets.value(*row))) {
            let timestamp = TimestampMicros(timestamps.value(row));
            let is_same_record = self.last == Some(offsets.value(row));
            let running_max = match self.running_max {
                Some(before) if is_same_record => before,
                Some(before) => positions::running_max(before, timestamp),
                None if is_plausible(timestamp) && timestamp >= self.since => timestamp,
                None => continue,
            };
            (self.running_max, self.last) = (Some(running_max), Some(offsets.value(row)));
            self.window.observe(keys[row], running_max, self.source.horizon);
        }
        Ok(())
    }
}

async fn replay_archived(
    context: &Context,
    replay: &mut Replay<'_>,
    snapshot: &MasterSnapshot,
    partition: PartitionId,
) -> Result<(), SpeedError> {
    let table = snapshot.scan()?;
    let zone = match table.schema().field_with_name(column::TIMESTAMP)?.data_type() {
        DataType::Timestamp(_, zone) => zone.clone(),
        other => return Err(arrow::error::ArrowError::SchemaError(format!("_timestamp is of type {other}")).into()),
    };
    let instant = |at: TimestampMicros| ScalarValue::TimestampMicrosecond(Some(at.0), zone.clone());
    let newest = replay.position.max_timestamp;
    let within = offset().gt_eq(lit(replay.floor.0)).and(offset().lt(lit(replay.position.offset.0)));
    let rows =
        context.session().read_table(table)?.filter(ident(column::PARTITION).eq(lit(partition.0)).and(within))?;
    let recent = match replay.is_whole {
        true => rows.clone(),
        // Up to the running maximum: a later one is not plausible, and would begin the suffix too early.
        false => {
            rows.clone().filter(ident(column::TIMESTAMP).between(lit(instant(replay.since)), lit(instant(newest))))?
        }
    };
    let Some(first) = least_offset(recent).await? else { return Ok(()) };
    let suffix = rows.filter(offset().gt_eq(lit(first)))?;
    if replay.source.event_id.is_empty() && !has_keys(suffix.clone()).await? {
        return Ok(());
    }
    let suffix = suffix
        .select([column::OFFSET, column::TIMESTAMP, decode::column::EVENT_KEY].map(ident))?
        .sort(vec![offset().sort(true, false)])?;
    let mut batches = suffix.execute_stream().await?;
    while let Some(rows) = batches.try_next().await? {
        replay.observe(&rows)?;
    }
    Ok(())
}

/// The offset of the first archived row of a partition in `[from, end)`.
///
/// # Errors
/// Try again.
pub(crate) async fn first_offset(
    context: &Context,
    snapshot: &MasterSnapshot,
    partition: PartitionId,
    from: Offset,
    end: Offset,
) -> Result<Option<Offset>, SpeedError> {
    let within = offset().gt_eq(lit(from.0)).and(offset().lt(lit(end.0)));
    let wanted = ident(column::PARTITION).eq(lit(partition.0)).and(within);
    Ok(least_offset(context.session().read_table(snapshot.scan()?)?.filter(wanted)?).await?.map(Offset))
}

async fn least_offset(rows: DataFrame) -> Result<Option<i64>, SpeedError> {
    let found = rows.aggregate(vec![], vec![min(offset()).alias("first")])?.collect().await?;
    let first = found.iter().find(|rows| rows.num_rows() > 0).map(|rows| typed::<Int64Array>(rows, "first"));
    Ok(first.transpose()?.filter(|first| first.is_valid(0)).map(|first| first.value(0)))
}

/// Whether any record has an identity: without an id column a header may still give one.
async fn has_keys(rows: DataFrame) -> Result<bool, SpeedError> {
    let keyed = rows.filter(ident(decode::column::EVENT_KEY).is_not_null())?.limit(0, Some(1))?;
    Ok(keyed.count().await? > 0)
}

fn offset() -> Expr {
    ident(column::OFFSET)
}

async fn replay_log(
    context: &Context,
    replay: &mut Replay<'_>,
    partition: PartitionId,
    from: Offset,
) -> Result<(), SpeedError> {
    let source = &context.components.source;
    let settings = &context.settings;
    let limit = PollLimit { records: settings.max_records, bytes: settings.max_bytes, wait: settings.tick };
    let mut consumer = context.log.consumer(&source.topic, None).await?;
    consumer.seek(&BTreeMap::from([(partition, from)])).await?;
    let mut empty_polls = 0;
    while empty_polls < MAX_EMPTY_POLLS {
        let polled = consumer.poll(limit).await.map_err(|error| not_archived(error, partition))?;
        let Poll::Records(mut records) = polled else { continue };
        let Some(last) = records.last().map(|last| last.offset.next()) else {
            empty_polls += 1;
            continue;
        };
        empty_polls = 0;
        // What lies behind may name schemas that nobody knows yet.
        records.retain(|record| record.offset < replay.position.offset);
        replay.observe(&context.decode(&records)?)?;
        if last >= replay.position.offset {
            return Ok(());
        }
    }
    let reason = format!("partition {partition}: no records before offset {} in time", replay.position.offset);
    Err(EventLogError::Unreachable(reason).into())
}

fn not_archived(error: EventLogError, partition: PartitionId) -> SpeedError {
    match error {
        EventLogError::Expired { asked, low, .. } => SpeedError::NotArchived { partition, from: asked, to: low },
        error => error.into(),
    }
}
