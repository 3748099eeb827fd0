//! Counters that travel with every commit and every run, so that status and envelope need no other source.

use serde::{Deserialize, Serialize};

/// What happened to the records of a stretch of one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Records read, rejected ones and copies among them.
    pub rows: u64,
    /// Records that could not be decoded; kept with their error in the master dataset.
    pub rejected: u64,
    /// Events older than their record's timestamp by more than the source's `late_after`; counted, never dropped.
    pub late: u64,
    /// Events that were left out because an earlier copy exists.
    pub copies: u64,
    /// Offsets that expired before they were archived.
    pub holes: u64,
}

impl Counters {
    /// What is left without `other`; `None` where there is less than that.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        Some(Self {
            rows: self.rows.checked_sub(other.rows)?,
            rejected: self.rejected.checked_sub(other.rejected)?,
            late: self.late.checked_sub(other.late)?,
            copies: self.copies.checked_sub(other.copies)?,
            holes: self.holes.checked_sub(other.holes)?,
        })
    }
}

impl std::ops::AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.rows += other.rows;
        self.rejected += other.rejected;
        self.late += other.late;
        self.copies += other.copies;
        self.holes += other.holes;
    }
}

impl std::ops::Add for Counters {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl std::iter::Sum for Counters {
    fn sum<I: Iterator<Item = Self>>(counters: I) -> Self {
        counters.fold(Self::default(), |sum, one| sum + one)
    }
}
