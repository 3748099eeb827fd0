//! The table `system.rejected`: the records that no event could be read from, of all sources.
//!
//! ```text
//!  plan over columns only --reading of one query put in--> scan: sources, reason, columns --> the process --> rows
//! ```
//!
//! Guarantee: of the sources that a condition on `source` leaves out nothing is read, and payloads only where a column
//! of theirs is named. A query asks the same question once, whatever it is joined with. The rows count towards the
//! memory of SQL. Nothing of the table is known to be unique: `MEASURE` merges no state over a join with it that may
//! repeat one (`measure/unique.rs`).
//! Not here: who reads the records, and within which bounds (`rejected_records.rs`).
//! Why so late: the engine tells a scan which conditions and columns are left, wherever they stood in the query.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use positions::SourceName;
use tokio::sync::Mutex;
use views::{SourceDefinition, utc_micros};

use crate::refusal::Refusal;
use crate::rejected_records::{RejectedExtent, RejectedPayload, RejectedQuestion, RejectedReader, RejectedRow};
use crate::scan_conditions::passing;
use crate::system_table::SystemRows;

const SOURCE: &str = "source";
const REASON: &str = "reason";
/// The columns that payloads are read for.
const OF_PAYLOADS: [&str; 4] = ["payload", "encoding", "payload_bytes", "truncated"];

/// The rows of the table.
#[derive(Debug)]
pub(crate) struct RejectedRows;

fn shows_payloads(columns: Option<&Vec<usize>>) -> bool {
    let schema = schema();
    let is_of_payloads = |at: &usize| OF_PAYLOADS.contains(&schema.field(*at).name().as_str());
    columns.is_none_or(|columns| columns.iter().any(is_of_payloads))
}

#[async_trait]
impl SystemRows for RejectedRows {
    type Reading = Reading;
    const WHAT: &'static str = "rejected records";
    const NARROWED_BY: &'static [&'static str] = &[SOURCE, REASON];

    fn schema() -> SchemaRef {
        schema()
    }

    async fn read(
        reading: &Reading,
        state: &dyn Session,
        (columns, filters): (Option<&Vec<usize>>, &[Expr]),
    ) -> Result<Vec<RecordBatch>> {
        let (reason, with_payloads) = (asked_reason(filters), shows_payloads(columns));
        let mut parts = Vec::new();
        for source in passing_sources(state, filters, &reading.sources)? {
            let is_operator = reading.is_operator;
            let question = RejectedQuestion { source, reason: reason.clone(), with_payloads, is_operator };
            parts.push(reading.ask(question, state).await?);
        }
        Ok(parts)
    }
}

/// The rejected records that one query reads.
pub(crate) struct Reading {
    reader: Option<Arc<dyn RejectedReader>>,
    sources: Vec<Arc<SourceDefinition>>,
    is_operator: bool,
    // Written by the scans of the query, which the engine plans side by side: held while one asks, so that no other
    // asks the same. Read once the query has run.
    known: Mutex<BTreeMap<Key, Part>>,
}

/// Source, reason, and whether with payloads.
type Key = (SourceName, Option<String>, bool);

/// What was read for a question.
struct Part {
    rows: RecordBatch,
    extent: RejectedExtent,
    /// Its share of the memory of SQL, for as long as the query runs.
    _memory: MemoryReservation,
}

impl Reading {
    /// Nothing is read before a query asks. `is_operator`: whether who asks may operate the system.
    pub(crate) fn new(
        reader: Option<Arc<dyn RejectedReader>>,
        sources: Vec<Arc<SourceDefinition>>,
        is_operator: bool,
    ) -> Arc<Self> {
        Arc::new(Self { reader, sources, is_operator, known: Mutex::default() })
    }

    /// What is to be said of the records that were read, in the order of sources and reasons.
    pub(crate) async fn extents(&self) -> Vec<RejectedExtent> {
        self.known.lock().await.values().map(|part| part.extent.clone()).collect()
    }

