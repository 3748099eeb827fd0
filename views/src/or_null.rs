//! An operator that answers NULL for the rows it fails on, as an ordinary scalar function.
//!
//! In: an operator over its arguments, constants among them. Out: a call that any engine plans like other functions.
//! Guarantee: a row is NULL exactly if the operator fails on this row alone, so batches do not matter; every other row
//! has the operator's own value. Nullable, and never an error of its own: only want of memory or disk goes through.
//! Cost: one more call per batch where no row fails; k failing rows of n cost some 2 k log(n / k) evaluations more.
//! Failing rows may be counted, at no cost to the others.
//! Not here: which operators can fail (`fallible.rs`).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{
    Column, DFSchema, Result, ScalarValue, exec_datafusion_err, internal_err, plan_datafusion_err,
};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::expr::{Cast, ScalarFunction, TryCast};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, ident,
};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::unparser::Unparser;

use crate::checked::checked;
use crate::failed_rows::{FailedRows, FailureCounter};
use crate::float_key::without_float_key;
use crate::row_errors::{is_of_rows, reason_of};
use crate::unnest::as_written;

/// `expr` with its topmost operator made NULL where it fails; its value where all arguments are constants. `is_lenient`
/// says that it stands for one that fails where this one makes NULL of a value.
///
/// # Errors
/// If the operator cannot be planned, or its constants make it fail on every row.
pub(crate) fn or_null(expr: Expr, schema: &DFSchema, is_lenient: bool) -> Result<Expr> {
    let written = expr.clone();
    let (operator, arguments) = take_arguments(expr)?;
    let fields = arguments.iter().enumerate().map(|(place, argument)| {
        let data_type = argument.get_type(schema)?;
        Ok(Field::new(argument_name(place), data_type, true))
    });
    let function = OrNull::new(operator, Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?)), is_lenient)?;
    let constant = function.constant();
    let failed = |error| match written_as_sql(&written) {
        Ok(sql) => plan_datafusion_err!("`{sql}` fails on every row: {}", reason_of(&error)),
        Err(error) => error,
    };
    match constant.map_err(failed)? {
        Some(value) => Ok(Expr::Literal(value, None)),
        None => Ok(ScalarUDF::from(function).call(arguments)),
    }
}

/// Whether an expression is such a call.
pub(crate) fn is_or_null(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.inner().is::<OrNull>())
}

/// What such a function is made of: the operator, its arguments, and whether it is lenient; `None` of any other.
pub(crate) fn parts_of(function: &ScalarUDF) -> Option<(&Expr, &SchemaRef, bool)> {
    let function = function.inner().downcast_ref::<OrNull>()?;
    Some((&function.operator, &function.arguments, function.is_lenient))
}

/// The function of these parts.
///
/// # Errors
/// If the operator cannot be planned.
pub(crate) fn of_parts(operator: Expr, arguments: SchemaRef, is_lenient: bool) -> Result<ScalarUDF> {
    OrNull::new(operator, arguments, is_lenient).map(ScalarUDF::from)
}

/// Such a call, counting the rows that it fails on; any other expression as it is.
///
/// # Errors
/// None that the engine is known to have.
pub(crate) fn counting(part: Expr, failed: &Arc<FailedRows>) -> Result<Transformed<Expr>> {
    let counting = match &part {
        Expr::ScalarFunction(call) => match call.func.inner().downcast_ref::<OrNull>() {
            Some(function) => {
                let counter = Some(FailureCounter::new(failed, written_as_sql(&part)?));
                let func = Arc::new(ScalarUDF::from(OrNull { counter, ..function.clone() }));
                Some(Expr::ScalarFunction(ScalarFunction { func, args: call.args.clone() }))
            }
            None => None,
        },
        _ => None,
    };
    Ok(counting.map_or_else(|| Transformed::no(part), Transformed::yes))
}

/// The operator within such a call, over its arguments' names; any other expression itself.
pub(crate) fn operator_of(expr: &Expr) -> &Expr {
    let Expr::ScalarFunction(call) = expr else { return expr };
    call.func.inner().downcast_ref::<OrNull>().map_or(expr, |function| &function.operator)
}

/// An expression as its author wrote it, without such calls.
pub(crate) fn written_as_sql(expr: &Expr) -> Result<String> {
    let written = expr.clone().transform_down(unwrapped)?;
    let text = match Unparser::default().with_pretty(true).expr_to_sql(&written.data) {
        Ok(ast::Expr::Nested(inner)) => inner.to_string(),
        Ok(sql) => sql.to_string(),
        // Some functions of the engine have no SQL of their own.
        Err(_) => written.data.to_string(),
    };
    Ok(as_written(&text))
}

