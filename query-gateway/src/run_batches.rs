//! Runs and their tasks as Arrow batches, and the columns that they have in SQL.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::error::Result;
use positions::TimestampMicros;
use views::utc_micros;

use crate::run_rows::{RunRow, RunTaskRow};

/// The number of a run: of which runs tasks need be read, conditions on it say.
pub(crate) const RUN: &str = "run";

/// The columns of `system.runs`.
pub(crate) fn runs_schema() -> SchemaRef {
    let column = |(name, data_type, is_nullable): (&str, DataType, bool)| Field::new(name, data_type, is_nullable);
    let columns = [
        (RUN, DataType::Int64, false),
        ("state", DataType::Utf8, false),
        ("kind", DataType::Utf8, false),
        ("mode", DataType::Utf8, false),
        ("source", DataType::Utf8, false),
        ("views", DataType::Utf8, false),
        ("schedule", DataType::Utf8, true),
        ("created_at", utc_micros(), false),
        ("started_at", utc_micros(), true),
        ("ended_at", utc_micros(), true),
        ("tasks", DataType::Int64, false),
        ("tasks_done", DataType::Int64, false),
        ("rows_read", DataType::Int64, false),
        ("bytes_read", DataType::Int64, false),
        ("worked_millis", DataType::Int64, false),
        ("missed_deadline", DataType::Boolean, false),
        ("reason", DataType::Utf8, true),
    ];
    Arc::new(Schema::new(columns.map(column).to_vec()))
}

/// Runs as rows.
pub(crate) fn runs_batch(runs: &[RunRow]) -> Result<RecordBatch> {
    let text = |of: fn(&RunRow) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(runs.iter().map(of))) };
    let words = |of: fn(&RunRow) -> Option<&str>| -> ArrayRef { Arc::new(StringArray::from_iter(runs.iter().map(of))) };
    let number = |of: fn(&RunRow) -> u64| -> ArrayRef {
        let numbers = runs.iter().map(|run| i64::try_from(of(run)).unwrap_or(i64::MAX));
        Arc::new(Int64Array::from_iter_values(numbers))
    };
    let instant = |of: fn(&RunRow) -> Option<TimestampMicros>| -> ArrayRef {
        let instants = runs.iter().map(|run| of(run).map(|at| at.0));
        Arc::new(TimestampMicrosecondArray::from_iter(instants).with_data_type(utc_micros()))
    };
    let missed = BooleanArray::from_iter(runs.iter().map(|run| Some(run.missed_deadline)));
    let columns: Vec<ArrayRef> = vec![
        number(|run| run.run),
        text(|run| run.state),
        text(|run| &run.kind),
        text(|run| run.mode),
        text(|run| &run.source),
        text(|run| &run.views),
        words(|run| run.schedule.as_deref()),
        instant(|run| Some(run.created_at)),
        instant(|run| run.started_at),
        instant(|run| run.ended_at),
        number(|run| run.tasks),
        number(|run| run.tasks_done),
        number(|run| run.rows_read),
        number(|run| run.bytes_read),
        number(|run| run.worked_millis),
        Arc::new(missed),
        words(|run| run.reason.as_deref()),
    ];
    Ok(RecordBatch::try_new(runs_schema(), columns)?)
}

/// The columns of `system.run_tasks`.
pub(crate) fn tasks_schema() -> SchemaRef {
    let column = |(name, data_type, is_nullable): (&str, DataType, bool)| Field::new(name, data_type, is_nullable);
    let columns = [
        (RUN, DataType::Int64, false),
        ("task", DataType::Int64, false),
        ("kind", DataType::Utf8, false),
        ("state", DataType::Utf8, false),
        ("after", DataType::Utf8, false),
        ("waits_for", DataType::Int64, false),
        ("attempt", DataType::Int64, false),
        ("failures", DataType::Int64, false),
        ("since", utc_micros(), false),
        ("weight_bytes", DataType::Int64, false),
        ("rows_read", DataType::Int64, false),
        ("bytes_read", DataType::Int64, false),
        ("worked_millis", DataType::Int64, true),
        ("phase", DataType::Utf8, true),
        ("process", DataType::Utf8, true),
        ("reason", DataType::Utf8, true),
    ];
    Arc::new(Schema::new(columns.map(column).to_vec()))
}

/// Tasks as rows.
pub(crate) fn tasks_batch(tasks: &[RunTaskRow]) -> Result<RecordBatch> {
    let text =
        |of: fn(&RunTaskRow) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(tasks.iter().map(of))) };
    let words =
        |of: fn(&RunTaskRow) -> Option<&str>| -> ArrayRef { Arc::new(StringArray::from_iter(tasks.iter().map(of))) };
    let number = |of: fn(&RunTaskRow) -> Option<u64>| -> ArrayRef {
        let numbers = tasks.iter().map(|task| of(task).map(|number| i64::try_from(number).unwrap_or(i64::MAX)));
        Arc::new(Int64Array::from_iter(numbers))
    };
    let since = TimestampMicrosecondArray::from_iter_values(tasks.iter().map(|task| task.since.0));
    let columns: Vec<ArrayRef> = vec![
        number(|task| Some(task.run)),
        number(|task| Some(u64::from(task.task))),
        text(|task| &task.kind),
        text(|task| task.state),
        text(|task| &task.after),
        number(|task| Some(u64::from(task.waits_for))),
        number(|task| Some(u64::from(task.attempt))),
        number(|task| Some(u64::from(task.failures))),
        Arc::new(since.with_data_type(utc_micros())),
        number(|task| Some(task.weight_bytes)),
        number(|task| Some(task.rows_read)),
        number(|task| Some(task.bytes_read)),
        number(|task| task.worked_millis),
        words(|task| task.phase.as_deref()),
        words(|task| task.process.as_deref()),
        words(|task| task.reason.as_deref()),
    ];
    Ok(RecordBatch::try_new(tasks_schema(), columns)?)
}
