//! `twofold validate`: says what a pipeline file defines, or everything that is wrong with it, views that cannot be run
//! among it; and what in it fits badly to the configuration.

use std::fmt::Write as _;

use anyhow::Result;
use positions::format_span;
use views::{AggregateClass, Bucket, Measure, Pipeline, PlannedView, SourceDefinition, Unreadable, sql_name};

use super::read_config;
use crate::arguments::{SettingsArguments, ValidateArguments};
use crate::console::say;
use crate::kappa::check_settings;
use crate::pipeline_file::read_runnable;
use crate::schedules::check_schedules;
use crate::warnings::all_warnings;

/// Runs the command.
///
/// # Errors
/// Every problem of the file at once, or of the configuration, its schedules among it.
pub async fn validate(arguments: &ValidateArguments) -> Result<()> {
    let settings = SettingsArguments { config: arguments.config.clone(), ..SettingsArguments::default() };
    let config = read_config(&settings, "")?;
    let pipeline = read_runnable(&arguments.pipeline).await?;
    check_schedules(&config, &pipeline)?;
    check_settings(&config, &pipeline)?;
    say(&describe(&pipeline)?);
    all_warnings(&config, &pipeline).iter().for_each(|warning| say(&format!("warning: {warning}\n")));
    Ok(())
}

/// A pipeline in words.
///
/// # Errors
/// If an expression of a view cannot be shown.
pub fn describe(pipeline: &Pipeline) -> Result<String> {
    let mut text = String::new();
    pipeline.sources.iter().for_each(|source| text.push_str(&describe_source(source)));
    for view in &pipeline.views {
        text.push_str(&describe_view(view)?);
    }
    Ok(text)
}

fn describe_source(source: &SourceDefinition) -> String {
    let ids: Vec<&str> = source.event_id_names().collect();
    let id = if ids.is_empty() { "none: copies cannot be recognised".to_owned() } else { ids.join(" and ") };
    let unreadable = match source.unreadable {
        Unreadable::Null => "NULL where the column may be, and counted by column; else the record is rejected",
        Unreadable::Reject => "the record is rejected",
    };
    let partitions = match source.partitions {
        Some(written) => format!("{written} partitions or more"),
        None => "the partitions that it has".to_owned(),
    };
    let mode = if source.is_recomputed() { "" } else { "\n  mode kappa: the speed layer alone computes its views" };
    format!(
        "source {} (topic {}, {partitions}){mode}\n  event time {}, event id {id}\n  horizon {}, late after {}, grid {}, \
         gap {}\n  an unreadable value: {unreadable}\n\n",
        source.name,
        source.topic,
        source.event_time_name(),
        format_span(source.horizon),
        format_span(source.late_after),
        source.border.grid,
        format_span(source.border.gap),
    )
}

fn describe_view(view: &PlannedView) -> Result<String> {
    let mut text =
        format!("view {} of {}, by {}\n  hash {}\n", view.name, view.source.name, bucket_name(view.bucket), view.hash);
    let widest = view.dimensions.iter().map(|d| d.name.len()).chain(view.measures.iter().map(|m| m.name.len())).max();
    let width = widest.unwrap_or(0);
    for dimension in &view.dimensions {
        let _ = writeln!(text, "  dimension {:<width$}  {}", dimension.name, sql_name(&dimension.data_type));
    }
    for measure in &view.measures {
        let _ = writeln!(text, "  measure   {:<width$}  {}  {}", measure.name, class_name(measure), measure.expression);
    }
    for part in view.plans.fallible_parts()? {
        let _ = writeln!(text, "  NULL where it fails on a row: {part}");
    }
    text.push('\n');
    Ok(text)
}

fn bucket_name(bucket: Bucket) -> &'static str {
    match bucket {
        Bucket::Hour => "hour",
        Bucket::Day => "day",
        Bucket::Month => "month",
        Bucket::None => "one bucket",
    }
}

fn class_name(measure: &Measure) -> String {
    let name = measure.class.as_str();
    match measure.class {
        AggregateClass::Exact => name.to_owned(),
        AggregateClass::Float => format!("{name} (exact up to rounding)"),
        AggregateClass::Sketch { bound } => format!("{name} (within {:.2} %)", bound * 100.0),
        AggregateClass::Unbounded => format!("{name} (exact, state limited by max_state_bytes)"),
    }
}
