//! Which rows of the master dataset a recompute reads: ranges of offsets, buckets, and the files that may hold them.
//!
//! In: a snapshot of the master dataset. Out: logical plans over the fewest files.
//! Guarantee: pruning only leaves out files that hold none of the rows; the filters alone decide on rows.
//! Why so: `lake` prunes by the plain comparisons with offsets; the bucket is computed from the event time, which no
//! general rule sees through, so files are chosen by buckets here.

use std::collections::BTreeSet;

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
use views::{Bucket, SourceDefinition, column, utc_micros, utc_scalar};

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

/// Buckets of one grain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Buckets {
    pub(crate) grain: Bucket,
    pub(crate) starts: BTreeSet<TimestampMicros>,
}

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
        let Some(buckets) = buckets else { return Ok(rows) };
        // Never one alone: of `bucket = x` the engine concludes that the key is constant, leaves it out of a sort over
        // several partitions, and then refuses its own plan. No event falls into the other one.
        let starts = buckets.starts.iter().copied().chain([TimestampMicros::MIN]);
        let starts = starts.map(|start| lit(utc_scalar(Some(start)))).collect();
        Ok(rows.filter(self.bucket(buckets.grain).in_list(starts, false))?)
    }

    /// The bucket of an event: by its time as sent, so that all copies of an event fall into one.
    pub(crate) fn bucket(&self, grain: Bucket) -> Expr {
        let corrected = field(self.event_time());
        // A record's own timestamp is never corrected.
        if self.source.is_timed_by_record() || !self.master.snapshot.files().iter().any(may_hold_corrected_times) {
            return views::bucket_expr(grain, corrected);
        }
        let shift = coalesce(vec![field(master_column::CLOCK_SHIFT), lit(0_i64)]);
        let sent = cast(corrected, DataType::Int64) - shift;
        views::bucket_expr(grain, cast(sent, utc_micros()))
    }

    fn event_time(&self) -> &str {
        self.source.event_time_name()
    }

    fn may_hold_buckets(&self, file: &DataFile, buckets: &Buckets) -> bool {
        // What rows that are read again hold, the bounds of what was stored do not say.
        if may_hold_corrected_times(file) || self.master.is_read_again(file) {
            return true;
        }
        let Some((first, last)) = whole_bounds(file, self.master.stored_name(self.event_time())) else { return true };
        let first = views::bucket_of(buckets.grain, TimestampMicros(first));
        let last = views::bucket_of(buckets.grain, TimestampMicros(last));
        buckets.starts.range(first..=last).next().is_some()
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

/// Least and largest value of a column of whole numbers or instants, where the file states them.
fn whole_bounds(file: &DataFile, name: &str) -> Option<(i64, i64)> {
    let (least, largest, _) = file.bounds.get(name)?;
    let whole = |value: &ScalarValue| match value.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(whole)) => whole,
        _ => None,
    };
    Some((whole(least)?, whole(largest)?))
}
