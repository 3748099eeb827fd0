//! Grains of buckets: which is the coarser, where a version has which, where the next bucket begins, how many lie in a
//! stretch of event time.
//!
//! Guarantee: pure. Whole buckets of coarser grains are whole buckets of every finer one, also where versions are
//! folded differently far: ends of what is folded are starts of buckets of their grain.

use std::time::Duration;

use datafusion::logical_expr::{Case, Expr, lit};
use positions::TimestampMicros;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serving_layer::{BatchVersion, BucketRanges, Folded};
use views::{Bucket, bucket_of, utc_scalar};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// From the start of any month into the next one, and not beyond it.
const INTO_NEXT_MONTH: Duration = Duration::from_secs(32 * 24 * 3600);

/// The end of time.
pub(crate) const LAST: TimestampMicros = TimestampMicros(i64::MAX);

/// The buckets of a version: of the grain of its view, and of a coarser one where it is folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grains {
    #[serde(serialize_with = "write_grain", deserialize_with = "read_grain")]
    own: Bucket,
    folded: Folded,
}

impl Grains {
    /// Of a view whose version is folded so far.
    pub fn new(own: Bucket, folded: Folded) -> Self {
        Self { own, folded }
    }

    /// The same everywhere.
    pub(crate) fn even(own: Bucket) -> Self {
        Self::new(own, Folded::default())
    }

    /// Of the versions that are published on `version`, which are folded as far as it is; `None`: of a first one.
    pub(crate) fn on(version: Option<&BatchVersion>, own: Bucket) -> Self {
        Self::new(own, folded_of(version))
    }

    /// At each instant the coarsest of all; an hour where there are none.
    pub fn coarsest(all: impl Iterator<Item = Self>) -> Self {
        let coarser_of = |one: Self, other: Self| Self {
            own: coarser(one.own, other.own),
            folded: one.folded.or_further(other.folded),
        };
        all.reduce(coarser_of).unwrap_or(Self::even(Bucket::Hour))
    }

    /// How far they are folded.
    pub(crate) fn folded(&self) -> Folded {
        self.folded
    }

    /// Whether all of event time is one bucket.
    pub(crate) fn is_one(&self) -> bool {
        self.own == Bucket::None
    }

    /// The grain at an instant.
    pub fn at(&self, time: TimestampMicros) -> Bucket {
        let here = self.regions().into_iter().find(|(from, to, _)| *from <= time && time < *to);
        here.map_or(self.own, |(_, _, grain)| grain)
    }

    /// The start of the bucket that an instant falls into.
    pub(crate) fn bucket_of(&self, time: TimestampMicros) -> TimestampMicros {
        bucket_of(self.at(time), time)
    }

    /// The grains of a stretch of event time, `[from, to)`, in the order in which they come.
    pub fn within(&self, from: TimestampMicros, to: TimestampMicros) -> Vec<Bucket> {
        let regions = self.regions().into_iter().filter(|(begin, end, _)| begin < end && *begin < to && from < *end);
        let mut grains: Vec<Bucket> = regions.map(|(_, _, grain)| grain).collect();
        grains.dedup();
        grains
    }

    /// The start of the bucket after the one that an instant falls into.
    pub fn next_bucket(&self, time: TimestampMicros) -> TimestampMicros {
        next_bucket(self.at(time), time)
    }

    /// [`Self::bucket_of`] as an expression over a TIMESTAMP (microseconds, UTC).
    pub(crate) fn bucket_expr(&self, time: &Expr) -> Expr {
        let of = |grain: Bucket| Box::new(views::bucket_expr(grain, time.clone()));
        let folded = self.regions().into_iter();
        let folded = folded.filter(|(from, to, grain)| from < to && *grain != self.own);
        let cases: Vec<_> =
            folded.map(|(_, to, grain)| (Box::new(time.clone().lt(lit(utc_scalar(Some(to))))), of(grain))).collect();
        if cases.is_empty() { *of(self.own) } else { Expr::Case(Case::new(None, cases, Some(of(self.own)))) }
    }

