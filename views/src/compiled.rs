//! A plan that is built once and run many times over batches in memory.
//!
//! Why so: planning costs milliseconds, a micro-batch has a fifth of a second. Each run exchanges the leaf that stands
//! for the input and thereby rebuilds the operators above it, so runs share neither state nor metrics.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as EngineResult;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::datasource::provider_as_source;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableType};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::memory::MemoryStream;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, SendableRecordBatchStream, collect,
};

use crate::caught::caught;
use crate::error::DefinitionError;
use crate::failed_rows::FailedRows;
use crate::fallible::count_failures;
use crate::session::{session_config, session_state_builder};

/// A physical plan that is built once and executed many times over batches in memory.
#[derive(Clone, Debug)]
pub struct Compiled {
    plan: Arc<dyn ExecutionPlan>,
    input: SchemaRef,
    output: SchemaRef,
    task: Arc<TaskContext>,
    /// Of all runs; shared by all clones.
    failed: Arc<FailedRows>,
}

impl Compiled {
    /// Compiles what `build` makes of a scan with the given schema.
    ///
    /// # Errors
    /// [`DefinitionError`] if planning fails.
    pub async fn new(
        input: SchemaRef,
        build: impl FnOnce(LogicalPlan) -> Result<LogicalPlan, DefinitionError>,
    ) -> Result<Self, DefinitionError> {
        let table = Arc::new(InputTable { schema: Arc::clone(&input) });
        let scan = LogicalPlanBuilder::scan("input", provider_as_source(table), None)?.build()?;
        let state = single_threaded();
        let failed = Arc::default();
        let plan = state.create_physical_plan(&count_failures(build(scan)?, &failed)?).await?;
        let output = nullable_schema(&plan.schema());
        Ok(Self { plan, input, output, task: state.task_ctx(), failed })
    }

    /// The schema of what [`Self::execute`] returns: all columns nullable.
    pub fn output_schema(&self) -> SchemaRef {
        Arc::clone(&self.output)
    }

    /// On how many rows expressions failed, and so were NULL, since the last call: of all runs of this plan, whoever
    /// asked for them, by the expression as it is written.
    pub fn take_failed(&self) -> BTreeMap<String, u64> {
        self.failed.take()
    }

    /// Runs the plan over `batches`, single-threaded, in memory. May be called again and again, also concurrently.
    ///
    /// # Errors
    /// [`DefinitionError`] if execution fails, for example on a state beyond its limit or a batch of another schema, or
    /// panics.
    pub async fn execute(&self, batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, DefinitionError> {
        let batches = batches.into_iter().map(|batch| retype(batch, &self.input)).collect::<EngineResult<Vec<_>>>()?;
        let batches = Arc::new(batches);
        let plan = Arc::clone(&self.plan).transform_up(|node| match node.downcast_ref::<InputExec>() {
            Some(leaf) => Ok(Transformed::yes(Arc::new(leaf.over(&batches)) as Arc<dyn ExecutionPlan>)),
            // Also where no child changed: operators keep metrics and build sides, which runs must not share.
            None => {
                let children = node.children().into_iter().cloned().collect();
                let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep);
                Ok(Transformed::yes(node.replace_children(children, options)?.reset_state()?))
            }
        })?;
        let answer = caught(collect(plan.data, Arc::clone(&self.task))).await??;
        Ok(answer.into_iter().map(|batch| retype(batch, &self.output)).collect::<EngineResult<Vec<_>>>()?)
    }

    /// As [`Self::execute`], in one batch.
    ///
    /// # Errors
    /// As there.
    pub async fn execute_whole(&self, batches: Vec<RecordBatch>) -> Result<RecordBatch, DefinitionError> {
        let answer = self.execute(batches).await?;
        Ok(concat_batches(&self.output, &answer).map_err(DataFusionError::from)?)
    }
}

fn single_threaded() -> SessionState {
    let mut config = session_config().with_target_partitions(1).with_collect_statistics(false);
    // A filter that one run learned must not outlive it.
    config.options_mut().optimizer.enable_dynamic_filter_pushdown = false;
    session_state_builder().with_config(config).build()
}

fn nullable_schema(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| Field::new(field.name(), field.data_type().clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The same columns under another schema of equal types.
fn retype(batch: RecordBatch, schema: &SchemaRef) -> EngineResult<RecordBatch> {
    if batch.schema_ref() == schema {
        return Ok(batch);
    }
    Ok(RecordBatch::try_new(Arc::clone(schema), batch.columns().to_vec())?)
}

/// The table that stands for the input while planning.
#[derive(Debug)]
struct InputTable {
    schema: SchemaRef,
}

#[async_trait]
impl TableProvider for InputTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(InputExec::new(&self.schema, projection.cloned())?))
    }
}

/// The leaf that is exchanged for each run.
#[derive(Debug)]
struct InputExec {
    projection: Option<Vec<usize>>,
    batches: Arc<Vec<RecordBatch>>,
    properties: Arc<PlanProperties>,
}

impl InputExec {
    fn new(schema: &SchemaRef, projection: Option<Vec<usize>>) -> EngineResult<Self> {
        let projected = match &projection {
            Some(columns) => Arc::new(schema.project(columns)?),
            None => Arc::clone(schema),
        };
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(projected),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        Ok(Self { projection, batches: Arc::default(), properties })
    }

    fn over(&self, batches: &Arc<Vec<RecordBatch>>) -> Self {
        Self {
            projection: self.projection.clone(),
            batches: Arc::clone(batches),
            properties: Arc::clone(&self.properties),
        }
    }
}

impl DisplayAs for InputExec {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "InputExec: batches={}", self.batches.len())
    }
}

impl ExecutionPlan for InputExec {
    fn name(&self) -> &str {
        "InputExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> EngineResult<TreeNodeRecursion>,
    ) -> EngineResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _partition: usize, _context: Arc<TaskContext>) -> EngineResult<SendableRecordBatchStream> {
        let batches = match &self.projection {
            Some(columns) => self.batches.iter().map(|batch| batch.project(columns)).collect::<Result<Vec<_>, _>>()?,
            None => self.batches.to_vec(),
        };
        let schema = Arc::clone(self.properties.equivalence_properties().schema());
        Ok(Box::pin(MemoryStream::try_new(batches, schema, None)?))
    }
}
