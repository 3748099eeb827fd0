//! The clocks of a simulated world: virtual time, and for each role a clock of its own that may be wrong.

use positions::{Clock, TimestampMicros};
use rand::Rng;
use rand::rngs::StdRng;
use tokio::time::Instant;

/// How wrong a clock is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skew {
    /// Seconds it is ahead when the world begins; behind where negative.
    pub ahead: i64,
    /// Thousandths by which it runs too fast; too slow where negative.
    pub drift: i64,
}

impl Skew {
    /// Minutes ahead or up to one behind: a scheduler that is behind sees silences later by as much.
    pub fn draw(rng: &mut StdRng) -> Self {
        Self { ahead: rng.random_range(-60..240), drift: rng.random_range(-50..=50) }
    }
}

/// Virtual time as the project's clock.
pub struct SimClock {
    start: TimestampMicros,
    began: Instant,
    skew: Skew,
}

impl SimClock {
    /// A clock of a world that began at some instant, when it was `start` by a clock that goes right.
    pub fn new(start: TimestampMicros, began: Instant, skew: Skew) -> Self {
        Self { start, began, skew }
    }
}

impl Clock for SimClock {
    fn now(&self) -> TimestampMicros {
        let elapsed = i64::try_from(self.began.elapsed().as_micros()).unwrap();
        TimestampMicros(self.start.0 + self.skew.ahead * 1_000_000 + elapsed + elapsed * self.skew.drift / 1_000)
    }
}
