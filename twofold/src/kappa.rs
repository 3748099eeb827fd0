//! What is refused of sources in kappa mode, whose views nothing recomputes: each with its place and the way out.
//!
//! Guarantee: pure. Not here: options of a pipeline file (`views`), questions for batch versions (`query-gateway`).

use anyhow::{Result, bail, ensure};
use views::{Pipeline, PlannedView, SourceDefinition};

use crate::config::Config;

/// Why a view is computed by no round, run or schedule.
pub fn not_recomputed(view: &PlannedView) -> String {
    format!(
        "view `{}` is of source `{}`, which is mode 'kappa': nothing recomputes it; leave it out, or change its definition \
         to have the log replayed",
        view.name, view.source.name
    )
}

/// Refuses to hold the newest version of a view against its events where it has none, nor ever will.
///
/// # Errors
/// That, and what can be checked.
pub fn check_verified(view: &PlannedView) -> Result<()> {
    ensure!(
        view.source.is_recomputed(),
        "view {} has no batch versions: its source {} is mode 'kappa'; verify an answer by its receipt (`twofold explain {} \
         --receipt`)",
        view.name,
        view.source.name,
        view.name
    );
    Ok(())
}

/// Refuses views, by their names, that nothing recomputes; no names: all of the pipeline.
///
/// # Errors
/// The first of them, or that there is no other.
pub fn check_recomputed(pipeline: &Pipeline, names: &[String]) -> Result<()> {
    let mut named = pipeline.views.iter().filter(|view| names.iter().any(|name| name == view.name.as_str()));
    if let Some(view) = named.find(|view| !view.source.is_recomputed()) {
        bail!(not_recomputed(view));
    }
    let is_any = pipeline.views.is_empty() || pipeline.views.iter().any(|view| view.source.is_recomputed());
    ensure!(is_any, "there is no view to compute: all are of sources in mode 'kappa', whose views nothing recomputes");
    Ok(())
}

/// Refuses settings that could do nothing, since all sources are in kappa mode.
///
/// # Errors
/// The setting.
pub fn check_settings(config: &Config, pipeline: &Pipeline) -> Result<()> {
    let has_batch = pipeline.sources.iter().any(|source| source.is_recomputed());
    ensure!(
        has_batch || config.batch.fold_after.is_none(),
        "`batch.fold_after` folds batch views, and all sources of the pipeline file are mode 'kappa', which have none; \
         leave the setting out"
    );
    Ok(())
}

/// Refuses to import into a source in kappa mode.
///
/// # Errors
/// That, and why.
pub fn check_import(source: &SourceDefinition) -> Result<()> {
    ensure!(
        source.is_recomputed(),
        "source {} is mode 'kappa': its views are computed from the log alone, and files that are imported are in the \
         master dataset alone, so no answer would hold them; send them through the log (`twofold load`), or leave mode out \
         of the source",
        source.name
    );
    Ok(())
}

/// Refuses to begin another life of the topic of a source in kappa mode.
///
/// # Errors
/// That, and why.
pub fn check_reset(source: &SourceDefinition) -> Result<()> {
    ensure!(
        source.is_recomputed(),
        "source {} is mode 'kappa': a replay reads one life of a topic, and what this one held would be in no answer any \
         more; read the new topic as a source of another name, or leave mode out of this one and run the reset again",
        source.name
    );
    Ok(())
}
