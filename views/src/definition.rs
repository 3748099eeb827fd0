//! What a pipeline file defines: sources, static tables and views, checked and planned.
//!
//! In: the text of `pipeline.sql` and the bytes of the static files it names. Out: a [`Pipeline`] or every problem of
//! the file at once. Guarantee: reading is pure; the same text and bytes give the same definition hashes anywhere.
//! Not here: running the plans (`plan.rs`), the combinators (`combinator.rs`).

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, SchemaRef};

use positions::{BorderRule, DefinitionHash, SourceName, ViewName};

/// Key columns that both layers add to a source's declared columns; every name that starts with `_` is ours.
pub mod column {
    /// The partition of the record, INT.
    pub const PARTITION: &str = "_partition";
    /// The offset of the record, BIGINT.
    pub const OFFSET: &str = "_offset";
    /// The record's timestamp in the log, TIMESTAMP (microseconds, UTC).
    pub const TIMESTAMP: &str = "_timestamp";
    /// The unit of recompute that the event falls into, TIMESTAMP (microseconds, UTC).
    pub const BUCKET: &str = "_bucket";
}

/// A whole pipeline file.
#[derive(Clone, Debug, Default)]
pub struct Pipeline {
    /// In the order of the file.
    pub sources: Vec<Arc<SourceDefinition>>,
    /// In the order of the file.
    pub views: Vec<Arc<ViewDefinition>>,
}

/// An event stream.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceDefinition {
    /// The name in SQL.
    pub name: SourceName,
    /// The topic of the log that holds the events.
    pub topic: String,
    /// The columns as declared, NOT NULL (also inside STRUCT) as declared: what decoding checks against.
    pub declared: SchemaRef,
    /// The declared columns, all nullable, then `_partition` INT, `_offset` BIGINT, `_timestamp` TIMESTAMP: what plans
    /// read. NOT NULL is enforced by decoding alone, because the master dataset also keeps rejected rows.
    pub events: SchemaRef,
    /// Index of the event-time column.
    pub event_time: usize,
    /// Index of the event-id column, where events have one.
    pub event_id: Option<usize>,
    /// How long an earlier copy is remembered by the speed layer, in log time.
    pub horizon: Duration,
    /// An event older than its record's timestamp by more than this is late.
    pub late_after: Duration,
    /// An event further in the future of its record's timestamp than this is rejected.
    pub future_limit: Duration,
    /// Where runs must end.
    pub border: BorderRule,
    /// Partitions that the topic is created with.
    pub partitions: i32,
}

/// The unit of recompute: the stretch of event time that is replaced as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// The hour of the event time.
    Hour,
    /// The day of the event time (UTC).
    Day,
    /// The month of the event time (UTC).
    Month,
    /// One bucket for everything: a recompute reads all events.
    None,
}

/// What merging states of an aggregate guarantees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AggregateClass {
    /// Merged equals direct, bit for bit; the state is bounded.
    Exact,
    /// Equal up to the rounding of floating-point sums in another order.
    Float,
    /// Within the published bound of a sketch: the relative error (HLL; three standard deviations, 99.7 % of estimates)
    /// or the rank error (KLL; 99 % of estimates).
    Sketch {
        /// The bound, for example 0.02.
        bound: f64,
    },
    /// Exact, but the state grows with the input; limited by `max_state_bytes` per group.
    Unbounded,
}

/// A group key of a view.
#[derive(Clone, Debug, PartialEq)]
pub struct Dimension {
    /// Its name in the view.
    pub name: String,
    /// Its type in state and answer.
    pub data_type: DataType,
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

/// A view: dimensions, measures, and the plans that compute, merge and finish their states.
#[derive(Clone, Debug)]
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
    /// What a state batch looks like: the dimensions, then one state column per aggregate, all nullable, every type
    /// storable in Delta (no unsigned integers, list items named `element`).
    pub states: SchemaRef,
    /// What an answer looks like: dimensions, then finished measures.
    pub answers: SchemaRef,
    /// The planned parts; see `plan.rs`.
    pub(crate) parts: Arc<crate::plan::ViewParts>,
    /// What was compiled already; see `compiled.rs`.
    pub(crate) compiled: Arc<crate::compiled::CompiledPlans>,
}
