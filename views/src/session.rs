//! The query engine as every crate uses it: UTC, plain string types, and the functions of this crate.
//!
//! Guarantee: two processes with this state plan and run the same SQL to the same values.
//! Not here: limits on memory and rows; callers bring their own runtime.

use std::sync::Arc;

use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::prelude::SessionConfig;

use crate::aggregate::replacements;
use crate::date_bin::date_bin;
use crate::distinct_row::distinct_row;
use crate::json;
use crate::named_casts::NamedCasts;
use crate::one_zero::OneZero;

/// A DataFusion session state with deterministic settings, our aggregates (`approx_distinct`, `approx_percentile_cont`,
/// `approx_top_k`, `ddsketch_percentile`, `max_by`, `min_by`, `mode`, `visits` and its like) and `date_bin`, and the
/// functions that read JSON.
///
/// Costs a few milliseconds: build it once and clone it.
pub fn session_state() -> SessionState {
    session_state_builder().build()
}

/// The builder behind [`session_state`], for callers that bring their own runtime environment or parallelism.
pub fn session_state_builder() -> SessionStateBuilder {
    let builder = SessionStateBuilder::new().with_config(session_config()).with_default_features();
    let mut builder = builder.with_analyzer_rule(Arc::new(OneZero));
    let functions = builder.aggregate_functions().get_or_insert_default();
    // The later one of a name wins; ours replace the engine's.
    functions.extend(replacements().map(Arc::new));
    builder.expr_planners().get_or_insert_default().push(Arc::new(NamedCasts));
    let functions = builder.scalar_functions().get_or_insert_default();
    functions.push(Arc::new(date_bin()));
    functions.push(Arc::new(distinct_row()));
    functions.extend(json::functions().map(Arc::new));
    builder
}

/// The settings that answers depend on.
pub(crate) fn session_config() -> SessionConfig {
    let mut config = SessionConfig::new();
    let options = config.options_mut();
    options.execution.time_zone = Some("UTC".to_owned());
    options.execution.parquet.schema_force_view_types = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.collect_spans = true;
    // The rule behind it moves the access to a field of a STRUCT (`meta['domain']`) towards the scan, into the
    // projection below. Where that passes columns on under their own names (`x AS x`: the leaves of our plans, and any
    // subquery that is written so), it takes them for missing, adds each once more, and fails with "x would be
    // ambiguous". Without it a recompute reads and decodes a STRUCT column whole for one field of it; in memory it
    // saved nothing anyway.
    options.optimizer.enable_leaf_expression_pushdown = false;
    config
}
