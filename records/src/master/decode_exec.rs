//! The operator that decodes archived records again.
//!
//! In: batches of the columns [`STORED`], as far as the table has them, and of others that the source has not got; and
//! rows that are right as they are. Out: the partitions of both, side by side, as batches of the columns that are
//! wanted. Columns that the source has not got come out as they are stored.
//! Guarantee: the rows of each record whose first row comes in, in their order, whatever the payloads hold. Rows that
//! are not the first of their record are passed over: the payload is with that one.
//! Why both in one operator: what stands above is then planned once, not once for each part.
//! Why a key that rules 1 stored stays where decoding gives none: they kept no header ids, and it is all that is left
//! of one. Such a record that was rejected comes back without its id, and its copies count. Of all other rows no stored
//! key is believed: it may be that of a column that identifies events no more.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryArray, BooleanArray, RecordBatchOptions, UInt64Array};
use arrow::compute::kernels::zip::zip;
use arrow::compute::take;
use arrow::datatypes::{FieldRef, Int32Type, Int64Type, SchemaRef, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use datafusion::common::exec_datafusion_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties,
    SendableRecordBatchStream,
};
use event_log::Record;
use futures::StreamExt;
use positions::{Offset, PartitionId, TimestampMicros};
use views::column::{OFFSET, PARTITION, TIMESTAMP};

use crate::decode::column::{CLOCK_SHIFT, EVENT_KEY, HEADER_ID, ITEM, PAYLOAD, SCHEMA};
use crate::decode::wire::Schemas;
use crate::decode::{Decoder, is_first, record_ends};

/// The columns that it reads, in any order. Tables that nothing was added to for long have neither header ids nor
/// items.
pub(super) const STORED: [&str; 9] =
    [PARTITION, OFFSET, TIMESTAMP, PAYLOAD, CLOCK_SHIFT, EVENT_KEY, HEADER_ID, SCHEMA, ITEM];

/// No further row joins a piece that has so many bytes of payload.
const PIECE_BYTES: usize = 4 << 20;
/// Rows of a piece at most.
const PIECE_ROWS: usize = 1_024;

/// What rules 1 noted as the reading of every row.
const RULES_WITHOUT_HEADER_IDS: i32 = 1;

/// By what rows are decoded.
#[derive(Clone, Debug)]
pub(super) struct ReadBy {
    pub(super) decoder: Decoder,
    /// The schemas that rows name.
    pub(super) schemas: Schemas,
}

/// Decodes what is stored, and hands on what is current.
#[derive(Debug)]
pub(super) struct DecodeExec {
    by: ReadBy,
    stored: Arc<dyn ExecutionPlan>,
    current: Option<Arc<dyn ExecutionPlan>>,
    properties: Arc<PlanProperties>,
}

impl DecodeExec {
    /// `wanted`: columns that decoding gives or that `stored` has; those of `current`.
    pub fn new(
        by: ReadBy,
        stored: Arc<dyn ExecutionPlan>,
        current: Option<Arc<dyn ExecutionPlan>>,
        wanted: SchemaRef,
    ) -> Self {
        let partitions = |plan: &Arc<dyn ExecutionPlan>| plan.output_partitioning().partition_count();
        let count = partitions(&stored) + current.as_ref().map_or(0, partitions);
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(wanted),
            Partitioning::UnknownPartitioning(count),
            stored.pipeline_behavior(),
            stored.boundedness(),
        ));
        Self { by, stored, current, properties }
    }
}

impl DisplayAs for DecodeExec {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "DecodeExec: source={}", self.by.decoder.source().name)
    }
}

impl ExecutionPlan for DecodeExec {
    fn name(&self) -> &str {
        "DecodeExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        std::iter::once(&self.stored).chain(&self.current).collect()
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut children = children.into_iter();
        let stored = children.next().ok_or_else(|| exec_datafusion_err!("DecodeExec has an input"))?;
        Ok(Arc::new(Self::new(self.by.clone(), stored, children.next(), self.schema())))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let stored = self.stored.output_partitioning().partition_count();
        if let (Some(current), Some(partition)) = (&self.current, partition.checked_sub(stored)) {
            return current.execute(partition, context);
        }
        let (by, wanted) = (self.by.clone(), self.schema());
        let stored = self.stored.execute(partition, context)?;
        let decoded = stored.flat_map(move |stored| {
            let (by, wanted) = (by.clone(), wanted.clone());
            let pieces = match stored {
                Ok(stored) => pieces(&stored).into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            };
            futures::stream::iter(pieces).map(move |stored| {
                let stored = stored?;
                let (decoded, places) = read_again(&by, &stored)?;
                choose(&wanted, &decoded, &stored, &places)
            })
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), decoded)))
    }
}