    /// Where the buckets of `other` are not the same.
    pub(crate) fn that_differ(&self, other: &Self) -> BucketRanges {
        let mut stretches = Vec::new();
        for (from, to, grain) in self.regions() {
            let others = other.regions().into_iter().filter(|(_, _, other)| *other != grain);
            stretches.extend(others.map(|(other_from, other_to, _)| (from.max(other_from), to.min(other_to))));
        }
        stretches.into()
    }

    /// All of event time, rising, with the grain of each region; some may be empty.
    fn regions(&self) -> [(TimestampMicros, TimestampMicros, Bucket); 3] {
        let months_until = self.folded.months_until.unwrap_or(TimestampMicros::MIN);
        let days_until = self.folded.days_until.unwrap_or(TimestampMicros::MIN).max(months_until);
        [
            (TimestampMicros::MIN, months_until, coarser(self.own, Bucket::Month)),
            (months_until, days_until, coarser(self.own, Bucket::Day)),
            (days_until, LAST, self.own),
        ]
    }
}

fn write_grain<S: Serializer>(grain: &Bucket, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(grain.as_str())
}

fn read_grain<'de, D: Deserializer<'de>>(from: D) -> Result<Bucket, D::Error> {
    let word = String::deserialize(from)?;
    word.parse::<Bucket>().map_err(|()| D::Error::custom(format!("`{word}` is no grain of buckets")))
}

/// How far a version is folded, and every one that is published on it.
pub(crate) fn folded_of(version: Option<&BatchVersion>) -> Folded {
    version.map(|version| version.facts.folded).unwrap_or_default()
}

/// Buckets of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Buckets {
    pub(crate) grains: Grains,
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
                start = self.grains.next_bucket(start);
            }
        }
        starts
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        if self.grains.is_one() {
            return u64::from(!self.ranges.is_empty());
        }
        let regions = self.grains.regions().into_iter();
        regions.map(|(from, to, grain)| count_in(grain, self.ranges.within(from, to))).sum()
    }
}

/// How many buckets of one grain some stretches are.
fn count_in(grain: Bucket, ranges: BucketRanges) -> u64 {
    let in_widths = |width: Duration| -> u64 {
        let whole = |(from, to): (TimestampMicros, TimestampMicros)| to.micros_since(from) / positions::micros(width);
        ranges.iter().map(|range| whole(range).max(1).unsigned_abs()).sum()
    };
    match grain {
        Bucket::Hour => in_widths(HOUR),
        Bucket::Day => in_widths(DAY),
        Bucket::Month => Buckets { grains: Grains::even(grain), ranges }.starts().len() as u64,
        Bucket::None => u64::from(!ranges.is_empty()),
    }
}

fn coarser(one: Bucket, other: Bucket) -> Bucket {
    let coarseness = |grain: Bucket| match grain {
        Bucket::Hour => 0,
        Bucket::Day => 1,
        Bucket::Month => 2,
        Bucket::None => 3,
    };
    if coarseness(one) < coarseness(other) { other } else { one }
}

fn next_bucket(grain: Bucket, at: TimestampMicros) -> TimestampMicros {
    let start = bucket_of(grain, at);
    match grain {
        Bucket::Hour => start.plus(HOUR),
        Bucket::Day => start.plus(DAY),
        Bucket::Month => bucket_of(Bucket::Month, start.plus(INTO_NEXT_MONTH)),
        Bucket::None => LAST,
    }
}

/// The whole buckets that some stretches of event time lie in.
pub(crate) fn widened(stretches: &BucketRanges, grains: Grains) -> BucketRanges {
    if grains.is_one() {
        return if stretches.is_empty() { BucketRanges::default() } else { BucketRanges::everything() };
    }
    let last = |to: TimestampMicros| TimestampMicros(to.0.saturating_sub(1));
    stretches.iter().map(|(from, to)| (grains.bucket_of(from), grains.next_bucket(last(to)))).collect()
}
