//! Arrays whose items are rows, in the plan of a view.
//!
//! ```text
//!  as SQL has it:  events x items                               items: a table of one column, without rows
//!  as it runs:     events --columns in use, array--> Unnest --> the same columns, item
//! ```
//!
//! In: a plan as it was made of SQL, before types are resolved. Out: the same, with the join to the items computed.
//! Guarantee: one row for each item, NULL ones among them, in any batch; none of a NULL or empty array, or one with a
//! NULL item where the join is outer. Which rows an event becomes depends on this event alone. The columns beside the
//! items, repeated for each, hold at most `MAX_REPEATED_BYTES` of one event: its array counts as NULL otherwise.
//! Not here: which array it is, and how it is written (`pipeline/view_unnest.rs`).
//! Why so: the engine plans an UNNEST of a column as a subquery for each row, which its optimizer takes apart later or
//! not at all. Joined as a table, the item has its name and type while SQL is read, and what runs is the engine's own
//! Unnest over columns that no other name can meet.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::compute::nullif;
use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, NullHandling, Result, UnnestOptions, internal_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, Join, LogicalPlan, Projection, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Unnest, Volatility,
};

use crate::stream::is_items;

/// Most bytes that the rows of one event may hold beside their items. Half a million items of numbers stay within it; a
/// long text beside as many would not fit any memory.
const MAX_REPEATED_BYTES: usize = 64 << 20;

/// The table of items while a view is planned; names that start with `_` are ours.
pub(crate) const ITEMS: &str = "_items";

/// The unnested column on its way through the engine's Unnest.
const ITEM: &str = "$item";

/// What a table of items stands for.
#[derive(Clone, Debug)]
pub(crate) struct Items {
    /// The array, over the columns of the event stream, its types resolved.
    pub(crate) array: Expr,
    /// Whether an event without items is one row all the same.
    pub(crate) is_outer: bool,
}

/// A plan with the items of each event where their table stands.
///
/// # Errors
/// None that the engine is known to have.
pub(crate) fn unnest(plan: LogicalPlan, items: &Items) -> Result<LogicalPlan> {
    let used = columns_above(&plan)?;
    let unnested = plan.transform_up(|node| match node {
        LogicalPlan::Join(join) if stands_for_items(&join.right) => {
            Ok(Transformed::yes(rows_of_items(join, items, &used)?))
        }
        // Columns that nothing uses are gone from what stands below.
        node => Ok(Transformed::yes(node.recompute_schema()?)),
    })?;
    Ok(unnested.data)
}

/// What the engine says of a plan, with items by the call that gives them, where no table of FROM does: `unnest(tags)`
/// for `_items."unnest(tags)"`.
pub(crate) fn as_written(text: &str) -> String {
    let qualifier = format!("{ITEMS}.");
    let (mut written, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once(&qualifier) {
        written.push_str(before);
        rest = behind;
        if before.ends_with(|letter: char| letter.is_alphanumeric() || letter == '_') {
            written.push_str(&qualifier);
        } else if let Some(quoted) = behind.strip_prefix('"') {
            let (name, behind) = unquoted(quoted);
            written.push_str(&name);
            rest = behind;
        }
    }
    written + rest
}

/// A quoted name behind its first quote, and what follows it. A quote within the name is written twice.
fn unquoted(quoted: &str) -> (String, &str) {
    let (mut name, mut rest) = (String::new(), quoted);
    loop {
        let Some((part, behind)) = rest.split_once('"') else { return (name + rest, "") };
        name.push_str(part);
        let Some(further) = behind.strip_prefix('"') else { return (name, behind) };
        name.push('"');
        rest = further;
    }
}

fn stands_for_items(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(scan) => is_items(&scan.source),
        LogicalPlan::SubqueryAlias(alias) => stands_for_items(&alias.input),
        _ => false,
    }
}

