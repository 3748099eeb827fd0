//! One aggregate call of a view, and the three functions of it as expressions.

use std::sync::Arc;

use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams};

use super::accumulator::Combinator;
use super::class::AggregateClass;
use super::combinator::combinator;
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
