//! Which rows of the master dataset a recompute reads: ranges of offsets, buckets, and the files that may hold them.
//!
//! In: a snapshot of the master dataset. Out: logical plans over the fewest files.
//! Guarantee: pruning only leaves out files that hold none of the rows; the filters alone decide on rows.
//! Why so: `lake` prunes by the plain comparisons with offsets; the bucket is computed from the event time, which no
//! general rule sees through, so files are chosen by buckets here.

use arrow::datatypes::DataType;
use datafusion::datasource::provider_as_source;
use datafusion::error::Result;
use datafusion::functions::expr_fn::coalesce;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, cast, lit};
use datafusion::scalar::ScalarValue;
use lake::DataFile;
use positions::{Cut, Offset, PartitionId, TimestampMicros};
use records::RecordsError;
use records::decode::column as master_column;
use records::master::MasterSnapshot;
use serving_layer::BucketRanges;
use views::{SourceDefinition, column, utc_micros, utc_scalar};

use super::groups::FileWeight;
use crate::grains::{Buckets, Grains, LAST};
use crate::master_columns::{field, may_hold_corrected_times};

/// A stretch of offsets of one partition: `[from, to)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OffsetRange {
    pub(crate) partition: PartitionId,
    pub(crate) from: Offset,
    pub(crate) to: Offset,
}

/// The stretches between two cuts, without empty ones.
pub(crate) fn ranges_between(from: &Cut, to: &Cut) -> Vec<OffsetRange> {
    let all = to.0.iter().map(|(partition, position)| OffsetRange {
        partition: *partition,
        from: from.offset(*partition),
        to: position.offset,
    });
    all.filter(|range| range.from < range.to).collect()
}

/// More stretches of event time than these are asked for by the buckets that they are: an expression of each would be
/// too deep. Fewer let Parquet leave out row groups and pages.
const MOST_STRETCHES: usize = 16;

/// A reader of one snapshot.
pub(crate) struct MasterRows<'a> {
    pub(crate) master: &'a MasterSnapshot,
    pub(crate) source: &'a SourceDefinition,
}

