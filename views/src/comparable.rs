//! What two definitions of one view have in common, so that their answers can be compared.
//!
//! In: the definitions. Out: the dimensions to roll both up to, the measures to compare, and what is left out, in
//! words.
//! Guarantee: pure. Only columns of one name and one type are compared; nothing is left out silently. What counts as
//! different is decided by the weaker of the two classes of a measure.
//! Not here: comparing values (`difference.rs`), where answers come from (`batch-layer`, `twofold`).
//! Why by fewer dimensions: states of both definitions merge to them, so that each group counts the same events.

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use crate::aggregate::AggregateClass;
use crate::definition::{Dimension, Measure, ViewDefinition};
use crate::difference::{ComparedColumns, GroupComparison, compare_columns};
use crate::sql_name::sql_name;

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparable {
    columns: ComparedColumns,
    /// Where each measure stands among those of the first and of the second definition.
    places: Vec<(usize, usize)>,
    /// What is not compared, and why: a sentence each.
    pub left_out: Vec<String>,
}

impl Comparable {
    /// Of two definitions, the former one first.
    pub fn between(before: &ViewDefinition, after: &ViewDefinition) -> Self {
        let mut found = Self { columns: ComparedColumns::default(), places: Vec::new(), left_out: Vec::new() };
        for old in &before.dimensions {
            let new = after.dimensions.iter().find(|new| new.name == old.name).map(|new| &new.data_type);
            if found.is_shared(("dimension", old.name.as_str()), &old.data_type, new) {
                found.columns.dimensions.push(old.name.clone());
            }
        }
        let is_new = |new: &&Dimension| before.dimensions.iter().all(|old| old.name != new.name);
        found.left_out.extend(after.dimensions.iter().filter(is_new).map(|new| alone("dimension", &new.name)));
        for (at, old) in before.measures.iter().enumerate() {
            let place = after.measures.iter().position(|new| new.name == old.name);
            let new = place.map(|place| &after.measures[place]);
            let is_shared =
                found.is_shared(("measure", old.name.as_str()), &old.data_type, new.map(|new| &new.data_type));
            if let (true, Some(place), Some(new)) = (is_shared, place, new) {
                found.columns.measures.push((old.name.clone(), weaker(old.class, new.class)));
                found.places.push((at, place));
            }
        }
        let is_new = |new: &&Measure| before.measures.iter().all(|old| old.name != new.name);
        found.left_out.extend(after.measures.iter().filter(is_new).map(|new| alone("measure", &new.name)));
        found
    }

    /// The dimensions that the answers of both are to be rolled up to.
    pub fn dimensions(&self) -> Vec<&str> {
        self.columns.dimensions.iter().map(String::as_str).collect()
    }

    /// Compares an answer of each definition at the grain of [`Self::dimensions`]: these, then all of its measures. Of
    /// each measure the `worst` groups that differ most are named.
    ///
    /// # Errors
    /// Only for a defect: batches that are no such answers.
    pub fn compare(
        &self,
        before: &RecordBatch,
        after: &RecordBatch,
        worst: usize,
    ) -> Result<GroupComparison, ArrowError> {
        let keys = self.columns.dimensions.len();
        let of = |batch: &RecordBatch, place: fn(&(usize, usize)) -> usize| {
            let measures = self.places.iter().map(|places| keys + place(places));
            batch.project(&(0..keys).chain(measures).collect::<Vec<_>>())
        };
        let (before, after) = (of(before, |places| places.0)?, of(after, |places| places.1)?);
        compare_columns(&self.columns, &before, &after, worst)
    }

    fn is_shared(&mut self, (what, name): (&str, &str), before: &DataType, after: Option<&DataType>) -> bool {
        match after {
            Some(after) if after == before => return true,
            Some(after) => {
                let (before, after) = (sql_name(before), sql_name(after));
                self.left_out.push(format!("{what} {name} is {before} in the former definition, {after} in the other"));
            }
            None => self.left_out.push(format!("{what} {name} is in the former definition alone")),
        }
        false
    }
}

fn alone(what: &str, name: &str) -> String {
    format!("{what} {name} is in the newer definition alone")
}

/// What a difference of two measures may mean at most.
fn weaker(one: AggregateClass, other: AggregateClass) -> AggregateClass {
    match (one, other) {
        (AggregateClass::Sketch { bound: one }, AggregateClass::Sketch { bound: other }) => {
            AggregateClass::Sketch { bound: one.max(other) }
        }
        (sketch @ AggregateClass::Sketch { .. }, _) | (_, sketch @ AggregateClass::Sketch { .. }) => sketch,
        (AggregateClass::Float, _) | (_, AggregateClass::Float) => AggregateClass::Float,
        (_, other) => other,
    }
}
