//! Totals that do not fit their type, counted in the plan of a query that finishes states of a view.
//!
//! In: a plan with calls that finish states. Out: the same plan, whose calls also count the values that are NULL
//! because they do not fit; afterwards, which measures that concerns.
//! Not here: the same question asked of states alone (`ViewPlans::overflow_plan`).

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::Result as EngineResult;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::{AggregateUDF, Expr, LogicalPlan, WindowFunctionDefinition};

use crate::aggregate::OverflowCounts;
use crate::plan::ViewPlans;

impl ViewPlans {
    /// A plan whose calls of [`ViewPlans::merge_expr`], [`ViewPlans::running_expr`] and [`ViewPlans::finish_plan`]
    /// count the values of this view that do not fit. Columns, names and values stay; calls for other views do, too.
    ///
    /// # Errors
    /// None that the engine is known to have.
    pub fn count_overflows(&self, plan: LogicalPlan, counts: &Arc<OverflowCounts>) -> EngineResult<LogicalPlan> {
        if self.may_overflow().next().is_none() {
            return Ok(plan);
        }
        let counted = plan.transform_up_with_subqueries(|node| {
            node.map_expressions(|expr| expr.transform_up(|part| Ok(self.counting_call(part, counts))))
        })?;
        Ok(counted.data)
    }

    /// The measures whose total did not fit, each with the number of its values that were counted so.
    pub fn overflowed(&self, counts: &OverflowCounts) -> BTreeMap<&str, u64> {
        let of = |measure: &str| {
            let states = self.measure_states(measure).unwrap_or_default();
            states.into_iter().map(|state| counts.of(state)).max().unwrap_or_default()
        };
        self.may_overflow().map(|measure| (measure, of(measure))).filter(|(_, values)| *values > 0).collect()
    }

    fn counting_call(&self, part: Expr, counts: &Arc<OverflowCounts>) -> Transformed<Expr> {
        match part {
            Expr::AggregateFunction(call) => match self.counting(&call.func, counts) {
                Some(func) => Transformed::yes(Expr::AggregateFunction(AggregateFunction { func, ..call })),
                None => Transformed::no(Expr::AggregateFunction(call)),
            },
            Expr::WindowFunction(window) => {
                let counting = match &window.fun {
                    WindowFunctionDefinition::AggregateUDF(function) => self.counting(function, counts),
                    WindowFunctionDefinition::WindowUDF(_) => None,
                };
                let Some(function) = counting else { return Transformed::no(Expr::WindowFunction(window)) };
                let WindowFunction { params, .. } = *window;
                let fun = WindowFunctionDefinition::AggregateUDF(function);
                Transformed::yes(Expr::WindowFunction(Box::new(WindowFunction { fun, params })))
            }
            other => Transformed::no(other),
        }
    }

    fn counting(&self, function: &AggregateUDF, counts: &Arc<OverflowCounts>) -> Option<Arc<AggregateUDF>> {
        self.aggregates.iter().find_map(|call| call.counting(function, counts)).map(Arc::new)
    }
}
