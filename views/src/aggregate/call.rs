//! One aggregate call of a view, and the functions of it as expressions.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams};
use datafusion::logical_expr::{AggregateUDF, Expr};

use super::accumulator::Combinator;
use super::catalogue::merge_facts;
use super::class::AggregateClass;
use super::combinator::{self, combinator};
use super::overflow_counts::{OverflowCounter, OverflowCounts};
use super::running::{self, running};
use super::stored::StoredAggregate;

/// One aggregate call of a view.
#[derive(Debug)]
pub(crate) struct AggregateCall {
    /// The state column.
    pub(crate) column: String,
    /// Its arguments, sort keys among them where the order matters.
    pub(crate) arguments: Vec<Expr>,
    /// `FILTER (WHERE ...)`.
    pub(crate) filter: Option<Expr>,
    /// What merging guarantees.
    pub(crate) class: AggregateClass,
    /// Whether finished values may be summed up again.
    pub(crate) is_additive: bool,
    /// The planned aggregate.
    pub(crate) aggregate: Arc<StoredAggregate>,
}

impl AggregateCall {
    /// Events to its state.
    pub(crate) fn state(&self) -> Expr {
        self.function(Combinator::State, self.arguments.clone(), self.filter.clone())
    }

    /// States to its state.
    pub(crate) fn merged_state(&self, states: Expr) -> Expr {
        self.function(Combinator::MergeState, vec![states], None)
    }

    /// States to its finished value.
    pub(crate) fn merged(&self, states: Expr) -> Expr {
        self.function(Combinator::Merge, vec![states], None)
    }

    /// Whether its value is NULL where it does not fit its type.
    pub(crate) fn may_overflow(&self) -> bool {
        let inner = self.aggregate.inner();
        let is_lenient = merge_facts(inner.fun().name()).is_ok_and(|facts| facts.lenient.is_some());
        is_lenient && !inner.field().data_type().is_floating()
    }

    /// States to whether their value does not fit its type.
    pub(crate) fn overflows(&self, states: Expr) -> Option<Expr> {
        self.may_overflow().then(|| self.function(Combinator::Overflows, vec![states], None))
    }

    /// The function of a call that finishes merged states of this aggregate, counting values that do not fit; none
    /// where it is another function, or all values fit.
    pub(crate) fn counting(&self, function: &AggregateUDF, counts: &Arc<OverflowCounts>) -> Option<AggregateUDF> {
        if !self.may_overflow() {
            return None;
        }
        let counter = OverflowCounter::new(counts, &self.column);
        let at_once = combinator::counting(function, &self.aggregate, &counter);
        at_once.or_else(|| running::counting(function, &self.aggregate, &counter))
    }

    /// Whether equal values may give another finished value where their states were merged in another order or tree.
    pub(crate) fn follows_merging(&self) -> bool {
        let inner = self.aggregate.inner();
        let facts = merge_facts(inner.fun().name());
        match self.class {
            AggregateClass::Exact => false,
            AggregateClass::Float => true,
            AggregateClass::Unbounded => {
                let is_of_counts = facts.is_ok_and(|facts| facts.is_of_counts);
                inner.field().data_type().is_floating() && !is_of_counts
            }
            AggregateClass::Sketch { .. } => facts.is_ok_and(|facts| facts.follows_merging),
        }
    }

    /// Whether its state is held to the limit of its view: it grows with the events, or holds values as they are.
    pub(crate) fn is_limited(&self) -> bool {
        match self.class {
            AggregateClass::Exact | AggregateClass::Float => false,
            AggregateClass::Unbounded => true,
            AggregateClass::Sketch { .. } => *self.aggregate.stored() != DataType::Binary,
        }
    }

    /// States to its finished value after each of them, for windows.
    pub(crate) fn running(&self, states: Expr) -> Expr {
        let func = Arc::new(running(Arc::clone(&self.aggregate)));
        Expr::AggregateFunction(AggregateFunction::new_udf(func, vec![states], false, None, vec![], None))
    }

    fn function(&self, kind: Combinator, arguments: Vec<Expr>, filter: Option<Expr>) -> Expr {
        let params = AggregateFunctionParams {
            args: arguments,
            distinct: false,
            filter: filter.map(Box::new),
            order_by: vec![],
            null_treatment: None,
        };
        Expr::AggregateFunction(AggregateFunction {
            func: Arc::new(combinator(kind, Arc::clone(&self.aggregate))),
            params,
        })
    }
}
