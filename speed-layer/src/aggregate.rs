//! Micro-batch to states: good rows, copies removed, one execution per view for all partitions and stretches.
//!
//! In: chunks (decoded records of one partition each, from where they follow). Out: per partition the runs to append.
//! Guarantee: what a run counts depends on the log alone: stretches, verdicts on copies and states are pure functions
//! of the records and of the copies that lie before them. A view whose plan fails is left out of the runs of this
//! batch, which then do not cover it; the other views go on.
//! Not here: decoding (`event-log`), where chunks come from (`read.rs`), writing (`append.rs`).
//! Why one extra key: `_run` numbers the stretches of the whole batch, so it stands for partition and stretch at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, Int32Array, UInt32Array};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use positions::{CopyWindow, Counters, EventKey, Offset, Run, RunView, Stretch, TimestampMicros, split_at_borders};
use records::decode;
use serving_layer::BlobKey;
use tracing::error;
use views::{Compiled, DefinitionError, SourceDefinition, ViewDefinition};

use crate::SpeedError;
use crate::append::Append;
use crate::context::Context;
use crate::metrics;
use crate::read::Chunk;

/// The extra key: which run of the batch a row belongs to.
const RUN: &str = "_run";

/// The plans of one view, compiled once.
#[derive(Debug)]
pub(crate) struct ViewPlans {
    pub definition: Arc<ViewDefinition>,
    /// Events and `_run` to states by `_run`.
    state: Compiled,
    /// States to states.
    pub merge: Compiled,
}

impl ViewPlans {
    /// The plans of a view, compiled unless another worker of the process did so.
    ///
    /// # Errors
    /// [`SpeedError::View`]: the view cannot be kept in realtime.
    pub async fn compile(definition: Arc<ViewDefinition>) -> Result<Self, SpeedError> {
        let failed = |error| view_error(&definition, error);
        let state = definition.plans.compile_states_by(run_field()).await.map_err(failed)?;
        let merge = definition.plans.compile_merge().await.map_err(failed)?;
        Ok(Self { definition: definition.clone(), state, merge })
    }
}

/// Names a view in an error of its plan.
pub(crate) fn view_error(view: &ViewDefinition, error: DefinitionError) -> SpeedError {
    SpeedError::View { view: view.name.to_string(), error }
}

/// A run without its states.
struct Outline {
    chunk: usize,
    stretch: Stretch,
    counters: Counters,
}

/// What a chunk is judged against.
pub(crate) struct Judge<'a> {
    /// Published cuts of the partition: borders beside grid and gaps.
    pub cuts: BTreeSet<Offset>,
    /// The copies before the chunk; afterwards those before its end.
    pub copies: &'a mut CopyWindow,
    /// Declared holes, `[from, to)`.
    pub holes: Vec<(Offset, Offset)>,
}

/// Computes the runs of a micro-batch: one [`Append`] per chunk that holds records, with the place of its chunk.
///
/// # Errors
/// A defect of decoding; nothing was observed then.
pub(crate) async fn aggregate(
    context: &Context,
    chunks: &[Chunk],
    judges: &mut [Judge<'_>],
) -> Result<Vec<(usize, Append)>, SpeedError> {
    let source = &context.components.source;
    let schema = input_schema(source);
    let (mut outlines, mut batches) = (Vec::new(), Vec::new());
    for (place, (chunk, judge)) in chunks.iter().zip(judges).enumerate() {
        let first_run = outlines.len();
        let (mask, mut found) = outline_runs(source, place, chunk, judge)?;
        let batch = events_of(chunk, &schema, first_run, &found)?;
        batches.push(filter_record_batch(&batch, &mask)?);
        outlines.append(&mut found);
    }
    let mut appends = empty_appends(context, &outlines);
    for plans in &context.plans {
        match states_by_run(plans, &batches, outlines.len()).await {
            Ok(states) => add_states(plans, states, &mut appends)?,
            Err(error) => {
                metrics::count_view_failures(&plans.definition.name, 1);
                error!(%error, "a view fails on this micro-batch: its realtime part ends here until the next batch version");
            }
        }
    }
    Ok(join_by_chunk(&outlines, appends))
}

/// The columns that state plans read: those of the source's events, then `_run`.
fn input_schema(source: &SourceDefinition) -> SchemaRef {
    Arc::new(Schema::new(source.events.fields().iter().cloned().chain([run_field()]).collect::<Vec<_>>()))
}

fn run_field() -> FieldRef {
    Arc::new(Field::new(RUN, DataType::Int32, false))
}

/// Which rows count (good, and no copy), and the runs they fall into with their counters.
fn outline_runs(
    source: &SourceDefinition,
    place: usize,
    chunk: &Chunk,
    judge: &mut Judge<'_>,
) -> Result<(BooleanArray, Vec<Outline>), SpeedError> {
    let columns = VerdictColumns::of(&chunk.rows)?;
    let stretches = split_at_borders(chunk.from, &chunk.marks, &source.border, &judge.cuts);
    let mut running_max = chunk.from.max_timestamp;
    let mut counts = Vec::with_capacity(chunk.marks.len());
    let mut outlines = Vec::with_capacity(stretches.len());
    for stretch in stretches {
        let mut counters = Counters { rows: (stretch.last - stretch.first) as u64, ..Counters::default() };
        counters.holes = holes_between(&judge.holes, stretch.from.offset, stretch.to.offset);
        for (row, mark) in chunk.marks.iter().enumerate().take(stretch.last).skip(stretch.first) {
            running_max = positions::running_max(running_max, mark.timestamp);
            let verdict = columns.judge(row, running_max, judge.copies, source);
            verdict.count(&mut counters);
            counts.push(matches!(verdict, Verdict::Counts { .. }));
        }
        outlines.push(Outline { chunk: place, stretch, counters });
    }
    Ok((BooleanArray::from(counts), outlines))
}

/// What is thought of one record.
enum Verdict {
    Rejected,
    Copy { is_late: bool },
    Counts { is_late: bool },
}

impl Verdict {
    fn count(&self, counters: &mut Counters) {
        match self {
            Self::Rejected => counters.rejected += 1,
            Self::Copy { is_late } => {
                counters.copies += 1;
                counters.late += u64::from(*is_late);
            }
            Self::Counts { is_late } => counters.late += u64::from(*is_late),
        }
    }
}

/// The columns of decoded rows that a verdict depends on.
struct VerdictColumns<'a> {
    error: &'a dyn Array,
    late: &'a BooleanArray,
    keys: Vec<Option<EventKey>>,
}

