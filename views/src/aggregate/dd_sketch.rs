//! A DDSketch: a quantile sketch whose *values* are off by at most 1 %, whatever the distribution.
//!
//! ```text
//!  -inf | -2^3 .. | -2^2 .. |  0  | 2^2 .. | 2^3 .. | +inf      each power of two in 64 buckets, each with its count
//! ```
//!
//! Guarantee: state and answers are a function of the multiset of values, bit for bit, in any order and in any tree of
//! merges. A value is off by at most 1 % of itself, the least and the greatest by nothing. Bytes that are no sketch are
//! an error, never a panic.
//! Not here: the SQL function (`dd.rs`).
//! Why so: a bucket is the exponent and the first six bits of the mantissa, so that no logarithm, which may differ
//! between machines, decides where a value belongs; the middle of a bucket is off by at most 1/128. Of more than
//! [`MAX_BUCKETS`] buckets of one sign those nearest to zero are joined into the next one. That is the same in any
//! order: more values only raise the lowest bucket that is kept, so what a part has joined, the whole joins too.
//!
//! # Source
//! Masson, Rim, Lee: DDSketch, a fast and fully-mergeable quantile sketch with relative-error guarantees (VLDB 2019),
//! with linearly interpolated buckets and collapsing of the lowest ones.

use std::iter::once;
use std::mem;

use datafusion::common::{Result, exec_datafusion_err, exec_err};

use super::state_bytes::{put_number, take, take_double, take_length, take_number};

/// The first byte of a state.
const VERSION: u8 = 1;

/// Buckets of one sign: at least 32 powers of two without a gap, and any number with gaps.
const MAX_BUCKETS: usize = 2_048;

/// More values than any log holds; sums of counts stay far below 2^64.
const MAX_VALUES: u64 = 1 << 60;

/// The bits of a mantissa that a bucket does not tell apart.
const SHIFT: u32 = 46;

/// The bucket of the least normal number. Those below it, up to 2.2e-308, count as zero.
const FIRST: u64 = 1 << 6;

/// The bucket of the greatest finite number.
const LAST: u64 = 2_047 * (1 << 6) - 1;

/// A quantile sketch with a relative error of the value: some hundred buckets for usual measurements.
#[derive(Clone, Debug, Default)]
pub struct DdSketch {
    count: u64,
    negative: Buckets,
    negative_infinities: u64,
    zeros: u64,
    positive: Buckets,
    positive_infinities: u64,
    /// The least and the greatest value.
    extremes: Option<(f64, f64)>,
}

impl DdSketch {
    /// How many values were taken in.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Bytes held outside of the sketch itself.
    pub fn heap_bytes(&self) -> usize {
        (self.negative.0.capacity() + self.positive.0.capacity()) * size_of::<Bucket>()
    }

    /// Takes in one value; NaN is none.
    ///
    /// # Errors
    /// Beyond 2^60 values.
    pub fn update(&mut self, value: f64) -> Result<()> {
        if value.is_nan() {
            return Ok(());
        }
        self.add_count(1)?;
        let value = if value == 0.0 { 0.0 } else { value };
        self.widen(value, value);
        match value {
            f64::INFINITY => self.positive_infinities += 1,
            f64::NEG_INFINITY => self.negative_infinities += 1,
            _ if value >= f64::MIN_POSITIVE => self.positive.add(value),
            _ if value <= -f64::MIN_POSITIVE => self.negative.add(-value),
            _ => self.zeros += 1,
        }
        Ok(())
    }

