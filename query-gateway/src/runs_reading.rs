//! What one query reads of runs and of their tasks.
//!
//! Guarantee: runs are read once for a query, and tasks of the same runs once, whatever they are joined with; tasks
//! some thousands at a time. All of it counts towards the memory of SQL.
//! Not here: the tables (`runs_table.rs`), who reads (`run_rows.rs`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::catalog::Session;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::Expr;
use tokio::sync::Mutex;

use crate::refusal::Refusal;
use crate::run_batches::{RUN, runs_batch, tasks_batch};
use crate::run_rows::RunsReader;
use crate::scan_conditions::passing;

/// Tasks that are asked for at one time, but for those of one run.
const TASKS_AT_ONCE: u64 = 20_000;

/// The runs, and tasks of runs, that one query reads.
pub(crate) struct RunsReading {
    reader: Option<Arc<dyn RunsReader>>,
    is_operator: bool,
    // Written by the first scan of the query: held while it reads, so that no other reads the same.
    known: Mutex<Option<Known>>,
    // Likewise, by the runs that a scan asks for.
    tasks: Mutex<BTreeMap<Vec<u64>, Tasks>>,
}

/// The runs, as a query has read them.
struct Known {
    rows: RecordBatch,
    /// Each run, and how many tasks it has.
    runs: Vec<(u64, u64)>,
    /// Their share of the memory of SQL, for as long as the query runs.
    _memory: MemoryReservation,
}

/// The tasks of some runs, likewise.
struct Tasks {
    rows: Vec<RecordBatch>,
    _memory: MemoryReservation,
}

impl RunsReading {
    /// Nothing is read before a query asks. `is_operator`: whether who asks may operate the system, and is no page of a
    /// browser.
    pub(crate) fn new(reader: Option<Arc<dyn RunsReader>>, is_operator: bool) -> Arc<Self> {
        Arc::new(Self { reader, is_operator, known: Mutex::default(), tasks: Mutex::default() })
    }

    fn reader(&self) -> Result<&Arc<dyn RunsReader>> {
        let reader = self.reader.as_ref().filter(|_| self.is_operator);
        Ok(reader.ok_or_else(|| no_reader(self.is_operator))?)
    }

    /// All runs, with their numbers and how many tasks they have.
    pub(crate) async fn runs(&self, state: &dyn Session) -> Result<(RecordBatch, Vec<(u64, u64)>)> {
        let mut known = self.known.lock().await;
        if let Some(Known { rows, runs, .. }) = &*known {
            return Ok((rows.clone(), runs.clone()));
        }
        let read = self.reader()?.read().await.map_err(Refusal::RunsUnread)?;
        let rows = runs_batch(&read)?;
        let memory = reservation(state);
        memory.try_grow(rows.get_array_memory_size())?;
        let runs: Vec<(u64, u64)> = read.iter().map(|run| (run.run, run.tasks)).collect();
        *known = Some(Known { rows: rows.clone(), runs: runs.clone(), _memory: memory });
        Ok((rows, runs))
    }

    /// The tasks of the runs that the conditions on `run` let pass.
    pub(crate) async fn tasks(&self, state: &dyn Session, filters: &[Expr]) -> Result<Vec<RecordBatch>> {
        let (rows, runs) = self.runs(state).await?;
        let passes = passing(state, filters, RUN, rows.column(0).clone())?;
        let meant: Vec<(u64, u64)> = runs.into_iter().zip(passes).filter_map(|(run, is)| is.then_some(run)).collect();
        let key: Vec<u64> = meant.iter().map(|(run, _)| *run).collect();
        let mut known = self.tasks.lock().await;
        if let Some(tasks) = known.get(&key) {
            return Ok(tasks.rows.clone());
        }
        let (reader, memory, mut read) = (self.reader()?, reservation(state), Vec::new());
        for runs in portions(&meant) {
            let tasks = reader.tasks(&runs).await.map_err(Refusal::RunsUnread)?;
            let rows = tasks_batch(&tasks)?;
            memory.try_grow(rows.get_array_memory_size())?;
            read.push(rows);
        }
        known.insert(key, Tasks { rows: read.clone(), _memory: memory });
        Ok(read)
    }
}

fn reservation(state: &dyn Session) -> MemoryReservation {
    MemoryConsumer::new("runs").register(&state.runtime_env().memory_pool)
}

/// Runs in portions of [`TASKS_AT_ONCE`] tasks; one that has more is a portion by itself.
fn portions(runs: &[(u64, u64)]) -> Vec<Vec<u64>> {
    let (mut portions, mut tasks): (Vec<Vec<u64>>, u64) = (Vec::new(), 0);
    for (run, of_run) in runs {
        tasks = tasks.saturating_add(*of_run);
        match portions.last_mut().filter(|_| tasks <= TASKS_AT_ONCE) {
            Some(last) => last.push(*run),
            None => {
                portions.push(vec![*run]);
                tasks = *of_run;
            }
        }
    }
    portions
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
