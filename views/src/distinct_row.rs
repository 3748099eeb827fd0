//! `count(DISTINCT a, b)`: the distinct rows of several values, without those in which one is NULL.
//!
//! In: a syntax tree. Out: the same with `count(DISTINCT distinct_row(a, b))` in its place, an ordinary count of one
//! value ([`name_rows`]). Guarantee: two rows are one value exactly if each of their parts is: -0.0 is 0.0, and all NaN
//! are one. The bytes of a row are a function of its values alone, on every machine, as states of views hold them.
//! Not here: counting.
//! Why so: the engine counts the distinct values of one expression only. A STRUCT would do, but of those it keeps a
//! whole batch for each value that is new in it.
//!
//! # Source
//! The meaning is that of the SQL standard and MySQL's manual: rows in which an expression is NULL do not count.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder};
use arrow::buffer::{Buffer, NullBuffer};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::ast::{FunctionArg, FunctionArgExpr, FunctionArguments, VisitMut, VisitorMut};

use crate::aggregate::normal;
use crate::sql_name::sql_name;

const NAME: &str = "distinct_row";

/// Writes every `count(DISTINCT a, b)` of a tree as a count of one value.
pub fn name_rows(tree: &mut impl VisitMut) {
    let _ = tree.visit(&mut Naming);
}

struct Naming;

impl VisitorMut for Naming {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
        if let ast::Expr::Function(function) = expr
            && function.name.to_string().eq_ignore_ascii_case("count")
            && let FunctionArguments::List(list) = &mut function.args
            && list.duplicate_treatment == Some(ast::DuplicateTreatment::Distinct)
            && list.args.len() > 1
        {
            let row = row_of(std::mem::take(&mut list.args));
            list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Expr(row)));
        }
        ControlFlow::Continue(())
    }
}

fn row_of(args: Vec<FunctionArg>) -> ast::Expr {
    let args = ast::FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() };
    ast::Expr::Function(ast::Function {
        name: ast::ObjectName::from(ast::Ident::new(NAME)),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(args),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// The function under its SQL name: `distinct_row(a, b, ...)`.
pub(crate) fn distinct_row() -> ScalarUDF {
    ScalarUDF::from(DistinctRow { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DistinctRow {
    signature: Signature,
}

impl ScalarUDFImpl for DistinctRow {
    fn name(&self) -> &'static str {
        NAME
    }

    /// Its arguments alone, so that a count is named as it was written.
    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        let names: Vec<String> = arguments.iter().map(|argument| argument.schema_name().to_string()).collect();
        Ok(names.join(","))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        if let Some(other) = arguments.iter().find(|argument| !is_plain(argument)) {
            return plan_err!(
                "count(DISTINCT ...) of several values takes numbers, text, dates and times, not {}",
                sql_name(other)
            );
        }
        Ok(arguments.to_vec())
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Binary)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let columns =
            arguments.args.into_iter().map(|argument| argument.into_array(rows)).collect::<Result<Vec<_>>>()?;
        let nulls = columns.iter().fold(None, |nulls: Option<NullBuffer>, column| {
            NullBuffer::union(nulls.as_ref(), column.logical_nulls().as_ref())
        });
        let parts = columns.iter().map(Part::of).collect::<Result<Vec<_>>>()?;
        let mut encoded = BinaryBuilder::with_capacity(rows, 16 * rows);
        let mut row_bytes = Vec::new();
        for row in 0..rows {
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                encoded.append_null();
                continue;
            }
            row_bytes.clear();
            parts.iter().for_each(|part| part.append(row, &mut row_bytes));
            encoded.append_value(&row_bytes);
        }
        Ok(ColumnarValue::Array(Arc::new(encoded.finish())))
    }
}

fn is_plain(data_type: &DataType) -> bool {
    match data_type {
        DataType::Boolean => true,
        DataType::Dictionary(_, value) => is_plain(value),
        other => other.is_string() || other.is_binary() || other.primitive_width().is_some(),
    }
}

/// One column of the rows.
enum Part {
    /// Values of so many bytes each.
    Fixed(Buffer, usize),
    /// Text or bytes.
    Bytes(BinaryArray),
}

impl Part {
    fn of(column: &ArrayRef) -> Result<Self> {
        match column.data_type() {
            DataType::Boolean => Self::of(&cast(column, &DataType::UInt8)?),
            DataType::Dictionary(_, value) => Self::of(&cast(column, value)?),
            DataType::Binary => Ok(Self::Bytes(column.as_binary::<i32>().clone())),
            DataType::LargeUtf8 | DataType::Utf8View => Self::of(&cast(column, &DataType::Utf8)?),
            DataType::Utf8 | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                Self::of(&cast(column, &DataType::Binary)?)
            }
            other => {
                let Some(width) = other.primitive_width() else {
                    return exec_err!("{} is no part of a distinct row", sql_name(other));
                };
                let data = normal(column)?.to_data();
                let bytes = data.buffers()[0].slice_with_length(data.offset() * width, data.len() * width);
                Ok(Self::Fixed(bytes, width))
            }
        }
    }

    fn append(&self, row: usize, to: &mut Vec<u8>) {
        match self {
            Self::Fixed(values, width) => to.extend_from_slice(&values[row * width..(row + 1) * width]),
            Self::Bytes(values) => {
                let value = values.value(row);
                // The length before it: where one ends and the next begins is part of the row.
                to.extend_from_slice(&(value.len() as u32).to_le_bytes());
                to.extend_from_slice(value);
            }
        }
    }
}
