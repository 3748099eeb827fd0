//! Two answers of one view compared, group by group and measure by measure, by what the class of each guarantees.
//!
//! In: two batches of finished groups, dimensions first, then measures. Out: a [`GroupComparison`].
//! Guarantee: pure. Values of exact measures are the same bit for bit or different, floating sums may differ by the
//! rounding of another order, sketches by twice their bound (each of the two lies within it of the truth). A group that
//! one side lacks is different in every measure, by its whole value.
//! Not here: where the two answers come from, and why they differ (`query-gateway`, `batch-layer`).

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, make_comparator};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{DataType, Float64Type};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use arrow::util::display::array_value_to_string;

use crate::aggregate::AggregateClass;
use crate::definition::ViewDefinition;

/// Rounding that a floating-point sum in another order may show, as a share of its value.
const ROUNDING: f64 = 1e-9;
/// Values below this are taken to be as large: the terms of a sum may be larger than the sum is.
const LEAST_SIZE: f64 = 1e3;

/// Where the two sides hold a group.
type Pair = (Option<usize>, Option<usize>);

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupComparison {
    /// Groups that at least one side holds.
    pub groups: u64,
    /// In the order of the view.
    pub measures: Vec<MeasureDifference>,
}

/// What was found of one measure.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasureDifference {
    /// Its name.
    pub measure: String,
    /// What it guarantees.
    pub class: AggregateClass,
    /// Groups whose values differ by more than the class allows.
    pub different: u64,
    /// The largest distance of two values, also where the class allows it; `None` for values that are no numbers. An
    /// instant counts as its microseconds, a group that is missing as 0.
    pub largest: Option<f64>,
    /// The sum of all distances: with the number of groups it gives the mean.
    pub sum: Option<f64>,
    /// The groups that differ most, worst first.
    pub worst: Vec<GroupDifference>,
}

/// One group that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupDifference {
    /// The dimensions by their names; `None`: NULL.
    pub group: Vec<(String, Option<String>)>,
    /// The first side's value; `None`: NULL, or no such group.
    pub before: Option<String>,
    /// The second side's value, likewise.
    pub after: Option<String>,
    /// How far they are apart; `None` where they are no numbers.
    pub difference: Option<f64>,
}

impl GroupComparison {
    /// Takes in what was found of further groups of the same view, and keeps the `worst` groups that differ most.
    pub fn add(&mut self, other: Self, worst: usize) {
        self.groups += other.groups;
        if self.measures.is_empty() {
            self.measures = other.measures;
            return;
        }
        for (known, found) in self.measures.iter_mut().zip(other.measures) {
            known.different += found.different;
            known.largest = known.largest.zip(found.largest).map(|(known, found)| known.max(found));
            known.sum = known.sum.zip(found.sum).map(|(known, found)| known + found);
            known.worst.extend(found.worst);
            known.worst.sort_by(|one, other| worse_first(one.difference, other.difference));
            known.worst.truncate(worst);
        }
    }
}

impl MeasureDifference {
    /// The mean distance over all groups that were compared; `None` for values that are no numbers.
    pub fn mean(&self, groups: u64) -> Option<f64> {
        let mean = self.sum.map(|sum| if groups == 0 { 0.0 } else { sum / groups as f64 });
        mean.filter(|mean| mean.is_finite())
    }
}

impl GroupDifference {
    /// The group in one line, as `page = a, hour = 2026-01-05T10:00:00Z`.
    pub fn in_words(&self) -> String {
        let part =
            |(name, value): &(String, Option<String>)| format!("{name} = {}", value.as_deref().unwrap_or("NULL"));
        self.group.iter().map(part).collect::<Vec<_>>().join(", ")
    }
}

