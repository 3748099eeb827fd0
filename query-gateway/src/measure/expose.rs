//! Carries the state columns of a view up from its scan to where a measure of it is merged.
//!
//! Guarantee: the plan gives the rows and columns that it gave, and the states beside them. Where a join may repeat the
//! rows of the view, only measures that do not mind are exposed; a row that an outer join fills up has no states.
//! Not here: whether a join repeats rows (`unique.rs`), what is made of the states (`grouped.rs`, `windows.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::{Column, JoinType, plan_datafusion_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::logical_plan::{Join, Projection, SubqueryAlias, TableScan, Union};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan};
use views::PlannedView;

use super::function::bare;
use super::unique::{Known, is_repeated, name_of};
use crate::tables::ViewTable;

/// Gives each exposure in a plan a number of its own.
#[derive(Debug, Default)]
pub(super) struct Exposing {
    last: usize,
}

/// A measure, and the columns that hold the states of its view.
pub(super) struct Exposed {
    view: PlannedView,
    measure: usize,
    states: Vec<Column>,
}

/// How states become a value.
#[derive(Clone, Copy)]
pub(super) enum Merging {
    /// Once for all rows.
    AtOnce,
    /// After each row.
    Running,
}

impl Exposed {
    /// The measure from merged states, over the exposed columns.
    pub(super) fn finish(&self, merging: Merging) -> Result<Expr> {
        let view = &self.view;
        let name = self.name();
        let merged = |state: &str| -> Result<(String, Expr)> {
            let column = view.states.index_of(state).ok().and_then(|place| place.checked_sub(view.dimensions.len()));
            let column = column.and_then(|place| self.states.get(place)).cloned();
            let column = Expr::Column(column.ok_or_else(|| plan_datafusion_err!("{name} has lost a state"))?);
            let merged = match merging {
                Merging::AtOnce => view.plans.merge_expr(state, column),
                Merging::Running => view.plans.running_expr(state, column),
            };
            Ok((state.to_owned(), merged.map_err(|error| plan_datafusion_err!("{error}"))?))
        };
        let states = view.plans.measure_states(name).map_err(|error| plan_datafusion_err!("{error}"))?;
        let calls = states.into_iter().map(merged).collect::<Result<BTreeMap<String, Expr>>>()?;
        let finished = view.plans.measure_expr(name, |state| calls[state].clone());
        finished.map_err(|error| plan_datafusion_err!("{error}"))
    }

    fn name(&self) -> &str {
        self.view.measures.get(self.measure).map_or("", |measure| measure.name.as_str())
    }

    fn is_same(&self, other: &Self) -> bool {
        self.view.hash == other.view.hash && self.measure == other.measure
    }

    /// Whether merging a state again changes nothing.
    fn ignores_copies(&self) -> Result<bool> {
        self.view.plans.measure_ignores_copies(self.name()).map_err(|error| plan_datafusion_err!("{error}"))
    }
}

impl Exposing {
    /// The plan with the states of the view behind output column `index`, for values of rows that agree in the columns
    /// `fixed`. Its output columns are those of the plan and the states, which stand somewhere among them.
    pub(super) fn expose(
        &mut self,
        plan: &LogicalPlan,
        index: usize,
        fixed: &[&Column],
    ) -> Result<(LogicalPlan, Exposed)> {
        self.expose_under(plan, index, Known { fixed, ..Known::default() })
    }

    fn expose_under(&mut self, plan: &LogicalPlan, index: usize, known: Known<'_>) -> Result<(LogicalPlan, Exposed)> {
        match plan {
            LogicalPlan::TableScan(scan) => self.expose_scan(scan, index),
            LogicalPlan::SubqueryAlias(alias) => {
                let (input, exposed) = self.expose(&alias.input, index, &[])?;
                let renamed = |column: &Column| Column::new(Some(alias.alias.clone()), column.name.clone());
                let states = exposed.states.iter().map(renamed).collect();
                let alias = SubqueryAlias::try_new(Arc::new(input), alias.alias.clone())?;
                Ok((LogicalPlan::SubqueryAlias(alias), Exposed { states, ..exposed }))
            }
            LogicalPlan::Projection(projection) => self.expose_projection(projection, index),
            LogicalPlan::Filter(filter) => {
                let mut conditions = split_conjunction(&filter.predicate);
                conditions.extend(known.conditions);
                self.expose_input(plan, 0, index, Known { conditions: &conditions, ..known })
            }
            LogicalPlan::Sort(_) => self.expose_input(plan, 0, index, known),
            LogicalPlan::Limit(_) => self.expose_input(plan, 0, index, Known::default()),
            LogicalPlan::Window(window) if index < window.input.schema().fields().len() => {
                self.expose_input(plan, 0, index, Known::default())
            }
            LogicalPlan::Join(join) => self.expose_join(plan, join, index, known),
            LogicalPlan::Union(union) => self.expose_union(union, index),
            _ => plan_err!(
                "MEASURE needs the rows of a view: between it and the view only WHERE, joins, UNION ALL and plain \
                 columns may stand"
            ),
        }
    }

