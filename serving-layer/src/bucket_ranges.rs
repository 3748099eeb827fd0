//! Sets of buckets as stretches of event time: ten years of hours are one stretch.
//!
//! Guarantee: stretches are half open, rising, not empty, and neither overlap nor touch; equal sets are equal values.

use positions::TimestampMicros;
use serde::{Deserialize, Serialize};

/// A stretch of event time, `[from, to)`.
type Stretch = (TimestampMicros, TimestampMicros);

/// The buckets whose starts lie in one of some stretches of event time. As JSON a list of pairs, `[[from, to], …]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Stretch>")]
pub struct BucketRanges(Vec<Stretch>);

impl From<Vec<Stretch>> for BucketRanges {
    fn from(mut stretches: Vec<Stretch>) -> Self {
        stretches.retain(|(from, to)| from < to);
        stretches.sort_unstable();
        let mut ranges: Vec<Stretch> = Vec::with_capacity(stretches.len());
        for (from, to) in stretches {
            match ranges.last_mut().filter(|last| from <= last.1) {
                Some(last) => last.1 = last.1.max(to),
                None => ranges.push((from, to)),
            }
        }
        Self(ranges)
    }
}

impl FromIterator<Stretch> for BucketRanges {
    fn from_iter<I: IntoIterator<Item = Stretch>>(stretches: I) -> Self {
        Self::from(stretches.into_iter().collect::<Vec<_>>())
    }
}

impl BucketRanges {
    /// Every bucket there is.
    pub fn everything() -> Self {
        Self(vec![(TimestampMicros(i64::MIN), TimestampMicros(i64::MAX))])
    }

    /// The stretches, rising.
    pub fn iter(&self) -> impl Iterator<Item = Stretch> + '_ {
        self.0.iter().copied()
    }

    /// How many stretches there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no bucket is in.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the bucket that starts there is in.
    pub fn contains(&self, bucket: TimestampMicros) -> bool {
        self.next_from(bucket) == Some(bucket)
    }

    /// Where the set goes on, at or after an instant.
    pub fn next_from(&self, at: TimestampMicros) -> Option<TimestampMicros> {
        let behind = self.0.partition_point(|(_, to)| *to <= at);
        self.0.get(behind).map(|(from, _)| (*from).max(at))
    }

    /// What of the set lies in `[from, to)`.
    pub fn within(&self, from: TimestampMicros, to: TimestampMicros) -> Self {
        let first = self.0.partition_point(|stretch| stretch.1 <= from);
        let inside = self.0[first..].iter().take_while(|stretch| stretch.0 < to);
        inside.map(|stretch| (stretch.0.max(from), stretch.1.min(to))).collect()
    }
}
