//! Which events are to be erased: a condition on the rows of the master dataset, and a text in rejected records.
//!
//! Guarantee: reads, and changes nothing. Rows are those that every reader of the present definition sees; what was
//! erased before is not found again.
//! Why the text: the columns of a rejected record are NULL, so no condition on them finds it. It is looked for in
//! payloads as they were received; events that merely mention it are counted and left alone, since they may be
//! somebody else's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryArray, StringArray};
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::record_batch::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::common::DFSchema;
use datafusion::datasource::provider_as_source;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, lit};
use datafusion::physical_plan::execute_stream;
use futures::TryStreamExt;
use positions::{Erased, ErasedRecord, Offset, PartitionId};
use records::RecordsError;
use records::decode::{Rejection, column as master_column};
use records::master::{Eraser, MasterDataset, MasterSnapshot};
use serving_layer::BatchViewStore;
use views::column;

use super::{EraseComponents, Found, Wanted};
use crate::master_columns::field;
use crate::{BatchError, engine};

/// Events by their records: the numbers of their rows; 0 for the only one.
type Places = BTreeMap<(PartitionId, Offset), BTreeSet<i32>>;

/// Finds what is wanted.
///
/// # Errors
/// Those of store and engine; of the engine also for a condition that it cannot read.
pub async fn search(components: &EraseComponents, wanted: &Wanted) -> Result<Found, BatchError> {
    let master = MasterDataset::new(&components.context.lake, Arc::clone(&components.source));
    let Some(on) = master.open().await? else { return Ok(Found::default()) };
    on.check_ledger()?;
    let session = engine::session(&components.settings)?;
    let mut found = Found { all_files: on.snapshot.files().len(), ..Found::default() };
    let mut places = Places::new();
    if let Some(condition) = &wanted.condition {
        found.events = choose_by_condition(&session, &on, condition, &mut places).await?;
    }
    if let Some(text) = &wanted.text {
        (found.rejected, found.mentions) = choose_by_text(&session, &on, text, &mut places).await?;
    }
    found.records = places.into_iter().map(erased_record).collect();
    let mut erased = Erased::default();
    found.records.iter().for_each(|record| erased.add(record.clone()));
    let eraser = Eraser::new(on.clone(), Arc::new(erased));
    found.files = on.snapshot.files().iter().filter(|file| eraser.may_touch(file)).count();
    found.versions = count_versions(components, &on).await?;
    Ok(found)
}

fn erased_record(((partition, offset), items): ((PartitionId, Offset), BTreeSet<i32>)) -> ErasedRecord {
    let items = if items.contains(&0) { Vec::new() } else { items.into_iter().collect() };
    ErasedRecord { partition, offset, items }
}

/// A scan of some columns of the rows that were not erased, and of which `condition` is true.
async fn scan(
    session: &SessionState,
    on: &MasterSnapshot,
    condition: Option<Expr>,
    columns: &[&str],
) -> Result<SendableRecordBatchStream, BatchError> {
    let table: Arc<dyn TableProvider> = on.scan()?;
    let error = field(master_column::ERROR);
    let mut rows = LogicalPlanBuilder::scan("master", provider_as_source(table), None)?
        .filter(error.clone().is_null().or(error.not_eq(lit(Rejection::Erased.to_string()))))?;
    if let Some(condition) = condition {
        rows = rows.filter(condition)?;
    }
    let plan = rows.project(columns.iter().map(|name| field(name)))?.build()?;
    Ok(execute_stream(session.create_physical_plan(&plan).await?, session.task_ctx())?)
}

async fn choose_by_condition(
    session: &SessionState,
    on: &MasterSnapshot,
    condition: &str,
    places: &mut Places,
) -> Result<u64, BatchError> {
    let columns = DFSchema::try_from(on.scan()?.schema())?;
    let condition = session.create_logical_expr(condition, &columns)?;
    let wanted = [column::PARTITION, column::OFFSET, master_column::ITEM];
    let mut rows = scan(session, on, Some(condition), &wanted).await?;
    let mut events = 0;
    while let Some(batch) = rows.try_next().await? {
        events += batch.num_rows() as u64;
        for row in 0..batch.num_rows() {
            let (place, item) = place_of(&batch, row);
            places.entry(place).or_default().insert(item);
        }
    }
    Ok(events)
}

/// Adds the rejected records that hold a text; returns how many they are, and how many other events mention it.
async fn choose_by_text(
    session: &SessionState,
    on: &MasterSnapshot,
    text: &str,
    places: &mut Places,
) -> Result<(u64, u64), BatchError> {
    let columns =
        [column::PARTITION, column::OFFSET, master_column::ITEM, master_column::ERROR, master_column::PAYLOAD];
    let mut rows = scan(session, on, None, &columns).await?;
    let (mut rejected, mut mentions) = (0, 0);
    while let Some(batch) = rows.try_next().await? {
        let missing = |name: &str| RecordsError::Unusable(format!("column {name} is of another type"));
        let errors: Option<&StringArray> = batch.column(3).as_string_opt();
        let errors = errors.ok_or_else(|| missing(master_column::ERROR))?;
        let payloads: Option<&BinaryArray> = batch.column(4).as_binary_opt();
        let payloads = payloads.ok_or_else(|| missing(master_column::PAYLOAD))?;
        for row in (0..batch.num_rows()).filter(|row| payloads.is_valid(*row)) {
            if !holds(payloads.value(row), text.as_bytes()) {
                continue;
            }
            let (place, item) = place_of(&batch, row);
            // The first of several has the payload of them all.
            let is_other_event = item == 1
                && on.first_event(payloads.value(row)).is_some_and(|event| !holds(event.as_bytes(), text.as_bytes()));
            if errors.is_valid(row) && !is_other_event {
                rejected += 1;
                places.entry(place).or_default().insert(item);
            } else if !places.contains_key(&place) {
                mentions += 1;
            }
        }
    }
    Ok((rejected, mentions))
}

/// The first three columns.
fn place_of(batch: &RecordBatch, row: usize) -> ((PartitionId, Offset), i32) {
    let partition = batch.column(0).as_primitive::<Int32Type>().value(row);
    let offset = batch.column(1).as_primitive::<Int64Type>().value(row);
    let items = batch.column(2).as_primitive::<Int32Type>();
    // Rows of old files have no number, and are alone.
    let item = if items.is_valid(row) { items.value(row) } else { 0 };
    ((PartitionId(partition), Offset(offset)), item)
}

fn holds(payload: &[u8], text: &[u8]) -> bool {
    !text.is_empty() && payload.windows(text.len()).any(|window| window == text)
}

/// Versions of the master dataset and of the views of the source that stand before the newest.
async fn count_versions(components: &EraseComponents, on: &MasterSnapshot) -> Result<u64, BatchError> {
    let mut versions = on.snapshot.version().0;
    let views = components.context.pipeline.views.iter();
    for view in views.filter(|view| view.source.name == components.source.name) {
        let newest = BatchViewStore::new(&components.context.lake, view.clone()).newest().await?;
        versions += newest.map_or(0, |newest| newest.number().0);
    }
    Ok(versions.unsigned_abs())
}
