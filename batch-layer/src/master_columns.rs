//! Columns of the master dataset, as plans name them and as the statistics of its files describe them.

use datafusion::common::Column;
use datafusion::logical_expr::Expr;
use lake::DataFile;
use records::decode::column;

/// A column by its exact name.
pub(crate) fn field(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

/// Whether a file may hold events whose time was corrected: their time differs from the time as sent, so the bounds of
/// the event time say nothing about buckets.
pub(crate) fn may_hold_corrected_times(file: &DataFile) -> bool {
    file.bounds.get(column::CLOCK_SHIFT).is_none_or(|(_, _, nulls)| *nulls < file.rows)
}
