//! Groups of buckets that tasks compute, evenly sized by bytes.
//!
//! In: what the statistics of files say of event times. Out: [`BucketGroup`]s that divide all of event time.
//! Guarantee: pure. Every bucket lies in exactly one group; a group weighs at most the limit, unless it is one bucket.
//! A file weighs on the buckets between its first and its last event in even shares; one that says nothing of its
//! events weighs on all of them. So sizes are estimates: which rows are read, the filters alone decide.

use std::collections::BTreeMap;

use positions::TimestampMicros;
use serde::{Deserialize, Serialize};
use serving_layer::BucketRanges;

use crate::grains::{Buckets, Grains, LAST};

/// Most groups of one plan, about: beyond that they become larger than they are asked to be.
const MOST_GROUPS: f64 = 10_000.0;

/// A stretch of event time, `[from, to)`, in whole buckets of the coarsest grains of the views.
///
/// The first group of a plan begins with time itself, the last one ends with it: whatever is carried over from the
/// version before lies in one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketGroup {
    /// Where it begins.
    pub from: TimestampMicros,
    /// Where the next one begins.
    pub to: TimestampMicros,
    /// Buckets to compute in it, at most.
    pub buckets: u64,
    /// Rows to read for it, about.
    pub rows: u64,
    /// Bytes of files to read for it, about: with all of their columns.
    pub bytes: u64,
}

/// What is known of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileWeight {
    /// The first and the last event time, where they are known.
    pub(crate) events: Option<(TimestampMicros, TimestampMicros)>,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

/// Divides what is touched (`None`: everything that there is) into groups.
pub(crate) fn divide(
    files: &[FileWeight],
    grains: Grains,
    touched: Option<&BucketRanges>,
    limit_bytes: u64,
) -> Vec<BucketGroup> {
    let scale = Scale::new(files, grains, touched);
    if touched.is_some_and(BucketRanges::is_empty) {
        return Vec::new();
    }
    let borders = if grains.is_one() { Vec::new() } else { scale.borders(grains, limit_bytes) };
    let froms = std::iter::once(TimestampMicros::MIN).chain(borders.iter().copied());
    let tos = borders.iter().copied().chain([LAST]);
    froms.zip(tos).map(|(from, to)| scale.group(grains, from, to)).collect()
}

/// Bytes and rows.
#[derive(Clone, Copy, Debug, Default)]
struct Weight {
    bytes: f64,
    rows: f64,
}

impl Weight {
    fn plus(self, other: Self, times: f64) -> Self {
        Self { bytes: self.bytes + other.bytes * times, rows: self.rows + other.rows * times }
    }
}

/// A stretch of event time that weighs evenly.
#[derive(Clone, Copy, Debug)]
struct Piece {
    from: TimestampMicros,
    to: TimestampMicros,
    /// Of all pieces before it.
    before: Weight,
    weight: Weight,
}

impl Piece {
    fn width(&self) -> f64 {
        self.to.micros_since(self.from) as f64
    }
}

/// A stretch of event time that is to be read, `[from, to)`, in whole buckets, with what it weighs: evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Share {
    pub(crate) from: TimestampMicros,
    pub(crate) to: TimestampMicros,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

/// All pieces, rising, and what weighs on none of them.
pub(crate) struct Scale {
    pieces: Vec<Piece>,
    elsewhere: Weight,
}

impl Scale {
    pub(crate) fn new(files: &[FileWeight], grains: Grains, touched: Option<&BucketRanges>) -> Self {
        let mut pieces = pieces_of(files, grains, touched);
        let mut unknown = Weight::default();
        for file in files.iter().filter(|file| file.events.is_none()) {
            unknown = unknown.plus(Weight { bytes: file.bytes as f64, rows: file.rows as f64 }, 1.0);
        }
        let width: f64 = pieces.iter().map(Piece::width).sum();
        let mut before = Weight::default();
        for piece in &mut pieces {
            piece.weight = piece.weight.plus(unknown, piece.width() / width);
            piece.before = before;
            before = before.plus(piece.weight, 1.0);
        }
        let elsewhere = if pieces.is_empty() { unknown } else { Weight::default() };
        Self { pieces, elsewhere }
    }

    /// Of shares that do not meet, rising.
    pub(crate) fn of(shares: &[Share]) -> Self {
        let mut before = Weight::default();
        let pieces = shares.iter().map(|share| {
            let weight = Weight { bytes: share.bytes as f64, rows: share.rows as f64 };
            let piece = Piece { from: share.from, to: share.to, before, weight };
            before = before.plus(weight, 1.0);
            piece
        });
        Self { pieces: pieces.collect(), elsewhere: Weight::default() }
    }

    /// What lies in `[from, to)`, rising, as at most so many shares: neighbours are one where there would be more.
    pub(crate) fn shares(&self, from: TimestampMicros, to: TimestampMicros, most: usize) -> Vec<Share> {
        let first = self.pieces.partition_point(|piece| piece.to <= from);
        let inside: Vec<&Piece> = self.pieces[first..].iter().take_while(|piece| piece.from < to).collect();
        let together = inside.len().div_ceil(most.max(1)).max(1);
        let share = |pieces: &[&Piece]| {
            let (begin, end) = (pieces[0].from.max(from), pieces[pieces.len() - 1].to.min(to));
            let weight = self.between(begin, end);
            Share { from: begin, to: end, rows: whole(weight.rows), bytes: whole(weight.bytes) }
        };
        inside.chunks(together).map(share).collect()
    }

