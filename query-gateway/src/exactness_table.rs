//! The table `system.exactness`: how each publication compared with what it replaced, of all views.
//!
//! Guarantee: a query reads it once, whatever it is joined with, and nothing where it does not name the table. It is
//! for operators, and for no page of a browser: it names groups. The rows count towards the memory of SQL.
//! Not here: how reports are made (`exactness.rs`), where they are kept (`serving-layer/src/exactness.rs`).

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::Expr;
use serving_layer::exactness::{batch_of, schema};
use tokio::sync::Mutex;

use crate::refresh::SourceReader;
use crate::refusal::Refusal;
use crate::system_table::SystemRows;

/// The rows of the table.
#[derive(Debug)]
pub(crate) struct Reports;

#[async_trait]
impl SystemRows for Reports {
    type Reading = ExactnessReading;
    const WHAT: &'static str = "reports";
    const NARROWED_BY: &'static [&'static str] = &[];

    fn schema() -> SchemaRef {
        schema()
    }

    async fn read(
        reading: &ExactnessReading,
        state: &dyn Session,
        _scan: (Option<&Vec<usize>>, &[Expr]),
    ) -> Result<Vec<RecordBatch>> {
        Ok(vec![reading.rows(state).await?])
    }
}

/// The reports that one query reads.
pub(crate) struct ExactnessReading {
    sources: Vec<Arc<SourceReader>>,
    is_operator: bool,
    // Written by the first scan of the query: held while it reads, so that no other reads the same.
    known: Mutex<Option<(RecordBatch, MemoryReservation)>>,
}

impl ExactnessReading {
    /// Nothing is read before a query asks. `is_operator`: whether who asks may operate the system, and is no page of a
    /// browser.
    pub(crate) fn new(sources: Vec<Arc<SourceReader>>, is_operator: bool) -> Arc<Self> {
        Arc::new(Self { sources, is_operator, known: Mutex::default() })
    }

    async fn rows(&self, state: &dyn Session) -> Result<RecordBatch> {
        let mut known = self.known.lock().await;
        if let Some((rows, _)) = &*known {
            return Ok(rows.clone());
        }
        if !self.is_operator {
            let reason = "reports of exactness are told to those alone who may operate the system, and to no page of a \
                          browser";
            let hint = "ask `GET /v1/views/{view}/exactness`, which names groups to those who see all rows";
            return Err(Refusal::Bad { reason: reason.to_owned(), hint: hint.to_owned() }.into());
        }
        let memory = MemoryConsumer::new("exactness").register(&state.runtime_env().memory_pool);
        let mut all = Vec::new();
        for source in &self.sources {
            for reader in source.live_views().into_iter().filter(|reader| !reader.is_former) {
                let failed = |error: serving_layer::ServingError| Refusal::ReportsUnread(error.to_string());
                let batch = batch_of(&reader.exactness.read().await.map_err(failed)?).map_err(failed)?;
                memory.try_grow(batch.get_array_memory_size())?;
                all.push(batch);
            }
        }
        let rows = arrow::compute::concat_batches(&schema(), &all)?;
        *known = Some((rows.clone(), memory));
        Ok(rows)
    }
}

impl fmt::Debug for ExactnessReading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExactnessReading").field("is_operator", &self.is_operator).finish_non_exhaustive()
    }
}