impl MasterRows<'_> {
    /// The rows of `ranges`, rejected ones included, with all columns of the table under their plain names.
    pub(crate) fn between(&self, ranges: &[OffsetRange]) -> Result<LogicalPlanBuilder, RecordsError> {
        self.scan(ranges, None)
    }

    /// The events (no rejected records) of `ranges`, in `buckets` where given.
    pub(crate) fn events(
        &self,
        ranges: &[OffsetRange],
        buckets: Option<&Buckets>,
    ) -> Result<LogicalPlanBuilder, RecordsError> {
        let rows = self.scan(ranges, buckets)?.filter(field(master_column::ERROR).is_null())?;
        match buckets.and_then(|buckets| self.is_in(buckets)) {
            Some(is_in) => Ok(rows.filter(is_in)?),
            None => Ok(rows),
        }
    }

    /// The bucket of an event: by its time as sent, so that all copies of an event fall into one.
    pub(crate) fn bucket(&self, grains: Grains) -> Expr {
        grains.bucket_expr(&self.sent())
    }

    /// First and last event time in a file as its statistics tell it, corrected where the events' is; `None` where they
    /// do not.
    pub(crate) fn told_events(&self, file: &DataFile) -> Option<(TimestampMicros, TimestampMicros)> {
        // What rows that are read again hold, the bounds of what was stored do not say.
        if self.master.is_read_again(file) {
            return None;
        }
        whole_bounds(file, self.master.stored_name(self.event_time()))
    }

    /// What is known of each file.
    pub(crate) fn weights(&self) -> Vec<FileWeight> {
        let files = self.master.snapshot.files().iter();
        let weight =
            files.map(|file| FileWeight { events: self.told_events(file), rows: file.rows, bytes: file.size_bytes });
        weight.collect()
    }

    /// First and last time as sent of the events in a file, where they are certain.
    pub(crate) fn sent_events(&self, file: &DataFile) -> Option<(TimestampMicros, TimestampMicros)> {
        if may_hold_corrected_times(file) { None } else { self.told_events(file) }
    }

    /// The time of an event as sent.
    fn sent(&self) -> Expr {
        let corrected = field(self.event_time());
        // A record's own timestamp is never corrected.
        if self.source.is_timed_by_record() || !self.master.snapshot.files().iter().any(may_hold_corrected_times) {
            return corrected;
        }
        let shift = coalesce(vec![field(master_column::CLOCK_SHIFT), lit(0_i64)]);
        cast(cast(corrected, DataType::Int64) - shift, utc_micros())
    }

    /// Whether an event lies in one of the buckets; `None`: every one does.
    fn is_in(&self, buckets: &Buckets) -> Option<Expr> {
        if buckets.ranges == BucketRanges::everything() {
            return None;
        }
        if buckets.ranges.len() > MOST_STRETCHES {
            let starts = buckets.starts().into_iter().map(|start| lit(utc_scalar(Some(start))));
            return Some(self.bucket(buckets.grains).in_list(starts.collect(), false));
        }
        // Never `bucket = x`, for one bucket: of that the engine concludes that the key is constant, leaves it out of a
        // sort over several partitions, and then refuses its own plan.
        let stretches = buckets.ranges.iter().map(|(from, to)| self.is_between(from, to));
        Some(stretches.reduce(Expr::or).unwrap_or_else(|| lit(false)))
    }

    /// Whether an event was sent in `[from, to)`.
    fn is_between(&self, from: TimestampMicros, to: TimestampMicros) -> Expr {
        let limit = |at: TimestampMicros| lit(utc_scalar(Some(at)));
        let behind = (from > TimestampMicros::MIN).then(|| self.sent().gt_eq(limit(from)));
        let before = (to < LAST).then(|| self.sent().lt(limit(to)));
        behind.into_iter().chain(before).reduce(Expr::and).unwrap_or_else(|| lit(true))
    }

    fn event_time(&self) -> &str {
        self.source.event_time_name()
    }

    fn may_hold_buckets(&self, file: &DataFile, buckets: &Buckets) -> bool {
        let Some((first, last)) = self.sent_events(file) else { return true };
        let next = buckets.ranges.next_from(buckets.grains.bucket_of(first));
        next.is_some_and(|next| next <= buckets.grains.bucket_of(last))
    }

    fn scan(&self, ranges: &[OffsetRange], buckets: Option<&Buckets>) -> Result<LogicalPlanBuilder, RecordsError> {
        let files = self.master.snapshot.files().iter();
        let files: Vec<DataFile> =
            files.filter(|file| buckets.is_none_or(|buckets| self.may_hold_buckets(file, buckets))).cloned().collect();
        let table = provider_as_source(self.master.scan_files(&files)?);
        Ok(LogicalPlanBuilder::scan("master", table, None)?.filter(is_within(ranges))?)
    }
}

fn is_within(ranges: &[OffsetRange]) -> Expr {
    let one = |range: &OffsetRange| {
        let offset = field(column::OFFSET);
        let in_partition = field(column::PARTITION).eq(lit(range.partition.0));
        let below = in_partition.and(offset.clone().lt(lit(range.to.0)));
        if range.from == Offset(0) { below } else { below.and(offset.gt_eq(lit(range.from.0))) }
    };
    ranges.iter().map(one).reduce(Expr::or).unwrap_or_else(|| lit(false))
}

/// Least and largest value of a column of instants, where the file states them.
fn whole_bounds(file: &DataFile, name: &str) -> Option<(TimestampMicros, TimestampMicros)> {
    let (least, largest, _) = file.bounds.get(name)?;
    let whole = |value: &ScalarValue| match value.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(whole)) => whole,
        _ => None,
    };
    Some((TimestampMicros(whole(least)?), TimestampMicros(whole(largest)?)))
}
