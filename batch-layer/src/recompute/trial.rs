//! Views on trial: generated events archived in a lake of their own, and recomputed as ever.
//!
//! ```text
//!  events --first half--> master dataset --> first versions, of all buckets
//!         --the rest----> master dataset --> next versions, of the touched buckets, a copy removed
//! ```
//!
//! Guarantee: what runs is the recompute itself, Parquet and publication included; only the lake is not the real one.
//! Not here: which events (`views::sample_events`), what the speed layer does with them (`speed-layer`).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int32Array, new_null_array};
use arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use positions::{
    Archived, Counters, Fingerprint, Incarnation, Offset, PartitionId, Position, TimestampMicros, ViewName,
};
use records::decode::{column as master_column, master_schema, reading_of};
use records::master::{ArchivedPartition, MasterSnapshot};
use serving_layer::ServingError;
use views::{DefinitionError, SourceDefinition, is_state_limit};

use super::source::recompute;
use super::task::{Mode, RecomputeComponents, Round};
use crate::{BatchError, RecomputeSettings};

/// Recomputes the views of one source over `events`, which have the columns of `SourceDefinition::events` and are
/// those of partition 0 from offset 0 on. `components` name a lake in memory, in which nothing is stored yet.
///
/// Out: the views that cannot be recomputed, and why. A state beyond `max_state_bytes` is no reason: that says
/// something about the events, not about the view.
///
/// # Errors
/// If not even the events can be stored: a defect of the source's definition.
pub async fn try_recompute(
    components: &RecomputeComponents,
    source: &SourceDefinition,
    events: &RecordBatch,
) -> Result<BTreeMap<ViewName, Arc<BatchError>>, BatchError> {
    let rows = archived_rows(source, events)?;
    let half = rows.num_rows() / 2;
    let settings = RecomputeSettings { target_partitions: 2, ..RecomputeSettings::default() };
    let mut failed = BTreeMap::new();
    let mut master = components.master.create().await?;
    for part in [rows.slice(0, half), rows.slice(half, rows.num_rows() - half)] {
        master = append(components, &master, part).await?;
        failed.extend(failures(recompute(components, Mode::Incremental, &settings).await));
    }
    Ok(failed)
}

fn failures(round: Round) -> impl Iterator<Item = (ViewName, Arc<BatchError>)> {
    let failed = round.into_iter().filter_map(|(view, outcome)| Some((view, outcome.err()?)));
    failed.filter(|(_, error)| !is_of_the_events(error))
}

fn is_of_the_events(error: &BatchError) -> bool {
    match error {
        BatchError::Definition(DefinitionError::StateTooLarge { .. }) => true,
        BatchError::Engine(error) | BatchError::Serving(ServingError::Engine(error)) => is_state_limit(error),
        _ => false,
    }
}

/// Decoded rows of these events. The two last ones are copies of one event.
fn archived_rows(source: &SourceDefinition, events: &RecordBatch) -> Result<RecordBatch, BatchError> {
    let count = events.num_rows();
    let schema = master_schema(source);
    let key = |row: usize| (row + 2 >= count).then_some([1_u8; 16]);
    let of_record = |name: &str| -> Option<ArrayRef> {
        match name {
            master_column::EVENT_KEY => Some(Arc::new((0..count).map(key).collect::<BinaryArray>())),
            master_column::SCHEMA => Some(Arc::new(Int32Array::from_value(reading_of(source), count))),
            _ => None,
        }
    };
    let columns = schema.fields().iter().map(|field| {
        let known = events.column_by_name(field.name()).cloned().or_else(|| of_record(field.name()));
        known.unwrap_or_else(|| new_null_array(field.data_type(), count))
    });
    let rows = RecordBatch::try_new(schema.clone(), columns.collect());
    Ok(rows.map_err(DataFusionError::from)?)
}

/// Appends rows as an archive would that stands at a grid border behind them.
async fn append(
    components: &RecomputeComponents,
    on: &MasterSnapshot,
    rows: RecordBatch,
) -> Result<MasterSnapshot, BatchError> {
    let mut facts = on.facts.clone();
    facts.rows += rows.num_rows() as u64;
    let end = Position {
        offset: Offset(facts.rows as i64),
        max_timestamp: TimestampMicros(0),
        // Any but 0, which stands for "no record".
        fingerprint: Fingerprint(1),
        ..Position::start(Incarnation(0))
    };
    let counters = Counters { rows: facts.rows, ..Counters::default() };
    let archived = ArchivedPartition { archived: Archived { end, grid: end }, counters };
    facts.partitions.insert(PartitionId(0), archived);
    Ok(components.master.append(on, &[rows], facts, components.ids.next_id()).await?)
}
