//! Grains of buckets: which is the coarser, where the next bucket begins, how many lie in a stretch of event time.
//!
//! Guarantee: pure. Whole buckets of a coarser grain are whole buckets of every finer one.

use std::time::Duration;

use positions::TimestampMicros;
use serving_layer::BucketRanges;
use views::{Bucket, bucket_of};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// From the start of any month into the next one, and not beyond it.
const INTO_NEXT_MONTH: Duration = Duration::from_secs(32 * 24 * 3600);

/// The end of time.
pub(crate) const LAST: TimestampMicros = TimestampMicros(i64::MAX);

/// Buckets of one grain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Buckets {
    pub(crate) grain: Bucket,
    pub(crate) ranges: BucketRanges,
}

impl Buckets {
    /// Their starts, rising. Never of a stretch without an end.
    pub(crate) fn starts(&self) -> Vec<TimestampMicros> {
        let mut starts = Vec::new();
        for (from, to) in self.ranges.iter() {
            let mut start = from;
            while start < to {
                starts.push(start);
                start = next_bucket(self.grain, start);
            }
        }
        starts
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        let in_widths = |width: Duration| -> u64 {
            let whole =
                |(from, to): (TimestampMicros, TimestampMicros)| to.micros_since(from) / positions::micros(width);
            self.ranges.iter().map(|range| whole(range).max(1).unsigned_abs()).sum()
        };
        match self.grain {
            Bucket::Hour => in_widths(HOUR),
            Bucket::Day => in_widths(DAY),
            Bucket::Month => self.starts().len() as u64,
            Bucket::None => u64::from(!self.ranges.is_empty()),
        }
    }
}

/// The coarsest of some grains; an hour where there is none.
pub(crate) fn coarsest(grains: impl Iterator<Item = Bucket>) -> Bucket {
    let coarseness = |grain: &Bucket| match grain {
        Bucket::Hour => 0,
        Bucket::Day => 1,
        Bucket::Month => 2,
        Bucket::None => 3,
    };
    grains.max_by_key(coarseness).unwrap_or(Bucket::Hour)
}

/// The start of the bucket after the one that an instant falls into.
pub(crate) fn next_bucket(grain: Bucket, at: TimestampMicros) -> TimestampMicros {
    let start = bucket_of(grain, at);
    match grain {
        Bucket::Hour => start.plus(HOUR),
        Bucket::Day => start.plus(DAY),
        Bucket::Month => bucket_of(Bucket::Month, start.plus(INTO_NEXT_MONTH)),
        Bucket::None => LAST,
    }
}

/// The whole buckets that some stretches of event time lie in.
pub(crate) fn widened(stretches: &BucketRanges, grain: Bucket) -> BucketRanges {
    if grain == Bucket::None {
        return if stretches.is_empty() { BucketRanges::default() } else { BucketRanges::everything() };
    }
    let last = |to: TimestampMicros| TimestampMicros(to.0.saturating_sub(1));
    stretches.iter().map(|(from, to)| (bucket_of(grain, from), next_bucket(grain, last(to)))).collect()
}
