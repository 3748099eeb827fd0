//! Reading data files: a table for the query engine, and plain reads in order.
//!
//! Guarantee: a scan reads exactly the files it was given, whatever is committed meanwhile; types and NOT NULL are
//! those of the table's schema; row counts are exact, so `count(*)` reads no file.
//! Why so: files are pruned here by their bounds, row groups and pages by Parquet's; the filter itself stays in the
//! plan, so pruning can only save work.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::pruning::PrunableStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, DFSchema, Statistics};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result as EngineResult;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::{EmptyRecordBatchStream, ExecutionPlan};
use datafusion::scalar::ScalarValue;
use futures::TryStreamExt;
use object_store::ObjectStore;

use crate::reads::{FailedReads, NotedStore, told_apart};
use crate::{DataFile, Lake, LakeError, Snapshot, Table, stats};

impl Snapshot {
    /// A scan over exactly `files` of this snapshot, with filter and projection pushed into Parquet. Does no IO.
    ///
    /// # Errors
    /// [`LakeError::Refused`]: a file is not live in this snapshot.
    pub fn scan(&self, files: &[DataFile]) -> Result<Arc<dyn TableProvider>, LakeError> {
        self.check_live(files)?;
        Ok(Arc::new(FileScan { table: self.table().clone(), schema: self.schema(), files: files.to_vec() }))
    }

    /// Reads exactly `files` into memory, in their order and row order; `columns` in the order asked (`None`: all).
    ///
    /// # Errors
    /// [`LakeError::Corrupt`]: a file is missing or broken. [`LakeError::Refused`]: an unknown column or file.
    pub async fn read(&self, files: &[DataFile], columns: Option<&[&str]>) -> Result<Vec<RecordBatch>, LakeError> {
        let stream = self.stream(files, columns)?;
        stream.try_collect().await.map_err(|error| LakeError::engine(self.table().folder(), error))
    }

    /// As [`Self::read`], batch by batch: memory is bounded by a row group.
    ///
    /// # Errors
    /// As [`Self::read`], while the stream is read; [`LakeError::Refused`] at once.
    pub fn stream(&self, files: &[DataFile], columns: Option<&[&str]>) -> Result<SendableRecordBatchStream, LakeError> {
        self.check_live(files)?;
        self.stream_files(files, columns)
    }

    /// As [`Self::stream`], whether or not a version names the files.
    pub(crate) fn stream_files(
        &self,
        files: &[DataFile],
        columns: Option<&[&str]>,
    ) -> Result<SendableRecordBatchStream, LakeError> {
        let refused = |error: &dyn ToString| LakeError::refused(self.table().folder(), error.to_string());
        let schema = self.schema();
        let indices = columns
            .map(|columns| columns.iter().map(|name| schema.index_of(name)).collect::<Result<Vec<_>, _>>())
            .transpose()
            .map_err(|error| refused(&error))?;
        let lake = self.table().lake();
        let scan = FileScan { table: self.table().clone(), schema, files: files.to_vec() };
        let config = scan.config(lake, files, 1, indices).map_err(|error| refused(&error))?;
        if files.is_empty() {
            let schema = config.projected_schema().map_err(|error| refused(&error))?;
            return Ok(Box::pin(EmptyRecordBatchStream::new(schema)));
        }
        let runtime = RuntimeEnv::default();
        let store = Arc::new(NotedStore { inner: Arc::clone(lake.store()), failed: Arc::default() });
        runtime.register_object_store(lake.url().as_ref(), Arc::clone(&store) as Arc<dyn ObjectStore>);
        let context = TaskContext::default().with_runtime(Arc::new(runtime));
        let rows = DataSourceExec::from_data_source(config).execute(0, Arc::new(context));
        let sizes = files.iter().map(|file| (self.table().object_path(&file.path), file.size_bytes)).collect();
        Ok(told_apart(rows.map_err(|error| refused(&error))?, store, sizes))
    }

    fn check_live(&self, files: &[DataFile]) -> Result<(), LakeError> {
        match files.iter().find(|file| !self.state().is_live(&file.path)) {
            None => Ok(()),
            Some(file) => {
                let reason = format!("version {} does not hold file {}", self.version(), file.path);
                Err(LakeError::refused(self.table().folder(), reason))
            }
        }
    }
}

/// Files of one snapshot as a table of the query engine.
#[derive(Debug)]
struct FileScan {
    table: Table,
    schema: SchemaRef,
    files: Vec<DataFile>,
}