/// Compares two answers of a view at the grain of all its dimensions; each holds a group once. Of each measure the
/// `worst` groups that differ most are named.
///
/// Cost: a hash of all groups, one comparison for each group and measure.
///
/// # Errors
/// Only for a defect: batches that are no answers of the view.
pub fn compare_groups(
    view: &ViewDefinition,
    before: &RecordBatch,
    after: &RecordBatch,
    worst: usize,
) -> Result<GroupComparison, ArrowError> {
    let dimensions = view.dimensions.iter().map(|dimension| dimension.name.clone()).collect();
    let measures = view.measures.iter().map(|measure| (measure.name.clone(), measure.class)).collect();
    compare_columns(&ComparedColumns { dimensions, measures }, before, after, worst)
}

/// The columns of what is compared, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ComparedColumns {
    /// The dimensions.
    pub(crate) dimensions: Vec<String>,
    /// The measures behind them, with what each guarantees.
    pub(crate) measures: Vec<(String, AggregateClass)>,
}

/// [`compare_groups`] of batches of these columns.
pub(crate) fn compare_columns(
    columns: &ComparedColumns,
    before: &RecordBatch,
    after: &RecordBatch,
    worst: usize,
) -> Result<GroupComparison, ArrowError> {
    let keys = columns.dimensions.len();
    let wanted = keys + columns.measures.len();
    if before.num_columns() != wanted || after.num_columns() != wanted {
        let found = (before.num_columns(), after.num_columns());
        return Err(ArrowError::InvalidArgumentError(format!("an answer has {wanted} columns, not {found:?}")));
    }
    let pairs = pair_groups(keys, before, after)?;
    let sides = Sides { columns, before, after, pairs: &pairs };
    let measures = (0..columns.measures.len()).map(|number| sides.compare(number, worst));
    Ok(GroupComparison { groups: pairs.len() as u64, measures: measures.collect::<Result<_, _>>()? })
}

/// The rows of both sides by their groups.
fn pair_groups(keys: usize, before: &RecordBatch, after: &RecordBatch) -> Result<Vec<Pair>, ArrowError> {
    if keys == 0 {
        let only = |batch: &RecordBatch| (batch.num_rows() > 0).then_some(0);
        let pair = (only(before), only(after));
        return Ok(if pair == (None, None) { Vec::new() } else { vec![pair] });
    }
    let fields = before.columns()[..keys].iter().map(|column| SortField::new(column.data_type().clone()));
    let converter = RowConverter::new(fields.collect())?;
    let left = converter.convert_columns(&before.columns()[..keys])?;
    let right = converter.convert_columns(&after.columns()[..keys])?;
    let places: HashMap<&[u8], usize> = left.iter().enumerate().map(|(place, row)| (row.data(), place)).collect();
    let mut pairs = Vec::with_capacity(left.num_rows().max(right.num_rows()));
    let mut met = HashSet::new();
    for (place, row) in right.iter().enumerate() {
        let known = places.get(row.data()).copied();
        met.extend(known);
        pairs.push((known, Some(place)));
    }
    pairs.extend((0..left.num_rows()).filter(|place| !met.contains(place)).map(|place| (Some(place), None)));
    Ok(pairs)
}

/// Both sides of a comparison.
struct Sides<'a> {
    columns: &'a ComparedColumns,
    before: &'a RecordBatch,
    after: &'a RecordBatch,
    pairs: &'a [Pair],
}

