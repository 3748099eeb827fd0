//! Aggregates whose states are stored, merged and finished.
//!
//! ```text
//!  events --state--> state column --merge-state--> state column --merge--> finished value
//! ```
//!
//! `catalogue.rs` says what is known of each aggregate, in the entries of `facts.rs`; `class.rs` what merging can
//! guarantee, and `printed.rs` prints both. `stored.rs` wraps one planned aggregate, `combinator.rs` makes the
//! functions of it, `accumulator.rs` runs them, `one_group.rs` does so where there are no keys, `call.rs` is one of
//! them in a view.
//! `running.rs` merges for windows, `copies.rs` says where a state may be merged twice, `overflow_counts.rs` counts
//! what does not fit.
//! `own.rs` are the aggregates of the engine with accumulators of ours: `sums.rs` (and `one_sum.rs`), `moments.rs`,
//! `extremes.rs`, and for sets `distinct.rs` and `distinct_pairs.rs`; `normal.rs` makes one value of -0.0 and 0.0.
//! `extreme_by.rs` is `min_by` and `max_by`, `frequent.rs` is `mode` and `approx_top_k` over the counts of
//! `counted.rs`; `visits.rs` is `visits` and its like over the users of `visitors.rs`, each with a `visit_list.rs`. All
//! of these take values of any type that has an order (`ordered.rs`).
//! `hll.rs`, `kll.rs` and `dd.rs` are the functions `approx_distinct`, `approx_percentile_cont` and
//! `ddsketch_percentile`, `kll_sketch.rs` and `dd_sketch.rs` the sketches of ours behind them, `state_bytes.rs` their
//! bytes, `sketch.rs` the accumulators of all, `sketch_function.rs` what the engine sees of each; `limit.rs` refuses a
//! state that grew beyond its limit.

mod accumulator;
mod call;
mod catalogue;
mod class;
mod combinator;
mod copies;
mod counted;
mod dd;
mod dd_sketch;
mod distinct;
mod distinct_pairs;
mod extreme_by;
mod extremes;
mod facts;
mod frequent;
mod hll;
mod kll;
mod kll_sketch;
mod limit;
mod moments;
mod normal;
mod one_group;
mod one_sum;
mod ordered;
mod overflow_counts;
mod own;
mod percentile;
mod printed;
mod running;
mod sketch;
mod sketch_function;
mod state_bytes;
mod stored;
mod sums;
mod visit_list;
mod visitors;
mod visits;

pub use catalogue::{AGGREGATES, aggregate_facts};
pub use class::{AggregateClass, ClassRule};
pub use dd_sketch::DdSketch;
pub use facts::{AggregateFacts, BoundOfCall, Distinct, MergeFacts, Refusal, Support};
pub use kll_sketch::{KllDouble, KllItem, KllSketch};
pub use overflow_counts::OverflowCounts;
pub use own::sum_function;
pub use printed::print_aggregates;

pub(crate) use accumulator::Combinator;
pub(crate) use call::AggregateCall;
pub(crate) use catalogue::{merge_facts, refusal, replacements};
pub(crate) use combinator::{combinator as combined, parts_of as combinator_parts};
pub(crate) use copies::ignores_copies;
pub(crate) use limit::{Limit, limited_function, limited_state, nullable, nullable_function, parts_of as limit_parts};
pub(crate) use normal::normal;
pub(crate) use stored::{CallRecipe, StoredAggregate};
