//! The tables `system.runs`, what computed the batch views and looked after them, and `system.run_tasks`, the tasks of
//! those runs.
//!
//! Guarantee: a query reads them once, whatever it is joined with, and of the runs that a condition on `run` leaves out
//! no task. They are for operators, and for no page of a browser: reasons may quote events. The rows count towards the
//! memory of SQL.
//! Not here: how they are asked for (`runs_reading.rs`).

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;

use crate::run_batches::{RUN, runs_schema, tasks_schema};
use crate::runs_reading::RunsReading;
use crate::system_table::SystemRows;

/// The rows of `system.runs`.
#[derive(Debug)]
pub(crate) struct Runs;

/// The rows of `system.run_tasks`.
#[derive(Debug)]
pub(crate) struct RunTasks;

#[async_trait]
impl SystemRows for Runs {
    type Reading = RunsReading;
    const WHAT: &'static str = "runs";
    const NARROWED_BY: &'static [&'static str] = &[];

    fn schema() -> SchemaRef {
        runs_schema()
    }

    async fn read(
        reading: &RunsReading,
        state: &dyn Session,
        _scan: (Option<&Vec<usize>>, &[Expr]),
    ) -> Result<Vec<RecordBatch>> {
        let (rows, _) = reading.runs(state).await?;
        Ok(vec![rows])
    }
}

#[async_trait]
impl SystemRows for RunTasks {
    type Reading = RunsReading;
    const WHAT: &'static str = "tasks of runs";
    const NARROWED_BY: &'static [&'static str] = &[RUN];

    fn schema() -> SchemaRef {
        tasks_schema()
    }

    async fn read(
        reading: &RunsReading,
        state: &dyn Session,
        (_, filters): (Option<&Vec<usize>>, &[Expr]),
    ) -> Result<Vec<RecordBatch>> {
        reading.tasks(state, filters).await
    }
}
