//! Definitions: pipeline SQL to views, and each view to the plans that both layers run.
//!
//! ```text
//!  pipeline.sql --> Pipeline --> ViewDefinition --> state_plan | merge_plan | finish_plan
//! ```
//!
//! Guarantee: everything here is pure. No IO, no clock, no randomness of its own: callers pass instants and ids in.
//! Not here: where the layers meet in the log (`positions`).
//! Why so: the same plans run in production, in the property tests and under a simulated scheduler.

mod aggregate;
mod bucket;
mod civil;
mod compiled;
mod date_bin;
mod definition;
mod error;
mod fallible;
mod hash;
mod or_null;
mod pipeline;
mod plan;
mod session;
mod storable;

pub use bucket::{bucket_expr, bucket_of};
pub use compiled::Compiled;
pub use definition::{AggregateClass, Bucket, Dimension, Measure, Pipeline, SourceDefinition, ViewDefinition, column};
pub use error::{DefinitionError, Problem, Problems};
pub use session::{session_state, session_state_builder};
