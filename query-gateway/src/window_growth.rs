//! What a window operator makes of the rows that it reads, bounded before it is made.
//!
//! In: the window functions of an operator, and the batches that it reads. Out: bytes that its results take at most.
//! Guarantee: an upper bound for all functions but aggregates with values of no fixed size.
//! Not here: those (`watched.rs`), the rows themselves (`buffered.rs`).
//! Why so: an operator that waits for all rows makes each column of results in one go, first as values of the engine,
//! much larger than what they hold; and the first of a million texts is a million copies of it.

use std::mem;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::window::{StandardWindowExpr, WindowExpr};
use datafusion::physical_plan::windows::WindowUDFExpr;

use crate::expression_cost::scalar_size;
use crate::row_sizes::largest_value;

/// Bytes of a result of no fixed size, beside what it holds.
const FRAME_BYTES: usize = 16;

/// How the results of one operator grow.
#[derive(Debug)]
pub(crate) struct WindowGrowth {
    /// Bytes of the results of one row, without what they hold.
    row_bytes: usize,
    /// What results without a fixed size are chosen from, or what stands for them where there is none to choose.
    chosen_from: Vec<Arc<dyn PhysicalExpr>>,
}

/// What was read so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Read {
    rows: usize,
    /// The largest of all values that may be chosen, those of each function added up.
    largest: usize,
}

impl WindowGrowth {
    /// Of these functions; `keeps_all`: of an operator that makes no row before it has read all.
    pub(crate) fn of(functions: &[Arc<dyn WindowExpr>], keeps_all: bool) -> Result<Self> {
        let mut row_bytes = if keeps_all { mem::size_of::<ScalarValue>() } else { 0 };
        let mut chosen_from = Vec::new();
        for function in functions {
            let field = function.field()?;
            let width = field.data_type().primitive_width();
            if keeps_all {
                row_bytes += width.unwrap_or(FRAME_BYTES);
            }
            if width.is_none() {
                chosen_from.extend(arguments(function.as_ref()));
            }
        }
        Ok(Self { row_bytes, chosen_from })
    }

    /// The bytes that the results of all that was read take at most, one more batch included.
    pub(crate) fn add(&self, batch: &RecordBatch, read: &mut Read) -> Result<usize> {
        let mut largest = 0;
        for expr in &self.chosen_from {
            largest += match expr.evaluate(batch)? {
                ColumnarValue::Array(values) => largest_value(values.as_ref()),
                ColumnarValue::Scalar(value) => scalar_size(&value),
            };
        }
        read.rows += batch.num_rows();
        read.largest = read.largest.max(largest);
        Ok(read.rows.saturating_mul(self.row_bytes.saturating_add(read.largest)))
    }
}

/// All arguments of a function that does not aggregate; that a row before has no value is an argument, too.
fn arguments(function: &dyn WindowExpr) -> Vec<Arc<dyn PhysicalExpr>> {
    let Some(standard) = function.as_any().downcast_ref::<StandardWindowExpr>() else { return Vec::new() };
    match standard.get_standard_func_expr().as_any().downcast_ref::<WindowUDFExpr>() {
        Some(function) => function.args().to_vec(),
        None => function.expressions(),
    }
}