impl FileScan {
    fn config(
        &self,
        lake: &Lake,
        files: &[DataFile],
        groups: usize,
        projection: Option<Vec<usize>>,
    ) -> EngineResult<FileScanConfig> {
        let group = FileGroup::new(files.iter().map(|file| self.partitioned(file)).collect());
        // Dividing a group sorts it by path: one group must keep the order that was asked for.
        let file_groups = if groups > 1 { group.split_files(groups) } else { vec![group] };
        let source = Arc::new(ParquetSource::new(Arc::clone(&self.schema)));
        let statistics = Statistics::try_merge_iter(
            files.iter().map(|file| statistics(file, &self.schema)).collect::<Vec<_>>().iter(),
            &self.schema,
        )?;
        let builder = FileScanConfigBuilder::new(lake.url().clone(), source)
            .with_file_groups(file_groups)
            .with_statistics(statistics)
            .with_preserve_order(groups <= 1);
        Ok(builder.with_projection_indices(projection)?.build())
    }

    fn partitioned(&self, file: &DataFile) -> PartitionedFile {
        let path = self.table.object_path(&file.path);
        let mut partitioned = PartitionedFile::new(String::new(), file.size_bytes);
        partitioned.object_meta.location = path;
        partitioned.with_statistics(Arc::new(statistics(file, &self.schema)))
    }

    /// The files that may hold rows for which all `filters` are true.
    fn prune(&self, state: &dyn Session, filters: &[Expr]) -> EngineResult<Vec<DataFile>> {
        let Some(filter) = conjunction(filters.to_vec()) else { return Ok(self.files.clone()) };
        let schema = DFSchema::try_from(Arc::clone(&self.schema))?;
        let filter = state.create_physical_expr(filter, &schema)?;
        let Ok(predicate) = PruningPredicateBuilder::new().with_file_schema(Arc::clone(&self.schema)).try_build(filter)
        else {
            return Ok(self.files.clone());
        };
        // For pruning a bound need not be a value that occurs.
        let known = self.files.iter().map(|file| Arc::new(limits(file, &self.schema, |_| true))).collect();
        let keep = predicate.prune(&PrunableStatistics::new(known, Arc::clone(&self.schema)))?;
        Ok(self.files.iter().zip(keep).filter(|(_, keep)| *keep).map(|(file, _)| file.clone()).collect())
    }
}

#[async_trait]
impl TableProvider for FileScan {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> EngineResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    fn statistics(&self) -> Option<Statistics> {
        let each = self.files.iter().map(|file| statistics(file, &self.schema)).collect::<Vec<_>>();
        Statistics::try_merge_iter(each.iter(), &self.schema).ok()
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let files = self.prune(state, filters)?;
        let lake = self.table.lake();
        let config = self.config(lake, &files, state.config().target_partitions(), projection.cloned())?;
        if files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(config.projected_schema()?)));
        }
        state.runtime_env().register_object_store(lake.url().as_ref(), store_for(state, lake));
        // A limit counts rows behind the filter, which stands above this scan.
        let limit = if filters.is_empty() { limit } else { None };
        Ok(DataSourceExec::from_data_source(FileScanConfigBuilder::from(config).with_limit(limit).build()))
    }
}

/// The store as a session reads it.
fn store_for(state: &dyn Session, lake: &Lake) -> Arc<dyn ObjectStore> {
    let inner = Arc::clone(lake.store());
    match state.config().get_extension::<FailedReads>() {
        Some(failed) => Arc::new(NotedStore { inner, failed }),
        None => inner,
    }
}

/// What is known of a file, in the engine's form: the engine answers `max(x)` from what is exact.
fn statistics(file: &DataFile, schema: &SchemaRef) -> Statistics {
    limits(file, schema, stats::is_exact)
}

fn limits(file: &DataFile, schema: &SchemaRef, is_exact: fn(&DataType) -> bool) -> Statistics {
    let count = |number: u64| usize::try_from(number).map_or(Precision::Absent, Precision::Exact);
    let columns = schema.fields().iter().map(|field| {
        let Some((min, max, nulls)) = file.bounds.get(field.name()) else { return ColumnStatistics::new_unknown() };
        let precise = |value: &ScalarValue| match is_exact(field.data_type()) {
            _ if value.is_null() => Precision::Absent,
            true => Precision::Exact(value.clone()),
            false => Precision::Inexact(value.clone()),
        };
        ColumnStatistics::new_unknown()
            .with_min_value(precise(min))
            .with_max_value(precise(max))
            .with_null_count(count(*nulls))
    });
    let column_statistics = columns.collect();
    Statistics { num_rows: count(file.rows), total_byte_size: Precision::Absent, column_statistics }
}
