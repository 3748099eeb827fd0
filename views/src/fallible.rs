//! Which operators can fail on a row, and the plans of a view with each of them made NULL there.
//!
//! In: a type-coerced plan or expression. Out: the same, with [`or_null`] around every operator that can fail.
//! Guarantee: whether and where a row turns NULL depends on this row alone: the innermost operator that fails on it
//! does. So no event stops a view, and both layers read it the same way however they cut the log into batches.
//! Not here: failing and trying again (`or_null.rs`); aggregates, which see many rows.
//! Why so: by name and type only what is known not to fail is left as it is; the rest costs one call per batch.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{BinaryExpr, Cast, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator, TryCast};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;

use crate::failed_rows::FailedRows;
use crate::json::is_json_function;
use crate::or_null::{counting, is_constant, is_or_null, or_null, written_as_sql};

/// Functions without a value they fail on, and those that the engine turns into CASE.
const TOTAL_FUNCTIONS: [&str; 29] = [
    "ascii",
    "bit_length",
    "btrim",
    "character_length",
    "coalesce",
    "concat",
    "concat_ws",
    "contains",
    "date_bin",
    "distinct_row",
    "ends_with",
    "float_key",
    "get_field",
    "greatest",
    "initcap",
    "items_within_bounds",
    "least",
    "lower",
    "ltrim",
    "named_struct",
    "nullif",
    "nvl",
    "nvl2",
    "octet_length",
    "reverse",
    "rtrim",
    "starts_with",
    "strpos",
    "upper",
];

/// Functions that are casts under another name: the engine never calls them.
const CAST_FUNCTIONS: [&str; 4] = ["arrow_cast", "arrow_try_cast", "cast_to_type", "try_cast_to_type"];

/// Makes every operator of a plan NULL on the rows it fails on.
///
/// # Errors
/// If a constant part of the plan fails whatever the row: a defect of the definition.
pub(crate) fn guard_plan(plan: LogicalPlan) -> Result<LogicalPlan> {
    let guarded = plan.transform_up(|node| {
        let schema = merge_schema(&node.inputs());
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(Transformed::yes(name.restore(guard(expr, &schema)?)))
        })?
        // A column that can turn NULL must say so to what stands above.
        .map_data(LogicalPlan::recompute_schema)
    })?;
    Ok(guarded.data)
}

/// The same for one expression over rows of `schema`.
///
/// # Errors
/// As [`guard_plan`].
pub(crate) fn guard(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let plain = expr.transform_up(|part| plain_cast(part, schema).map(Transformed::yes))?.data;
    let guarded = plain.transform_down_up(|part| unwrap_instants(part, schema), |part| guard_operator(part, schema))?;
    Ok(guarded.data)
}

/// A guarded plan that also counts the rows that its operators fail on, each by how it is written. Columns, names and
/// values stay.
///
/// # Errors
/// None that the engine is known to have.
pub fn count_failures(plan: LogicalPlan, failed: &Arc<FailedRows>) -> Result<LogicalPlan> {
    let counted =
        plan.transform_up(|node| node.map_expressions(|expr| expr.transform_up(|part| counting(part, failed))))?;
    Ok(counted.data)
}