/// A batch in pieces whose payloads are decoded at one time: a stored row may become thousands.
fn pieces(stored: &RecordBatch) -> Vec<RecordBatch> {
    let payload_bytes = |row: usize| {
        let payloads = stored.column_by_name(PAYLOAD).and_then(|payloads| payloads.as_binary_opt::<i32>());
        payloads.map_or(0, |payloads| payloads.value_length(row).unsigned_abs() as usize)
    };
    let (mut pieces, mut from, mut bytes) = (Vec::new(), 0, 0);
    for row in 0..stored.num_rows() {
        bytes += payload_bytes(row);
        if bytes >= PIECE_BYTES || row + 1 - from == PIECE_ROWS {
            pieces.push(stored.slice(from, row + 1 - from));
            (from, bytes) = (row + 1, 0);
        }
    }
    pieces.push(stored.slice(from, stored.num_rows() - from));
    pieces
}

/// The wanted columns: as they were decoded, or, where the source has not got them, as they are stored at `places`.
fn choose(
    wanted: &SchemaRef,
    decoded: &RecordBatch,
    stored: &RecordBatch,
    places: &UInt64Array,
) -> Result<RecordBatch> {
    let column = |field: &FieldRef| {
        if let Some(found) = decoded.column_by_name(field.name()) {
            return Ok(found.clone());
        }
        let found = stored.column_by_name(field.name());
        let found = found.ok_or_else(|| exec_datafusion_err!("no column {}", field.name()))?;
        Ok(take(found, places, None)?)
    };
    let columns = wanted.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(decoded.num_rows()));
    Ok(RecordBatch::try_new_with_options(wanted.clone(), columns, &options)?)
}

/// The rows as the source is read today; and, for the first row of each record, the place of the stored one.
fn read_again(by: &ReadBy, stored: &RecordBatch) -> Result<(RecordBatch, UInt64Array)> {
    let column = |name: &str| stored.column_by_name(name).ok_or_else(|| exec_datafusion_err!("no column {name}"));
    let partitions = column(PARTITION)?.as_primitive::<Int32Type>();
    let offsets = column(OFFSET)?.as_primitive::<Int64Type>();
    let timestamps = column(TIMESTAMP)?.as_primitive::<TimestampMicrosecondType>();
    let payloads: &BinaryArray = column(PAYLOAD)?.as_binary();
    let shifts = column(CLOCK_SHIFT)?.as_primitive::<Int64Type>();
    let ids: Option<&BinaryArray> = stored.column_by_name(HEADER_ID).map(|ids| ids.as_binary());
    let record = |row: usize| Record {
        partition: PartitionId(partitions.value(row)),
        offset: Offset(offsets.value(row)),
        timestamp: TimestampMicros(timestamps.value(row)),
        payload: Bytes::copy_from_slice(payloads.value(row)),
        event_id: ids.filter(|ids| ids.is_valid(row)).map(|ids| Bytes::copy_from_slice(ids.value(row))),
        clock_shift: shifts.is_valid(row).then(|| shifts.value(row)),
    };
    let items = stored.column_by_name(ITEM).map(|items| items.as_primitive::<Int32Type>());
    // Rows that were archived before records held several events have none.
    let is_wanted = |row: &usize| items.is_none_or(|items| items.is_null(*row) || is_first(items.value(*row)));
    let first: Vec<usize> = (0..stored.num_rows()).filter(is_wanted).collect();
    let records: Vec<Record> = first.iter().map(|row| record(*row)).collect();
    let decoded = by.decoder.decode_with(&by.schemas, &records);
    let (rows, _) = decoded.map_err(|error| DataFusionError::External(Box::new(error)))?;
    let (at, _) = rows.schema_ref().column_with_name(EVENT_KEY).ok_or_else(|| exec_datafusion_err!("no event key"))?;
    let mut columns = rows.columns().to_vec();
    let places = first_rows(&rows, &first)?;
    let readings = take(column(SCHEMA)?, &places, None)?;
    let readings = readings.as_primitive::<Int32Type>();
    let is_old = |row: usize| readings.is_valid(row) && readings.value(row) == RULES_WITHOUT_HEADER_IDS;
    let is_decoded = |row: usize| columns[at].is_valid(row) || !is_old(row);
    let is_decoded: BooleanArray = (0..rows.num_rows()).map(|row| Some(is_decoded(row))).collect();
    columns[at] = zip(&is_decoded, &columns[at], &take(column(EVENT_KEY)?, &places, None)?)?;
    Ok((RecordBatch::try_new(rows.schema(), columns)?, places))
}

/// For each decoded row that is the first of its record, the stored row of the record.
fn first_rows(decoded: &RecordBatch, stored: &[usize]) -> Result<UInt64Array> {
    let ends = record_ends(decoded).map_err(|error| DataFusionError::External(Box::new(error)))?;
    let mut rows = vec![None; decoded.num_rows()];
    let starts = std::iter::once(0).chain(ends);
    for (start, stored) in starts.zip(stored) {
        rows[start] = Some(*stored as u64);
    }
    Ok(UInt64Array::from(rows))
}
