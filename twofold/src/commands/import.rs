//! `twofold import`: puts files of events into the master dataset of a source, beside a system that may run.

use std::sync::Arc;

use anyhow::{Result, bail};
use batch_layer::RecomputeSettings;
use batch_layer::import::{Import, ImportComponents, PART_MEMORY_BYTES};
use records::master::MasterDataset;

use super::{find_source, pipeline_path, read_config};
use crate::arguments::{ImportArguments, OnBadEvent};
use crate::console::say;
use crate::data_dir::DataDir;
use crate::environment::{RandomIds, SystemClock};
use crate::import::{ImportPlan, ImportReport, find_files, import_files};
use crate::pipeline_file::read_pipeline;
use crate::wiring::find_lake;

/// Runs the command. Rejected events among good ones are told, and are not a failure.
///
/// # Errors
/// Where nothing is found under a name, a file is not imported, or a store failed: what is in stays in, and the next
/// call goes on behind it.
pub async fn import(arguments: &ImportArguments) -> Result<()> {
    let config = read_config(&arguments.settings, "")?;
    let data_dir = DataDir::find(&config.system.data_dir, config.lake.is_in_data_dir())?;
    let pipeline = read_pipeline(&pipeline_path(arguments.pipeline.as_deref(), &data_dir)?)?;
    let source = Arc::clone(find_source(&pipeline, &arguments.source)?);
    let files = find_files(&arguments.files, &config.lake).await?;
    let lake = find_lake(&config.lake, &data_dir).await?;
    let components = ImportComponents {
        master: MasterDataset::new(&lake, Arc::clone(&source)),
        source: Arc::clone(&source),
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds),
        workers: workers(&config.batch.recompute),
        give_up_after_bad: arguments.give_up_after_bad,
        keeps_rejected: arguments.on_error == OnBadEvent::Keep,
    };
    if source.event_id.is_empty() {
        tracing::warn!(source = %source.name, "the source names no event id: events that are in the log too count twice");
    }
    let mut import = Import::open(components).await?;
    let is_strict = arguments.on_error == OnBadEvent::Refuse;
    let plan = ImportPlan { files: &files, source: &source, is_again: arguments.again, is_strict };
    let mut report = ImportReport::default();
    let outcome = import_files(&mut import, &plan, &mut report).await;
    // An import that did not begin has nothing to report but its error.
    if outcome.is_ok() || !report.files.is_empty() {
        say(&report.describe());
    }
    outcome?;
    match report.failed().count() {
        0 => Ok(()),
        failed => bail!("{failed} of {} files are not imported", files.len()),
    }
}

/// As many as there are threads, and as find room.
fn workers(settings: &RecomputeSettings) -> usize {
    (settings.memory_bytes / PART_MEMORY_BYTES).min(settings.target_partitions).max(1)
}
