//! The table `system.runs`: the runs that compute batch views, as the process around the gateway knows them.
//!
//! Guarantee: a query reads them once, whatever it is joined with, and nothing where it does not name the table. They
//! are for operators, and for no page of a browser: reasons may quote events. The rows count towards the memory of SQL.
//! Not here: how they are asked for (`run_rows.rs`).

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::{MemTable, source_as_provider};
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::logical_plan::TableScan;
use datafusion::logical_expr::{Expr, LogicalPlan, TableType};
use datafusion::physical_plan::ExecutionPlan;
use positions::TimestampMicros;
use tokio::sync::Mutex;
use views::utc_micros;

use crate::refusal::Refusal;
use crate::run_rows::{RunRow, RunsReader};
use crate::same_scan::same_scan;

/// See the module.
#[derive(Debug)]
pub(crate) struct RunsTable {
    schema: SchemaRef,
    /// What a query reads; `None`: columns only, to plan with.
    reading: Option<Arc<RunsReading>>,
}

impl RunsTable {
    /// The table as columns only.
    pub(crate) fn columns_only() -> Self {
        Self { schema: schema(), reading: None }
    }

    /// Whether a scan reads the table.
    pub(crate) fn is_read_by(scan: &TableScan) -> bool {
        source_as_provider(&scan.source).is_ok_and(|provider| provider.is::<Self>())
    }

    /// The same scan over what a query reads.
    pub(crate) fn over(reading: &Arc<RunsReading>, scan: &TableScan) -> Result<LogicalPlan> {
        let table = Self { schema: schema(), reading: Some(reading.clone()) };
        same_scan(scan, Arc::new(table))
    }
}

#[async_trait]
impl TableProvider for RunsTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(reading) = &self.reading else {
            return Err(Refusal::Defect("runs were planned without being read".to_owned()).into());
        };
        let rows = reading.rows(state).await?;
        MemTable::try_new(self.schema(), vec![vec![rows]])?.scan(state, projection, &[], limit).await
    }
}

/// The runs that one query reads.
pub(crate) struct RunsReading {
    reader: Option<Arc<dyn RunsReader>>,
    is_operator: bool,
    // Written by the first scan of the query: held while it reads, so that no other reads the same.
    known: Mutex<Option<(RecordBatch, MemoryReservation)>>,
}

impl RunsReading {
    /// Nothing is read before a query asks. `is_operator`: whether who asks may operate the system, and is no page of a
    /// browser.
    pub(crate) fn new(reader: Option<Arc<dyn RunsReader>>, is_operator: bool) -> Arc<Self> {
        Arc::new(Self { reader, is_operator, known: Mutex::default() })
    }

    async fn rows(&self, state: &dyn Session) -> Result<RecordBatch> {
        let mut known = self.known.lock().await;
        if let Some((rows, _)) = &*known {
            return Ok(rows.clone());
        }
        let reader = self.reader.as_ref().filter(|_| self.is_operator).ok_or_else(|| no_reader(self.is_operator))?;
        let read = reader.read().await.map_err(Refusal::RunsUnread)?;
        let rows = rows_of(&read)?;
        let memory = MemoryConsumer::new("runs").register(&state.runtime_env().memory_pool);
        memory.try_grow(rows.get_array_memory_size())?;
        *known = Some((rows.clone(), memory));
        Ok(rows)
    }
}

impl fmt::Debug for RunsReading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunsReading").field("is_operator", &self.is_operator).finish_non_exhaustive()
    }
}

fn no_reader(is_operator: bool) -> Refusal {
    let reason = match is_operator {
        true => "this gateway was started without access to runs",
        false => "runs are told to those alone who may operate the system, and to no page of a browser",
    };
    Refusal::Bad { reason: reason.to_owned(), hint: "run `twofold runs list`".to_owned() }
}

/// The columns of the table.
pub(crate) fn schema() -> SchemaRef {
    let column = |(name, data_type, is_nullable): (&str, DataType, bool)| Field::new(name, data_type, is_nullable);
    let columns = [
        ("run", DataType::Int64, false),
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

fn rows_of(runs: &[RunRow]) -> Result<RecordBatch> {
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
    Ok(RecordBatch::try_new(schema(), columns)?)
}
