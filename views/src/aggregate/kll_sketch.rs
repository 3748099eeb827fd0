//! A KLL quantile sketch whose coin is a function of what it compacts.
//!
//! ```text
//!  level 2, weight 4   sorted              <- every second item of level 1, once that is full
//!  level 1, weight 2   sorted              <- every second item of level 0
//!  level 0, weight 1   as the values come
//! ```
//!
//! Guarantee: state and answers are a function of the values and the order they come in, and up to 200 values of the
//! values alone; merging is commutative, and within the published error in any tree. One sketch answers a greater rank
//! never with a lesser value. Bytes that are no sketch are an error, never a panic.
//! Not here: the SQL function (`kll.rs`).
//! Why so: the error bound needs that the coins of compactions do not conspire with the values. A hash of the items, of
//! their level and of how many values there are decides as a fair coin does for all values that were not chosen to
//! defeat this very hash; a coin that only alternates would fail on data of its own rhythm. The library's coin is drawn
//! at random and cannot be seeded, so each merge gave another answer.
//!
//! # Source
//! Karnin, Lang, Liberty: Optimal Quantile Approximation in Streams (FOCS 2016). Capacities, lazy compaction (the
//! lowest full level, once all together are full) and the published error are those of Apache DataSketches for k = 200.

use std::cmp::Ordering;
use std::mem;

use datafusion::common::{Result, exec_datafusion_err, exec_err};

use super::state_bytes::{put_number, take, take_double, take_length, take_slice};

/// The first byte of a state.
const VERSION: u8 = 1;

/// Items of a level by its distance from the top: 200 * (2/3)^distance, at least 8.
const CAPACITIES: [usize; 9] = [200, 133, 89, 59, 40, 26, 18, 12, 8];

/// More values than any log holds; sums of weights stay far below 2^64.
const MAX_VALUES: u64 = 1 << 60;

/// The highest level has a weight of at most [`MAX_VALUES`].
const MAX_LEVELS: usize = 61;

/// What a sketch holds: ordered, and of bytes that say all of it.
pub trait KllItem: Ord + Clone {
    /// Tells the types apart in a state.
    const KIND: u8;

    /// A number of the value: equal for equal values, on any machine.
    fn digest(&self) -> u64;

    /// Appends the value to a state.
    fn put(&self, bytes: &mut Vec<u8>);

    /// Takes a value from a state; `None` where there is none.
    fn take(bytes: &mut &[u8]) -> Option<Self>;
}

/// A quantile sketch of at most some 600 items, exact up to 200 values.
#[derive(Clone, Debug)]
pub struct KllSketch<T> {
    /// At least one; sorted but for level 0.
    levels: Vec<Vec<T>>,
    retained: usize,
    /// How many items these levels may hold together.
    capacity: usize,
    count: u64,
    /// The least and the greatest value.
    extremes: Option<(T, T)>,
}

impl<T: KllItem> Default for KllSketch<T> {
    fn default() -> Self {
        Self { levels: vec![Vec::new()], retained: 0, capacity: capacity(1), count: 0, extremes: None }
    }
}

impl<T: KllItem> KllSketch<T> {
    /// How many values were taken in.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How many of them are held.
    pub fn retained(&self) -> usize {
        self.retained
    }

    /// Takes in one value. Cost: sorts as many as there are of them in level 0, once that is full.
    ///
    /// # Errors
    /// Beyond 2^60 values.
    pub fn update(&mut self, item: T) -> Result<()> {
        self.add_count(1)?;
        self.widen(&item, &item);
        self.levels[0].push(item);
        self.retained += 1;
        self.compact();
        Ok(())
    }

    /// Takes in what another sketch has seen. The order of the two makes no difference.
    ///
    /// # Errors
    /// Beyond 2^60 values.
    pub fn merge(&mut self, other: Self) -> Result<()> {
        let Some((least, greatest)) = &other.extremes else { return Ok(()) };
        self.add_count(other.count)?;
        self.widen(least, greatest);
        self.retained += other.retained;
        if other.levels.len() > self.levels.len() {
            self.levels.resize_with(other.levels.len(), Vec::new);
            self.capacity = capacity(self.levels.len());
        }
        for (level, (own, items)) in self.levels.iter_mut().zip(other.levels).enumerate() {
            own.extend(items);
            if level > 0 {
                // Two sorted halves: the stable sort merges them.
                own.sort();
            }
        }
        self.compact();
        Ok(())
    }

