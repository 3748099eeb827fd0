//! Correlation and regression of distinct pairs, as PostgreSQL has them: a pair that comes again changes nothing.
//!
//! State: a list of DOUBLE, the two values of each pair one behind the other, pairs ascending.
//! Guarantee: merged equals direct, bit for bit: the value is made of the pairs in ascending order. -0.0 is 0.0, and
//! all NaN are one. A row that lacks one of both values is no pair.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, ListArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Float64Type};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, exec_err};
use datafusion::logical_expr::{Accumulator, EmitTo};

use super::distinct::Keyed;
use super::moments::{Moment, groups};
use super::normal::normal;

/// The distinct pairs of one group.
#[derive(Debug)]
pub(super) struct DistinctPairs {
    moment: Moment,
    pairs: HashSet<(i64, i64)>,
}

impl DistinctPairs {
    /// `moment` is made of the pairs.
    pub(super) fn new(moment: Moment) -> Self {
        Self { moment, pairs: HashSet::new() }
    }

    fn sorted(&self) -> Vec<(i64, i64)> {
        let mut pairs: Vec<_> = self.pairs.iter().copied().collect();
        pairs.sort_unstable();
        pairs
    }
}

impl Accumulator for DistinctPairs {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [first, second] = values else {
            return exec_err!("pairs are made of two columns, not of {}", values.len());
        };
        let (first, second) = (normal(first)?, normal(second)?);
        let (first, second) = (floats(&first)?, floats(&second)?);
        let nulls = NullBuffer::union(first.nulls(), second.nulls());
        let pairs = first.values().iter().zip(second.values()).enumerate();
        let valid = pairs.filter(|(row, _)| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*row)));
        self.pairs.extend(valid.map(|(_, (first, second))| (first.key(), second.key())));
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let sets = states[0]
            .as_list_opt::<i32>()
            .ok_or_else(|| exec_datafusion_err!("a set of pairs is {}", states[0].data_type()))?;
        for set in sets.iter().flatten() {
            let set = floats(&set)?.values().to_vec();
            if !set.len().is_multiple_of(2) {
                return exec_err!("a set of pairs has {} values", set.len());
            }
            self.pairs.extend(set.chunks_exact(2).map(|pair| (pair[0].key(), pair[1].key())));
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let pairs = self.sorted().into_iter().flat_map(|(first, second)| [first, second]);
        let values = Float64Array::from_iter_values(pairs.map(f64::of_key));
        let field = Arc::new(Field::new_list_field(DataType::Float64, true));
        let offsets = OffsetBuffer::from_lengths([values.len()]);
        Ok(vec![ScalarValue::List(Arc::new(ListArray::try_new(field, offsets, Arc::new(values), None)?))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let (first, second): (Vec<f64>, Vec<f64>) =
            self.sorted().into_iter().map(|(first, second)| (f64::of_key(first), f64::of_key(second))).unzip();
        let places = vec![0; first.len()];
        let values: [ArrayRef; 2] = [Arc::new(Float64Array::from(first)), Arc::new(Float64Array::from(second))];
        let mut one = groups(self.moment);
        one.update_batch(&values, &places, None, 1)?;
        ScalarValue::try_from_array(&one.evaluate(EmitTo::All)?, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.pairs.capacity() * (size_of::<(i64, i64)>() + 1)
    }
}

fn floats(array: &ArrayRef) -> Result<&Float64Array> {
    let found = array.as_primitive_opt::<Float64Type>();
    found.ok_or_else(|| exec_datafusion_err!("pairs of DOUBLE got {}", array.data_type()))
}
