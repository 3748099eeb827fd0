//! Time and randomness as arguments: libraries never read a clock or a random source of their own, so that a run can
//! be replayed from its seed.

use crate::TimestampMicros;

/// Where instants come from.
pub trait Clock: Send + Sync + 'static {
    /// The present instant.
    fn now(&self) -> TimestampMicros;
}

/// Where random ids come from.
pub trait IdSource: Send + Sync + 'static {
    /// 128 random bits.
    fn next_id(&self) -> u128;
}