    /// A value that occurred, whose rank is near `rank` (0 to 1); `None` without values. Ranks 0 and 1 are exact.
    pub fn quantile(&self, rank: f64) -> Option<T> {
        let (least, greatest) = self.extremes.as_ref()?;
        if rank <= 0.0 {
            return Some(least.clone());
        }
        if rank >= 1.0 {
            return Some(greatest.clone());
        }
        let wanted = (rank * self.count as f64).ceil() as u64;
        let mut items: Vec<(&T, u64)> = Vec::with_capacity(self.retained);
        for (level, held) in self.levels.iter().enumerate() {
            items.extend(held.iter().map(|item| (item, 1 << level)));
        }
        // Levels are sorted runs already: the stable sort merges them.
        items.sort_by(|one, other| one.0.cmp(other.0));
        let mut up_to = 0;
        let found = items.into_iter().find(|(_, weight)| {
            up_to += weight;
            up_to >= wanted
        });
        Some(found.map_or(greatest, |(item, _)| item).clone())
    }

    /// The state: version, type, lengths of levels, extremes where values were compacted, items in ascending order.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + 9 * self.retained);
        bytes.extend([VERSION, T::KIND]);
        put_number(&mut bytes, self.levels.len() as u64);
        for level in &self.levels {
            put_number(&mut bytes, level.len() as u64);
        }
        if self.levels.len() > 1
            && let Some((least, greatest)) = &self.extremes
        {
            least.put(&mut bytes);
            greatest.put(&mut bytes);
        }
        for (level, items) in self.levels.iter().enumerate() {
            let mut items: Vec<&T> = items.iter().collect();
            if level == 0 {
                items.sort_unstable();
            }
            items.into_iter().for_each(|item| item.put(&mut bytes));
        }
        bytes
    }

    /// Reads a state, which may come from anywhere. Memory: at most a few times the bytes.
    ///
    /// # Errors
    /// Where [`Self::to_bytes`] wrote no such bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let damaged = || exec_datafusion_err!("percentile state: its bytes are no KLL sketch of such values");
        Self::read(bytes).ok_or_else(damaged)
    }

    fn read(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        if take::<2>(bytes)? != [VERSION, T::KIND] {
            return None;
        }
        let level_count = take_length(bytes).filter(|count| (1..=MAX_LEVELS).contains(count))?;
        let lengths = (0..level_count).map(|_| take_length(bytes)).collect::<Option<Vec<usize>>>()?;
        let capacity = capacity(level_count);
        let (mut retained, mut count) = (0_usize, 0_u64);
        for (level, length) in lengths.iter().enumerate() {
            retained = retained.checked_add(*length).filter(|retained| *retained <= capacity)?;
            count = count.checked_add((*length as u64).checked_mul(1 << level)?)?;
        }
        if !(1..=MAX_VALUES).contains(&count) || lengths.last() == Some(&0) {
            return None;
        }
        let compacted = if level_count > 1 { Some((T::take(bytes)?, T::take(bytes)?)) } else { None };
        let mut levels = Vec::with_capacity(level_count);
        for length in lengths {
            levels.push((0..length).map(|_| T::take(bytes)).collect::<Option<Vec<T>>>()?);
        }
        let extremes = match compacted {
            Some(extremes) => extremes,
            None => (levels[0].first()?.clone(), levels[0].last()?.clone()),
        };
        let is_within = |item: &T| extremes.0 <= *item && *item <= extremes.1;
        let are_within = |level: &Vec<T>| level.first().is_none_or(is_within) && level.last().is_none_or(is_within);
        let is_sound = bytes.is_empty() && levels.iter().all(|level| level.is_sorted() && are_within(level));
        is_sound.then(|| Self { levels, retained, capacity, count, extremes: Some(extremes) })
    }

    fn add_count(&mut self, added: u64) -> Result<()> {
        match self.count.checked_add(added).filter(|count| *count <= MAX_VALUES) {
            Some(count) => self.count = count,
            None => return exec_err!("a percentile state has more than 2^60 values"),
        }
        Ok(())
    }

    fn widen(&mut self, least: &T, greatest: &T) {
        match &mut self.extremes {
            Some((low, high)) => {
                if *least < *low {
                    low.clone_from(least);
                }
                if *greatest > *high {
                    high.clone_from(greatest);
                }
            }
            none => *none = Some((least.clone(), greatest.clone())),
        }
    }

    /// Halves the lowest full level until all items fit.
    fn compact(&mut self) {
        while self.retained > self.capacity {
            let top = self.levels.len() - 1;
            let is_full = |level: &usize| self.levels[*level].len() >= level_capacity(top - *level);
            // More items than fit into all levels do not fit into one of them.
            let Some(level) = (0..=top).find(is_full) else { return };
            self.halve(level);
        }
    }

    /// Moves every second item of a level up, where each counts twice. Of an odd number the least stays.
    fn halve(&mut self, level: usize) {
        if level + 1 == self.levels.len() {
            self.levels.push(Vec::new());
            self.capacity = capacity(self.levels.len());
        }
        let mut items = mem::take(&mut self.levels[level]);
        if level == 0 {
            items.sort_unstable();
        }
        let (first, pairs) = (items.len() % 2, items.len() / 2);
        let coin = coin(self.count, level, &items);
        let above = &mut self.levels[level + 1];
        above.extend(items.drain(first..).skip(coin).step_by(2));
        above.sort();
        self.levels[level] = items;
        self.retained -= pairs;
    }
}