fn unwrapped(part: Expr) -> Result<Transformed<Expr>> {
    if let Some(value) = without_float_key(&part) {
        return Ok(Transformed::yes(unwrapped(value.clone())?.data));
    }
    let Expr::ScalarFunction(call) = &part else { return Ok(Transformed::no(part)) };
    match call.func.inner().downcast_ref::<OrNull>() {
        Some(function) => Ok(Transformed::yes(function.over(&call.args)?)),
        None => Ok(Transformed::no(part)),
    }
}

/// Takes the children of an operator out, but for constants: functions look for those while planning.
fn take_arguments(expr: Expr) -> Result<(Expr, Vec<Expr>)> {
    let mut arguments = Vec::new();
    let operator = expr.map_children(|child| {
        if is_constant(&child) {
            return fold(child).map(Transformed::yes);
        }
        arguments.push(child);
        Ok(Transformed::yes(ident(argument_name(arguments.len() - 1))))
    })?;
    Ok((operator.data, arguments))
}

fn argument_name(place: usize) -> String {
    format!("${}", place + 1)
}

/// Whether nothing in an expression depends on the row.
pub(crate) fn is_constant(expr: &Expr) -> bool {
    let depends = expr.exists(|part| {
        let is_plain = matches!(
            part,
            Expr::Literal(..)
                | Expr::BinaryExpr(_)
                | Expr::Cast(_)
                | Expr::TryCast(_)
                | Expr::Negative(_)
                | Expr::Not(_)
                | Expr::ScalarFunction(_)
        );
        Ok(!is_plain)
    });
    matches!(depends, Ok(false))
}

/// The value of a constant, as a literal.
fn fold(constant: Expr) -> Result<Expr> {
    if matches!(constant, Expr::Literal(..)) {
        return Ok(constant);
    }
    let none = Arc::new(Schema::empty());
    let value = plan(&constant, &none)?.evaluate(&single_row(&none)?)?.into_array(1)?;
    Ok(Expr::Literal(ScalarValue::try_from_array(&value, 0)?, None))
}

fn plan(expr: &Expr, schema: &SchemaRef) -> Result<Arc<dyn PhysicalExpr>> {
    let schema = DFSchema::try_from(Arc::clone(schema))?;
    let expr = checked(expr.clone(), &schema)?;
    create_physical_expr(&expr, &schema, &ExecutionProps::new(), &PhysicalPlanningContext::default())
}

/// One row of NULLs.
fn single_row(schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = schema.fields().iter().map(|field| new_null_array(field.data_type(), 1)).collect();
    rows_of(schema, columns, 1)
}

fn rows_of(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

#[derive(Clone, Debug)]
struct OrNull {
    /// Tells apart calls in plans, which know expressions by their text.
    name: String,
    /// Over columns named by [`argument_name`].
    operator: Expr,
    arguments: SchemaRef,
    planned: Arc<dyn PhysicalExpr>,
    returns: DataType,
    signature: Signature,
    /// Whether it makes NULL of a value without failing.
    is_lenient: bool,
    /// Of failing rows; no part of what it computes.
    counter: Option<FailureCounter>,
}

impl PartialEq for OrNull {
    fn eq(&self, other: &Self) -> bool {
        self.operator == other.operator && self.arguments == other.arguments
    }
}

impl Eq for OrNull {}

impl std::hash::Hash for OrNull {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.operator.hash(state);
        self.arguments.hash(state);
    }
}

impl OrNull {
    fn new(operator: Expr, arguments: SchemaRef, is_lenient: bool) -> Result<Self> {
        let planned = plan(&operator, &arguments)?;
        let returns = planned.data_type(&arguments)?;
        let signature = Signature::user_defined(Volatility::Immutable);
        let name = format!("or_null[{operator}]");
        Ok(Self { name, operator, arguments, planned, returns, signature, is_lenient, counter: None })
    }

    /// The value where no argument is needed for it.
    ///
    /// # Errors
    /// Why it fails whatever the arguments: over no rows and over a row of NULLs.
    fn constant(&self) -> Result<Option<ScalarValue>> {
        let row = single_row(&self.arguments)?;
        if !self.arguments.fields().is_empty() {
            return self.attempt(&row.slice(0, 0)).or_else(|_| self.attempt(&row)).map(|_| None);
        }
        let value = self.attempt(&row)?.into_array(1)?;
        ScalarValue::try_from_array(&value, 0).map(Some)
    }

