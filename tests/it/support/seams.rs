//! The injected clock and ids of tests: those that `twofold test` has, too.

pub use twofold::seams::{ManualClock, SeededIds};
