//! Whether a join may repeat the rows of one of its sides.
//!
//! Guarantee: what is not known to be unique may repeat: no join is let through that gives a row of the side twice.
//! Why so: the engine's functional dependencies speak of declared keys, which views have none of; a view, a GROUP BY
//! and a DISTINCT are unique by what they are.

use std::collections::{BTreeSet, HashSet};

use arrow::datatypes::DataType;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, DFSchema, JoinType};
use datafusion::logical_expr::logical_plan::{Distinct, FetchType, Join, Projection, Values};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator};

use super::function::bare;
use crate::tables::ViewTable;

/// Columns that no two rows agree in; without columns: there is one row at most.
type Key = BTreeSet<usize>;

/// How many keys of a join are looked at.
const MAX_KEYS: usize = 16;

/// What is known of the rows that are merged into one value.
#[derive(Clone, Copy, Default)]
pub(super) struct Known<'a> {
    /// Holds of each of them.
    pub conditions: &'a [&'a Expr],
    /// The same in all of them: what they are grouped by.
    pub fixed: &'a [&'a Column],
}

/// Whether a row of the left side (0) or the right side (1) may stand in more than one row of the join, among those
/// that are merged into one value.
pub(super) fn is_repeated(join: &Join, side: usize, known: Known<'_>) -> bool {
    let other = if side == 0 { &join.right } else { &join.left };
    repeats(join, side, &keys(other), known)
}

/// What to call a plan in a message.
pub(super) fn name_of(plan: &LogicalPlan) -> String {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => alias.alias.to_string(),
        LogicalPlan::TableScan(scan) => scan.table_name.to_string(),
        LogicalPlan::Filter(_) | LogicalPlan::Sort(_) | LogicalPlan::Limit(_) | LogicalPlan::Join(_) => {
            plan.inputs().first().map_or_else(|| "a subquery".to_owned(), |input| name_of(input))
        }
        _ => "a subquery".to_owned(),
    }
}

fn repeats(join: &Join, side: usize, other_keys: &[Key], known: Known<'_>) -> bool {
    if !matches!(join.join_type, JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full) {
        return false;
    }
    let (own, other) = if side == 0 { (&join.left, &join.right) } else { (&join.right, &join.left) };
    let (own, other) = (own.schema(), other.schema());
    let on = join.on.iter().map(|(left, right)| (left, right));
    let conditions = join.filter.iter().flat_map(split_conjunction).chain(known.conditions.iter().copied());
    let equalities = on.chain(conditions.filter_map(equality));
    let mut given: Key = equalities.filter_map(|(one, two)| given_column((one, two), other, own)).collect();
    given.extend(known.fixed.iter().filter_map(|column| other.maybe_index_of_column(column)));
    !other_keys.iter().any(|key| key.is_subset(&given))
}

/// The columns of a plan by which its rows are told apart.
fn keys(plan: &LogicalPlan) -> Vec<Key> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            ViewTable::of(scan).map(|table| (0..table.view.dimensions.len()).collect::<Key>()).into_iter().collect()
        }
        LogicalPlan::SubqueryAlias(alias) => keys(&alias.input),
        LogicalPlan::Window(window) => keys(&window.input),
        LogicalPlan::Sort(sort) if sort.fetch.is_some_and(|rows| rows <= 1) => vec![Key::new()],
        LogicalPlan::Sort(sort) => keys(&sort.input),
        LogicalPlan::Limit(limit) => match limit.get_fetch_type() {
            Ok(FetchType::Literal(Some(0 | 1))) => vec![Key::new()],
            _ => keys(&limit.input),
        },
        LogicalPlan::Filter(filter) => {
            let schema = filter.input.schema();
            let equalities = split_conjunction(&filter.predicate).into_iter().filter_map(equality);
            let constant: Key =
                equalities.filter_map(|sides| given_column(sides, schema, &DFSchema::empty())).collect();
            keys(&filter.input).into_iter().map(|key| &key - &constant).collect()
        }
        LogicalPlan::Projection(projection) => projected(projection),
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let all = (0..input.schema().fields().len()).collect();
            keys(input).into_iter().chain([all]).collect()
        }
        LogicalPlan::Aggregate(aggregate) => match aggregate.group_expr.as_slice() {
            [Expr::GroupingSet(_)] => Vec::new(),
            groups => vec![(0..groups.len()).collect()],
        },
        LogicalPlan::Join(join) => joined(join),
        LogicalPlan::Values(values) => listed(values),
        LogicalPlan::EmptyRelation(_) => vec![Key::new()],
        // Also what stands in a LATERAL join: it is unique for one row beside it alone.
        _ => Vec::new(),
    }
}

