//! What a plan need not carry to run: statistics of files, a value for each column of each file.
//!
//! Guarantee: the same rows. Row groups and pages are still left out by what the files themselves say.
//! Why: a plan of ten thousand files and fifty columns is tens of megabytes with them, for every task of every stage.

use std::sync::Arc;

use datafusion::common::Statistics;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;

/// The plan without statistics of files.
///
/// # Errors
/// None that the engine is known to have.
pub fn without_statistics(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let slim = plan.transform_up(|node| {
        let slim = node
            .downcast_ref::<DataSourceExec>()
            .and_then(|scan| scan.downcast_to_file_source::<ParquetSource>())
            .map(|(config, _)| slim_scan(config));
        Ok(match slim {
            Some(scan) => Transformed::yes(scan),
            None => Transformed::no(node),
        })
    })?;
    Ok(slim.data)
}

fn slim_scan(config: &FileScanConfig) -> Arc<dyn ExecutionPlan> {
    let slim_group = |group: &FileGroup| {
        let files = group.files().iter().cloned().map(|mut file| {
            file.statistics = None;
            file
        });
        FileGroup::new(files.collect())
    };
    let groups = config.file_groups.iter().map(slim_group).collect();
    let unknown = Statistics::new_unknown(config.file_schema());
    let slim = FileScanConfigBuilder::from(config.clone()).with_file_groups(groups).with_statistics(unknown).build();
    DataSourceExec::from_data_source(slim)
}
