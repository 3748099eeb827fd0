//! Casts in the names of aggregates.
//!
//! In: a call of an aggregate as the engine reads it from SQL. Out: the same with `CAST(x AS T)` in its arguments and
//! its filter as a function, which is a cast again as soon as the plan is guarded or optimized.
//! Why so: the engine names a call after its arguments and leaves casts out of names. `sum(n)` and
//! `sum(CAST(n AS DECIMAL(38, 0)))` would be two columns of one name, and a query with both is refused.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, internal_err};
use datafusion::functions::core;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawAggregateExpr, RawWindowExpr};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, lit,
};

use crate::or_null::is_constant;
use crate::sql_name::sql_name;

/// Keeps apart what differs by a cast alone.
#[derive(Debug)]
pub(crate) struct NamedCasts;

impl ExprPlanner for NamedCasts {
    fn plan_aggregate(&self, call: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
        let (args, filter) = named_parts(call.args, call.filter)?;
        Ok(PlannerResult::Original(RawAggregateExpr { args, filter, ..call }))
    }

    fn plan_window(&self, call: RawWindowExpr) -> Result<PlannerResult<RawWindowExpr>> {
        let (args, filter) = named_parts(call.args, call.filter)?;
        Ok(PlannerResult::Original(RawWindowExpr { args, filter, ..call }))
    }
}

fn named_parts(args: Vec<Expr>, filter: Option<Box<Expr>>) -> Result<(Vec<Expr>, Option<Box<Expr>>)> {
    let args = args.into_iter().map(named).collect::<Result<_>>()?;
    let filter = filter.map(|filter| named(*filter).map(Box::new)).transpose()?;
    Ok((args, filter))
}

fn named(expr: Expr) -> Result<Expr> {
    let named = expr.transform_up(|part| {
        // Some arguments must be constants when the call is planned; and these have their value for a name.
        if is_constant(&part) {
            return Ok(Transformed::no(part));
        }
        Ok(match part {
            Expr::Cast(cast) if is_spelled(cast.field.data_type()) => {
                Transformed::yes(NamedCast::of(*cast.expr, cast.field.data_type(), ("CAST", core::arrow_cast())))
            }
            Expr::TryCast(cast) if is_spelled(cast.field.data_type()) => {
                let function = ("TRY_CAST", core::arrow_try_cast());
                Transformed::yes(NamedCast::of(*cast.expr, cast.field.data_type(), function))
            }
            other => Transformed::no(other),
        })
    })?;
    Ok(named.data)
}

/// Whether the engine reads the type from its own text.
fn is_spelled(data_type: &DataType) -> bool {
    data_type.to_string().parse::<DataType>().is_ok_and(|read| read == *data_type)
}

/// The engine's function that is a cast, under the name that the cast has in SQL.
#[derive(Debug, PartialEq, Eq, Hash)]
struct NamedCast {
    /// `CAST(x AS T)` without its argument: the word, and the type in words of SQL.
    word: &'static str,
    data_type: String,
    function: Arc<ScalarUDF>,
}

impl NamedCast {
    fn of(expr: Expr, data_type: &DataType, (word, function): (&'static str, Arc<ScalarUDF>)) -> Expr {
        let cast = ScalarUDF::from(Self { word, data_type: sql_name(data_type), function });
        cast.call(vec![expr, lit(data_type.to_string())])
    }
}

impl ScalarUDFImpl for NamedCast {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        let [expr, _] = arguments else { return internal_err!("a cast has a value and a type") };
        Ok(format!("{}({} AS {})", self.word, expr.schema_name(), self.data_type))
    }

    fn signature(&self) -> &Signature {
        self.function.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.function.return_type(arguments)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        self.function.return_field_from_args(arguments)
    }

    fn simplify(&self, arguments: Vec<Expr>, context: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.function.simplify(arguments, context)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.function.invoke_with_args(arguments)
    }
}