/// Keys all of whose columns are passed on as they are.
fn projected(projection: &Projection) -> Vec<Key> {
    let input = projection.input.schema();
    let places: Vec<Option<usize>> = projection
        .expr
        .iter()
        .map(|expr| match bare(expr) {
            Expr::Column(column) => input.maybe_index_of_column(column),
            _ => None,
        })
        .collect();
    let passed_on = |column: &usize| places.iter().position(|place| *place == Some(*column));
    keys(&projection.input).into_iter().filter_map(|key| key.iter().map(passed_on).collect()).collect()
}

fn joined(join: &Join) -> Vec<Key> {
    let (left, right) = (keys(&join.left), keys(&join.right));
    let width = join.left.schema().fields().len();
    let moved = |key: &Key| key.iter().map(|column| column + width).collect::<Key>();
    match join.join_type {
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => return left,
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => return right,
        // Rows that have nothing on one side are not told apart by its columns.
        JoinType::Full => return Vec::new(),
        JoinType::Inner | JoinType::Left | JoinType::Right => {}
    }
    let mut found = Vec::new();
    if join.join_type != JoinType::Right && !repeats(join, 0, &right, Known::default()) {
        found.extend(left.iter().cloned());
    }
    if join.join_type != JoinType::Left && !repeats(join, 1, &left, Known::default()) {
        found.extend(right.iter().map(moved));
    }
    found.extend(left.iter().flat_map(|one| right.iter().map(move |two| one | &moved(two))));
    found.truncate(MAX_KEYS);
    found
}

/// A list of constants is unique in each column that repeats none.
fn listed(values: &Values) -> Vec<Key> {
    if values.values.len() <= 1 {
        return vec![Key::new()];
    }
    let is_unique = |column: &usize| {
        let mut seen = HashSet::new();
        values.values.iter().all(|row| match row.get(*column) {
            Some(Expr::Literal(value, _)) => !value.is_null() && seen.insert(value),
            _ => false,
        })
    };
    (0..values.schema.fields().len()).filter(is_unique).map(|column| Key::from([column])).collect()
}

fn equality(expr: &Expr) -> Option<(&Expr, &Expr)> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq | Operator::IsNotDistinctFrom, right }) => {
            Some((left.as_ref(), right.as_ref()))
        }
        _ => None,
    }
}

/// The column of `schema` that one side of an equality is, where the other side is made of `own` columns or of none.
fn given_column((one, two): (&Expr, &Expr), schema: &DFSchema, own: &DFSchema) -> Option<usize> {
    let pick = |column: &Expr, value: &Expr| {
        let Expr::Column(column) = column else { return None };
        let place = schema.maybe_index_of_column(column)?;
        let is_given = value
            .column_refs()
            .into_iter()
            .all(|column| own.maybe_index_of_column(column).is_some() && !schema.has_column(column));
        let has_own_rows = value.exists(|part| Ok(matches!(part, Expr::ScalarSubquery(_)))).unwrap_or(true);
        let keeps = keeps_values(schema.field(place).data_type(), &value.get_type(own).ok()?);
        (is_given && !has_own_rows && !value.is_volatile() && keeps).then_some(place)
    };
    pick(one, two).or_else(|| pick(two, one))
}

/// Whether unequal values of the column stay unequal in the type that both are compared in.
fn keeps_values(column: &DataType, value: &DataType) -> bool {
    column == value
        || (column.is_integer() && value.is_integer())
        || (column.is_string() && value.is_string())
        || (matches!(column, DataType::Timestamp(..)) && (value.is_string() || value.is_temporal()))
}
