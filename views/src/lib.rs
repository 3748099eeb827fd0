//! The law's vocabulary and decisions: definitions, aggregate states, positions, cuts, borders, runs, tiling, copies.
//!
//! ```text
//!  pipeline.sql --> Pipeline --> ViewDefinition --> state_plan | merge_plan | finish_plan
//!
//!  log:      |0 ------------- cut C ------------- head H)
//!  answer:   [ batch states  ](+)[ runs that tile ]  --> finish
//! ```
//!
//! Guarantee: everything here is pure. No IO, no clock, no randomness of its own: callers pass instants and ids in.
//! Why so: the same decisions run in production, in the property tests and under a simulated scheduler.

mod aggregate;
mod backoff;
mod border;
mod bucket;
mod civil;
mod compiled;
mod copies;
mod counters;
mod cut;
mod date_bin;
mod definition;
mod error;
mod fallible;
mod hash;
mod ids;
mod index;
mod or_null;
mod pipeline;
mod plan;
mod position;
mod seams;
mod session;
mod start;
mod storable;
mod tile;
mod token;

pub use backoff::Backoff;
pub use border::{BorderRule, RecordMark, Stretch, split_at_borders};
pub use bucket::{bucket_expr, bucket_of};
pub use compiled::Compiled;
pub use copies::{CopyWindow, event_key, is_copy};
pub use counters::Counters;
pub use cut::{Archived, choose_cut};
pub use definition::{AggregateClass, Bucket, Dimension, Measure, Pipeline, SourceDefinition, ViewDefinition, column};
pub use error::{DefinitionError, Problem, Problems};
pub use ids::{
    DefinitionHash, DefinitionNumber, EventKey, Fingerprint, Incarnation, IndexStamp, Offset, PartitionId, RecomputeId,
    RunId, SourceName, TimestampMicros, ViewName, micros,
};
pub use index::{Index, IndexRefusal, Run, RunView, are_mergeable, choose_merge};
pub use position::{Capped, Cut, MAX_RAISE, Position, fingerprint, is_plausible, running_max};
pub use seams::{Clock, IdSource};
pub use session::{session_state, session_state_builder};
pub use start::{Start, choose_start};
pub use tile::{Tiling, TilingGap, tile};
pub use token::{BadToken, PositionToken};
