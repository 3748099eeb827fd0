//! Values that SQL expressions make: their memory is limited like that of the operators.
//!
//! In: a plan with its types resolved. Out: the same plan, in which each function that makes texts or lists, and `||`,
//! is wrapped: it asks for memory before it makes a value and hands it back when nobody holds the value any more.
//! A function that compares long texts letter by letter is wrapped, too: it is refused where that would take too long.
//! Guarantee: constants stay below the longest SQL text however they are put together, and all other values that exist
//! at one time take their share of the memory of all SQL queries; beyond it the query is refused.
//! Not here: functions that are refused altogether (`sql.rs`), operators that keep what they read (`buffered.rs`).
//! Why so: the engine counts what operators keep, but not what an expression makes of a batch; a few nested `replace`
//! make gigabytes out of a kilobyte.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::kernels::concat_elements::concat_elements_dyn;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue, config::ConfigOptions, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;

use crate::refusal::Refusal;

/// Functions that hand on one of their arguments, or that the planner replaces.
const PASSING_ON: [&str; 11] = [
    "coalesce",
    "nvl",
    "nvl2",
    "nullif",
    "greatest",
    "least",
    "get_field",
    "struct",
    "named_struct",
    "arrow_cast",
    "arrow_try_cast",
];

/// Functions that take as many steps as the product of the lengths of two texts.
const COMPARING: [&str; 1] = ["levenshtein"];
/// The most such steps of one batch: some seconds, within which nobody can end the query.
const MAX_STEPS: usize = 1 << 31;

/// Values to look through before the first sweep.
const FIRST_SWEEP: usize = 64;

/// The memory of the values that exist now.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// The longest constant, in bytes.
    constant_bytes: usize,
    // Written at each evaluation of a wrapped function by whichever query runs; held only to count, never to evaluate.
    held: Mutex<HeldValues>,
}

#[derive(Debug)]
struct HeldValues {
    reservation: MemoryReservation,
    values: VecDeque<(Weak<dyn Array>, usize)>,
    sweep_at: usize,
}

impl Ledger {
    /// Counts against `pool`.
    pub(crate) fn new(pool: &Arc<dyn MemoryPool>, constant_bytes: usize) -> Arc<Self> {
        let reservation = MemoryConsumer::new("values of expressions").register(pool);
        let held = Mutex::new(HeldValues { reservation, values: VecDeque::new(), sweep_at: FIRST_SWEEP });
        Arc::new(Self { constant_bytes, held })
    }

    /// Hands back the memory of values that are gone.
    pub(crate) fn sweep(&self) {
        self.with(HeldValues::sweep);
    }

    /// Whether there is room for a value of this size now.
    fn check_room(&self, size: usize, is_constant: bool) -> Result<()> {
        if is_constant && size > self.constant_bytes {
            let limit = self.constant_bytes;
            return Err(DataFusionError::ResourcesExhausted(format!("a constant has more than {limit} bytes")));
        }
        self.with(|held| held.take(size).map(|()| held.reservation.shrink(size)))
    }

