//! What was acknowledged, by kind: a few numbers, however long the traffic runs.

use std::time::Duration;

use positions::PositionToken;

use super::{Kind, Line};

/// Acknowledged lines by kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Visits, each once.
    pub visits: u64,
    /// Of these, visits whose time lies far back.
    pub late: u64,
    /// Lines that repeat a visit.
    pub copies: u64,
    /// Lines that are not events.
    pub malformed: u64,
    /// Requests that were sent again.
    pub retries: u64,
    /// Covers all of them.
    pub token: PositionToken,
}

impl Tally {
    /// Takes in lines that the collector has answered for.
    pub fn acknowledge(&mut self, lines: &[Line]) {
        for line in lines {
            match line.kind {
                Kind::Fresh(_) => self.visits += 1,
                Kind::Late(_) => {
                    self.visits += 1;
                    self.late += 1;
                }
                Kind::Copy(_) => self.copies += 1,
                Kind::Malformed => self.malformed += 1,
            }
        }
    }

    /// One line about everything since the start.
    pub fn describe(&self, elapsed: Duration) -> String {
        let lines = self.visits + self.copies + self.malformed;
        format!(
            "{:>6} s   {} visits ({} late), {} copies, {} malformed acknowledged, {:.0} lines/s, {} requests sent again\n",
            elapsed.as_secs(),
            self.visits,
            self.late,
            self.copies,
            self.malformed,
            lines as f64 / elapsed.as_secs_f64().max(0.001),
            self.retries,
        )
    }
}
