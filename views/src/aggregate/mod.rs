//! Aggregates whose states are stored, merged and finished.
//!
//! ```text
//!  events --state--> state column --merge-state--> state column --merge--> finished value
//! ```
//!
//! `stored.rs` wraps one planned aggregate, `combinator.rs` makes the three functions of it, `accumulator.rs` runs
//! them, `class.rs` says what merging guarantees. `hll.rs` and `kll.rs` are the sketches behind `approx_distinct` and
//! `approx_percentile_cont`, `sketch.rs` the accumulators of both; `limit.rs` refuses a state that grew beyond its limit.

mod accumulator;
mod class;
mod combinator;
mod hll;
mod kll;
mod limit;
mod sketch;
mod stored;

use datafusion::logical_expr::AggregateUDF;

pub(crate) use class::{Verdict, order_keys_wanted, refusal, verdict};
pub(crate) use combinator::{Combinator, combinator};
pub(crate) use limit::{limited_state, nullable};
pub(crate) use stored::StoredAggregate;

/// The aggregates that replace the engine's own under their SQL names.
pub(crate) fn functions() -> Vec<AggregateUDF> {
    vec![AggregateUDF::from(hll::ApproxDistinct::new()), AggregateUDF::from(kll::ApproxPercentile::new())]
}
