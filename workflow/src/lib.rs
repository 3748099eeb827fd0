//! The workflow: what runs when.
//!
//! Guarantee: pure; time comes in as an argument.

pub mod schedule;
