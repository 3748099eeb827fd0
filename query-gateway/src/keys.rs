//! Groups of one batch found in another by their keys. Pure.

use std::collections::HashMap;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};

/// For each key of `wanted` the row of `found` that has it; null where none has. Keys of no column are all the same.
pub(crate) fn match_keys(
    wanted: &[ArrayRef],
    found: &[ArrayRef],
    found_rows: usize,
) -> Result<UInt32Array, ArrowError> {
    if wanted.is_empty() {
        return Ok(UInt32Array::from(vec![(found_rows > 0).then_some(0)]));
    }
    let converter = converter_of(wanted)?;
    let (wanted, found) = (converter.convert_columns(wanted)?, converter.convert_columns(found)?);
    let places: HashMap<&[u8], usize> = wanted.iter().enumerate().map(|(place, row)| (row.data(), place)).collect();
    let mut matches = vec![None; wanted.num_rows()];
    for (index, row) in (0..).zip(found.iter()) {
        if let Some(place) = places.get(row.data()) {
            matches[*place] = Some(index);
        }
    }
    Ok(UInt32Array::from(matches))
}

/// The first row of each distinct key, in order. Keys of no column are all the same, and there always is one.
pub(crate) fn distinct_rows(columns: &[ArrayRef]) -> Result<Vec<u32>, ArrowError> {
    if columns.is_empty() {
        return Ok(vec![0]);
    }
    let keys = converter_of(columns)?.convert_columns(columns)?;
    let mut seen: HashMap<&[u8], u32> = HashMap::new();
    for (index, key) in (0..).zip(keys.iter()) {
        seen.entry(key.data()).or_insert(index);
    }
    let mut first: Vec<u32> = seen.into_values().collect();
    first.sort_unstable();
    Ok(first)
}

fn converter_of(columns: &[ArrayRef]) -> Result<RowConverter, ArrowError> {
    RowConverter::new(columns.iter().map(|column| SortField::new(column.data_type().clone())).collect())
}
