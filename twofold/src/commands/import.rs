//! `twofold import`: puts files of events into the master dataset of a source, beside a system that may run.

use std::sync::Arc;

use anyhow::{Result, bail};
use batch_layer::RecomputeSettings;
use batch_layer::import::{Import, ImportComponents, PART_MEMORY_BYTES};
use records::master::MasterDataset;

use super::{asked_pipeline, find_source, open_lake};
use crate::arguments::{ImportArguments, OnBadEvent};
use crate::console::say;
use crate::environment::{RandomIds, SystemClock};
use crate::import::{ImportPlan, ImportReport, find_files, import_files};
use crate::kappa::check_import;
use crate::workflow::by_command::SeenRun;

/// Runs the command. Rejected events among good ones are told, and are not a failure.
///
/// # Errors
/// Where nothing is found under a name, a file is not imported, or a store failed: what is in stays in, and the next
/// call goes on behind it.
pub async fn import(arguments: &ImportArguments) -> Result<()> {
    let (config, data_dir, lake) = open_lake(&arguments.settings).await?;
    let pipeline = asked_pipeline(arguments.pipeline.as_deref(), &data_dir, &lake).await?;
    let source = Arc::clone(find_source(&pipeline, &arguments.source)?);
    check_import(&source)?;
    let files = find_files(&arguments.files, &config.lake).await?;
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
    let seen = SeenRun::of_import(&lake, &config, &source.name).await?;
    let is_strict = arguments.on_error == OnBadEvent::Refuse;
    let progress = seen.progress();
    let plan = ImportPlan { files: &files, source: &source, is_again: arguments.again, is_strict, progress };
    let mut report = ImportReport::default();
    let outcome = seen.during(open_and_import(components, &plan, &mut report)).await;
    seen.end(outcome.is_ok().then(|| report.brief())).await;
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

async fn open_and_import(components: ImportComponents, plan: &ImportPlan<'_>, report: &mut ImportReport) -> Result<()> {
    let mut import = Import::open(components).await?;
    import_files(&mut import, plan, report).await
}

/// As many as there are threads, and as find room.
fn workers(settings: &RecomputeSettings) -> usize {
    (settings.memory_bytes / PART_MEMORY_BYTES).min(settings.target_partitions).max(1)
}