    /// Counts a value for as long as somebody holds it.
    fn hold(&self, value: &ArrayRef) -> Result<()> {
        let size = size_of(value.as_ref());
        self.with(|held| {
            if held.values.len() >= held.sweep_at {
                held.sweep();
            }
            held.take(size)?;
            held.values.push_back((Arc::downgrade(value), size));
            Ok(())
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut HeldValues) -> T) -> T {
        work(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl HeldValues {
    fn take(&mut self, size: usize) -> Result<()> {
        if self.reservation.try_grow(size).is_ok() {
            return Ok(());
        }
        self.sweep();
        self.reservation.try_grow(size)
    }

    fn sweep(&mut self) {
        let mut gone = 0;
        self.values.retain(|(value, size)| {
            let is_held = value.strong_count() > 0;
            gone += if is_held { 0 } else { *size };
            is_held
        });
        self.reservation.shrink(gone);
        self.sweep_at = FIRST_SWEEP.max(self.values.len() * 2);
    }
}

/// Wraps what makes values.
#[derive(Debug)]
pub(crate) struct CountValues(pub Arc<Ledger>);

impl AnalyzerRule for CountValues {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(|node| self.wrap_all(node))?.data)
    }

    fn name(&self) -> &str {
        "count_values"
    }
}

impl CountValues {
    fn wrap_all(&self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let names = NamePreserver::new(&node);
        let schema = merge_schema(&node.inputs());
        let wrapped = node.map_expressions(|expr| {
            let name = names.save(&expr);
            let wrapped = expr.transform_up(|part| Ok(self.wrap(part, &schema)))?;
            Ok(wrapped.update_data(|expr| name.restore(expr)))
        })?;
        wrapped.map_data(LogicalPlan::recompute_schema)
    }

    fn wrap(&self, part: Expr, schema: &DFSchema) -> Transformed<Expr> {
        let (function, args) = match part {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::StringConcat, right }) => {
                (Arc::new(ScalarUDF::new_from_impl(JoinTexts::new())), vec![*left, *right])
            }
            Expr::ScalarFunction(ScalarFunction { ref func, ref args }) if makes_values(func, &part, schema) => {
                (func.clone(), args.clone())
            }
            part => return Transformed::no(part),
        };
        let counted = ScalarUDF::new_from_impl(Counted { function, ledger: self.0.clone() });
        Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(counted), args)))
    }
}

fn makes_values(function: &ScalarUDF, call: &Expr, schema: &DFSchema) -> bool {
    // A filter that goes down to a view is looked at a second time, with the plan of the view.
    if function.inner().is::<Counted>() {
        return false;
    }
    if COMPARING.contains(&function.name()) {
        return true;
    }
    // Where the type cannot be told the function is counted, to be safe.
    let is_growing = call.get_type(schema).map_or(true, |data_type| !data_type.is_primitive());
    let is_plain = PASSING_ON.contains(&function.name()) || matches!(call.get_type(schema), Ok(DataType::Boolean));
    is_growing && !is_plain
}

/// A function whose values are counted.
#[derive(Debug)]
struct Counted {
    function: Arc<ScalarUDF>,
    ledger: Arc<Ledger>,
}

impl PartialEq for Counted {
    fn eq(&self, other: &Self) -> bool {
        self.function == other.function
    }
}

impl Eq for Counted {}

impl Hash for Counted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.hash(state);
    }
}

impl ScalarUDFImpl for Counted {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn aliases(&self) -> &[String] {
        self.function.aliases()
    }

    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        self.function.schema_name(arguments)
    }

    fn signature(&self) -> &Signature {
        self.function.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.function.return_type(arguments)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.function.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.function.coerce_types(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        check_steps(self.function.name(), &args)?;
        // A constant is one value, for however many rows it stands.
        let rows = if is_constant { 1 } else { args.number_rows };
        self.ledger.check_room(estimate(self.function.name(), &args, rows), is_constant)?;
        let value = self.function.invoke_with_args(args)?;
        match &value {
            ColumnarValue::Scalar(value) => self.ledger.check_room(scalar_size(value), true)?,
            ColumnarValue::Array(values) => self.ledger.hold(values)?,
        }
        Ok(value)
    }
}

/// Refuses to compare texts that are too long for so many rows.
fn check_steps(function: &str, args: &ScalarFunctionArgs) -> Result<()> {
    if !COMPARING.contains(&function) {
        return Ok(());
    }
    let lengths = args.args.iter().map(|arg| longest_text(arg).max(1));
    let steps = lengths.fold(args.number_rows, usize::saturating_mul);
    if steps <= MAX_STEPS {
        return Ok(());
    }
    let reason = format!("{function} would compare {} rows of texts that are too long for it", args.number_rows);
    Err(Refusal::TooLarge { reason, hint: "compare their beginnings, as in left(x, 100)".to_owned() }.into())
}

