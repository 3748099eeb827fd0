//! Borders: places in the log that no run crosses, so that a cut never falls inside a run.
//!
//! Guarantee: grid and gap borders are functions of the log alone (offsets and record timestamps); both layers
//! compute the same ones without asking each other. Published cuts come on top of them.
//! Which grid multiples: those at or below a record, and at or below the end of the log behind a record. Only there can
//! the archive stand (`Archived::advance`), so only these can become a cut. Offsets may jump far (transaction markers,
//! compaction): the multiples between, with no record near them, are not borders, and a run may pass over them. So the
//! number of runs is bounded by that of records and cuts, not by that of offsets.
//! Not here: choosing the cut (`cut.rs`), merging runs (`index.rs`).

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Offset, Position, TimestampMicros, micros};

/// What makes a border in one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BorderRule {
    /// Every multiple of this many offsets is a border where records lie about it (see the module); at least 1.
    pub grid: i64,
    /// A silence of at least this long, between record timestamps, is a border.
    pub gap: Duration,
}

impl BorderRule {
    /// No borders but the start of the partition: for states that no cut will ever divide.
    pub const NONE: Self = Self { grid: i64::MAX, gap: Duration::MAX };

    /// The largest grid multiple at or below `offset`.
    pub fn grid_floor(&self, offset: Offset) -> Offset {
        Offset(offset.0.div_euclid(self.grid) * self.grid)
    }

    /// Whether a record with `timestamp` comes after a silence, given the running maximum before it.
    pub fn is_gap(&self, before: TimestampMicros, timestamp: TimestampMicros) -> bool {
        before != TimestampMicros::MIN && timestamp.micros_since(before) >= micros(self.gap)
    }

    /// Whether `now` is a silence after the last record.
    pub fn is_silent(&self, last: TimestampMicros, now: TimestampMicros) -> bool {
        last != TimestampMicros::MIN && now.micros_since(last) >= micros(self.gap)
    }

    /// The lowest border in `(from.offset, next]`, where `next` is the first record at or after `from`.
    ///
    /// `None`: the record may go into the same run as what lies directly before `from`'s next record. A border equal
    /// to `from.offset` itself is the caller's run start and is not reported.
    pub fn border_before(&self, from: Position, next: Offset, cuts: &BTreeSet<Offset>) -> Option<Offset> {
        let grid = self.grid_floor(next);
        let cut = cuts.range((std::ops::Bound::Excluded(from.offset), std::ops::Bound::Included(next))).next().copied();
        let grid = (grid > from.offset).then_some(grid);
        match (grid, cut) {
            (Some(grid), Some(cut)) => Some(grid.min(cut)),
            (one, other) => one.or(other),
        }
    }

    /// Whether `position` is itself a border, given the timestamp of the record that follows it.
    pub fn is_border(&self, position: Position, following: TimestampMicros, cuts: &BTreeSet<Offset>) -> bool {
        position.offset.0 % self.grid == 0
            || cuts.contains(&position.offset)
            || self.is_gap(position.max_timestamp, following)
    }
}

/// What the splitter needs to know of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordMark {
    /// The record's offset.
    pub offset: Offset,
    /// The record's timestamp.
    pub timestamp: TimestampMicros,
    /// The record's fingerprint.
    pub fingerprint: crate::Fingerprint,
}

/// A stretch of records between two borders: `records[first..last]`, covering `[from, to)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Index of the first record.
    pub first: usize,
    /// Index behind the last record; equal to `first` where the stretch holds no record.
    pub last: usize,
    /// Where the stretch starts.
    pub from: Position,
    /// Where the stretch ends: the next one starts here.
    pub to: Position,
    /// Whether `from` is a border: the stretch must not be merged with what lies before it.
    pub starts_at_border: bool,
}

/// Cuts consecutive records of one partition into stretches that no border divides.
///
/// `records` follow `from` in offset order. The stretches tile `[from, end)` where `end` is behind the last record.
/// At most two per record and one per cut. Cost: one pass.
pub fn split_at_borders(
    from: Position,
    records: &[RecordMark],
    rule: &BorderRule,
    cuts: &BTreeSet<Offset>,
) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    let mut open: Option<Stretch> = None;
    let mut at = from;
    for (index, record) in records.iter().enumerate() {
        if rule.is_border(at, record.timestamp, cuts) {
            stretches.extend(open.take());
        }
        // Grid multiples and cuts between the last record and this one: close, and cover the empty offsets too.
        while let Some(border) = rule.border_before(at, record.offset, cuts) {
            let mut stretch = open.take().unwrap_or(Stretch {
                first: index,
                last: index,
                from: at,
                to: at,
                starts_at_border: rule.is_border(at, record.timestamp, cuts),
            });
            at = at.at_offset(border);
            stretch.to = at;
            stretches.push(stretch);
        }
        let stretch = open.get_or_insert(Stretch {
            first: index,
            last: index,
            from: at,
            to: at,
            starts_at_border: rule.is_border(at, record.timestamp, cuts),
        });
        at = at.advance(record.offset, record.timestamp, record.fingerprint);
        stretch.last = index + 1;
        stretch.to = at;
    }
    stretches.extend(open);
    stretches
}