/// The columns that anything above the join to the items names.
fn columns_above(plan: &LogicalPlan) -> Result<HashSet<Column>> {
    let mut used = HashSet::new();
    plan.apply(|node| {
        if matches!(node, LogicalPlan::Join(join) if stands_for_items(&join.right)) {
            return Ok(TreeNodeRecursion::Jump);
        }
        for expr in node.expressions() {
            used.extend(expr.column_refs().into_iter().cloned());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(used)
}

/// The join computed: a row for each item, with the columns in use beside it.
fn rows_of_items(join: Join, items: &Items, used: &HashSet<Column>) -> Result<LogicalPlan> {
    let item = join.right.schema().columns().into_iter().next();
    let Some(item) = item else { return internal_err!("a table of items has no column") };
    // Aggregates that follow the log sort by its columns, whether the query names them or not.
    let is_repeated = |column: &Column| used.contains(column) || column.name.starts_with('_');
    let repeated: Vec<Column> = join.left.schema().columns().into_iter().filter(is_repeated).collect();
    let in_use = repeated.iter().filter(|column| used.contains(*column)).cloned();
    let array = within_bounds(items.array.clone(), in_use);
    let below = repeated.iter().enumerate().map(|(at, column)| Expr::Column(column.clone()).alias(place(at)));
    let below = Projection::try_new(below.chain([array.alias(ITEM)]).collect(), join.left)?;
    let null_handling = if items.is_outer { NullHandling::PreserveAndExpandEmpty } else { NullHandling::Drop };
    let options = UnnestOptions::new().with_null_handling(null_handling);
    let below = Arc::new(LogicalPlan::Projection(below));
    let unnested = Unnest::try_new(below, vec![Column::new_unqualified(ITEM)], options)?;
    let named = |from: String, column: Column| {
        Expr::Column(Column::new_unqualified(from)).alias_qualified(column.relation, column.name)
    };
    let above = repeated.into_iter().enumerate().map(|(at, column)| named(place(at), column));
    let above = above.chain([named(ITEM.to_owned(), item)]).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(above, Arc::new(LogicalPlan::Unnest(unnested)))?))
}

/// The name of a repeated column on its way through the engine's Unnest, which knows columns by their names alone.
fn place(at: usize) -> String {
    format!("${at}")
}

/// The array, NULL where its event would become too much.
fn within_bounds(array: Expr, repeated: impl Iterator<Item = Column>) -> Expr {
    within_bounds_function().call(std::iter::once(array).chain(repeated.map(Expr::Column)).collect())
}

/// The function that does so.
pub(crate) fn within_bounds_function() -> ScalarUDF {
    ScalarUDF::from(WithinBounds { signature: Signature::user_defined(Volatility::Immutable) })
}

/// Whether a function is it.
pub(crate) fn is_within_bounds(function: &ScalarUDF) -> bool {
    function.inner().is::<WithinBounds>()
}

/// Its first argument, NULL where the others, repeated for each item, would hold too many bytes.
#[derive(Debug, PartialEq, Eq, Hash)]
struct WithinBounds {
    signature: Signature,
}

impl ScalarUDFImpl for WithinBounds {
    fn name(&self) -> &'static str {
        "items_within_bounds"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arguments.to_vec())
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [array @ DataType::List(_), ..] => Ok(array.clone()),
            _ => plan_err!("UNNEST takes an ARRAY"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let arrays =
            arguments.args.into_iter().map(|argument| argument.into_array(rows)).collect::<Result<Vec<_>>>()?;
        let Some((items, repeated)) = arrays.split_first() else { return internal_err!("there is no array") };
        let Some(lists) = items.as_list_opt::<i32>() else {
            return internal_err!("{} has no items", items.data_type());
        };
        let is_beyond = |row: usize| {
            let count = lists.value_length(row) as usize;
            let bytes: usize = repeated.iter().map(|column| bytes_of(column.as_ref(), row, row + 1)).sum();
            count.saturating_mul(bytes) > MAX_REPEATED_BYTES
        };
        let beyond = BooleanArray::from((0..lists.len()).map(is_beyond).collect::<Vec<bool>>());
        if beyond.true_count() == 0 {
            return Ok(ColumnarValue::Array(Arc::clone(items)));
        }
        Ok(ColumnarValue::Array(nullif(items.as_ref(), &beyond)?))
    }
}

/// What the rows `[from, to)` of a column hold, with all inside.
fn bytes_of(column: &dyn Array, from: usize, to: usize) -> usize {
    let range = |offsets: &[i32]| (offsets[from] as usize, offsets[to] as usize);
    match column.data_type() {
        DataType::Utf8 => {
            let (start, end) = range(column.as_string::<i32>().value_offsets());
            end - start
        }
        DataType::List(_) => {
            let lists = column.as_list::<i32>();
            let (start, end) = range(lists.value_offsets());
            bytes_of(lists.values().as_ref(), start, end)
        }
        DataType::Map(..) => {
            let maps = column.as_map();
            let (start, end) = range(maps.value_offsets());
            bytes_of(maps.entries(), start, end)
        }
        DataType::Struct(_) => column.as_struct().columns().iter().map(|part| bytes_of(part.as_ref(), from, to)).sum(),
        other => (to - from) * other.primitive_width().unwrap_or(1),
    }
}
