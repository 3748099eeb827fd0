//! Values that SQL expressions make: their memory is limited like that of the operators.
//!
//! In: a plan with its types resolved. Out: the same plan, in which each function that makes texts or lists, and `||`,
//! is wrapped: it asks for memory before it makes a value and hands it back when nobody holds the value any more.
//! Functions that go over a text or a list more than once are wrapped, too, `~` and LIKE among them: they get their
//! rows a few at a time, and end between them where nobody waits any more; what takes too long for that is refused.
//! Guarantee: constants stay below the longest SQL text however they are put together, and all other values that exist
//! at one time take their share of the memory of all SQL queries; beyond it the query is refused.
//! Not here: functions that are refused altogether (`sql.rs`), operators that keep what they read (`buffered.rs`), what
//! a function takes (`expression_cost.rs`).
//! Why so: the engine counts what operators keep, but not what an expression makes of a batch; a few nested `replace`
//! make gigabytes out of a kilobyte.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arrow::array::{Array, ArrayRef};
use arrow::compute::concat;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, config::ConfigOptions};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::functions::regex::regexp_like;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, lit,
};
use datafusion::optimizer::AnalyzerRule;

use crate::expression_cost::{estimate, is_slow, rows_at_once, scalar_size, size_of};
use crate::operators::{is_slow_like, join_texts, match_like};
use crate::running;
use crate::watched::watch;

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

/// Values to look through before the first sweep.
const FIRST_SWEEP: usize = 64;

/// The memory of the values that exist now.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// The longest constant, in bytes.
    constant_bytes: usize,
    pool: Arc<dyn MemoryPool>,
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
        Arc::new(Self { constant_bytes, pool: pool.clone(), held })
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
            let wrapped = expr.transform_up(|part| self.wrap(part, &schema))?;
            Ok(wrapped.update_data(|expr| name.restore(expr)))
        })?;
        wrapped.map_data(LogicalPlan::recompute_schema)
    }

    fn wrap(&self, part: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
        let (function, args) = match part {
            Expr::WindowFunction(ref call) => {
                let is_large = part.get_type(schema).map_or(true, |data_type| !data_type.is_primitive());
                let watched = watch(call, is_large, &self.0.pool)?;
                let watched = watched.map(|call| Transformed::yes(Expr::from(call)));
                return Ok(watched.unwrap_or_else(|| Transformed::no(part)));
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::StringConcat, right }) => {
                (join_texts(), vec![*left, *right])
            }
            Expr::Like(like) if is_slow_like(&like) => {
                let matched = self.counted(match_like(like.case_insensitive), vec![*like.expr, *like.pattern]);
                return Ok(Transformed::yes(negated_if(like.negated, matched)));
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if matching(op).is_some() => {
                let (is_negated, flags) = matching(op).unwrap_or_default();
                let args = [*left, *right].into_iter().chain(flags.map(lit)).collect();
                let matched = self.counted(regexp_like(), args);
                return Ok(Transformed::yes(negated_if(is_negated, matched)));
            }
            Expr::ScalarFunction(ScalarFunction { ref func, ref args }) if makes_values(func, &part, schema) => {
                (func.clone(), args.clone())
            }
            part => return Ok(Transformed::no(part)),
        };
        Ok(Transformed::yes(self.counted(function, args)))
    }

    fn counted(&self, function: Arc<ScalarUDF>, args: Vec<Expr>) -> Expr {
        let counted = ScalarUDF::new_from_impl(Counted { function, ledger: self.0.clone() });
        Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(counted), args))
    }
}

fn negated_if(is_negated: bool, matched: Expr) -> Expr {
    if is_negated { Expr::Not(Box::new(matched)) } else { matched }
}

/// Whether an operator matches a pattern: whether it asks that none matches, and with which flags.
fn matching(op: Operator) -> Option<(bool, Option<&'static str>)> {
    match op {
        Operator::RegexMatch => Some((false, None)),
        Operator::RegexIMatch => Some((false, Some("i"))),
        Operator::RegexNotMatch => Some((true, None)),
        Operator::RegexNotIMatch => Some((true, Some("i"))),
        _ => None,
    }
}

fn makes_values(function: &ScalarUDF, call: &Expr, schema: &DFSchema) -> bool {
    // A filter that goes down to a view is looked at a second time, with the plan of the view.
    if function.inner().is::<Counted>() {
        return false;
    }
    if is_slow(function.name()) {
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
        let at_once = rows_at_once(self.function.name(), &args)?;
        // A constant is one value, for however many rows it stands.
        let rows = if is_constant { 1 } else { args.number_rows };
        self.ledger.check_room(estimate(self.function.name(), &args, rows), is_constant)?;
        let value = if is_constant || at_once >= args.number_rows {
            running::check()?;
            self.function.invoke_with_args(args)?
        } else {
            ColumnarValue::Array(self.invoke_in_parts(&args, at_once)?)
        };
        match &value {
            ColumnarValue::Scalar(value) => self.ledger.check_room(scalar_size(value), true)?,
            ColumnarValue::Array(values) => self.ledger.hold(values)?,
        }
        Ok(value)
    }
}

impl Counted {
    /// The values of so many rows at a time, as long as anybody waits for them.
    fn invoke_in_parts(&self, args: &ScalarFunctionArgs, at_once: usize) -> Result<ArrayRef> {
        let mut parts: Vec<ArrayRef> = Vec::new();
        for start in (0..args.number_rows).step_by(at_once) {
            running::check()?;
            let rows = at_once.min(args.number_rows - start);
            let part_of = |arg: &ColumnarValue| match arg {
                ColumnarValue::Array(values) => ColumnarValue::Array(values.slice(start, rows)),
                ColumnarValue::Scalar(value) => ColumnarValue::Scalar(value.clone()),
            };
            let part = ScalarFunctionArgs {
                args: args.args.iter().map(part_of).collect(),
                arg_fields: args.arg_fields.clone(),
                number_rows: rows,
                return_field: args.return_field.clone(),
                config_options: args.config_options.clone(),
            };
            parts.push(self.function.invoke_with_args(part)?.into_array(rows)?);
        }
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        Ok(concat(&parts)?)
    }
}
