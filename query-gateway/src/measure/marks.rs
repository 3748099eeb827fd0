//! Which columns of a plan hold values that must not be added up, and the refusal to add them up.
//!
//! In: a plan over views as columns only. Out: nothing, or a refusal that names measure, view and way out.
//! Guarantee: a value that is made of a measure that is not additive bears its mark, through whatever renames it,
//! computes with it, picks it, lists it or reads it again from a subquery; and no function that adds takes a marked
//! value. A test of a value, and a count of values, bear no mark.
//! Not here: which functions add, count and test (`adding.rs`).
//! Why so: a rule on the shape of a plan is passed by the next disguise; a mark is a property of the column.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType};
use datafusion::logical_expr::expr::{AggregateFunction, Case, WindowFunction};
use datafusion::logical_expr::logical_plan::{Aggregate, Distinct, Join, TableScan, Values};
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, WindowFunctionDefinition};

use super::adding::{adds, adds_items, counts, passed_on};
use super::function::NAME;
use crate::GatewayError;
use crate::tables::ViewTable;

/// What a value is made of.
#[derive(Clone, Debug)]
struct Mark {
    kind: Kind,
    measure: Arc<str>,
    view: Arc<str>,
}

/// The later, the more it weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Of a measure that is additive: it becomes a quotient where something is divided by it.
    Additive,
    /// Divided by a measure.
    Quotient,
    /// Of a measure that is not additive.
    NotAdditive,
}

/// One for each column of a plan.
type Marks = Vec<Option<Mark>>;

/// Refuses a plan that adds up values that must not be added up.
pub(crate) fn check_sums(plan: &LogicalPlan) -> Result<(), GatewayError> {
    marks_of(plan, None).map(|_| ())
}

/// The columns that expressions name.
struct Scope<'a> {
    inputs: Vec<(&'a DFSchema, Marks)>,
    /// Those of the query around a subquery.
    outer: Option<&'a Scope<'a>>,
}

impl Scope<'_> {
    fn find(&self, column: &Column) -> Option<Option<Mark>> {
        self.inputs.iter().find_map(|(schema, marks)| marks.get(schema.maybe_index_of_column(column)?).cloned())
    }

    fn column(&self, column: &Column) -> Option<Mark> {
        self.find(column).flatten()
    }

    fn outer_column(&self, column: &Column) -> Option<Mark> {
        let mut around = self.outer;
        while let Some(scope) = around {
            if let Some(found) = scope.find(column) {
                return found;
            }
            around = scope.outer;
        }
        None
    }

    fn all(&self) -> Marks {
        self.inputs.iter().flat_map(|(_, marks)| marks.iter().cloned()).collect()
    }
}

fn marks_of(plan: &LogicalPlan, outer: Option<&Scope<'_>>) -> Result<Marks, GatewayError> {
    let scope = Scope { inputs: read_inputs(plan, outer)?, outer };
    let width = plan.schema().fields().len();
    match plan {
        LogicalPlan::TableScan(scan) => Ok(scanned(scan, width)),
        LogicalPlan::Projection(projection) => each(&projection.expr, &scope),
        LogicalPlan::Window(window) => {
            let mut marks = scope.all();
            marks.extend(each(&window.window_expr, &scope)?);
            Ok(marks)
        }
        LogicalPlan::Aggregate(aggregate) => aggregated(aggregate, &scope),
        LogicalPlan::Distinct(Distinct::On(distinct)) => {
            each(&distinct.on_expr, &scope)?;
            for key in distinct.sort_expr.iter().flatten() {
                value_of(&key.expr, &scope)?;
            }
            each(&distinct.select_expr, &scope)
        }
        LogicalPlan::Join(join) => joined(join, plan, &scope),
        LogicalPlan::Union(_) => Ok((0..width)
            .map(|index| strongest(scope.inputs.iter().map(|(_, marks)| marks.get(index).cloned().flatten())))
            .collect()),
        LogicalPlan::Values(values) => listed(values, width, &scope),
        LogicalPlan::Unnest(unnest) => {
            let below = scope.all();
            Ok(unnest.dependency_indices.iter().map(|index| below.get(*index).cloned().flatten()).collect())
        }
        _ => {
            each(&plan.expressions(), &scope)?;
            let below = scope.all();
            Ok(if below.len() == width { below } else { vec![strongest(below); width] })
        }
    }
}

