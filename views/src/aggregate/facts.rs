//! What is known of an aggregate: the entries of the catalogue (`catalogue.rs`).

use std::sync::Arc;

use datafusion::logical_expr::AggregateUDF;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use super::class::{AggregateClass, ClassRule};

/// What is known of one aggregate function.
#[derive(Clone, Copy, Debug)]
pub struct AggregateFacts {
    /// The engine's own name for it; aliases such as `mean` resolve to it while planning.
    pub name: &'static str,
    /// Whether a view may use it, and what follows.
    pub support: Support,
}

/// Whether a view may use an aggregate.
#[derive(Clone, Copy, Debug)]
pub enum Support {
    /// Its states are stored and merged.
    Merged(MergeFacts),
    /// They cannot be.
    Refused(Refusal),
}

/// Why a view may not use an aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Ends the sentence "it cannot be stored and merged: ...".
    pub reason: &'static str,
    /// What to write instead.
    pub hint: &'static str,
}

/// The bound of the sketch of a call with these arguments.
pub type BoundOfCall = fn(&[Arc<dyn PhysicalExpr>]) -> f64;

/// What is known of an aggregate whose states are merged.
#[derive(Clone, Copy, Debug)]
pub struct MergeFacts {
    /// What merging guarantees, without DISTINCT.
    pub class: ClassRule,
    /// What the arguments of a call say of the bound of its sketch, where they decide it.
    pub bound: Option<BoundOfCall>,
    /// What DISTINCT changes.
    pub distinct: Distinct,
    /// What the state holds, without DISTINCT: one stored column, or the fields of one.
    pub states: &'static [&'static str],
    /// How two states become one, for people.
    pub merging: &'static str,
    /// Whether the answer depends on the order of rows, so that the place in the log must be the last sort key.
    pub follows_log: bool,
    /// Whether finished values, without DISTINCT, may be summed up again.
    pub is_additive: bool,
    /// Whether equal values may give another state where they were merged in another order or tree, within the class.
    /// Floating-point sums may as well, which their class says.
    pub follows_merging: bool,
    /// Whether its value is made of counts in one step: the same in any order of merging, also where it is a
    /// floating-point number.
    pub is_of_counts: bool,
    /// What a reader may trip over: NaN, overflow, empty groups, rounding; one or more whole sentences, or nothing.
    pub notes: &'static str,
    /// Our own function, where it replaces the engine's of the same name or has no such.
    pub replacement: Option<fn() -> AggregateUDF>,
    /// What a view computes instead of that function: the same, but NULL for a group whose value does not fit its type,
    /// where a query fails.
    pub lenient: Option<fn() -> AggregateUDF>,
}

/// What DISTINCT does to the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distinct {
    /// Nothing: the same value twice changes neither state nor answer.
    Ignored,
    /// The state keeps every distinct value: [`AggregateClass::Unbounded`].
    KeepsValues,
    /// It is refused, with what to write instead.
    Refused(Refusal),
}

impl MergeFacts {
    /// The class of a call.
    pub fn class_of(&self, is_distinct: bool, returns_float: bool) -> AggregateClass {
        match self.class {
            _ if is_distinct && self.distinct == Distinct::KeepsValues => AggregateClass::Unbounded,
            ClassRule::Always(class) => class,
            ClassRule::ByResult if returns_float => AggregateClass::Float,
            ClassRule::ByResult => AggregateClass::Exact,
        }
    }

    /// The class of a planned call.
    pub(crate) fn class_of_call(&self, call: &AggregateFunctionExpr) -> AggregateClass {
        match self.bound {
            Some(bound) => AggregateClass::Sketch { bound: bound(&call.expressions()) },
            None => self.class_of(call.is_distinct(), call.field().data_type().is_floating()),
        }
    }
}