impl Sides<'_> {
    fn compare(&self, number: usize, worst: usize) -> Result<MeasureDifference, ArrowError> {
        let (measure, class) = &self.columns.measures[number];
        let column = self.columns.dimensions.len() + number;
        let (left, right) = (self.before.column(column), self.after.column(column));
        let order = make_comparator(left.as_ref(), right.as_ref(), SortOptions::default())?;
        let (left_numbers, right_numbers) = (numbers(left)?, numbers(right)?);
        let (mut different, mut largest, mut sum) = (Vec::new(), 0.0_f64, 0.0);
        for pair in self.pairs.iter().copied() {
            if matches!(pair, (Some(before), Some(after)) if order(before, after).is_eq()) {
                continue;
            }
            let values = (left_numbers.as_ref(), right_numbers.as_ref());
            let apart = if let (Some(left), Some(right)) = values {
                let (before, after) = (number_at(left, pair.0), number_at(right, pair.1));
                let apart = (before - after).abs();
                if apart.is_finite() {
                    largest = largest.max(apart);
                    sum += apart;
                }
                // A group or a value that only one side has is no matter of rounding.
                if is_on_both_sides(left, right, pair) && is_within_class(*class, before, after) {
                    continue;
                }
                Some(apart)
            } else {
                None
            };
            different.push((apart, pair));
        }
        let count = different.len() as u64;
        different.sort_by(|one, other| worse_first(one.0, other.0));
        different.truncate(worst);
        let named = different.into_iter().map(|(apart, pair)| self.describe(column, apart, pair));
        let is_number = left_numbers.is_some();
        Ok(MeasureDifference {
            measure: measure.clone(),
            class: *class,
            different: count,
            largest: is_number.then_some(largest),
            sum: is_number.then_some(sum),
            worst: named.collect::<Result<_, _>>()?,
        })
    }

    fn describe(&self, column: usize, apart: Option<f64>, pair: Pair) -> Result<GroupDifference, ArrowError> {
        let (batch, row) = match pair {
            (Some(row), _) => (self.before, row),
            (None, row) => (self.after, row.unwrap_or_default()),
        };
        let dimensions = self.columns.dimensions.iter().enumerate();
        let group = dimensions.map(|(index, key)| Ok((key.clone(), text_at(batch.column(index), Some(row))?)));
        Ok(GroupDifference {
            group: group.collect::<Result<_, ArrowError>>()?,
            before: text_at(self.before.column(column), pair.0)?,
            after: text_at(self.after.column(column), pair.1)?,
            difference: apart.filter(|apart| apart.is_finite()),
        })
    }
}

/// The values as numbers, where they are.
fn numbers(values: &ArrayRef) -> Result<Option<Float64Array>, ArrowError> {
    let wide = match values.data_type() {
        DataType::Timestamp(..) => cast(&cast(values, &DataType::Int64)?, &DataType::Float64)?,
        data_type if data_type.is_numeric() => cast(values, &DataType::Float64)?,
        _ => return Ok(None),
    };
    Ok(Some(wide.as_primitive::<Float64Type>().clone()))
}

/// The value of a group; 0 for none.
fn number_at(values: &Float64Array, row: Option<usize>) -> f64 {
    row.filter(|row| values.is_valid(*row)).map_or(0.0, |row| values.value(row))
}

fn is_on_both_sides(left: &Float64Array, right: &Float64Array, pair: Pair) -> bool {
    matches!(pair, (Some(before), Some(after)) if left.is_valid(before) && right.is_valid(after))
}

fn text_at(values: &ArrayRef, row: Option<usize>) -> Result<Option<String>, ArrowError> {
    let row = row.filter(|row| values.is_valid(*row));
    row.map(|row| array_value_to_string(values.as_ref(), row)).transpose()
}

/// Whether two values that are not the same may stand for the same events, by what their class guarantees.
pub fn is_within_class(class: AggregateClass, before: f64, after: f64) -> bool {
    let (apart, size) = ((before - after).abs(), before.abs().max(after.abs()));
    match class {
        AggregateClass::Exact | AggregateClass::Unbounded => false,
        AggregateClass::Float => (before.is_nan() && after.is_nan()) || apart <= ROUNDING * size.max(LEAST_SIZE),
        AggregateClass::Sketch { bound } => apart <= 2.0 * bound * size,
    }
}

/// What is no number cannot be measured, and stands first.
fn worse_first(one: Option<f64>, other: Option<f64>) -> Ordering {
    let size = |apart: Option<f64>| apart.unwrap_or(f64::INFINITY);
    size(other).total_cmp(&size(one))
}
