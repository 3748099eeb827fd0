//! Bins of time in which nothing came: rows for them, so that a series has a value at each step.
//!
//! In: the groups of an answer, and which values a time dimension can have in a range. Out: the same groups, and one
//! for each value that a series lacks; a series is a combination of the other dimensions that has a group in the range,
//! or the only one there is where the answer has no other dimension.
//! Guarantee: what was there stays as it was, and no more groups come than a request may have rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{cast, is_null, take};
use arrow::datatypes::{Field, Schema};
use arrow::error::ArrowError;
use datafusion::common::ScalarValue;
use positions::TimestampMicros;
use views::{TimeStep, ViewDefinition};

use crate::GatewayError;
use crate::keys::{distinct_rows, match_keys};
use crate::local_bins::LocalBins;

/// What stands for the measures of a bin in which nothing came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filling {
    /// 0 for numbers, null for all others.
    Zero,
    /// Null.
    Null,
    /// The values of the bin before; null before the first.
    Previous,
}

/// The gaps to fill.
#[derive(Clone, Debug)]
pub(crate) struct Gaps {
    filling: Filling,
    /// The time dimension.
    dimension: String,
    /// Its values in the range, in order.
    values: Vec<i64>,
    most_rows: usize,
}

impl Gaps {
    /// The gaps of a time dimension in the half-open range `[from, to)` of microseconds, in an answer by these
    /// dimensions; with local spans in the place of bins, those that have a part in the range.
    ///
    /// # Errors
    /// [`GatewayError::BadRequest`] where the dimension is not time in bins or not in the answer, another time
    /// dimension is, or the range has more values than an answer may have rows; and as [`LocalBins::starts_between`].
    pub(crate) fn new(
        view: &ViewDefinition,
        by: &[String],
        filling: Filling,
        (dimension, from, to): (usize, i64, i64),
        (local, most_rows): (Option<&LocalBins>, usize),
    ) -> Result<Self, GatewayError> {
        let filled = &view.dimensions[dimension];
        let Some(step) = filled.step else {
            let reason = format!("`fill` needs time in bins, and `{}` is none that can be told", filled.name);
            return Err(GatewayError::bad_with_hint(reason, "group the view by date_bin or date_trunc of the time"));
        };
        if !by.contains(&filled.name) {
            let reason = format!("`fill` needs `{}` in the answer", filled.name);
            return Err(GatewayError::bad_with_hint(reason, format!("add `{}` to `by`", filled.name)));
        }
        let is_other_time = |name: &&String| {
            let of_name = view.dimensions.iter().find(|other| other.name == **name);
            **name != filled.name && of_name.is_some_and(|other| other.data_type == filled.data_type)
        };
        if let Some(other) = by.iter().find(is_other_time) {
            let reason = format!("`fill` fills `{}`, and `{other}` is a time dimension, too", filled.name);
            return Err(GatewayError::bad_with_hint(reason, format!("leave `{other}` out of `by`")));
        }
        let values = match local.filter(|local| local.dimension() == dimension) {
            Some(local) => local.starts_between(from, to, most_rows)?,
            None => values_between(step, from, to, most_rows),
        };
        let values = values.ok_or_else(|| too_many(most_rows))?;
        Ok(Self { filling, dimension: filled.name.clone(), values, most_rows })
    }

    /// The groups with those that are missing; so many dimensions stand in front of the measures.
    ///
    /// # Errors
    /// [`GatewayError::BadRequest`] where there would be more than an answer may have rows, or a group is in no bin.
    pub(crate) fn fill(&self, rows: &RecordBatch, dimensions: usize) -> Result<RecordBatch, GatewayError> {
        let (keys, measures) = rows.columns().split_at(dimensions);
        let place = rows.schema_ref().index_of(&self.dimension)?;
        let others: Vec<ArrayRef> =
            keys.iter().enumerate().filter(|(index, _)| *index != place).map(|(_, key)| key.clone()).collect();
        let series = distinct_rows(&others)?;
        let count = series.len().saturating_mul(self.values.len());
        if count > self.most_rows {
            return Err(too_many(self.most_rows));
        }
        let grid = self.grid(keys, place, &series)?;
        let matches = match_keys(&grid, keys, rows.num_rows())?;
        if matches.len() - matches.null_count() != rows.num_rows() {
            // Rather no answer than one that lacks a group.
            let reason = format!("`{}` has values between its bins, which `fill` would leave out", self.dimension);
            return Err(GatewayError::bad_with_hint(reason, "ask without `fill`"));
        }
        let measures = measures.iter().map(|measure| self.fill_measure(measure, &matches));
        let columns: Vec<ArrayRef> = grid.iter().cloned().map(Ok).chain(measures).collect::<Result<_, _>>()?;
        let schema = rows.schema();
        let fields = schema.fields().iter().map(|field| Field::new(field.name(), field.data_type().clone(), true));
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns)?)
    }

    /// The keys of all groups: series after series, each in the order of time.
    fn grid(&self, keys: &[ArrayRef], place: usize, series: &[u32]) -> Result<Vec<ArrayRef>, ArrowError> {
        let steps = self.values.len();
        let rows = UInt32Array::from_iter_values(series.iter().flat_map(|row| std::iter::repeat_n(*row, steps)));
        let times = series.iter().flat_map(|_| self.values.iter().copied());
        let times = TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC");
        let key = |(index, key): (usize, &ArrayRef)| {
            if index == place { cast(&times, key.data_type()) } else { take(key, &rows, None) }
        };
        keys.iter().enumerate().map(key).collect()
    }

    fn fill_measure(&self, measure: &ArrayRef, matches: &UInt32Array) -> Result<ArrayRef, ArrowError> {
        match self.filling {
            Filling::Null => take(measure, matches, None),
            Filling::Previous => take(measure, &self.carried(matches), None),
            Filling::Zero if measure.data_type().is_numeric() => {
                let zero = ScalarValue::new_zero(measure.data_type()).and_then(|zero| zero.to_scalar());
                let zero = zero.map_err(|error| ArrowError::ComputeError(error.to_string()))?;
                let is_missing: BooleanArray = is_null(matches)?;
                zip(&is_missing, &zero, &take(measure, matches, None)?)
            }
            Filling::Zero => take(measure, matches, None),
        }
    }

    /// Where a series has no group, the one before it.
    fn carried(&self, matches: &UInt32Array) -> UInt32Array {
        let steps = self.values.len().max(1);
        let mut last = None;
        let carried = matches.iter().enumerate().map(|(index, found)| {
            last = if index.is_multiple_of(steps) { found } else { found.or(last) };
            last
        });
        carried.collect()
    }
}

/// The values of a dimension in `[from, to)`; none where there are more than so many.
fn values_between(step: TimeStep, from: i64, to: i64, most: usize) -> Option<Vec<i64>> {
    let mut values = Vec::new();
    let mut at = Some(step.floor(TimestampMicros(from)));
    while let Some(value) = at.filter(|value| value.0 < to) {
        if value.0 >= from {
            values.push(value.0);
        }
        if values.len() > most {
            return None;
        }
        // Beyond the last instant there is nothing, and a step back would never end.
        at = step.next(value).filter(|next| *next > value);
    }
    Some(values)
}

fn too_many(most_rows: usize) -> GatewayError {
    let reason = format!("`fill` would make more than {most_rows} groups (`gateway.max_rows`)");
    GatewayError::bad_with_hint(reason, "ask for a shorter range, for fewer series, or roll up to fewer dimensions")
}
