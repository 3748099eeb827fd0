//! `generate_series(start, stop, step)` and `range(...)` as tables: whole numbers, or instants at even distances.
//!
//! In: constants. Out: a table of one column, `value`, with the last value (`generate_series`) or without it (`range`).
//! Guarantee: no series has more rows than an answer may have, and nothing is computed for its arguments but sums of
//! constants and of the instant of the query.
//! Why so: a series joined to a view fills the gaps of it. The engine's own is not limited, and its instants are finer
//! than those of views.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{IntervalMonthDayNano, TimestampMicrosecondType};
use datafusion::catalog::{TableFunction, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{ScalarValue, TableReference};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::Expr;
use datafusion::sql::sqlparser::ast::{self, TableFactor, Visit, Visitor};
use views::utc_micros;

use crate::GatewayError;
use crate::fixed_table::FixedTable;
use crate::refusal::Refusal;

/// The table functions that there are.
pub(crate) const NAMES: [&str; 2] = ["generate_series", "range"];

/// Functions of an argument: their values are no larger than what they are made of.
const ARGUMENT_FUNCTIONS: [&str; 7] =
    ["now", "current_timestamp", "current_date", "today", "date_trunc", "date_bin", "to_timestamp"];

/// The names of the tables and of the table functions in a statement; only bare names are of interest.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    /// Names that are called.
    pub functions: BTreeSet<String>,
    /// Names that are not.
    pub tables: BTreeSet<String>,
}

impl Calls {
    /// Those of a statement.
    ///
    /// # Errors
    /// [`GatewayError`]: there is no such function, or an argument is no constant.
    pub(crate) fn of(statement: &ast::Statement) -> std::result::Result<Self, GatewayError> {
        let mut calls = Self::default();
        match statement.visit(&mut calls) {
            ControlFlow::Continue(()) => Ok(calls),
            ControlFlow::Break(error) => Err(*error),
        }
    }

    /// Whether a reference stands for nothing but calls.
    pub(crate) fn are_all_of(&self, reference: &TableReference) -> bool {
        let name = reference.table().to_lowercase();
        matches!(reference, TableReference::Bare { .. })
            && self.functions.contains(&name)
            && !self.tables.contains(&name)
    }
}

impl Visitor for Calls {
    type Break = Box<GatewayError>;

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        let (name, args) = match factor {
            TableFactor::Table { name, args: None, .. } => {
                self.tables.insert(name.to_string().trim_matches('"').to_lowercase());
                return ControlFlow::Continue(());
            }
            TableFactor::Table { name, args: Some(args), .. } => (name.to_string(), args.args.as_slice()),
            TableFactor::Function { name, args, .. } => (name.to_string(), args.as_slice()),
            _ => return ControlFlow::Continue(()),
        };
        let known = || NAMES.iter().map(|name| (*name).to_owned()).collect();
        if !NAMES.contains(&name.to_lowercase().as_str()) {
            return ControlFlow::Break(Box::new(GatewayError::Unknown {
                what: "table function",
                name,
                known: known(),
            }));
        }
        if !args.iter().all(is_constant_argument) {
            let hint = "write numbers, TIMESTAMP '...', now(), date_trunc('hour', now()), INTERVAL '1 hour'";
            let reason = format!("the arguments of {name} are constants, and sums of such");
            return ControlFlow::Break(Box::new(GatewayError::bad_with_hint(reason, hint)));
        }
        self.functions.insert(name.to_lowercase());
        ControlFlow::Continue(())
    }
}

fn is_constant_argument(argument: &ast::FunctionArg) -> bool {
    matches!(argument, ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) if is_constant(expr))
}

/// Whether an argument is put together from constants, by what cannot make them large.
fn is_constant(expr: &ast::Expr) -> bool {
    match expr {
        ast::Expr::Value(value) => !matches!(value.value, ast::Value::Placeholder(_)),
        ast::Expr::TypedString(typed) => is_instant(&typed.data_type),
        ast::Expr::Interval(interval) => is_constant(&interval.value),
        ast::Expr::Nested(inner) => is_constant(inner),
        ast::Expr::UnaryOp { op: ast::UnaryOperator::Minus | ast::UnaryOperator::Plus, expr } => is_constant(expr),
        ast::Expr::BinaryOp { left, op: ast::BinaryOperator::Plus | ast::BinaryOperator::Minus, right } => {
            is_constant(left) && is_constant(right)
        }
        ast::Expr::Cast { expr, data_type, .. } => is_instant(data_type) && is_constant(expr),
        ast::Expr::Function(function) => is_constant_call(function),
        _ => false,
    }
}

fn is_instant(data_type: &ast::DataType) -> bool {
    matches!(data_type, ast::DataType::Timestamp(..) | ast::DataType::Date)
}

fn is_constant_call(function: &ast::Function) -> bool {
    let is_known = ARGUMENT_FUNCTIONS.contains(&function.name.to_string().to_lowercase().as_str());
    let is_plain = function.filter.is_none() && function.over.is_none() && function.within_group.is_empty();
    let are_constants = match &function.args {
        ast::FunctionArguments::None => true,
        ast::FunctionArguments::List(list) => list.clauses.is_empty() && list.args.iter().all(is_constant_argument),
        ast::FunctionArguments::Subquery(_) => false,
    };
    is_known && is_plain && are_constants
}