impl<'a> VerdictColumns<'a> {
    fn of(rows: &'a RecordBatch) -> Result<Self, SpeedError> {
        Ok(Self {
            error: column(rows, decode::column::ERROR)?,
            late: typed(rows, decode::column::LATE)?,
            keys: decode::event_keys(rows)?,
        })
    }

    fn judge(&self, row: usize, now: TimestampMicros, copies: &mut CopyWindow, source: &SourceDefinition) -> Verdict {
        if self.error.is_valid(row) {
            return Verdict::Rejected;
        }
        let is_late = self.late.is_valid(row) && self.late.value(row);
        if copies.observe(self.keys[row], now, source.horizon) {
            Verdict::Copy { is_late }
        } else {
            Verdict::Counts { is_late }
        }
    }
}

/// A column by name.
pub(crate) fn column<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a dyn Array, ArrowError> {
    let found = rows.column_by_name(name).map(|column| column.as_ref());
    found.ok_or_else(|| ArrowError::SchemaError(format!("column {name} is missing")))
}

/// A column by name, of a known type.
pub(crate) fn typed<'a, T: 'static>(rows: &'a RecordBatch, name: &str) -> Result<&'a T, ArrowError> {
    let found = column(rows, name)?;
    let wrong = || ArrowError::SchemaError(format!("column {name} is of type {}", found.data_type()));
    found.as_any().downcast_ref().ok_or_else(wrong)
}

fn holes_between(holes: &[(Offset, Offset)], from: Offset, to: Offset) -> u64 {
    holes.iter().map(|(start, end)| u64::try_from(end.0.min(to.0) - start.0.max(from.0)).unwrap_or(0)).sum()
}

/// The event columns of a chunk, and the number of the run that each row falls into.
fn events_of(
    chunk: &Chunk,
    schema: &SchemaRef,
    first_run: usize,
    outlines: &[Outline],
) -> Result<RecordBatch, SpeedError> {
    let mut runs = Vec::with_capacity(chunk.marks.len());
    for (number, outline) in (first_run as i32..).zip(outlines) {
        runs.resize(outline.stretch.last, number);
    }
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields().iter().filter(|field| field.name() != RUN) {
        let found = chunk.rows.column_by_name(field.name()).cloned();
        columns.push(found.ok_or_else(|| ArrowError::SchemaError(format!("column {} is missing", field.name())))?);
    }
    columns.push(Arc::new(Int32Array::from(runs)));
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

fn empty_appends(context: &Context, outlines: &[Outline]) -> Vec<Append> {
    let run = |outline: &Outline| Run {
        id: context.draw_run_id(),
        from: outline.stretch.from,
        to: outline.stretch.to,
        views: Vec::with_capacity(context.plans.len()),
        counters: outline.counters,
        starts_at_border: outline.stretch.starts_at_border,
    };
    outlines.iter().map(|outline| Append::new(run(outline))).collect()
}

/// Runs the state plan once and hands its rows out to the runs: one batch each, without `_run`.
async fn states_by_run(
    plans: &ViewPlans,
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
    plans: &ViewPlans,
    mut states: BTreeMap<usize, RecordBatch>,
    appends: &mut [Append],
) -> Result<(), SpeedError> {
    let view = plans.definition.hash;
    for (place, append) in appends.iter_mut().enumerate() {
        let Some(run) = append.runs.first_mut() else { continue };
        let states = states.remove(&place);
        let rows = states.as_ref().map_or(0, |states| states.num_rows() as u64);
        run.views.push(RunView { view, rows });
        if let Some(states) = states {
            append.blobs.push((BlobKey { run: run.id, view }, serving_layer::blob::encode(&[states])?));
        }
    }
    Ok(())
}

fn join_by_chunk(outlines: &[Outline], appends: Vec<Append>) -> Vec<(usize, Append)> {
    let mut joined: BTreeMap<usize, Append> = BTreeMap::new();
    for (outline, append) in outlines.iter().zip(appends) {
        joined.entry(outline.chunk).or_default().extend(append);
    }
    joined.into_iter().collect()
}
