//! The operator that decodes archived records again.
//!
//! In: batches of the columns [`STORED`], as far as the table has them; and rows that are right as they are. Out: the
//! partitions of both, side by side, as batches of the master schema or of a projection of it.
//! Guarantee: the rows of each record whose first row comes in, in their order, whatever the payloads hold. Rows that
//! are not the first of their record hold no payload, and are passed over.
//! Why both in one operator: what stands above is then planned once, not once for each part.
//! Why a stored key stays where decoding gives none: rows that were archived before header ids were kept have nothing
//! else of them. Such a record that was rejected comes back without its id, and its copies count.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryArray, UInt64Array};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{is_not_null, take};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
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
use views::SourceDefinition;
use views::column::{OFFSET, PARTITION, TIMESTAMP};

use crate::decode::column::{CLOCK_SHIFT, EVENT_KEY, HEADER_ID, ITEM, PAYLOAD};
use crate::decode::{decode, master_schema, record_ends};

/// The columns that it reads, in any order. Tables that nothing was added to for long have neither header ids nor items.
pub(super) const STORED: [&str; 8] = [PARTITION, OFFSET, TIMESTAMP, PAYLOAD, CLOCK_SHIFT, EVENT_KEY, HEADER_ID, ITEM];

/// Decodes what is stored, and hands on what is current.
#[derive(Debug)]
pub(super) struct DecodeExec {
    source: Arc<SourceDefinition>,
    stored: Arc<dyn ExecutionPlan>,
    current: Option<Arc<dyn ExecutionPlan>>,
    projection: Vec<usize>,
    properties: Arc<PlanProperties>,
}

impl DecodeExec {
    /// `projection`: of the master schema; `current` has those columns.
    pub fn new(
        source: Arc<SourceDefinition>,
        stored: Arc<dyn ExecutionPlan>,
        current: Option<Arc<dyn ExecutionPlan>>,
        projection: Vec<usize>,
    ) -> Result<Self> {
        let partitions = |plan: &Arc<dyn ExecutionPlan>| plan.output_partitioning().partition_count();
        let count = partitions(&stored) + current.as_ref().map_or(0, partitions);
        let schema = Arc::new(master_schema(&source).project(&projection)?);
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(count),
            stored.pipeline_behavior(),
            stored.boundedness(),
        ));
        Ok(Self { source, stored, current, projection, properties })
    }
}

impl DisplayAs for DecodeExec {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "DecodeExec: source={}", self.source.name)
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
        Ok(Arc::new(Self::new(self.source.clone(), stored, children.next(), self.projection.clone())?))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let stored = self.stored.output_partitioning().partition_count();
        if let (Some(current), Some(partition)) = (&self.current, partition.checked_sub(stored)) {
            return current.execute(partition, context);
        }
        let (source, projection) = (self.source.clone(), self.projection.clone());
        let stored = self.stored.execute(partition, context)?;
        let decoded = stored.map(move |stored| Ok(read_again(&source, &stored?)?.project(&projection)?));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), decoded)))
    }
}

/// The rows as the source is read today.
fn read_again(source: &SourceDefinition, stored: &RecordBatch) -> Result<RecordBatch> {
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
    let is_first = |row: &usize| items.is_none_or(|items| items.is_null(*row) || items.value(*row) == 0);
    let first: Vec<usize> = (0..stored.num_rows()).filter(is_first).collect();
    let records: Vec<Record> = first.iter().map(|row| record(*row)).collect();
    let rows = decode(source, &records).map_err(|error| DataFusionError::External(Box::new(error)))?;
    let (at, _) = rows.schema_ref().column_with_name(EVENT_KEY).ok_or_else(|| exec_datafusion_err!("no event key"))?;
    let mut columns = rows.columns().to_vec();
    let stored_keys = take(column(EVENT_KEY)?, &first_rows(&rows, &first)?, None)?;
    columns[at] = zip(&is_not_null(&columns[at])?, &columns[at], &stored_keys)?;
    Ok(RecordBatch::try_new(rows.schema(), columns)?)
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
