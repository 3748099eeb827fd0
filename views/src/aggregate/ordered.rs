//! Values of any type that has an order, as bytes that compare as the values do.
//!
//! The order: numbers and times ascending, NaN behind every number, -0.0 as 0.0 (`normal.rs`); text by its bytes; false
//! before true; a list or a struct by its first difference; NULL last, also where a column is descending.
//! Guarantee: equal values are equal bytes, and the columns of rows are what the rows were made of.
//! Not here: which rows are kept (`extreme_by.rs`, `counted.rs`).
//! Why so: one accumulator takes every type, and compares and looks values up without knowing what they are.

use arrow::array::{ArrayRef, new_null_array};
use arrow::compute::SortOptions;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::Result;

use super::normal::normal;

/// The bytes of one row.
pub(super) type RowBytes = Box<[u8]>;

/// Whether values of a type have an order that is the same for everybody: maps, intervals and NULL have none.
pub(super) fn is_ordered(data_type: &DataType) -> bool {
    use DataType::*;
    match data_type {
        Boolean | Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => true,
        Date32 | Date64 | Time32(_) | Time64(_) | Timestamp(..) | Duration(_) => true,
        List(item) => is_ordered(item.data_type()),
        Struct(fields) => !fields.is_empty() && fields.iter().all(|field| is_ordered(field.data_type())),
        other => other.is_numeric(),
    }
}

/// Which way a column is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Ascending,
    Descending,
}

/// Columns of types that have an order.
#[derive(Debug)]
pub(super) struct Ordered {
    converter: RowConverter,
    /// The row of nothing but NULL.
    nulls: RowBytes,
}

impl Ordered {
    /// Of columns that are compared one after the other.
    pub(super) fn new(columns: &[(&DataType, Direction)]) -> Result<Self> {
        let field = |(data_type, direction): &(&DataType, Direction)| {
            let options = SortOptions { descending: *direction == Direction::Descending, nulls_first: false };
            SortField::new_with_options((*data_type).clone(), options)
        };
        let converter = RowConverter::new(columns.iter().map(field).collect())?;
        let nulls: Vec<ArrayRef> = columns.iter().map(|(data_type, _)| new_null_array(data_type, 1)).collect();
        let nulls = RowBytes::from(converter.convert_columns(&nulls)?.row(0).data());
        Ok(Self { converter, nulls })
    }

    /// The rows of columns.
    pub(super) fn rows(&self, columns: &[ArrayRef]) -> Result<Rows> {
        let columns = columns.iter().map(normal).collect::<Result<Vec<_>>>()?;
        Ok(self.converter.convert_columns(&columns)?)
    }

    /// The columns of rows that this made; where there is none, NULL.
    pub(super) fn columns<'a>(&'a self, rows: impl IntoIterator<Item = Option<&'a [u8]>>) -> Result<Vec<ArrayRef>> {
        let parser = self.converter.parser();
        let rows = rows.into_iter().map(|row| parser.parse(row.unwrap_or(&self.nulls)));
        Ok(self.converter.convert_rows(rows)?)
    }

    /// The bytes held, for the engine's memory pool.
    pub(super) fn size_bytes(&self) -> usize {
        self.converter.size() + self.nulls.len()
    }
}
