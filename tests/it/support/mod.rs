//! What several areas of tests need: seeds, a clock that is set by hand, ids drawn from a seed.

pub mod flaky_store;
pub mod mutate;
pub mod object_layer;
pub mod seams;
pub mod seeds;

pub use tests::{parts, process, redis};
