//! Which events are to be erased: a condition on the rows of the master dataset, their age, a text in rejected records.
//!
//! Guarantee: reads, and changes nothing. Rows are those that every reader of the present definition sees; what was
//! erased before is not found again.
//! Why the text: the columns of a rejected record are NULL, so no condition on them finds it. It is looked for in
//! payloads as they were received; events that merely mention it are counted and left alone, since they may be
//! somebody else's.
//! Why whole days for an age: a day of a view is there or gone, unless it is one of another zone.
//! Memory: one entry for records next to each other, one for each record of which some events are chosen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, BinaryArray, StringArray};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNode;
use datafusion::datasource::provider_as_source;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, lit};
use datafusion::physical_plan::execute_stream;
use futures::TryStreamExt;
use positions::{Erased, ErasedRecord, Offset, OffsetSet, PartitionId, TimestampMicros, is_plausible, micros};
use records::RecordsError;
use records::decode::{ERASED, column as master_column};
use records::master::{Eraser, MasterDataset, MasterFacts, MasterSnapshot};
use serving_layer::BatchViewStore;
use views::{Misreading, column, mend, misreadings, utc_scalar};

use super::{EraseComponents, Found, Wanted};
use crate::master_columns::field;
use crate::{BatchError, engine};

/// A day of UTC.
const DAY: Duration = Duration::from_secs(86_400);

/// Events by their records.
#[derive(Default)]
struct Places {
    /// Records of one event.
    whole: OffsetSet,
    /// The numbers of the rows of others.
    parts: BTreeMap<(PartitionId, Offset), BTreeSet<i32>>,
    /// The newest timestamp of all of these records.
    newest: Option<TimestampMicros>,
}

impl Places {
    /// Takes in a row of a record.
    fn add(&mut self, row: &Row) {
        let (partition, offset) = row.place;
        if row.item == 0 {
            self.whole.insert(partition, offset, offset.next());
        } else {
            self.parts.entry(row.place).or_default().insert(row.item);
        }
        self.newest = self.newest.max(Some(row.timestamp));
    }

    fn contains(&self, place: (PartitionId, Offset)) -> bool {
        self.whole.contains(place.0, place.1) || self.parts.contains_key(&place)
    }

    fn count(&self) -> u64 {
        self.whole.count() + self.parts.len() as u64
    }

    fn into_records(self) -> Vec<ErasedRecord> {
        let whole = self.whole.stretches().map(|(partition, from, to)| ErasedRecord::stretch(partition, from, to));
        let parts = self.parts.into_iter().map(|((partition, offset), items)| {
            let items = items.into_iter().collect();
            ErasedRecord { items, ..ErasedRecord::whole(partition, offset) }
        });
        whole.chain(parts).collect()
    }
}

/// Where a row is from.
struct Row {
    place: (PartitionId, Offset),
    /// Its number in the record; 0 for the only one.
    item: i32,
    /// That of the record.
    timestamp: TimestampMicros,
}

/// The columns that say it, in this order, before any others.
const ROW: [&str; 4] = [column::PARTITION, column::OFFSET, master_column::ITEM, column::TIMESTAMP];

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
    let mut places = Places::default();
    found.before = wanted.older_than.and_then(|age| first_kept(&on.facts, age, components.context.clock.now()));
    let condition = wanted.condition.as_deref().map(|condition| read_condition(&session, &on, condition));
    let by_age = found.before.map(|before| is_before(components, before));
    // One look at each row: who is chosen twice counts once.
    if let Some(condition) = condition.transpose()?.into_iter().chain(by_age).reduce(Expr::or) {
        found.events = choose_by_condition(&session, &on, condition, &mut places).await?;
    }
    if let Some(text) = &wanted.text {
        (found.rejected, found.mentions) = choose_by_text(&session, &on, text, &mut places).await?;
    }
    found.record_count = places.count();
    found.newest = places.newest;
    found.records = places.into_records();
    let mut erased = Erased::default();
    found.records.iter().for_each(|record| erased.add(record.clone()));
    let eraser = Eraser::new(on.clone(), Arc::new(erased));
    found.files = on.snapshot.files().iter().filter(|file| eraser.may_touch(file)).count();
    found.versions = count_versions(components, &on).await?;
    Ok(found)
}

/// The first instant that is not too old: the start of a day of UTC, counted from the newest record, but never from a
/// time to come, which a wrong clock may have put in a record. `None` where nothing is archived. Imported records count
/// where the log has none: rejected ones are as old as their import, so that a source which has gone silent would lose
/// all it has by an import.
fn first_kept(facts: &MasterFacts, age: Duration, now: TimestampMicros) -> Option<TimestampMicros> {
    let newest_of = |is_imported: bool| {
        let known = facts.partitions.iter().filter(|(partition, _)| partition.is_imported() == is_imported);
        let newest = known.map(|(_, known)| known.archived.end.max_timestamp).max();
        newest.filter(|newest| is_plausible(*newest))
    };
    let newest = newest_of(false).or_else(|| newest_of(true))?.min(now);
    let limit = newest.0.saturating_sub(micros(age));
    Some(TimestampMicros(limit - limit.rem_euclid(micros(DAY))))
}

