//! Arithmetic on whole numbers, intervals and decimals that fails where the outcome does not fit: the engine's own
//! wraps around, and keeps decimals of more digits than there are, whose last digits are cut off where they are shown.
//!
//! In: type-coerced expressions. Out: the same, under the same names, with `+`, `-`, `*` and negation of whole numbers
//! and intervals, and `+`, `-`, `*` and `/` of decimals of all digits, as calls that fail on the row whose outcome is
//! beyond the type.
//! Guarantee: no number is ever answered that the written expression does not have. Vectorised as the engine's own.
//! Not here: what becomes of a failing row: NULL in a view (`fallible.rs`), an error in SQL over views. Floating
//! numbers, which have infinity; times, whose kernels check already, and decimals of fewer digits, whose outcome has
//! room for all of its own; sums, which see many rows.
//! Why so: the engine has such operators (`BinaryExpr::with_fail_on_overflow`), but no setting and no logical plan that
//! asks for them.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Datum};
use arrow::compute::kernels::numeric::{add, div, mul, neg, sub};
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Decimal128Type, Decimal256Type, Field, FieldRef,
};
use arrow::error::ArrowError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue, exec_datafusion_err, internal_err};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_expr_common::datum::apply;

/// Makes whole numbers of a query fail where they would wrap around. It belongs behind the rules that resolve types.
#[derive(Debug)]
pub struct CheckedArithmetic;

impl AnalyzerRule for CheckedArithmetic {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(checked_node)?.data)
    }

    fn name(&self) -> &'static str {
        "checked_arithmetic"
    }
}

fn checked_node(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = merge_schema(&node.inputs());
    // An aggregate is named by its FILTER as that is drawn, which knows the call by its own name alone.
    let names = NamePreserver::new(&node);
    node.map_expressions(|expr| {
        let name = names.save(&expr);
        let checked = expr.transform_up(|part| Ok(checked_operator(part, &schema)))?;
        Ok(checked.update_data(|expr| name.restore(expr)))
    })
}

/// The same for one expression over rows of `schema`.
///
/// # Errors
/// None that the engine is known to have.
pub(crate) fn checked(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    Ok(expr.transform_up(|part| Ok(checked_operator(part, schema)))?.data)
}

fn checked_operator(part: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Some((operation, returns)) = operation_of(&part, schema) else { return Transformed::no(part) };
    let arguments = match part {
        Expr::BinaryExpr(binary) => vec![*binary.left, *binary.right],
        Expr::Negative(value) => vec![*value],
        other => return Transformed::no(other),
    };
    Transformed::yes(function_of(operation, returns).call(arguments))
}

fn function_of(operation: Operation, returns: DataType) -> ScalarUDF {
    ScalarUDF::from(Checked { operation, returns, signature: Signature::user_defined(Volatility::Immutable) })
}

/// The number of the operation of such a function, and the type of its outcome; `None` of any other.
pub(crate) fn parts_of(function: &ScalarUDF) -> Option<(u8, DataType)> {
    let function = function.inner().downcast_ref::<Checked>()?;
    let number = OPERATIONS.iter().position(|operation| *operation == function.operation)?;
    Some((u8::try_from(number).ok()?, function.returns.clone()))
}

/// The function of these parts; `None` where there is no operation of this number.
pub(crate) fn of_parts(number: u8, returns: DataType) -> Option<ScalarUDF> {
    OPERATIONS.get(usize::from(number)).map(|operation| function_of(*operation, returns))
}

/// What an operator does and the type of its outcome, where it can overflow without a word.
fn operation_of(part: &Expr, schema: &DFSchema) -> Option<(Operation, DataType)> {
    match part {
        Expr::BinaryExpr(binary) => {
            let operation = match binary.op {
                Operator::Plus => Operation::Add,
                Operator::Minus => Operation::Subtract,
                Operator::Multiply => Operation::Multiply,
                Operator::Divide => Operation::Divide,
                _ => return None,
            };
            let left = binary.left.get_type(schema).ok()?;
            if left.is_decimal() {
                let returns = part.get_type(schema).ok()?;
                return has_all_digits(&returns).then_some((operation, returns));
            }
            // Unequal types are those of time and interval, which no kernel wraps; division checks already.
            let is_same = binary.right.get_type(schema).ok()? == left;
            (is_same && operation != Operation::Divide && can_wrap(&left)).then_some((operation, left))
        }
        Expr::Negative(value) => {
            let data_type = value.get_type(schema).ok()?;
            (can_wrap(&data_type) && !data_type.is_unsigned_integer()).then_some((Operation::Negate, data_type))
        }
        _ => None,
    }
}