    async fn ask(&self, question: RejectedQuestion, state: &dyn Session) -> Result<RecordBatch> {
        let key = (question.source.name.clone(), question.reason.clone(), question.with_payloads);
        let mut known = self.known.lock().await;
        if let Some(part) = known.get(&key) {
            return Ok(part.rows.clone());
        }
        let Some(reader) = &self.reader else { return Err(no_reader(&question.source.name).into()) };
        let answer = reader.read(&question).await.map_err(Refusal::Unread)?;
        let rows = rows_of(&question.source.name, &answer.records)?;
        let memory = MemoryConsumer::new("rejected records").register(&state.runtime_env().memory_pool);
        memory.try_grow(rows.get_array_memory_size())?;
        known.insert(key, Part { rows: rows.clone(), extent: answer.extent, _memory: memory });
        Ok(rows)
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("is_operator", &self.is_operator).finish_non_exhaustive()
    }
}

fn no_reader(source: &SourceName) -> Refusal {
    Refusal::Bad {
        reason: "this gateway was started without access to rejected records".to_owned(),
        hint: format!("run `twofold rejected {source}`, or ask a process of `twofold gateway` or `twofold up`"),
    }
}

/// The columns of the table.
pub(crate) fn schema() -> SchemaRef {
    let column = |(name, data_type, is_nullable): (&str, DataType, bool)| Field::new(name, data_type, is_nullable);
    let columns = [
        (SOURCE, DataType::Utf8, false),
        ("partition", DataType::Int32, false),
        // Bare, `offset` would begin a clause of SQL.
        ("log_offset", DataType::Int64, false),
        ("time", utc_micros(), false),
        (REASON, DataType::Utf8, false),
        ("column", DataType::Utf8, true),
        ("error", DataType::Utf8, true),
        (OF_PAYLOADS[0], DataType::Utf8, true),
        (OF_PAYLOADS[1], DataType::Utf8, true),
        (OF_PAYLOADS[2], DataType::Int64, true),
        (OF_PAYLOADS[3], DataType::Boolean, true),
    ];
    Arc::new(Schema::new(columns.map(column).to_vec()))
}

fn rows_of(source: &SourceName, records: &[RejectedRow]) -> Result<RecordBatch> {
    let words = || records.iter().map(|record| record.words.as_ref());
    let payloads = || words().map(|words| words.and_then(|words| words.payload.as_ref()));
    let size = |payload: &RejectedPayload| i64::try_from(payload.size_bytes).unwrap_or(i64::MAX);
    let times = TimestampMicrosecondArray::from_iter_values(records.iter().map(|record| record.timestamp.0));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(source.as_str(), records.len()))),
        Arc::new(Int32Array::from_iter_values(records.iter().map(|record| record.partition.0))),
        Arc::new(Int64Array::from_iter_values(records.iter().map(|record| record.offset.0))),
        Arc::new(times.with_data_type(utc_micros())),
        Arc::new(StringArray::from_iter_values(records.iter().map(|record| record.reason))),
        Arc::new(StringArray::from_iter(words().map(|words| words.and_then(|words| words.column.as_deref())))),
        Arc::new(StringArray::from_iter(words().map(|words| words.map(|words| words.error.as_str())))),
        Arc::new(StringArray::from_iter(payloads().map(|payload| payload.map(|payload| payload.text.as_str())))),
        Arc::new(StringArray::from_iter(payloads().map(|payload| payload.map(|payload| payload.encoding)))),
        Arc::new(Int64Array::from_iter(payloads().map(|payload| payload.map(size)))),
        Arc::new(BooleanArray::from_iter(payloads().map(|payload| payload.map(|payload| payload.is_truncated)))),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

/// The sources that the conditions on `source` let pass; all where that cannot be told.
fn passing_sources(
    state: &dyn Session,
    filters: &[Expr],
    sources: &[Arc<SourceDefinition>],
) -> Result<Vec<Arc<SourceDefinition>>> {
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(sources.iter().map(|source| source.name.as_str())));
    let passes = passing(state, filters, SOURCE, names)?;
    let passing = sources.iter().zip(passes).filter(|(_, passes)| *passes);
    Ok(passing.map(|(source, _)| source.clone()).collect())
}

/// The kind of reason that the conditions leave, where one of them is a plain comparison with it.
fn asked_reason(filters: &[Expr]) -> Option<String> {
    filters.iter().find_map(|filter| {
        let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = filter else { return None };
        match (left.as_ref(), right.as_ref()) {
            (Expr::Column(column), Expr::Literal(value, _)) if column.name == REASON => {
                value.try_as_str().flatten().map(str::to_owned)
            }
            _ => None,
        }
    })
}