fn read_inputs<'a>(
    plan: &'a LogicalPlan,
    outer: Option<&Scope<'_>>,
) -> Result<Vec<(&'a DFSchema, Marks)>, GatewayError> {
    let mut read: Vec<(&DFSchema, Marks)> = Vec::new();
    for input in plan.inputs() {
        // What stands on the right of a LATERAL join names columns of the left.
        let beside = if matches!(plan, LogicalPlan::Join(_)) { read.clone() } else { Vec::new() };
        let marks = marks_of(input, Some(&Scope { inputs: beside, outer }))?;
        read.push((input.schema().as_ref(), marks));
    }
    Ok(read)
}

fn scanned(scan: &TableScan, width: usize) -> Marks {
    let Some(table) = ViewTable::of(scan) else { return vec![None; width] };
    let view: Arc<str> = table.view.name.as_str().into();
    let mut marks = vec![None; table.view.dimensions.len()];
    marks.extend(table.view.measures.iter().map(|measure| {
        let kind = if measure.is_additive { Kind::Additive } else { Kind::NotAdditive };
        Some(Mark { kind, measure: measure.name.as_str().into(), view: view.clone() })
    }));
    marks.resize(width, None);
    marks
}

fn aggregated(aggregate: &Aggregate, scope: &Scope<'_>) -> Result<Marks, GatewayError> {
    let keys =
        grouping_set_to_exprlist(&aggregate.group_expr).map_err(|error| GatewayError::Definition(error.into()))?;
    let mut marks = keys.into_iter().map(|key| value_of(key, scope)).collect::<Result<Marks, _>>()?;
    // Behind the keys of grouping sets stands the column that tells them apart.
    marks.resize(aggregate.schema.fields().len() - aggregate.aggr_expr.len(), None);
    marks.extend(each(&aggregate.aggr_expr, scope)?);
    Ok(marks)
}

fn joined(join: &Join, plan: &LogicalPlan, scope: &Scope<'_>) -> Result<Marks, GatewayError> {
    each(&plan.expressions(), scope)?;
    let side = |index: usize| scope.inputs.get(index).map(|(_, marks)| marks.clone()).unwrap_or_default();
    let mut marks = match join.join_type {
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => side(0),
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => side(1),
        _ => scope.all(),
    };
    marks.resize(join.schema.fields().len(), None);
    Ok(marks)
}

fn listed(values: &Values, width: usize, scope: &Scope<'_>) -> Result<Marks, GatewayError> {
    let mut marks: Marks = vec![None; width];
    for row in &values.values {
        for (mark, value) in marks.iter_mut().zip(row) {
            *mark = strongest([mark.take(), value_of(value, scope)?]);
        }
    }
    Ok(marks)
}

fn each(exprs: &[Expr], scope: &Scope<'_>) -> Result<Marks, GatewayError> {
    exprs.iter().map(|expr| value_of(expr, scope)).collect()
}

/// The mark that weighs most; of equals the first.
fn strongest(marks: impl IntoIterator<Item = Option<Mark>>) -> Option<Mark> {
    marks.into_iter().flatten().reduce(|first, next| if next.kind > first.kind { next } else { first })
}

/// The mark of the value of an expression; a sum in it that must not be is refused.
fn value_of(expr: &Expr, scope: &Scope<'_>) -> Result<Option<Mark>, GatewayError> {
    match expr {
        Expr::Column(column) => return Ok(scope.column(column)),
        Expr::OuterReferenceColumn(_, column) => return Ok(scope.outer_column(column)),
        // One value for many rows: to divide by it makes no quotient of rows.
        Expr::ScalarSubquery(query) => {
            let first = marks_of(&query.subquery, Some(scope))?.into_iter().next();
            return Ok(first.flatten().filter(|mark| mark.kind > Kind::Additive));
        }
        Expr::Exists(test) => marks_of(&test.subquery.subquery, Some(scope)).map(|_| ())?,
        Expr::InSubquery(test) => marks_of(&test.subquery.subquery, Some(scope)).map(|_| ())?,
        Expr::SetComparison(test) => marks_of(&test.subquery.subquery, Some(scope)).map(|_| ())?,
        _ => {}
    }
    let values = children(expr)?.into_iter().map(|child| value_of(child, scope)).collect::<Result<Marks, _>>()?;
    match expr {
        _ if is_test(expr) => Ok(None),
        Expr::BinaryExpr(BinaryExpr { op: Operator::Divide | Operator::IntegerDivide, .. }) => Ok(quotient(values)),
        Expr::Case(case) => Ok(picked(case, values)),
        Expr::AggregateFunction(call) => value_of_aggregate(call, values),
        Expr::WindowFunction(call) => value_of_window(call, values),
        Expr::ScalarFunction(call) => value_of_scalar(call.name(), values),
        Expr::HigherOrderFunction(call) => value_of_scalar(call.name(), values),
        _ => Ok(strongest(values)),
    }
}

