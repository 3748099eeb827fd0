//! The world's clock and the world's chance: the only place where the system reads them.
//!
//! Why so: every other part takes `positions::Clock` and `positions::IdSource`, so that a run can be replayed from its
//! seed.

use std::time::{SystemTime, UNIX_EPOCH};

use positions::{Clock, IdSource, TimestampMicros};

/// The clock of the machine, in UTC.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> TimestampMicros {
        #[expect(clippy::disallowed_methods, reason = "the one place where the machine's clock is read")]
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        let micros = since_epoch.map_or(0, |span| i64::try_from(span.as_micros()).unwrap_or(i64::MAX));
        TimestampMicros(micros)
    }
}

/// Ids from the operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct RandomIds;

impl IdSource for RandomIds {
    fn next_id(&self) -> u128 {
        #[expect(clippy::disallowed_methods, reason = "the one place where randomness is drawn")]
        rand::random()
    }
}
