//! Subqueries that refer to the query around them, and tests with IN: what the engine can join on, and words for what
//! it cannot.
//!
//! In: a plan over views as columns only. Out: the same plan, in which a subquery that is compared with the query
//! around it by an expression has a column for that expression.
//! Guarantee: what passes is a join to the engine that has the rows of the query. What is refused is told in terms of
//! the query.
//! Why so: the engine makes a join of such a subquery where it compares a column by `=`, or else gives up, and then
//! speaks of the insides of plans. A join knows no row of an aggregate over nothing, and for what NULL leaves open it
//! has a word only where NOT IN compares a column and nothing else.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::logical_plan::{Filter, Projection};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};

const SCALAR: &str = "a subquery";
const EXISTS: &str = "EXISTS over a subquery";
const IN: &str = "IN over a subquery";

/// Makes columns of what subqueries are compared by, and refuses those that are no join.
pub(crate) fn prepare(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut keys = 0;
    let keyed = plan.transform_up_with_subqueries(|node| match &node {
        LogicalPlan::Filter(filter) if filter.predicate.contains_outer() => match add_keys(filter, &mut keys)? {
            Some(keyed) => Ok(Transformed::yes(keyed)),
            None => Ok(Transformed::no(node)),
        },
        _ => Ok(Transformed::no(node)),
    })?;
    keyed.data.apply_with_subqueries(|node| {
        if let LogicalPlan::Filter(filter) = node {
            split_conjunction(&filter.predicate).into_iter().try_for_each(check_test)?;
        }
        let is_filter = matches!(node, LogicalPlan::Filter(_));
        node.apply_expressions(|expr| expr.apply(|part| check_part(part, is_filter)))
    })?;
    Ok(keyed.data)
}

/// The filter over columns for the expressions that it compares with the query around it; none if it has them.
fn add_keys(filter: &Filter, count: &mut usize) -> Result<Option<LogicalPlan>> {
    let mut keys = Vec::new();
    let mut key_of = |side: &Expr| {
        let name = format!("_key_{count}");
        *count += 1;
        keys.push(side.clone().alias(&name));
        Expr::Column(Column::new_unqualified(name))
    };
    let conditions = split_conjunction(&filter.predicate).into_iter().map(|condition| match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) if is_key(left) && is_outer(right) => {
            key_of(left.as_ref()).eq(right.as_ref().clone())
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) if is_outer(left) && is_key(right) => {
            left.as_ref().clone().eq(key_of(right.as_ref()))
        }
        _ => condition.clone(),
    });
    let conditions: Vec<Expr> = conditions.collect();
    let Some(predicate) = conjunction(conditions).filter(|_| !keys.is_empty()) else { return Ok(None) };
    let columns = filter.input.schema().columns().into_iter().map(Expr::Column).chain(keys).collect();
    let input = LogicalPlan::Projection(Projection::try_new(columns, Arc::clone(&filter.input))?);
    Ok(Some(LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?)))
}

/// Whether an expression of the subquery alone must become a column.
fn is_key(expr: &Expr) -> bool {
    expr.any_column_refs() && !expr.contains_outer() && !is_column(expr) && !expr.is_volatile() && !has_subquery(expr)
}

fn has_subquery(expr: &Expr) -> bool {
    let is_query = |part: &Expr| Ok(matches!(part, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_)));
    expr.exists(is_query).unwrap_or(true)
}

fn is_outer(expr: &Expr) -> bool {
    expr.contains_outer() && !expr.any_column_refs()
}

fn is_column(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(_))
}

/// Refuses what the engine would answer as if NULL told that a value is not among others.
fn check_test(condition: &Expr) -> Result<()> {
    let not_in = match condition {
        Expr::InSubquery(test) if test.negated => Some(test),
        Expr::Not(inner) => match inner.as_ref() {
            Expr::InSubquery(test) if !test.negated => Some(test),
            Expr::InSubquery(_) => return Ok(()),
            _ => None,
        },
        _ => None,
    };
    match not_in {
        Some(test) if !test.subquery.outer_ref_columns.is_empty() => {
            plan_err!(
                "NOT {IN} cannot refer to the query around it; write NOT EXISTS (SELECT 1 FROM ... WHERE ...), which \
                 passes over NULL"
            )
        }
        Some(test) if !test.expr.any_column_refs() => {
            plan_err!(
                "NOT {IN} tests a column, not a constant; write NOT EXISTS (SELECT 1 FROM ... WHERE ...), which passes \
                 over NULL"
            )
        }
        Some(_) => Ok(()),
        None => check_within(condition),
    }
}