fn children(expr: &Expr) -> Result<Vec<&Expr>, GatewayError> {
    let mut children = Vec::new();
    let walked = expr.apply_children(|child| {
        children.push(child);
        Ok(TreeNodeRecursion::Continue)
    });
    walked.map_err(|error| GatewayError::Definition(error.into()))?;
    Ok(children)
}

/// Whether the value is true or false.
fn is_test(expr: &Expr) -> bool {
    match expr {
        Expr::Like(_)
        | Expr::SimilarTo(_)
        | Expr::Not(_)
        | Expr::IsNotNull(_)
        | Expr::IsNull(_)
        | Expr::IsTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNotFalse(_)
        | Expr::IsNotUnknown(_)
        | Expr::Between(_)
        | Expr::InList(_)
        | Expr::Exists(_)
        | Expr::InSubquery(_)
        | Expr::SetComparison(_) => true,
        Expr::BinaryExpr(BinaryExpr { op, .. }) => op.supports_propagation() || op.is_logic_operator() || is_match(*op),
        Expr::Cast(cast) => cast.field.data_type() == &DataType::Boolean,
        Expr::TryCast(cast) => cast.field.data_type() == &DataType::Boolean,
        _ => false,
    }
}

fn is_match(op: Operator) -> bool {
    use Operator::{ArrowAt, AtArrow, AtAt, ILikeMatch, LikeMatch, NotILikeMatch, NotLikeMatch};
    matches!(op, ArrowAt | AtArrow | AtAt | ILikeMatch | LikeMatch | NotILikeMatch | NotLikeMatch)
}

/// The sum of quotients is not the quotient of the sums.
fn quotient(values: Marks) -> Option<Mark> {
    let divisor = values.get(1).cloned().flatten().map(|mark| Mark { kind: mark.kind.max(Kind::Quotient), ..mark });
    strongest(values.into_iter().chain([divisor]))
}

/// Of a CASE only the results: its conditions test. The children are the operand, pairs, and what ELSE gives.
fn picked(case: &Case, values: Marks) -> Option<Mark> {
    let pairs = usize::from(case.expr.is_some());
    let otherwise = pairs + 2 * case.when_then_expr.len();
    let is_result = |place: usize| place >= otherwise || (place >= pairs && (place - pairs) % 2 == 1);
    strongest(values.into_iter().enumerate().map(|(place, mark)| mark.filter(|_| is_result(place))))
}

fn value_of_aggregate(call: &AggregateFunction, mut values: Marks) -> Result<Option<Mark>, GatewayError> {
    // Behind the arguments stand the filter and the sort keys.
    values.truncate(call.params.args.len());
    let name = call.func.name();
    if name == NAME {
        return Ok(strongest(values));
    }
    let value = aggregate(name, values)?;
    // A sum of sums is a sum; other results say nothing of what they could be summed to.
    Ok(value.filter(|mark| name == "sum" || mark.kind > Kind::Additive))
}

fn value_of_window(call: &WindowFunction, mut values: Marks) -> Result<Option<Mark>, GatewayError> {
    values.truncate(call.params.args.len());
    let name = call.fun.name();
    let value = match call.fun {
        WindowFunctionDefinition::AggregateUDF(_) if name != NAME => aggregate(name, values)?,
        _ if counts(name) => None,
        _ => strongest(values),
    };
    Ok(value.filter(|mark| mark.kind > Kind::Additive))
}

fn aggregate(name: &str, mut values: Marks) -> Result<Option<Mark>, GatewayError> {
    let value = strongest(values.drain(passed_on(name, values.len())));
    match value {
        _ if counts(name) => Ok(None),
        Some(mark) if adds(name) && mark.kind > Kind::Additive => Err(refuse(name, &mark)),
        value => Ok(value),
    }
}

fn value_of_scalar(name: &str, mut values: Marks) -> Result<Option<Mark>, GatewayError> {
    let passed_on = passed_on(name, values.len());
    let value = strongest(values.drain(passed_on));
    match value {
        Some(mark) if adds_items(name) && mark.kind > Kind::Additive => Err(refuse(name, &mark)),
        value => Ok(value),
    }
}

fn refuse(function: &str, mark: &Mark) -> GatewayError {
    let Mark { kind, measure, view } = mark;
    if *kind == Kind::Quotient {
        return GatewayError::bad_with_hint(
            format!("{function} must not add up quotients by `{measure}` of view {view}: their sum means nothing"),
            format!("add up both sides first, then divide: sum(...) / sum({measure})"),
        );
    }
    GatewayError::bad_with_hint(
        format!("{function} must not add up values of `{measure}` of view {view}: it is not additive"),
        format!("use MEASURE({measure}), which merges the states behind the values"),
    )
}