    /// The operator on all rows at once. A panic of a kernel is a failure like others.
    fn attempt(&self, rows: &RecordBatch) -> Result<ColumnarValue> {
        // Nothing that the closure holds can be left half changed: plans and batches are immutable.
        catch_unwind(AssertUnwindSafe(|| self.planned.evaluate(rows)))
            .unwrap_or_else(|_| Err(exec_datafusion_err!("{} panicked", self.operator)))
    }

    fn evaluate(&self, rows: &RecordBatch) -> Result<ColumnarValue> {
        match self.attempt(rows) {
            Err(error) if is_of_rows(&error) => self.evaluate_by_halves(rows).map(ColumnarValue::Array),
            Err(error) => Err(error),
            Ok(values) => {
                if self.is_lenient {
                    let given = rows.columns().first().map_or(0, |values| values.null_count());
                    self.count(null_count(&values).saturating_sub(given));
                }
                Ok(values)
            }
        }
    }

    fn count(&self, failed: usize) {
        if let Some(counter) = &self.counter {
            counter.add(failed);
        }
    }

    /// Narrows failures down to single rows.
    fn evaluate_by_halves(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        let null = new_null_array(&self.returns, 1);
        let mut pieces = vec![null.slice(0, 0)];
        let mut open = vec![rows.clone()];
        let mut failed = 0;
        while let Some(part) = open.pop() {
            let count = part.num_rows();
            match self.attempt(&part) {
                Ok(values) => pieces.push(values.into_array(count)?),
                Err(error) if !is_of_rows(&error) => return Err(error),
                Err(_) if count <= 1 => {
                    failed += count;
                    pieces.push(null.slice(0, count));
                }
                Err(_) => {
                    let middle = count / 2;
                    open.push(part.slice(middle, count - middle));
                    open.push(part.slice(0, middle));
                }
            }
        }
        self.count(failed);
        let pieces: Vec<_> = pieces.iter().map(AsRef::as_ref).collect();
        Ok(concat(&pieces)?)
    }

    /// The operator over `arguments`, for reading.
    fn over(&self, arguments: &[Expr]) -> Result<Expr> {
        let operator = match self.operator.clone() {
            Expr::TryCast(TryCast { expr, field }) => Expr::Cast(Cast { expr, field }),
            other => other,
        };
        let replaced = operator.transform_up(|part| {
            let place = match &part {
                Expr::Column(column) => self.arguments.index_of(&column.name).ok(),
                _ => None,
            };
            Ok(match place.and_then(|place| arguments.get(place)) {
                Some(argument) => Transformed::yes(argument.clone()),
                None => Transformed::no(part),
            })
        })?;
        Ok(replaced.data)
    }
}

/// The expression with every alias by its name alone: what is behind it an optimizer exchanges for an equal one, and by
/// the name the columns above find the outcome.
fn with_names_alone(expr: Expr) -> Result<Expr> {
    let named = expr.transform_down(|part| {
        Ok(match part {
            Expr::Alias(alias) => {
                let name = Expr::Column(Column::new_unqualified(format!("AS {}", alias.name)));
                Transformed::new(name, true, TreeNodeRecursion::Jump)
            }
            other => Transformed::no(other),
        })
    })?;
    Ok(named.data)
}

fn null_count(values: &ColumnarValue) -> usize {
    match values {
        ColumnarValue::Array(values) => values.null_count(),
        ColumnarValue::Scalar(value) => value.is_null().into(),
    }
}

impl ScalarUDFImpl for OrNull {
    fn name(&self) -> &str {
        &self.name
    }

    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        // The usual name leaves casts out, and would be taken: so types are part of it.
        let types = self.arguments.fields().iter().map(|field| field.data_type());
        let named = arguments
            .iter()
            .zip(types)
            .map(|(argument, data_type)| Ok(format!("{}: {data_type}", with_names_alone(argument.clone())?)));
        Ok(format!("{}({})", self.name, named.collect::<Result<Vec<_>>>()?.join(", ")))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, _arguments: &[DataType]) -> Result<Vec<DataType>> {
        Ok(self.arguments.fields().iter().map(|field| field.data_type().clone()).collect())
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn return_field_from_args(&self, _arguments: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(self.name(), self.returns.clone(), true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if arguments.args.len() != self.arguments.fields().len() {
            return internal_err!("{} got {} arguments", self.operator, arguments.args.len());
        }
        let is_single = arguments.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let count = if is_single { 1 } else { arguments.number_rows };
        let columns = arguments.args.into_iter().map(|argument| argument.into_array(count));
        let rows = rows_of(&self.arguments, columns.collect::<Result<_>>()?, count)?;
        let values = self.evaluate(&rows)?;
        if !is_single {
            return Ok(values);
        }
        ScalarValue::try_from_array(&values.into_array(1)?, 0).map(ColumnarValue::Scalar)
    }
}
