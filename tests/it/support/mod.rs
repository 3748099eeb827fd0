//! What several areas of tests need: seeds, a clock that is set by hand, ids drawn from a seed.

pub mod flaky_store;
#[expect(dead_code, reason = "the benchmarks use the rest")]
pub mod process;
pub mod redis;
pub mod seams;
pub mod seeds;
