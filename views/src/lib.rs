//! Definitions: pipeline SQL to views, and each view to the plans that both layers run.
//!
//! ```text
//!  pipeline.sql --> Pipeline --> PlannedView: ViewDefinition (data)
//!                                             ViewPlans: state_plan | merge_plan | finish_plan
//! ```
//!
//! Guarantee: everything here is pure. No IO, no clock, no randomness.
//! Not here: where the layers meet in the log (`positions`).
//! Why so: the same plans run in production, in the property tests and under a simulated scheduler.

mod aggregate;
mod article;
mod bucket;
mod caught;
mod checked;
mod comparable;
mod compiled;
mod date_bin;
mod declared;
mod definition;
mod dialect;
mod difference;
mod distinct_row;
mod error;
mod failed_rows;
mod fallible;
mod fallible_parts;
mod float_key;
mod function_parts;
mod hash;
mod hidden_null;
mod json;
mod named_casts;
mod nearest;
mod nesting;
mod one_zero;
mod or_null;
mod overflows;
mod pipeline;
mod plan;
mod plan_cache;
mod planned_view;
mod row_errors;
mod sample;
mod session;
mod source;
mod sql_name;
mod storable;
mod stream;
mod time_pattern;
mod time_step;
mod unnest;

pub use aggregate::{
    AGGREGATES, AggregateClass, AggregateFacts, BoundOfCall, ClassRule, DdSketch, Distinct, KllDouble, KllItem,
    KllSketch, MergeFacts, OverflowCounts, Refusal, Support, aggregate_facts, print_aggregates, sum_function,
};
pub use article::with_article;
pub use bucket::{Bucket, bucket_expr, bucket_of};
pub use caught::caught;
pub use checked::CheckedArithmetic;
pub use comparable::Comparable;
pub use compiled::Compiled;
pub use declared::{as_json, declared_extras, default_of, is_json, with_default};
pub use definition::{Dimension, Measure, ViewDefinition};
pub use dialect::{Misreading, mend, misreadings};
pub use difference::{GroupComparison, GroupDifference, MeasureDifference, compare_groups, is_within_class};
pub use distinct_row::name_rows;
pub use error::{DefinitionError, Finding, PipelineError, is_state_limit};
pub use failed_rows::FailedRows;
pub use fallible::count_failures;
pub use function_parts::{AggregateParts, ScalarParts, is_lenient, lenient_function};
pub use json::{append_unescaped, number_prefix};
pub use nearest::{Spelling, called_here, did_you_mean};
pub use nesting::{TooDeep, check_nesting};
pub use pipeline::changes::{ChangeKind, NamedChange, PartChange, PartKind};
pub use pipeline::difference::PipelineDifference;
pub use pipeline::{MAX_STATIC_BYTES, Pipeline, path_of_key};
pub use plan::ViewPlans;
pub use planned_view::PlannedView;
pub use sample::sample_events;
pub use session::{session_state, session_state_builder};
pub use source::{
    ColumnMapping, Envelope, EpochUnit, SourceDefinition, SourceFormat, SourceMode, TimeFormat, Unreadable, column,
};
pub use sql_name::{AS_INSTANT, NO_INSTANT, declared_name, in_sql_words, sql_name};
pub use storable::{map_of, map_value, utc_micros, utc_scalar};
pub use time_step::TimeStep;
