//! A clock and ids for systems that live in memory, beside the world's: tests of views, and the project's own.
//!
//! Guarantee: nothing here reads the world; equal seeds give equal ids.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use positions::{Clock, IdSource, TimestampMicros, micros};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A clock that stands until it is moved.
// Written by whoever leads the system, read by all its roles.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// Stands at `micros` since the epoch.
    pub fn at(micros: i64) -> Self {
        Self(AtomicI64::new(micros))
    }

    /// Moves on.
    pub fn advance(&self, span: Duration) {
        self.0.fetch_add(micros(span), Ordering::SeqCst);
    }

    /// Moves on to an instant; stays where it is later already.
    pub fn advance_to(&self, instant: TimestampMicros) {
        self.0.fetch_max(instant.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> TimestampMicros {
        TimestampMicros(self.0.load(Ordering::SeqCst))
    }
}

/// Ids that repeat for a seed.
#[derive(Debug)]
pub struct SeededIds(Mutex<StdRng>);

impl SeededIds {
    /// The ids of one seed.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }
}

impl IdSource for SeededIds {
    fn next_id(&self) -> u128 {
        // Drawing cannot fail half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).random()
    }
}
