//! The shape of a planned view: which of its columns are group keys, which are expressions over which aggregates, and
//! the names of the state columns.

use datafusion::common::Column;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan};

use super::view_syntax::{CheckedView, Item};

/// What a SELECT item is: a group key, or an expression over aggregates.
pub(super) enum Role {
    Key(usize),
    Measure(Expr),
}

/// A plan taken apart.
pub(super) struct Shape<'a> {
    pub(super) aggregate: &'a Aggregate,
    pub(super) outputs: Vec<Expr>,
}

impl<'a> Shape<'a> {
    pub(super) fn of(plan: &'a LogicalPlan) -> Option<Self> {
        match plan {
            LogicalPlan::Projection(projection) => match projection.input.as_ref() {
                LogicalPlan::Aggregate(aggregate) => Some(Self {
                    aggregate,
                    outputs: projection.expr.iter().map(|expr| expr.clone().unalias_nested().data).collect(),
                }),
                _ => None,
            },
            LogicalPlan::Aggregate(aggregate) => {
                let outputs = aggregate
                    .schema
                    .iter()
                    .map(|(qualifier, field)| Expr::Column(Column::new(qualifier.cloned(), field.name())));
                Some(Self { aggregate, outputs: outputs.collect() })
            }
            _ => None,
        }
    }

    pub(super) fn calls(&self) -> impl Iterator<Item = &AggregateFunction> {
        self.aggregate.aggr_expr.iter().filter_map(|expr| aggregate_call(expr))
    }

    /// The place of a column in the aggregate's output.
    pub(super) fn place(&self, column: &Column) -> Option<usize> {
        self.aggregate.schema.maybe_index_of_column(column)
    }

    pub(super) fn role(&self, output: &Expr) -> Result<Role, (&'static str, &'static str)> {
        let keys = self.aggregate.group_expr.len();
        if let Expr::Column(column) = output
            && let Some(place) = self.place(column).filter(|place| *place < keys)
        {
            return Ok(Role::Key(place));
        }
        let used: Vec<usize> = output.column_refs().into_iter().filter_map(|column| self.place(column)).collect();
        let has_key = used.iter().any(|place| *place < keys);
        let has_aggregate = used.iter().any(|place| *place >= keys);
        match (has_key, has_aggregate) {
            (false, true) => Ok(Role::Measure(output.clone())),
            (true, true) => Err((
                "a measure cannot use a group key: rolled up to fewer keys it has no value",
                "use the key inside the aggregate, or combine the two when you ask",
            )),
            _ => Err(("this is neither a group key nor an aggregate", "repeat it in GROUP BY, or leave it out")),
        }
    }

    /// The aggregates that an expression uses, by their places among the aggregates.
    pub(super) fn aggregates_of(&self, expr: &Expr) -> Vec<usize> {
        let keys = self.aggregate.group_expr.len();
        let places = expr.column_refs().into_iter().filter_map(|column| self.place(column));
        let mut places: Vec<usize> = places.filter_map(|place| place.checked_sub(keys)).collect();
        places.sort_unstable();
        places
    }
}

pub(super) fn aggregate_call(expr: &Expr) -> Option<&AggregateFunction> {
    match expr {
        Expr::AggregateFunction(call) => Some(call),
        Expr::Alias(alias) => aggregate_call(&alias.expr),
        _ => None,
    }
}

/// The state column of each aggregate, and the item that findings point at: the plain measure's own name where there is
/// one, otherwise `<measure>__<function>`.
pub(super) fn state_columns(shape: &Shape, roles: &[Role], checked: &CheckedView) -> Vec<(String, Item)> {
    let mut names: Vec<Option<(String, Item)>> = vec![None; shape.aggregate.aggr_expr.len()];
    let measures: Vec<(&Expr, &Item)> = roles
        .iter()
        .zip(&checked.items)
        .filter_map(|(role, item)| match role {
            Role::Measure(expr) => Some((expr, item)),
            Role::Key(_) => None,
        })
        .collect();
    for (expr, item) in measures.iter().filter(|(expr, _)| matches!(expr, Expr::Column(_))) {
        for place in shape.aggregates_of(expr) {
            names[place].get_or_insert_with(|| (item.name.clone(), (*item).clone()));
        }
    }
    for (expr, item) in measures {
        for place in shape.aggregates_of(expr) {
            if names[place].is_some() {
                continue;
            }
            let function = aggregate_call(&shape.aggregate.aggr_expr[place]).map_or("state", |call| call.func.name());
            let base = format!("{}__{function}", item.name);
            let is_taken = |name: &str| {
                let states = names.iter().flatten().any(|(taken, _)| taken.eq_ignore_ascii_case(name));
                states || checked.items.iter().any(|item| item.name.eq_ignore_ascii_case(name))
            };
            let numbered = (2..).map(|number| format!("{base}_{number}"));
            let free = std::iter::once(base.clone()).chain(numbered).find(|name| !is_taken(name));
            names[place] = Some((free.unwrap_or(base), item.clone()));
        }
    }
    let unnamed = |place: usize| {
        let item = Item { name: format!("state_{place}"), text: String::new(), line: 0 };
        (item.name.clone(), item)
    };
    names.into_iter().enumerate().map(|(place, name)| name.unwrap_or_else(|| unnamed(place))).collect()
}