/// 0 or 1, as these items say.
fn coin<T: KllItem>(count: u64, level: usize, items: &[T]) -> usize {
    let start = mix(count).wrapping_add(level as u64);
    let digest = items.iter().fold(start, |digest, item| folded(digest, item.digest()));
    (mix(digest) >> 63) as usize
}

fn folded(digest: u64, next: u64) -> u64 {
    (digest.rotate_left(5) ^ next).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The finaliser of SplitMix64: every bit of the outcome depends on every bit of the number.
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

fn level_capacity(from_top: usize) -> usize {
    CAPACITIES.get(from_top).copied().unwrap_or(8)
}

fn capacity(levels: usize) -> usize {
    (0..levels).map(level_capacity).sum()
}

impl KllItem for i64 {
    const KIND: u8 = 0;

    fn digest(&self) -> u64 {
        self.cast_unsigned()
    }

    fn put(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.to_le_bytes());
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        Some(Self::from_le_bytes(take(bytes)?))
    }
}

/// A double that has its place among others: not NaN, and with one zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KllDouble(f64);

impl KllDouble {
    /// The number; -0.0 as 0.0, and `None` for NaN.
    pub fn new(number: f64) -> Option<Self> {
        let number = if number == 0.0 { 0.0 } else { number };
        (!number.is_nan()).then_some(Self(number))
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl Eq for KllDouble {}

impl Ord for KllDouble {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for KllDouble {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl KllItem for KllDouble {
    const KIND: u8 = 1;

    fn digest(&self) -> u64 {
        self.0.to_bits()
    }

    fn put(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.0.to_le_bytes());
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        take_double(bytes).map(Self)
    }
}

impl KllItem for String {
    const KIND: u8 = 2;

    fn digest(&self) -> u64 {
        let (words, rest) = self.as_bytes().as_chunks::<8>();
        let digest = words.iter().fold(self.len() as u64, |digest, word| folded(digest, u64::from_le_bytes(*word)));
        rest.iter().fold(digest, |digest, byte| folded(digest, u64::from(*byte)))
    }

    fn put(&self, bytes: &mut Vec<u8>) {
        put_number(bytes, self.len() as u64);
        bytes.extend_from_slice(self.as_bytes());
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let length = take_length(bytes)?;
        let text = str::from_utf8(take_slice(bytes, length)?).ok()?;
        Some(text.to_owned())
    }
}