/// Rows from before an instant. Those that are no event have no time of their own, but that of their record.
fn is_before(components: &EraseComponents, before: TimestampMicros) -> Expr {
    let is_before = |name: &str| field(name).lt(lit(utc_scalar(Some(before))));
    let event_time = components.source.event_time_name();
    let is_rejected_before = field(event_time).is_null().and(is_before(column::TIMESTAMP));
    is_before(event_time).or(is_rejected_before)
}

/// Reads a condition as the WHERE of a view is read: what the parser would take otherwise than it is written chooses
/// other events than the operator means, and these cannot be had back.
fn read_condition(session: &SessionState, on: &MasterSnapshot, condition: &str) -> Result<Expr, BatchError> {
    let columns = DFSchema::try_from(on.scan()?.schema())?;
    let dialect = session.config().options().sql_parser.dialect;
    let mut tree = session.sql_to_expr_with_alias(condition, &dialect)?;
    mend(&mut tree.expr);
    if let Some(Misreading { text, message, hint, .. }) = misreadings(&tree.expr).into_iter().next() {
        return Err(BatchError::Condition { text, message, hint });
    }
    let read = session.create_logical_expr_from_sql_expr(tree, &columns)?;
    if read.exists(|part| Ok(matches!(part, Expr::AggregateFunction(_) | Expr::WindowFunction(_))))? {
        let message = "a condition is about one event, not about many of them".to_owned();
        let hint = "leave aggregates and windows out, and name their result".to_owned();
        return Err(BatchError::Condition { text: condition.to_owned(), message, hint });
    }
    Ok(read)
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
        .filter(error.clone().is_null().or(error.not_eq(lit(ERASED))))?;
    if let Some(condition) = condition {
        rows = rows.filter(condition)?;
    }
    let plan = rows.project(columns.iter().map(|name| field(name)))?.build()?;
    Ok(execute_stream(session.create_physical_plan(&plan).await?, session.task_ctx())?)
}

async fn choose_by_condition(
    session: &SessionState,
    on: &MasterSnapshot,
    condition: Expr,
    places: &mut Places,
) -> Result<u64, BatchError> {
    let mut rows = scan(session, on, Some(condition), &ROW).await?;
    let mut events = 0;
    while let Some(batch) = rows.try_next().await? {
        events += batch.num_rows() as u64;
        (0..batch.num_rows()).for_each(|row| places.add(&row_of(&batch, row)));
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
    let columns = [ROW.as_slice(), &[master_column::ERROR, master_column::PAYLOAD]].concat();
    let mut rows = scan(session, on, None, &columns).await?;
    let (mut rejected, mut mentions) = (0, 0);
    while let Some(batch) = rows.try_next().await? {
        let missing = |name: &str| RecordsError::Unusable(format!("column {name} is of another type"));
        let errors: Option<&StringArray> = batch.column(ROW.len()).as_string_opt();
        let errors = errors.ok_or_else(|| missing(master_column::ERROR))?;
        let payloads: Option<&BinaryArray> = batch.column(ROW.len() + 1).as_binary_opt();
        let payloads = payloads.ok_or_else(|| missing(master_column::PAYLOAD))?;
        for row in (0..batch.num_rows()).filter(|row| payloads.is_valid(*row)) {
            if !holds(payloads.value(row), text.as_bytes()) {
                continue;
            }
            let found = row_of(&batch, row);
            // The first of several has the payload of them all.
            let is_other_event = found.item == 1
                && on.first_event(payloads.value(row)).is_some_and(|event| !holds(event.as_bytes(), text.as_bytes()));
            if errors.is_valid(row) && !is_other_event {
                rejected += 1;
                places.add(&found);
            } else if !places.contains(found.place) {
                mentions += 1;
            }
        }
    }
    Ok((rejected, mentions))
}

/// What the columns of [`ROW`] say.
fn row_of(batch: &RecordBatch, row: usize) -> Row {
    let partition = batch.column(0).as_primitive::<Int32Type>().value(row);
    let offset = batch.column(1).as_primitive::<Int64Type>().value(row);
    let items = batch.column(2).as_primitive::<Int32Type>();
    // Rows of old files have no number, and are alone.
    let item = if items.is_valid(row) { items.value(row) } else { 0 };
    let timestamp = TimestampMicros(batch.column(3).as_primitive::<TimestampMicrosecondType>().value(row));
    Row { place: (PartitionId(partition), Offset(offset)), item, timestamp }
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
