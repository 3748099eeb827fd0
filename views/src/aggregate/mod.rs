//! Aggregates whose states are stored, merged and finished.
//!
//! ```text
//!  events --state--> state column --merge-state--> state column --merge--> finished value
//! ```
//!
//! `catalogue.rs` says what is known of each aggregate, `class.rs` what merging can guarantee. `stored.rs` wraps one
//! planned aggregate, `combinator.rs` makes the three functions of it, `accumulator.rs` runs them, `call.rs` is one of
//! them in a view. `hll.rs` and `kll.rs` are the sketches behind `approx_distinct` and `approx_percentile_cont`,
//! `sketch.rs` the accumulators of both; `limit.rs` refuses a state that grew beyond its limit.

mod accumulator;
mod call;
mod catalogue;
mod class;
mod combinator;
mod hll;
mod kll;
mod limit;
mod sketch;
mod stored;

pub use catalogue::{AGGREGATES, AggregateFacts, ClassRule, Distinct, MergeFacts, Refusal, Support, aggregate_facts};
pub use class::AggregateClass;

pub(crate) use call::AggregateCall;
pub(crate) use catalogue::{merge_facts, refusal, replacements};
pub(crate) use limit::{limited_state, nullable};
pub(crate) use stored::StoredAggregate;