    /// Takes in what another sketch has seen.
    ///
    /// # Errors
    /// Beyond 2^60 values.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let Some((least, greatest)) = other.extremes else { return Ok(()) };
        self.add_count(other.count)?;
        self.widen(least, greatest);
        self.negative.merge(&other.negative);
        self.negative_infinities += other.negative_infinities;
        self.zeros += other.zeros;
        self.positive.merge(&other.positive);
        self.positive_infinities += other.positive_infinities;
        Ok(())
    }

    /// A number near the value of this rank (0 to 1); `None` without values. Ranks 0 and 1 are exact.
    pub fn quantile(&self, rank: f64) -> Option<f64> {
        let (least, greatest) = self.extremes?;
        if rank <= 0.0 {
            return Some(least);
        }
        if rank >= 1.0 {
            return Some(greatest);
        }
        let wanted = ((rank * self.count as f64).ceil() as u64).max(1);
        let negative = self.negative.0.iter().rev().map(|bucket| (-bucket.middle(), bucket.count));
        let positive = self.positive.0.iter().map(|bucket| (bucket.middle(), bucket.count));
        let ascending = once((f64::NEG_INFINITY, self.negative_infinities))
            .chain(negative)
            .chain(once((0.0, self.zeros)))
            .chain(positive);
        let mut up_to = 0;
        for (value, count) in ascending {
            up_to += count;
            if up_to >= wanted {
                return Some(value.clamp(least, greatest));
            }
        }
        Some(greatest)
    }

    /// The state. Equal multisets of values have equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        for count in [self.negative_infinities, self.zeros, self.positive_infinities] {
            put_number(&mut bytes, count);
        }
        let (least, greatest) = self.extremes.unwrap_or_default();
        bytes.extend(least.to_le_bytes());
        bytes.extend(greatest.to_le_bytes());
        self.negative.put(&mut bytes);
        self.positive.put(&mut bytes);
        bytes
    }

    /// Reads a state, which may come from anywhere. Memory: at most a few times the bytes.
    ///
    /// # Errors
    /// Where [`Self::to_bytes`] wrote no such bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::read(bytes).ok_or_else(|| exec_datafusion_err!("percentile state: its bytes are no DDSketch"))
    }

    fn read(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        if take::<1>(bytes)? != [VERSION] {
            return None;
        }
        let (negative_infinities, zeros, positive_infinities) =
            (take_number(bytes)?, take_number(bytes)?, take_number(bytes)?);
        let (least, greatest) = (take_double(bytes)?, take_double(bytes)?);
        let (negative, positive) = (Buckets::take(bytes)?, Buckets::take(bytes)?);
        let mut count = 0_u64;
        let buckets = negative.0.iter().chain(&positive.0).map(|bucket| bucket.count);
        for part in [negative_infinities, zeros, positive_infinities].into_iter().chain(buckets) {
            count = count.checked_add(part)?;
        }
        let is_sound = bytes.is_empty() && least <= greatest && (1..=MAX_VALUES).contains(&count);
        let extremes = Some((least, greatest));
        is_sound.then_some(Self {
            count,
            negative,
            negative_infinities,
            zeros,
            positive,
            positive_infinities,
            extremes,
        })
    }

    fn add_count(&mut self, added: u64) -> Result<()> {
        match self.count.checked_add(added).filter(|count| *count <= MAX_VALUES) {
            Some(count) => self.count = count,
            None => return exec_err!("a percentile state has more than 2^60 values"),
        }
        Ok(())
    }

    fn widen(&mut self, least: f64, greatest: f64) {
        let (low, high) = self.extremes.unwrap_or((least, greatest));
        self.extremes = Some((low.min(least), high.max(greatest)));
    }
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    index: u64,
    count: u64,
}

impl Bucket {
    fn middle(&self) -> f64 {
        f64::from_bits((self.index << SHIFT) | (1 << (SHIFT - 1)))
    }
}

/// Buckets of one sign that hold something, nearest to zero first.
#[derive(Clone, Debug, Default)]
struct Buckets(Vec<Bucket>);

impl Buckets {
    /// A normal, positive number.
    fn add(&mut self, magnitude: f64) {
        let index = magnitude.to_bits() >> SHIFT;
        match self.0.binary_search_by_key(&index, |bucket| bucket.index) {
            Ok(at) => self.0[at].count += 1,
            Err(at) => {
                self.0.insert(at, Bucket { index, count: 1 });
                self.collapse();
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        let mut both = mem::take(&mut self.0);
        both.extend_from_slice(&other.0);
        // Two sorted halves: the stable sort merges them.
        both.sort_by_key(|bucket| bucket.index);
        both.dedup_by(|next, kept| {
            let is_same = next.index == kept.index;
            kept.count += if is_same { next.count } else { 0 };
            is_same
        });
        self.0 = both;
        self.collapse();
    }

    fn collapse(&mut self) {
        let excess = self.0.len().saturating_sub(MAX_BUCKETS);
        if excess > 0 {
            let joined: u64 = self.0.drain(..excess).map(|bucket| bucket.count).sum();
            self.0[0].count += joined;
        }
    }

    /// Appends how many there are, then of each the distance from the one before and the count.
    fn put(&self, bytes: &mut Vec<u8>) {
        put_number(bytes, self.0.len() as u64);
        let mut before = 0;
        for Bucket { index, count } in &self.0 {
            put_number(bytes, index - before);
            put_number(bytes, *count);
            before = *index;
        }
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let length = take_length(bytes).filter(|length| *length <= MAX_BUCKETS)?;
        let mut buckets = Vec::new();
        let mut before = 0_u64;
        for _ in 0..length {
            let (distance, count) = (take_number(bytes)?, take_number(bytes)?);
            let index = before.checked_add(distance).filter(|index| (FIRST..=LAST).contains(index))?;
            if distance == 0 || count == 0 {
                return None;
            }
            buckets.push(Bucket { index, count });
            before = index;
        }
        Some(Self(buckets))
    }
}
