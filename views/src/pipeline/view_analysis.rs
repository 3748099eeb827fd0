//! What the engine makes of the query of a view: its analyzed plan, or why there is none.
//!
//! In: a query in the words that the engine plans. Out: a plan whose types are resolved, in which no operator fails on
//! a row, and in which the items of an array stand where FROM names them.
//! Not here: taking the plan apart (`view_plan.rs`).

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use arrow::datatypes::DataType;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, DataFusionError, TableReference, internal_err};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{ExprWithAlias, Statement as SqlStatement};

use super::view_rewrite::Unnested;
use super::view_syntax::CheckedView;
use crate::article::with_article;
use crate::fallible::guard_plan;
use crate::sql_name::{AS_INSTANT, NO_INSTANT, in_sql_words, sql_name};
use crate::stream::Placeholder;
use crate::unnest::{ITEMS, Items, as_written, unnest};

/// Why there is no plan.
pub(super) enum Unplanned {
    /// The engine says so.
    Engine(DataFusionError),
    /// What is unnested is no array of the event, but this.
    NoArray(String),
}

impl From<DataFusionError> for Unplanned {
    fn from(error: DataFusionError) -> Self {
        Self::Engine(error)
    }
}

/// The plan of a checked view.
pub(super) fn analyzed(state: &SessionState, checked: &CheckedView) -> Result<LogicalPlan, Unplanned> {
    let query = Statement::Statement(Box::new(SqlStatement::Query(checked.query.clone())));
    let plan = match &checked.unnested {
        None => at_once(state.statement_to_plan(query))?,
        Some(unnested) => {
            let (array, item) = array_of(state, checked, unnested)?;
            let plan = beside_items(state, query, unnested.column(), item)?;
            unnest(plan, &Items { array, is_outer: unnested.is_outer })?
        }
    };
    Ok(guard_plan(state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?)?)
}

/// The array over the columns of the stream, and the type of its items.
fn array_of(state: &SessionState, checked: &CheckedView, unnested: &Unnested) -> Result<(Expr, DataType), Unplanned> {
    let stream = TableReference::bare(checked.source_alias.as_str());
    let schema = DFSchema::try_from_qualified_schema(stream, &checked.source.events)?;
    let written = ExprWithAlias { expr: unnested.array.clone(), alias: None };
    let array = match state.create_logical_expr_from_sql_expr(written, &schema) {
        // Every column was found in some table (`view_names.rs`).
        Err(error) if matches!(error.find_root(), DataFusionError::SchemaError(..)) => {
            return Err(Unplanned::NoArray("a column of another table".to_owned()));
        }
        array => array?,
    };
    if array.exists(|part| Ok(matches!(part, Expr::AggregateFunction(_))))? {
        return Err(Unplanned::NoArray("an aggregate".to_owned()));
    }
    let context = SimplifyContext::builder().with_schema(schema.clone().into()).build();
    let array = ExprSimplifier::new(context).coerce(array, &schema)?;
    match array.get_type(&schema)? {
        DataType::List(item) => Ok((array, item.data_type().clone())),
        other => Err(Unplanned::NoArray(with_article(&sql_name(&other)))),
    }
}

/// The plan of a query that names the table of items.
fn beside_items(
    state: &SessionState,
    query: Statement,
    column: &str,
    item: DataType,
) -> Result<LogicalPlan, DataFusionError> {
    let schema = state.schema_for_ref(TableReference::bare(ITEMS))?;
    schema.register_table(ITEMS.to_owned(), Arc::new(Placeholder::of_items(column, item)))?;
    let plan = at_once(state.statement_to_plan(query));
    // The next view has other items.
    schema.deregister_table(ITEMS)?;
    plan
}

/// What a future comes to that has nothing to wait for: the engine looks tables up asynchronously, here all are in
/// memory.
fn at_once<T>(future: impl Future<Output = Result<T, DataFusionError>>) -> Result<T, DataFusionError> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => internal_err!("looking up a table in memory had to wait"),
    }
}

/// What the engine puts before what it says.
const OPENINGS: [&str; 5] = [
    "coercion failed with: ",
    "Error during planning: ",
    "Internal error: ",
    "Execution error: ",
    "This feature is not implemented: ",
];

/// What the engine says, without what it wraps around it and without lists of alternatives.
pub(super) fn first_line(error: &DataFusionError) -> String {
    in_sql_words(&told(error))
}

fn told(error: &DataFusionError) -> String {
    let text = as_written(&error.strip_backtrace());
    let mut message = text.lines().next().unwrap_or_default();
    if message.contains("Cannot cast timezone to different timezone") {
        return format!("{NO_INSTANT}; {AS_INSTANT}");
    }
    for opening in OPENINGS {
        message = message.rsplit_once(opening).filter(|(_, tail)| !tail.is_empty()).map_or(message, |(_, tail)| tail);
    }
    if text.contains("failed to match any signature") {
        let name = text.split('\'').nth(1).unwrap_or("this function");
        return format!("'{name}' does not take arguments of these types");
    }
    if let Some((_, column)) = text.split_once("While expanding wildcard, column ")
        && let Some((column, _)) = column.split_once(" must appear")
    {
        return format!("{column} is neither in GROUP BY nor in an aggregate");
    }
    let end = [". No function matches", " This was likely caused", ", errors: ", " (DataType: "]
        .iter()
        .filter_map(|end| message.find(end))
        .min();
    message[..end.unwrap_or(message.len())].to_owned()
}