    fn expose_scan(&mut self, scan: &TableScan, index: usize) -> Result<(LogicalPlan, Exposed)> {
        let table = ViewTable::of(scan).ok_or_else(|| plan_datafusion_err!("MEASURE takes a measure of a view"))?;
        let view = table.view.clone();
        let Some(measure) = index.checked_sub(view.dimensions.len()).filter(|at| *at < view.measures.len()) else {
            let known: Vec<&str> = view.measures.iter().map(|measure| measure.name.as_str()).collect();
            let name = view.dimensions.get(index).map_or("this", |dimension| dimension.name.as_str());
            return plan_err!("{name} is a dimension of view {}; its measures: {}", view.name, known.join(", "));
        };
        let (plan, states) = table.with_states(scan, self.next())?;
        Ok((plan, Exposed { view, measure, states }))
    }

    fn expose_input(
        &mut self,
        plan: &LogicalPlan,
        side: usize,
        index: usize,
        known: Known<'_>,
    ) -> Result<(LogicalPlan, Exposed)> {
        let mut inputs: Vec<LogicalPlan> = plan.inputs().into_iter().cloned().collect();
        let input = inputs.get_mut(side).ok_or_else(|| plan_datafusion_err!("MEASURE takes a measure of a view"))?;
        let (replaced, exposed) = self.expose_under(input, index, known)?;
        *input = replaced;
        Ok((plan.with_new_exprs(plan.expressions(), inputs)?, exposed))
    }

    fn expose_projection(&mut self, projection: &Projection, index: usize) -> Result<(LogicalPlan, Exposed)> {
        let Some(Expr::Column(column)) = projection.expr.get(index).map(bare) else {
            return plan_err!("MEASURE takes a measure of a view, not an expression over one");
        };
        let place = projection.input.schema().index_of_column(column)?;
        let (input, exposed) = self.expose(&projection.input, place, &[])?;
        let mut columns = projection.expr.clone();
        for state in &exposed.states {
            let column = Expr::Column(state.clone());
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        Ok((LogicalPlan::Projection(Projection::try_new(columns, Arc::new(input))?), exposed))
    }

    fn expose_join(
        &mut self,
        plan: &LogicalPlan,
        join: &Join,
        index: usize,
        known: Known<'_>,
    ) -> Result<(LogicalPlan, Exposed)> {
        let left = join.left.schema().fields().len();
        let (side, place) = match join.join_type {
            JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => (1, index),
            _ if index < left => (0, index),
            _ => (1, index - left),
        };
        let (exposing, exposed) = self.expose_input(plan, side, place, known)?;
        if is_repeated(join, side, known) && !exposed.ignores_copies()? {
            let (measure, view) = (exposed.name(), &exposed.view.name);
            let other = name_of(if side == 0 { &join.right } else { &join.left });
            return plan_err!(
                "MEASURE({measure}): the join with {other} may repeat rows of view {view}, and a state that is merged \
                 twice counts twice; join {other} on columns that have one row each in it (those of its GROUP BY, or \
                 of SELECT DISTINCT), group by these columns, or test with IN or EXISTS instead of joining"
            );
        }
        Ok((exposing, exposed))
    }

    /// Each branch as it was, then its states under names of the union.
    fn expose_union(&mut self, union: &Union, index: usize) -> Result<(LogicalPlan, Exposed)> {
        let number = self.next();
        let mut branches = Vec::with_capacity(union.inputs.len());
        let mut first: Option<Exposed> = None;
        for input in &union.inputs {
            let (branch, exposed) = self.expose(input, index, &[])?;
            if first.as_ref().is_some_and(|first| !first.is_same(&exposed)) {
                return plan_err!("MEASURE over UNION ALL takes one measure of one view in all branches");
            }
            let states = exposed.states.iter().enumerate();
            let named = states.map(|(place, state)| Expr::Column(state.clone()).alias(union_state(number, place)));
            let columns = input.schema().columns().into_iter().map(Expr::Column).chain(named).collect();
            branches.push(Arc::new(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(branch))?)));
            first.get_or_insert(exposed);
        }
        let exposed = first.ok_or_else(|| plan_datafusion_err!("MEASURE takes a measure of a view"))?;
        let column = |place| Column::new_unqualified(union_state(number, place));
        let states = (0..exposed.states.len()).map(column).collect();
        let union = LogicalPlan::Union(Union::try_new_with_loose_types(branches)?);
        Ok((union, Exposed { states, ..exposed }))
    }

    fn next(&mut self) -> usize {
        self.last += 1;
        self.last
    }
}

fn union_state(number: usize, place: usize) -> String {
    format!("_united_{number}_{place}")
}