/// The guarded operators of an expression, as SQL, the outer before the inner ones.
///
/// # Errors
/// None that the engine is known to have.
pub(crate) fn guarded_parts(expr: &Expr) -> Result<Vec<String>> {
    let mut parts = Vec::new();
    expr.apply(|part| {
        if is_or_null(part) {
            parts.push(written_as_sql(part)?);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(parts)
}

fn guard_operator(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    if !can_fail(&expr, schema)? {
        return Ok(Transformed::yes(expr));
    }
    // A constant that fails is a mistake in the definition, and shall be told.
    let is_cast = matches!(expr, Expr::Cast(_));
    let expr = if is_constant(&expr) { expr } else { lenient_cast(expr, schema)? };
    let is_lenient = is_cast && matches!(expr, Expr::TryCast(_));
    Ok(Transformed::yes(or_null(expr, schema, is_lenient)?))
}

/// Compares instants in the precision of the column.
///
/// The engine compares a time with a DATE in nanoseconds, which end in the year 2262; a comparison fails for no time.
fn unwrap_instants(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let is_comparison = match &expr {
        Expr::BinaryExpr(binary) => {
            matches!(binary.op, Operator::Eq | Operator::NotEq)
                || matches!(binary.op, Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq)
        }
        Expr::Between(_) => true,
        _ => false,
    };
    let mut has_cast = false;
    if is_comparison {
        expr.apply_children(|child| {
            if let Expr::Cast(cast) = child {
                has_cast |= matches!(cast.expr.get_type(schema)?, DataType::Timestamp(..));
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    if !has_cast {
        return Ok(Transformed::no(expr));
    }
    let context = SimplifyContext::builder().with_schema(schema.clone().into()).build();
    Ok(Transformed::yes(ExprSimplifier::new(context).simplify(expr)?))
}

/// Casts that are written as functions, as casts.
fn plain_cast(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    match expr {
        Expr::ScalarFunction(call) if CAST_FUNCTIONS.contains(&call.func.name()) => {
            let ScalarFunction { func, args } = call;
            let context = SimplifyContext::builder().with_schema(schema.clone().into()).build();
            Ok(match func.simplify(args, &context)? {
                ExprSimplifyResult::Simplified(cast) => cast,
                ExprSimplifyResult::Original(args) => Expr::ScalarFunction(ScalarFunction { func, args }),
            })
        }
        other => Ok(other),
    }
}

fn can_fail(expr: &Expr, schema: &DFSchema) -> Result<bool> {
    Ok(match expr {
        Expr::BinaryExpr(binary) => can_binary_fail(binary, schema)?,
        // A pattern becomes a regular expression, which can be too large.
        Expr::Like(like) => !matches!(like.pattern.as_ref(), Expr::Literal(..)),
        Expr::SimilarTo(_) => true,
        Expr::Negative(negated) => !negated.get_type(schema)?.is_floating(),
        Expr::Cast(cast) => !is_total_cast(&cast.expr.get_type(schema)?, cast.field.data_type()),
        Expr::TryCast(cast) => {
            let (from, to) = (cast.expr.get_type(schema)?, cast.field.data_type());
            !is_total_cast(&from, to) && !is_parsing_cast(&from, to)
        }
        Expr::ScalarFunction(call) => !is_or_null(expr) && can_call_fail(call, schema)?,
        _ => false,
    })
}

fn can_binary_fail(binary: &BinaryExpr, schema: &DFSchema) -> Result<bool> {
    use Operator::*;
    let both = |is: fn(&DataType) -> bool| -> Result<bool> {
        Ok(is(&binary.left.get_type(schema)?) && is(&binary.right.get_type(schema)?))
    };
    Ok(match binary.op {
        // Whole numbers overflow (`checked.rs`); floating ones have infinity.
        Plus | Minus | Multiply | Divide | Modulo => !both(DataType::is_floating)?,
        Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom | And | Or | StringConcat => false,
        BitwiseAnd | BitwiseOr | BitwiseXor | BitwiseShiftLeft | BitwiseShiftRight => false,
        _ => true,
    })
}

fn can_call_fail(call: &ScalarFunction, schema: &DFSchema) -> Result<bool> {
    // Bytes that are not text fail where text is wanted.
    let types = call.args.iter().map(|argument| argument.get_type(schema));
    let has_bytes = types.collect::<Result<Vec<_>>>()?.iter().any(DataType::is_binary);
    let name = call.func.name();
    Ok(has_bytes || !(TOTAL_FUNCTIONS.contains(&name) || is_json_function(name)))
}

fn is_plain_number(data_type: &DataType) -> bool {
    data_type.is_integer() || data_type.is_floating()
}

/// Whether every value of `from` has one in `to`.
fn is_total_cast(from: &DataType, to: &DataType) -> bool {
    use DataType::*;
    let bits = |number: &DataType| number.primitive_width().unwrap_or(0) * 8;
    match (from, to) {
        (from, to) if from == to => true,
        (Null, _) => true,
        (Boolean, to) => is_plain_number(to) || to.is_string(),
        (from, to) if is_plain_number(from) && (to.is_floating() || to.is_string()) => true,
        (from, Boolean) => from.is_integer(),
        (from, to) if from.is_signed_integer() && to.is_signed_integer() => bits(from) <= bits(to),
        (from, to) if from.is_unsigned_integer() && to.is_unsigned_integer() => bits(from) <= bits(to),
        (from, to) if from.is_unsigned_integer() && to.is_signed_integer() => bits(from) < bits(to),
        (from, Decimal128(precision, scale)) if from.is_integer() => {
            // 64 bits have 19 digits with a sign and 20 without.
            let digits = [3, 5, 10, 20][(bits(from) / 8).ilog2() as usize];
            i32::from(*precision) - i32::from(*scale) >= digits && *scale >= 0
        }
        (Decimal128(precision, scale), Decimal128(wider, finer)) => {
            finer >= scale && i32::from(*wider) - i32::from(*finer) >= i32::from(*precision) - i32::from(*scale)
        }
        (Decimal128(..), to) => to.is_floating() || to.is_string(),
        (from, to) => from.is_string() && to.is_string(),
    }
}

/// Casts that TRY_CAST is known to do alike but for the failing rows, and in one go.
fn is_parsing_cast(from: &DataType, to: &DataType) -> bool {
    use DataType::*;
    let is_parsed = is_plain_number(to) || matches!(to, Boolean | Date32 | Timestamp(..) | Decimal128(..));
    (from.is_string() && is_parsed) || (is_plain_number(from) && to.is_integer())
}

/// Spares dirty texts the search for the failing rows.
fn lenient_cast(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    Ok(match expr {
        Expr::Cast(Cast { expr, field }) if is_parsing_cast(&expr.get_type(schema)?, field.data_type()) => {
            Expr::TryCast(TryCast { expr, field })
        }
        other => other,
    })
}
