//! The visits of one user: stretches of events that no pause longer than the gap divides.
//!
//! Guarantee: a function of the set of times and of nothing else, however it is divided, ordered and joined; visits lie
//! in order and further apart than the gap. An event that falls into a pause may make one visit of two.
//! Not here: users and groups (`visitors.rs`), the functions (`visits.rs`).
//! Why no count of events: whether there is more than one is all that a bounce asks for, and it cannot overflow.

use super::state_bytes::{put_number, take, take_length, take_number};

/// A visit, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Visit {
    first: i64,
    last: i64,
    /// Whether it is one event alone.
    is_bounce: bool,
}

/// Visits in order, further apart than the gap that all calls are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VisitList(Vec<Visit>);

/// Whether a pause longer than the gap lies between two instants, of which the first comes first.
fn are_apart(before: i64, after: i64, gap_micros: u64) -> bool {
    after > before && after.abs_diff(before) > gap_micros
}

impl Visit {
    /// Both as one: never a bounce.
    fn with(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), last: self.last.max(other.last), is_bounce: false }
    }
}

impl VisitList {
    /// The visit of one event.
    pub(super) fn of(time: i64) -> Self {
        Self(vec![Visit { first: time, last: time, is_bounce: true }])
    }

    /// Takes one more event in. Cheap where events come about in order.
    pub(super) fn add(&mut self, time: i64, gap_micros: u64) {
        let event = Visit { first: time, last: time, is_bounce: true };
        let from = self.0.partition_point(|visit| are_apart(visit.last, time, gap_micros));
        let to = self.0.partition_point(|visit| !are_apart(time, visit.first, gap_micros));
        let joined = self.0[from..to].iter().fold(event, |joined, visit| joined.with(*visit));
        self.0.splice(from..to, [joined]);
    }

    /// Takes other visits of the same user in.
    pub(super) fn join(&mut self, other: &Self, gap_micros: u64) {
        self.0.extend_from_slice(&other.0);
        // Two sorted runs: merged, not sorted anew.
        self.0.sort_by_key(|visit| visit.first);
        self.0.dedup_by(|later, kept| {
            let is_apart = are_apart(kept.last, later.first, gap_micros);
            if !is_apart {
                *kept = kept.with(*later);
            }
            !is_apart
        });
    }

    /// How many there are.
    pub(super) fn visits(&self) -> usize {
        self.0.len()
    }

    /// How many of them are one event alone.
    pub(super) fn bounces(&self) -> usize {
        self.0.iter().filter(|visit| visit.is_bounce).count()
    }

    /// The bytes held beside the list itself.
    pub(super) fn size_bytes(&self) -> usize {
        self.0.capacity() * size_of::<Visit>()
    }

    /// Appends its bytes: how many visits; of each the start, counted from the end of the one before (`before` for the
    /// first, which becomes its start), and how long it is; of one without a length whether it is one event.
    pub(super) fn put(&self, bytes: &mut Vec<u8>, before: &mut i64) {
        put_number(bytes, self.0.len() as u64);
        let mut end = None;
        for visit in &self.0 {
            match end {
                None => {
                    put_number(bytes, folded(visit.first.wrapping_sub(*before)));
                    *before = visit.first;
                }
                Some(end) => put_number(bytes, visit.first.abs_diff(end)),
            }
            let length = visit.last.abs_diff(visit.first);
            put_number(bytes, length);
            if length == 0 {
                bytes.push(visit.is_bounce.into());
            }
            end = Some(visit.last);
        }
    }

    /// Takes what [`Self::put`] wrote; `None` where it is no list of visits of this gap.
    pub(super) fn take(bytes: &mut &[u8], before: &mut i64, gap_micros: u64) -> Option<Self> {
        let count = take_length(bytes)?;
        // Each takes two bytes at least, so that no length asks for more memory than there are bytes.
        if count == 0 || count > bytes.len() / 2 {
            return None;
        }
        let mut visits: Vec<Visit> = Vec::with_capacity(count);
        for _ in 0..count {
            let number = take_number(bytes)?;
            let first = match visits.last() {
                None => {
                    *before = before.wrapping_add(unfolded(number));
                    *before
                }
                Some(_) if number <= gap_micros => return None,
                Some(visit) => visit.last.checked_add_unsigned(number)?,
            };
            let length = take_number(bytes)?;
            let is_bounce = match length {
                0 => {
                    let [flag] = take(bytes)?;
                    if flag > 1 {
                        return None;
                    }
                    flag == 1
                }
                _ => false,
            };
            visits.push(Visit { first, last: first.checked_add_unsigned(length)?, is_bounce });
        }
        Some(Self(visits))
    }
}

/// A number with its sign in the lowest bit, so that small ones of either sign are short.
fn folded(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unfolded(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}