/// All table functions, by the names that they are called by.
pub(crate) fn functions(max_rows: usize) -> HashMap<String, Arc<TableFunction>> {
    let spellings = NAMES.iter().flat_map(|name| [(*name).to_owned(), name.to_uppercase()]);
    let function = |name: String| {
        let with_last = name.eq_ignore_ascii_case("generate_series");
        let function = TableFunction::new(name.clone(), Arc::new(Series { with_last, max_rows }));
        (name, Arc::new(function))
    };
    spellings.map(function).collect()
}

#[derive(Debug)]
struct Series {
    with_last: bool,
    max_rows: usize,
}

impl TableFunctionImpl for Series {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let constants = args.exprs().iter().map(constant).collect::<Result<Vec<_>>>()?;
        let values: ArrayRef = match constants.as_slice() {
            [Constant::Number(stop)] => self.numbers(0, *stop, 1)?,
            [Constant::Number(start), Constant::Number(stop)] => self.numbers(*start, *stop, 1)?,
            [Constant::Number(start), Constant::Number(stop), Constant::Number(step)] => {
                self.numbers(*start, *stop, *step)?
            }
            [Constant::Instant(start), Constant::Instant(stop), Constant::Step(step)] => {
                self.instants(*start, *stop, *step)?
            }
            _ => return Err(bad("a series is of whole numbers, or of two timestamps and an interval")),
        };
        let table = FixedTable::new(RecordBatch::try_from_iter([("value", values)])?)?;
        Ok(table)
    }
}

impl Series {
    fn numbers(&self, start: i64, stop: i64, step: i64) -> Result<ArrayRef> {
        if step == 0 {
            return Err(bad("the step of a series must not be 0"));
        }
        let values = self.collect(start, stop, step > 0, |value| value.checked_add(step))?;
        Ok(Arc::new(Int64Array::from(values)))
    }

    fn instants(&self, start: i64, stop: i64, step: IntervalMonthDayNano) -> Result<ArrayRef> {
        let utc: Tz = "+00:00".parse()?;
        let next = |value: i64| TimestampMicrosecondType::add_month_day_nano(value, step, utc);
        let second = next(start).ok_or_else(|| bad("the step of a series is too large"))?;
        if second == start {
            return Err(bad("the step of a series must not be 0"));
        }
        let is_rising = second > start;
        // Months are of different lengths: a step of both signs could stand still.
        let further = |value: i64| next(value).filter(|next| *next != value && (*next > value) == is_rising);
        let values = self.collect(start, stop, is_rising, further)?;
        let values = TimestampMicrosecondArray::from(values).with_data_type(utc_micros());
        Ok(Arc::new(values))
    }

    fn collect(&self, start: i64, stop: i64, is_rising: bool, next: impl Fn(i64) -> Option<i64>) -> Result<Vec<i64>> {
        let is_inside = |value: i64| {
            let is_before = if is_rising { value < stop } else { value > stop };
            is_before || (self.with_last && value == stop)
        };
        let mut values = Vec::new();
        let mut at = Some(start).filter(|value| is_inside(*value));
        while let Some(value) = at {
            if values.len() == self.max_rows {
                let reason = format!("a series has more than {} rows", self.max_rows);
                let hint = "take a larger step, or bounds that lie closer together".to_owned();
                return Err(Refusal::TooLarge { reason, hint }.into());
            }
            values.push(value);
            at = next(value).filter(|value| is_inside(*value));
        }
        Ok(values)
    }
}

enum Constant {
    Number(i64),
    Instant(i64),
    Step(IntervalMonthDayNano),
}

fn constant(expr: &Expr) -> Result<Constant> {
    let none = || bad("an argument of a series is NULL, or no whole number, timestamp or interval");
    let Expr::Literal(value, _) = expr else { return Err(none()) };
    match value {
        ScalarValue::IntervalMonthDayNano(Some(step)) => Ok(Constant::Step(*step)),
        ScalarValue::Date32(Some(_))
        | ScalarValue::TimestampSecond(Some(_), _)
        | ScalarValue::TimestampMillisecond(Some(_), _)
        | ScalarValue::TimestampMicrosecond(Some(_), _)
        | ScalarValue::TimestampNanosecond(Some(_), _) => match value.cast_to(&utc_micros())? {
            ScalarValue::TimestampMicrosecond(Some(at), _) => Ok(Constant::Instant(at)),
            _ => Err(none()),
        },
        value if value.data_type().is_integer() => match value.cast_to(&arrow::datatypes::DataType::Int64)? {
            ScalarValue::Int64(Some(number)) => Ok(Constant::Number(number)),
            _ => Err(none()),
        },
        _ => Err(none()),
    }
}

fn bad(reason: &str) -> DataFusionError {
    let hint = "write generate_series(1, 10), or generate_series(TIMESTAMP '...', TIMESTAMP '...', INTERVAL '1 hour')";
    Refusal::Bad { reason: reason.to_owned(), hint: hint.to_owned() }.into()
}
