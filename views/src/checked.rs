//! Arithmetic on whole numbers and intervals that fails where the outcome does not fit: the engine's own wraps around.
//!
//! In: type-coerced expressions. Out: the same, under the same names, with `+`, `-`, `*` and negation of whole numbers
//! and intervals as calls that fail on the row whose outcome is beyond the type.
//! Guarantee: no number is ever answered that the written expression does not have. Vectorised as the engine's own.
//! Not here: what becomes of a failing row: NULL in a view (`fallible.rs`), an error in SQL over views. Floating
//! numbers, which have infinity; decimals and times, whose kernels check already; sums, which see many rows.
//! Why so: the engine has such operators (`BinaryExpr::with_fail_on_overflow`), but no setting and no logical plan that
//! asks for them.

use std::sync::Arc;

use arrow::compute::kernels::numeric::{add, mul, neg, sub};
use arrow::datatypes::{DataType, Field, FieldRef};
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
    let Some(operation) = operation_of(&part, schema) else { return Transformed::no(part) };
    let arguments = match part {
        Expr::BinaryExpr(binary) => vec![*binary.left, *binary.right],
        Expr::Negative(value) => vec![*value],
        other => return Transformed::no(other),
    };
    let function = Checked { operation, signature: Signature::user_defined(Volatility::Immutable) };
    Transformed::yes(ScalarUDF::from(function).call(arguments))
}

/// What an operator does, where it can overflow without a word.
fn operation_of(part: &Expr, schema: &DFSchema) -> Option<Operation> {
    let (operation, data_type) = match part {
        Expr::BinaryExpr(binary) => {
            let operation = match binary.op {
                Operator::Plus => Operation::Add,
                Operator::Minus => Operation::Subtract,
                Operator::Multiply => Operation::Multiply,
                _ => return None,
            };
            let left = binary.left.get_type(schema).ok()?;
            // Unequal types are those of time and interval, which no kernel wraps.
            let is_same = binary.right.get_type(schema).ok()? == left;
            (operation, is_same.then_some(left)?)
        }
        Expr::Negative(value) => (Operation::Negate, value.get_type(schema).ok()?),
        _ => return None,
    };
    let is_negatable = operation != Operation::Negate || !data_type.is_unsigned_integer();
    let can_wrap = data_type.is_integer() || matches!(data_type, DataType::Interval(_) | DataType::Duration(_));
    (can_wrap && is_negatable).then_some(operation)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Operation {
    Add,
    Subtract,
    Multiply,
    Negate,
}

/// One checked operator, on arguments of one type, which is also that of its outcome.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    operation: Operation,
    signature: Signature,
}

impl Checked {
    /// As the operator that it stands for is written.
    fn written(&self, arguments: &[String]) -> String {
        let sign = match self.operation {
            Operation::Add => "+",
            Operation::Subtract => "-",
            Operation::Multiply => "*",
            Operation::Negate => return format!("(- {})", arguments.concat()),
        };
        arguments.join(&format!(" {sign} "))
    }

    fn evaluate(&self, arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
        match (self.operation, arguments) {
            (Operation::Add, [left, right]) => apply(left, right, add),
            (Operation::Subtract, [left, right]) => apply(left, right, sub),
            (Operation::Multiply, [left, right]) => apply(left, right, mul),
            (Operation::Negate, [ColumnarValue::Array(values)]) => Ok(ColumnarValue::Array(neg(values.as_ref())?)),
            (Operation::Negate, [ColumnarValue::Scalar(value)]) => {
                let negated = neg(value.to_array()?.as_ref())?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&negated, 0)?))
            }
            _ => internal_err!("{} got {} arguments", self.name(), arguments.len()),
        }
    }
}

/// An overflow with the way out.
fn told(error: DataFusionError) -> DataFusionError {
    match error.find_root() {
        DataFusionError::ArrowError(cause, _) if matches!(cause.as_ref(), ArrowError::ArithmeticOverflow(_)) => {
            exec_datafusion_err!("{cause}; cast an operand to DECIMAL(38, 0), or to DOUBLE")
        }
        _ => error,
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &'static str {
        match self.operation {
            Operation::Add => "checked_add",
            Operation::Subtract => "checked_subtract",
            Operation::Multiply => "checked_multiply",
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

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [first, ..] => Ok(first.clone()),
            [] => internal_err!("{} got no arguments", self.name()),
        }
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = arguments.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let is_nullable = arguments.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, is_nullable)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.evaluate(&arguments.args).map_err(told)
    }
}