    /// The start of a bucket that divides what there is into two about even halves, neither of them empty; `None`: it
    /// is one bucket, or nothing.
    pub(crate) fn middle(&self, grains: Grains) -> Option<TimestampMicros> {
        let first = self.next_from(TimestampMicros::MIN).filter(|_| !grains.is_one())?;
        let full = grains.bucket_of(self.reached(self.below(LAST).bytes / 2.0));
        let border = if full > first { full } else { grains.next_bucket(first) };
        self.next_from(border).map(|_| border)
    }

    /// Where groups end and begin, without the first and the last.
    fn borders(&self, grains: Grains, limit_bytes: u64) -> Vec<TimestampMicros> {
        let mut borders = Vec::new();
        let total = self.below(LAST).bytes;
        // An even share is more than half of the limit, and two groups side by side weigh more than a share.
        let limit = (limit_bytes.max(1) as f64).max(4.0 * total / MOST_GROUPS);
        let mut begin = self.next_from(TimestampMicros::MIN);
        while let Some(at) = begin {
            let done = self.below(at).bytes;
            // What is left, in as many even groups as the limit asks for.
            let groups = ((total - done) / limit).ceil();
            if groups <= 1.0 {
                break;
            }
            let full = grains.bucket_of(self.reached(done + (total - done) / groups));
            let border = if full > at { full } else { grains.next_bucket(at) };
            begin = self.next_from(border);
            if begin.is_some() {
                borders.push(border);
            }
        }
        borders
    }

    /// Where the pieces go on, at or after an instant.
    fn next_from(&self, at: TimestampMicros) -> Option<TimestampMicros> {
        let behind = self.pieces.partition_point(|piece| piece.to <= at);
        self.pieces.get(behind).map(|piece| piece.from.max(at))
    }

    /// What weighs before an instant.
    fn below(&self, at: TimestampMicros) -> Weight {
        let behind = self.pieces.partition_point(|piece| piece.to <= at);
        match self.pieces.get(behind) {
            Some(piece) if piece.from < at => {
                piece.before.plus(piece.weight, at.micros_since(piece.from) as f64 / piece.width())
            }
            Some(piece) => piece.before,
            None => self.pieces.last().map_or(Weight::default(), |last| last.before.plus(last.weight, 1.0)),
        }
    }

    fn between(&self, from: TimestampMicros, to: TimestampMicros) -> Weight {
        self.below(to).plus(self.below(from), -1.0)
    }

    /// The instant up to which so many bytes weigh.
    fn reached(&self, bytes: f64) -> TimestampMicros {
        let at = self.pieces.partition_point(|piece| piece.before.bytes + piece.weight.bytes < bytes);
        match self.pieces.get(at) {
            Some(piece) if piece.weight.bytes > 0.0 => {
                let share = ((bytes - piece.before.bytes) / piece.weight.bytes).clamp(0.0, 1.0);
                TimestampMicros(piece.from.0.saturating_add((share * piece.width()) as i64))
            }
            Some(piece) => piece.from,
            None => LAST,
        }
    }

    fn group(&self, grains: Grains, from: TimestampMicros, to: TimestampMicros) -> BucketGroup {
        let first = self.pieces.partition_point(|piece| piece.to <= from);
        let inside = self.pieces[first..].iter().take_while(|piece| piece.from < to);
        let ranges = inside.map(|piece| (piece.from.max(from), piece.to.min(to))).collect();
        let weight = self.between(from, to).plus(self.elsewhere, 1.0);
        BucketGroup {
            from,
            to,
            buckets: Buckets { grains, ranges }.count(),
            rows: whole(weight.rows),
            bytes: whole(weight.bytes),
        }
    }
}

fn whole(weight: f64) -> u64 {
    weight.max(0.0).round() as u64
}

/// What begins or ends at an instant.
#[derive(Default)]
struct Step {
    /// Bytes and rows of a microsecond, more or less.
    density: Weight,
    files: i64,
    touched: i64,
}

/// The stretches between all borders of files and of what is touched, as far as they are touched and weigh something.
fn pieces_of(files: &[FileWeight], grains: Grains, touched: Option<&BucketRanges>) -> Vec<Piece> {
    let mut steps: BTreeMap<TimestampMicros, Step> = BTreeMap::new();
    for file in files {
        let Some((first, last)) = file.events else { continue };
        let (from, to) = (grains.bucket_of(first), grains.next_bucket(last));
        let weight = Weight { bytes: file.bytes as f64, rows: file.rows as f64 };
        let share = 1.0 / (to.micros_since(from) as f64).max(1.0);
        for (at, sign) in [(from, 1_i32), (to, -1)] {
            let step = steps.entry(at).or_default();
            step.density = step.density.plus(weight, share * f64::from(sign));
            step.files += i64::from(sign);
        }
    }
    for (from, to) in touched.into_iter().flat_map(BucketRanges::iter) {
        steps.entry(from).or_default().touched += 1;
        steps.entry(to).or_default().touched -= 1;
    }
    let mut pieces = Vec::new();
    let (mut density, mut open, mut inside) = (Weight::default(), 0_i64, 0_i64);
    let ends: Vec<TimestampMicros> = steps.keys().skip(1).copied().collect();
    for ((from, step), to) in steps.into_iter().zip(ends) {
        density = density.plus(step.density, 1.0);
        open += step.files;
        inside += step.touched;
        if open == 0 {
            // What adding and taking away left over.
            density = Weight::default();
        }
        // What is touched is read even where no file says that it has events there: it may be one that says nothing.
        let counts = if touched.is_some() { inside > 0 } else { open > 0 };
        if counts {
            let width = to.micros_since(from) as f64;
            let weight = Weight { bytes: density.bytes.max(0.0) * width, rows: density.rows.max(0.0) * width };
            pieces.push(Piece { from, to, before: Weight::default(), weight });
        }
    }
    pieces
}