/// The same within a condition: there a row is in or out, which is right where both unknown and no leave it out.
fn check_within(condition: &Expr) -> Result<()> {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, right }) => {
            check_within(left)?;
            check_within(right)
        }
        Expr::IsTrue(inner) | Expr::IsNotTrue(inner) => check_within(inner),
        Expr::InSubquery(test) if !test.negated => Ok(()),
        _ if condition.exists(|part| Ok(matches!(part, Expr::InSubquery(_))))? => {
            plan_err!(
                "NOT {IN}, and whatever is made of it but AND and OR, can stand alone or beside AND; write EXISTS or \
                 NOT EXISTS (SELECT 1 FROM ... WHERE ...), which pass over NULL"
            )
        }
        _ => Ok(()),
    }
}

fn check_part(part: &Expr, is_filter: bool) -> Result<TreeNodeRecursion> {
    let (what, query) = match part {
        Expr::ScalarSubquery(query) => (SCALAR, query),
        Expr::Exists(test) => (EXISTS, &test.subquery),
        Expr::InSubquery(test) => (IN, &test.subquery),
        _ => return Ok(TreeNodeRecursion::Continue),
    };
    if !query.outer_ref_columns.is_empty() {
        check_query(&query.subquery, Above { what, aggregates: false, stands: None, table: None })?;
    }
    if !is_filter && what != SCALAR {
        return plan_err!(
            "{what} can stand in WHERE and HAVING alone; elsewhere compare (SELECT count(*) FROM ...) with 0"
        );
    }
    Ok(TreeNodeRecursion::Continue)
}

/// What stands above a place in a subquery.
#[derive(Clone, Copy)]
struct Above<'a> {
    what: &'static str,
    aggregates: bool,
    stands: Option<&'static str>,
    /// The columns of the table that the place is in the FROM of.
    table: Option<&'a DFSchema>,
}

fn check_query<'a>(plan: &'a LogicalPlan, above: Above<'a>) -> Result<()> {
    let above = match plan {
        // What reads a view or stands in a LATERAL join refers to nothing of this query.
        LogicalPlan::TableScan(_) | LogicalPlan::Subquery(_) => return Ok(()),
        LogicalPlan::Filter(filter) => {
            for condition in split_conjunction(&filter.predicate) {
                check_condition(condition, above)?;
            }
            above
        }
        _ => {
            let mut refers = false;
            plan.apply_expressions(|expr| {
                refers |= expr.contains_outer();
                Ok(TreeNodeRecursion::Continue)
            })?;
            if refers {
                return refuse(above, "can do so in WHERE alone");
            }
            below(plan, above)
        }
    };
    plan.inputs().into_iter().try_for_each(|input| check_query(input, above))
}

fn below<'a>(plan: &'a LogicalPlan, above: Above<'a>) -> Above<'a> {
    let stands = match plan {
        LogicalPlan::Aggregate(aggregate) if matches!(aggregate.group_expr.as_slice(), [Expr::GroupingSet(_)]) => {
            Some("cannot have ROLLUP, CUBE or GROUPING SETS")
        }
        LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() && above.what != SCALAR => {
            Some("cannot aggregate without GROUP BY: an aggregate over nothing has a row, and a join has none")
        }
        LogicalPlan::Union(_) => Some("cannot have UNION"),
        LogicalPlan::Window(_) => Some("cannot have OVER"),
        LogicalPlan::Limit(_) if above.what != EXISTS => Some("cannot have LIMIT"),
        LogicalPlan::Sort(_) => Some("cannot have ORDER BY"),
        _ => None,
    };
    let aggregates = matches!(plan, LogicalPlan::Aggregate(aggregate) if !aggregate.aggr_expr.is_empty());
    let table = match plan {
        LogicalPlan::SubqueryAlias(alias) => Some(alias.schema.as_ref()),
        _ => above.table,
    };
    Above { what: above.what, aggregates: above.aggregates || aggregates, stands: above.stands.or(stands), table }
}

fn check_condition(condition: &Expr, above: Above<'_>) -> Result<()> {
    if !condition.contains_outer() {
        return Ok(());
    }
    if let Some(reason) = above.stands {
        return refuse(above, reason);
    }
    let is_passed_on = |table: &DFSchema| {
        condition.column_refs().iter().all(|column| table.has_column_with_unqualified_name(&column.name))
    };
    if above.table.is_some_and(|table| !is_passed_on(table)) {
        return refuse(
            above,
            "cannot do so in a table of its own FROM without passing on what it compares, by its name",
        );
    }
    let is_join = match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            (is_column(left) && is_outer(right)) || (is_outer(left) && is_column(right))
        }
        _ => false,
    };
    if above.aggregates && !is_join {
        return refuse(above, "can aggregate only if it compares itself with that query by = and nothing else");
    }
    Ok(())
}

fn refuse<T>(above: Above<'_>, reason: &str) -> Result<T> {
    let what = above.what;
    plan_err!(
        "{what} that refers to the query around it {reason}; write both as one join instead, grouped by the columns of \
         the query around it"
    )
}