/// At least what the value will take, from the arguments alone; near the truth where it could be much.
fn estimate(function: &str, args: &ScalarFunctionArgs, rows: usize) -> usize {
    let all: usize = args.args.iter().map(|arg| total_size(arg, rows)).fold(0, usize::saturating_add);
    let first = args.args.first().map_or(0, |arg| total_size(arg, rows));
    let longest = |index: usize| args.args.get(index).map_or(0, longest_text);
    let times = |count: usize, size: usize| all.saturating_add(count.saturating_mul(size));
    match function {
        // At most one replacement for each occurrence, and one more at the end of each text.
        "replace" => times(first / shortest_search(args) + rows, longest(2)),
        "regexp_replace" => times(first + rows, longest(2)),
        // The second argument is a constant (`complexity.rs`), a character has at most four bytes.
        "repeat" => times(count(args), first),
        "lpad" | "rpad" => times(rows.saturating_mul(count(args)), 4),
        // A separator between any two.
        "concat_ws" => times(rows.saturating_mul(args.args.len()), longest(0)),
        "array_to_string" => times(first, longest(1)),
        _ => all,
    }
}

/// Bytes of the text that `replace` looks for, where it is a constant.
fn shortest_search(args: &ScalarFunctionArgs) -> usize {
    match args.args.get(1) {
        Some(ColumnarValue::Scalar(text)) => text.try_as_str().flatten().map_or(1, |text| text.len().max(1)),
        _ => 1,
    }
}

/// The second argument, where it is a constant count.
fn count(args: &ScalarFunctionArgs) -> usize {
    match args.args.get(1) {
        Some(ColumnarValue::Scalar(ScalarValue::Int64(Some(count)))) => usize::try_from(*count).unwrap_or(0),
        _ => 1,
    }
}

fn total_size(arg: &ColumnarValue, rows: usize) -> usize {
    match arg {
        ColumnarValue::Scalar(value) => scalar_size(value).saturating_mul(rows),
        ColumnarValue::Array(values) => size_of(values.as_ref()),
    }
}

fn longest_text(arg: &ColumnarValue) -> usize {
    fn longest<'a>(texts: impl Iterator<Item = Option<&'a str>>) -> usize {
        texts.flatten().map(str::len).max().unwrap_or(0)
    }
    match arg {
        ColumnarValue::Scalar(value) => scalar_size(value),
        ColumnarValue::Array(values) => match values.data_type() {
            DataType::Utf8 => longest(values.as_string::<i32>().iter()),
            DataType::LargeUtf8 => longest(values.as_string::<i64>().iter()),
            DataType::Utf8View => longest(values.as_string_view().iter()),
            _ => size_of(values.as_ref()),
        },
    }
}

/// Bytes of a value, or those of the text alone, without the frame around it.
fn scalar_size(value: &ScalarValue) -> usize {
    match value.try_as_str() {
        Some(text) => text.map_or(0, str::len),
        None => value.size(),
    }
}

/// Bytes that belong to these rows: a slice of a large array counts as what it shows.
fn size_of(values: &dyn Array) -> usize {
    values.to_data().get_slice_memory_size().unwrap_or_else(|_| values.get_buffer_memory_size())
}

/// `||`, as a function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct JoinTexts {
    signature: Signature,
}

impl JoinTexts {
    fn new() -> Self {
        Self { signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for JoinTexts {
    fn name(&self) -> &str {
        "||"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [left, right] if left == right => Ok(left.clone()),
            other => plan_err!("`||` joins two texts, not {other:?}"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_constant { 1 } else { args.number_rows };
        let texts: Vec<ArrayRef> = args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<_>>()?;
        let joined = concat_elements_dyn(texts[0].as_ref(), texts[1].as_ref())?;
        if is_constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&joined, 0)?));
        }
        Ok(ColumnarValue::Array(joined))
    }
}
