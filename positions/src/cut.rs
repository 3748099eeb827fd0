//! Choosing how far the next batch version reaches, without asking the speed layer.
//!
//! Guarantee: the chosen cut never moves back, and lies on a border unless the very end of the log was judged silent
//! by a clock; then a late record may put it inside a run, tiling refuses that version, and the next cut repairs it;
//! swept by `tests/it/simulation`.

use serde::{Deserialize, Serialize};

use crate::{BorderRule, Fingerprint, Position, TimestampMicros};

/// How far one partition has been archived, and the last grid multiple on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archived {
    /// Everything before this place is in the master dataset.
    pub end: Position,
    /// The position at the largest grid multiple at or below `end`.
    pub grid: Position,
}

impl Archived {
    /// Nothing archived yet, of a partition that begins at 0.
    pub fn start(incarnation: crate::Incarnation) -> Self {
        Self::begin(Position::start(incarnation))
    }

    /// Nothing archived yet, of a partition that begins here.
    pub fn begin(start: Position) -> Self {
        Self { end: start, grid: start }
    }

    /// After one more record, keeping the grid position up to date.
    pub fn advance(self, mark: &crate::RecordMark, rule: &BorderRule) -> Self {
        // Offsets may jump over a multiple: it then stands before this record, with the facts of the records so far.
        let passed = rule.grid_floor(mark.offset);
        let grid = if passed > self.grid.offset { self.end.at_offset(passed) } else { self.grid };
        let end = self.end.advance(mark.offset, mark.timestamp, mark.fingerprint);
        let reached = rule.grid_floor(end.offset);
        Self { end, grid: if reached > grid.offset { end.at_offset(reached) } else { grid } }
    }
}

/// The position that the next version of a view should cover in one partition.
///
/// `previous` is the position of the version before it. `now` is only used to see whether the log has ended in silence.
pub fn choose_cut(
    archived: &Archived,
    previous: Option<Position>,
    rule: &BorderRule,
    now: TimestampMicros,
) -> Position {
    // Everything that the partition held expired before it was read: a hole, and nothing behind it to wait for.
    let is_hole = archived.end.fingerprint == Fingerprint(0);
    let is_over = is_hole || rule.is_silent(archived.end.max_timestamp, now);
    let chosen = if is_over { archived.end } else { archived.grid };
    match previous {
        // A life that has just begun starts where the former one was cut, if everything of that was archived.
        Some(previous) if previous.offset >= chosen.offset && previous.incarnation == chosen.incarnation => previous,
        _ => chosen,
    }
}
