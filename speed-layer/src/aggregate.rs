//! Micro-batch to states: good rows, copies removed, one execution per view for all partitions and stretches.
//!
//! In: chunks (decoded records of one partition each, from where they follow). Out: per partition the runs to append.
//! Guarantee: what a run counts depends on the log alone: stretches, the classes of records and states are pure
//! functions of the records and of the copies that lie before them. A view whose plan fails is left out of the runs of
//! this batch, which then do not cover it; the other views go on. In a generation the batch fails, and is tried again.
//! Not here: decoding (`records`), where chunks come from (`read.rs`), plans (`plans.rs`), writing (`append.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{BooleanArray, Int32Array, UInt32Array};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use positions::{CopyWindow, Counters, Hole, Offset, Run, RunView, Stretch, split_at_borders};
use records::decode;
use serving_layer::BlobKey;
use tracing::error;
use views::SourceDefinition;

use crate::chunk::Chunk;
use crate::columns::typed;
use crate::context::Context;
use crate::pending::PendingRuns;
use crate::plans::{CompiledView, RUN, run_field, view_error};
use crate::{SpeedError, metrics};

/// A run without its states.
struct Outline {
    chunk: usize,
    stretch: Stretch,
    counters: Counters,
}

/// What is known of a chunk's partition beside its records.
pub(crate) struct Surroundings<'a> {
    /// Published cuts: borders beside grid and gaps.
    pub cuts: BTreeSet<Offset>,
    /// The copies that count before the chunk; afterwards those that count before its end.
    pub copies: &'a mut CopyWindow,
    /// Declared holes of the partition.
    pub holes: Vec<Hole>,
}

