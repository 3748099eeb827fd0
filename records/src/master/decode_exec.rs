//! The operator that decodes archived records again.
//!
//! In: batches of the columns [`STORED`], as far as the table has them; and rows that are right as they are. Out: the
//! partitions of both, side by side, as batches of the master schema or of a projection of it.
//! Guarantee: one row out for each row in, in their order, whatever the payloads hold.
//! Why both in one operator: what stands above is then planned once, not once for each part.
//! Why a stored key stays where decoding gives none: rows that were archived before header ids were kept have nothing
//! else of them. Such a record that was rejected comes back without its id, and its copies count.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryArray};
use arrow::compute::is_not_null;
use arrow::compute::kernels::zip::zip;
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

use crate::decode::column::{CLOCK_SHIFT, EVENT_KEY, HEADER_ID, PAYLOAD};
use crate::decode::wire::Schemas;
use crate::decode::{decode_with, master_schema};

/// The columns that it reads, in any order. Tables that nothing was added to for long have no header ids.
pub(super) const STORED: [&str; 7] = [PARTITION, OFFSET, TIMESTAMP, PAYLOAD, CLOCK_SHIFT, EVENT_KEY, HEADER_ID];

/// By what rows are decoded.
#[derive(Clone, Debug)]
pub(super) struct Decoder {
    pub(super) source: Arc<SourceDefinition>,
    /// The schemas that rows name.
    pub(super) schemas: Schemas,
}

/// Decodes what is stored, and hands on what is current.
#[derive(Debug)]
pub(super) struct DecodeExec {
    decoder: Decoder,
    stored: Arc<dyn ExecutionPlan>,
    current: Option<Arc<dyn ExecutionPlan>>,
    projection: Vec<usize>,
    properties: Arc<PlanProperties>,
}

impl DecodeExec {
    /// `projection`: of the master schema; `current` has those columns.
    pub fn new(
        decoder: Decoder,
        stored: Arc<dyn ExecutionPlan>,
        current: Option<Arc<dyn ExecutionPlan>>,
        projection: Vec<usize>,
    ) -> Result<Self> {
        let partitions = |plan: &Arc<dyn ExecutionPlan>| plan.output_partitioning().partition_count();
        let count = partitions(&stored) + current.as_ref().map_or(0, partitions);
        let schema = Arc::new(master_schema(&decoder.source).project(&projection)?);
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(count),
            stored.pipeline_behavior(),
            stored.boundedness(),
        ));
        Ok(Self { decoder, stored, current, projection, properties })
    }
}

impl DisplayAs for DecodeExec {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "DecodeExec: source={}", self.decoder.source.name)
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
        Ok(Arc::new(Self::new(self.decoder.clone(), stored, children.next(), self.projection.clone())?))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let stored = self.stored.output_partitioning().partition_count();
        if let (Some(current), Some(partition)) = (&self.current, partition.checked_sub(stored)) {
            return current.execute(partition, context);
        }
        let (decoder, projection) = (self.decoder.clone(), self.projection.clone());
        let stored = self.stored.execute(partition, context)?;
        let decoded = stored.map(move |stored| Ok(read_again(&decoder, &stored?)?.project(&projection)?));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), decoded)))
    }
}

/// The rows as the source is read today.
fn read_again(decoder: &Decoder, stored: &RecordBatch) -> Result<RecordBatch> {
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
    let records: Vec<Record> = (0..stored.num_rows()).map(record).collect();
    let decoded = decode_with(&decoder.source, &decoder.schemas, &records);
    let (rows, _) = decoded.map_err(|error| DataFusionError::External(Box::new(error)))?;
    let (at, _) = rows.schema_ref().column_with_name(EVENT_KEY).ok_or_else(|| exec_datafusion_err!("no event key"))?;
    let mut columns = rows.columns().to_vec();
    columns[at] = zip(&is_not_null(&columns[at])?, &columns[at], column(EVENT_KEY)?)?;
    Ok(RecordBatch::try_new(rows.schema(), columns)?)
}
