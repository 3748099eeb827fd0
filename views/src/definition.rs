//! What a view is, as plain data.
//!
//! In: what `pipeline/` read from `pipeline.sql` and the static files it names. Guarantee: reading is pure; the same
//! text and bytes give the same definition hashes anywhere.
//! Not here: the plans of a view (`plan.rs`), which stand beside its definition (`planned_view.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use positions::{DefinitionHash, ViewName};

use crate::aggregate::AggregateClass;
use crate::bucket::Bucket;
use crate::source::SourceDefinition;
use crate::time_step::TimeStep;

/// A group key of a view.
#[derive(Clone, Debug, PartialEq)]
pub struct Dimension {
    /// Its name in the view.
    pub name: String,
    /// Its type in state and answer.
    pub data_type: DataType,
    /// How its values follow each other, where it is time in bins.
    pub step: Option<TimeStep>,
}

/// A number that a view answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    /// Its name in the view.
    pub name: String,
    /// The type of the finished value.
    pub data_type: DataType,
    /// The weakest class among the aggregates it is made of.
    pub class: AggregateClass,
    /// The expression as SQL text, for people.
    pub expression: String,
    /// Whether finished values may be summed up again: true for plain `count` and `sum` only.
    pub is_additive: bool,
}

/// A view: its dimensions, its measures, and what their states look like.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewDefinition {
    /// The name in SQL.
    pub name: ViewName,
    /// The stream it aggregates.
    pub source: Arc<SourceDefinition>,
    /// Identifies the definition; states of unequal hashes are never merged.
    pub hash: DefinitionHash,
    /// The canonical SQL of the view.
    pub sql: String,
    /// In the order of the SELECT list.
    pub dimensions: Vec<Dimension>,
    /// Index of the first dimension of type TIMESTAMP: what `from` and `to` filter.
    pub time_dimension: Option<usize>,
    /// In the order of the SELECT list.
    pub measures: Vec<Measure>,
    /// The unit of recompute.
    pub bucket: Bucket,
    /// Limit on the state of one group, for measures of class [`AggregateClass::Unbounded`].
    pub max_state_bytes: usize,
    /// The static tables that it joins: name, and a text that differs where content or columns do.
    pub static_tables: BTreeMap<String, String>,
    /// What a state batch looks like: the dimensions, then one state column per aggregate, all nullable, every type
    /// storable in Delta (no unsigned integers, list items named `element`).
    pub states: SchemaRef,
    /// What an answer looks like: dimensions, then finished measures.
    pub answers: SchemaRef,
}

impl ViewDefinition {
    /// The generation of realtime states that holds this definition alone, from the first record on; `None`: it shares
    /// the runs of its source with other views, above the cut of its batch view.
    pub fn generation(&self) -> Option<DefinitionHash> {
        (!self.source.is_recomputed()).then_some(self.hash)
    }
}
