//! Aggregates whose states are stored, merged and finished.
//!
//! ```text
//!  events --state--> state column --merge-state--> state column --merge--> finished value
//! ```
//!
//! `catalogue.rs` says what is known of each aggregate, `class.rs` what merging can guarantee, and `printed.rs` prints
//! both. `stored.rs` wraps one planned aggregate, `combinator.rs` makes the functions of it, `accumulator.rs` runs
//! them, `one_group.rs` does so where there are no keys, `call.rs` is one of them in a view.
//! `running.rs` merges for windows, `copies.rs` says where a state may be merged twice.
//! `own.rs` are the aggregates of the engine with accumulators of ours: `sums.rs` (and `one_sum.rs`), `moments.rs`,
//! `extremes.rs`, and for sets `distinct.rs` and `distinct_pairs.rs`; `normal.rs` makes one value of -0.0 and 0.0.
//! `hll.rs`, `kll.rs` and `dd.rs` are the functions `approx_distinct`, `approx_percentile_cont` and
//! `ddsketch_percentile`, `kll_sketch.rs` and `dd_sketch.rs` the sketches of ours behind them, `state_bytes.rs` their
//! bytes, `sketch.rs` the accumulators of all; `limit.rs` refuses a state that grew beyond its limit.

mod accumulator;
mod call;
mod catalogue;
mod class;
mod combinator;
mod copies;
mod dd;
mod dd_sketch;
mod distinct;
mod distinct_pairs;
mod extremes;
mod hll;
mod kll;
mod kll_sketch;
mod limit;
mod moments;
mod normal;
mod one_group;
mod one_sum;
mod own;
mod percentile;
mod printed;
mod running;
mod sketch;
mod state_bytes;
mod stored;
mod sums;

pub use catalogue::{AGGREGATES, AggregateFacts, ClassRule, Distinct, MergeFacts, Refusal, Support, aggregate_facts};
pub use class::AggregateClass;
pub use dd_sketch::DdSketch;
pub use kll_sketch::{KllDouble, KllItem, KllSketch};
pub use own::sum_function;
pub use printed::print_aggregates;

pub(crate) use call::AggregateCall;
pub(crate) use catalogue::{merge_facts, refusal, replacements};
pub(crate) use copies::ignores_copies;
pub(crate) use limit::{limited_state, nullable};
pub(crate) use normal::normal;
pub(crate) use stored::StoredAggregate;