fn can_wrap(data_type: &DataType) -> bool {
    data_type.is_integer() || matches!(data_type, DataType::Interval(_) | DataType::Duration(_))
}

/// Whether a decimal has the most digits that there are: an outcome of more digits has no room in it.
fn has_all_digits(data_type: &DataType) -> bool {
    match data_type {
        DataType::Decimal128(digits, _) => *digits == DECIMAL128_MAX_PRECISION,
        DataType::Decimal256(digits, _) => *digits == DECIMAL256_MAX_PRECISION,
        _ => false,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Negate,
}

/// All of them; other processes know them by their places here.
const OPERATIONS: [Operation; 5] =
    [Operation::Add, Operation::Subtract, Operation::Multiply, Operation::Divide, Operation::Negate];

/// One checked operator.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    operation: Operation,
    returns: DataType,
    signature: Signature,
}

impl Checked {
    /// As the operator that it stands for is written.
    fn written(&self, arguments: &[String]) -> String {
        let sign = match self.operation {
            Operation::Add => "+",
            Operation::Subtract => "-",
            Operation::Multiply => "*",
            Operation::Divide => "/",
            Operation::Negate => return format!("(- {})", arguments.concat()),
        };
        arguments.join(&format!(" {sign} "))
    }

    /// An overflow with the way out.
    fn told(&self, error: DataFusionError) -> DataFusionError {
        let way_out =
            if self.returns.is_decimal() { "to DOUBLE, or to fewer digits" } else { "to DECIMAL(38, 0), or to DOUBLE" };
        match error.find_root() {
            DataFusionError::ArrowError(cause, _) if matches!(cause.as_ref(), ArrowError::ArithmeticOverflow(_)) => {
                exec_datafusion_err!("{cause}; cast an operand {way_out}")
            }
            _ => error,
        }
    }

    fn evaluate(&self, arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
        match (self.operation, arguments) {
            (Operation::Add, [left, right]) => applied(left, right, add),
            (Operation::Subtract, [left, right]) => applied(left, right, sub),
            (Operation::Multiply, [left, right]) => applied(left, right, mul),
            (Operation::Divide, [left, right]) => applied(left, right, div),
            (Operation::Negate, [ColumnarValue::Array(values)]) => Ok(ColumnarValue::Array(neg(values.as_ref())?)),
            (Operation::Negate, [ColumnarValue::Scalar(value)]) => {
                let negated = neg(value.to_array()?.as_ref())?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&negated, 0)?))
            }
            _ => internal_err!("{} got {} arguments", self.name(), arguments.len()),
        }
    }
}

type Kernel = fn(&dyn Datum, &dyn Datum) -> Result<ArrayRef, ArrowError>;

fn applied(left: &ColumnarValue, right: &ColumnarValue, kernel: Kernel) -> Result<ColumnarValue> {
    apply(left, right, |left, right| within_digits(kernel(left, right)?))
}

/// The values, unless there is a decimal of more digits than its type has among them.
fn within_digits(values: ArrayRef) -> Result<ArrayRef, ArrowError> {
    let (digits, valid) = match values.data_type() {
        DataType::Decimal128(digits, _) => {
            (*digits, values.as_primitive::<Decimal128Type>().validate_decimal_precision(*digits))
        }
        DataType::Decimal256(digits, _) => {
            (*digits, values.as_primitive::<Decimal256Type>().validate_decimal_precision(*digits))
        }
        _ => return Ok(values),
    };
    match valid {
        Ok(()) => Ok(values),
        Err(_) => Err(ArrowError::ArithmeticOverflow(format!("a number has more than {digits} digits"))),
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &'static str {
        match self.operation {
            Operation::Add => "checked_add",
            Operation::Subtract => "checked_subtract",
            Operation::Multiply => "checked_multiply",
            Operation::Divide => "checked_divide",
            Operation::Negate => "checked_negate",
        }
    }

    /// That of the operator: what stands above names columns by it.
    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        let names: Vec<String> = arguments.iter().map(|argument| argument.schema_name().to_string()).collect();
        Ok(self.written(&names))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arguments.to_vec())
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let is_nullable = arguments.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), self.returns.clone(), is_nullable)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.evaluate(&arguments.args).map_err(|error| self.told(error))
    }
}