/// Computes the runs of a micro-batch, for each chunk that holds records, with the place of the chunk.
///
/// `surroundings`: one per chunk.
///
/// # Errors
/// A defect of decoding, or of the view of a generation. Some copies may have been observed: the partitions must start
/// again from the stores.
pub(crate) async fn aggregate(
    context: &Context,
    chunks: &[Chunk],
    surroundings: &mut [Surroundings<'_>],
) -> Result<Vec<(usize, PendingRuns)>, SpeedError> {
    let source = &context.components.source;
    let schema = input_schema(source);
    let (mut outlines, mut batches) = (Vec::new(), Vec::new());
    for (place, (chunk, around)) in chunks.iter().zip(surroundings).enumerate() {
        let first_run = outlines.len();
        let (mask, mut found) = outline_runs(context, place, chunk, around)?;
        let batch = events_of(chunk, &schema, first_run, &found)?;
        batches.push(filter_record_batch(&batch, &mask)?);
        outlines.append(&mut found);
    }
    let mut pending = empty_runs(context, &outlines);
    for plans in context.needed_plans() {
        let states = states_by_run(plans, &batches, outlines.len()).await;
        metrics::count_failed_rows(&plans.definition.name, plans.state.take_failed());
        match states {
            Ok(states) => add_states(plans, states, &mut pending)?,
            Err(error) => {
                metrics::count_view_failures(&plans.definition.name, 1);
                // No batch version will follow: a run without the view would end its answers for good.
                if context.components.generation().is_some() {
                    return Err(error);
                }
                error!(%error, "a view fails on this micro-batch: its realtime part ends here until the next batch version");
            }
        }
    }
    Ok(join_by_chunk(&outlines, pending))
}

/// The columns that state plans read: those of the source's events, then `_run`.
pub(crate) fn input_schema(source: &SourceDefinition) -> SchemaRef {
    Arc::new(Schema::new(source.events.fields().iter().cloned().chain([run_field()]).collect::<Vec<_>>()))
}

/// Which rows are fresh (good, and no copy), and the runs they fall into with their counters.
fn outline_runs(
    context: &Context,
    place: usize,
    chunk: &Chunk,
    around: &mut Surroundings<'_>,
) -> Result<(BooleanArray, Vec<Outline>), SpeedError> {
    let (classes, keys) = (decode::classes(&chunk.rows)?, decode::event_keys(&chunk.rows)?);
    let stretches = split_at_borders(chunk.from, &chunk.marks, context.border(), &around.cuts);
    let horizon = context.components.source.horizon;
    let mut running_max = chunk.from.max_timestamp;
    let mut is_fresh = Vec::with_capacity(chunk.rows.num_rows());
    let mut outlines = Vec::with_capacity(stretches.len());
    for stretch in stretches {
        let holes = lost_between(&around.holes, stretch.from.offset, stretch.to.offset);
        let mut counters = Counters { holes, ..Counters::default() };
        for record in stretch.first..stretch.last {
            running_max = positions::running_max(running_max, chunk.marks[record].timestamp);
            for row in chunk.rows_of(record, record + 1) {
                let class = classes[row];
                let is_copy = class.is_event() && around.copies.observe(keys[row], running_max, horizon);
                counters += class.counters();
                counters.copies += u64::from(is_copy);
                is_fresh.push(class.is_event() && !is_copy);
            }
        }
        outlines.push(Outline { chunk: place, stretch, counters });
    }
    Ok((BooleanArray::from(is_fresh), outlines))
}

/// How many offsets of `[from, to)` were lost.
fn lost_between(holes: &[Hole], from: Offset, to: Offset) -> u64 {
    holes.iter().filter_map(|hole| hole.within(from, to)).map(Hole::lost).sum()
}

/// The event columns of a chunk, and the number of the run that each row falls into.
fn events_of(
    chunk: &Chunk,
    schema: &SchemaRef,
    first_run: usize,
    outlines: &[Outline],
) -> Result<RecordBatch, SpeedError> {
    let mut runs = Vec::with_capacity(chunk.rows.num_rows());
    for (number, outline) in (first_run as i32..).zip(outlines) {
        runs.resize(chunk.rows_of(0, outline.stretch.last).end, number);
    }
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields().iter().filter(|field| field.name() != RUN) {
        let found = chunk.rows.column_by_name(field.name()).cloned();
        columns.push(found.ok_or_else(|| ArrowError::SchemaError(format!("column {} is missing", field.name())))?);
    }
    columns.push(Arc::new(Int32Array::from(runs)));
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

fn empty_runs(context: &Context, outlines: &[Outline]) -> Vec<PendingRuns> {
    let run = |outline: &Outline| Run {
        id: context.draw_run_id(),
        from: outline.stretch.from,
        to: outline.stretch.to,
        views: Vec::with_capacity(context.plans.len()),
        counters: outline.counters,
        starts_at_border: outline.stretch.starts_at_border,
    };
    outlines.iter().map(|outline| PendingRuns::new(run(outline))).collect()
}

/// Runs the state plan once and hands its rows out to the runs: one batch each, without `_run`.
pub(crate) async fn states_by_run(
    plans: &CompiledView,
    batches: &[RecordBatch],
    runs: usize,
) -> Result<BTreeMap<usize, RecordBatch>, SpeedError> {
    let view = &plans.definition;
    let found = plans.state.execute(batches.to_vec()).await.map_err(|error| view_error(view, error))?;
    let schema = plans.state.output_schema();
    let states = arrow::compute::concat_batches(&schema, &found)?;
    let numbers: &Int32Array = typed(&states, RUN)?;
    let mut rows: Vec<Vec<u32>> = vec![Vec::new(); runs];
    for (row, number) in (0u32..).zip(numbers.values()) {
        rows[*number as usize].push(row);
    }
    let columns: Vec<usize> = (0..schema.fields().len()).filter(|at| schema.field(*at).name() != RUN).collect();
    let states = states.project(&columns)?;
    let of_run = |(run, rows): (usize, Vec<u32>)| {
        let taken = take_record_batch(&states, &UInt32Array::from(rows))?;
        Ok((run, RecordBatch::try_new(view.states.clone(), taken.columns().to_vec())?))
    };
    rows.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty()).map(of_run).collect()
}

fn add_states(
    plans: &CompiledView,
    mut states: BTreeMap<usize, RecordBatch>,
    pending: &mut [PendingRuns],
) -> Result<(), SpeedError> {
    let view = plans.definition.hash;
    for (place, pending) in pending.iter_mut().enumerate() {
        let Some(run) = pending.runs.first_mut() else { continue };
        let states = states.remove(&place);
        let rows = states.as_ref().map_or(0, |states| states.num_rows() as u64);
        run.views.push(RunView { view, rows });
        if let Some(states) = states {
            pending.blobs.push((BlobKey { run: run.id, view }, serving_layer::blob::encode(&[states])?));
        }
    }
    Ok(())
}

fn join_by_chunk(outlines: &[Outline], pending: Vec<PendingRuns>) -> Vec<(usize, PendingRuns)> {
    let mut joined: BTreeMap<usize, PendingRuns> = BTreeMap::new();
    for (outline, next) in outlines.iter().zip(pending) {
        joined.entry(outline.chunk).or_default().extend(next);
    }
    joined.into_iter().collect()
}
