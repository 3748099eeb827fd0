//! Views on trial: the plans of both layers, run over generated events before anything is started.
//!
//! In: a pipeline that was read. Out: a finding for each view that cannot be run. Guarantee: nothing is stored; what
//! passes was compiled and run in this process as its roles will do it. Cost: some ten milliseconds for each view.
//! Not here: what each layer runs (`speed_layer::try_view`, `batch_layer::recompute::try_recompute`).
//! Why so: reading a file plans its views, but the engine can still fail to optimise or to run what it planned; such a
//! view would end the realtime part of its source, and its siblings' with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use batch_layer::recompute::{RecomputeComponents, try_recompute};
use lake::Lake;
use object_store::memory::InMemory;
use object_store::path::Path;
use positions::ViewName;
use records::decode::decode;
use records::master::MasterDataset;
use speed_layer::try_view;
use views::{Finding, Pipeline, PipelineError, PlannedView, SourceDefinition, sample_events};

use crate::environment::{RandomIds, SystemClock};

/// Runs every view of a pipeline as both layers do.
///
/// # Errors
/// The views that cannot be run, in the order of the file, each with its place and the reason.
pub async fn try_pipeline(pipeline: &Pipeline) -> Result<(), PipelineError> {
    let mut findings = Vec::new();
    for source in &pipeline.sources {
        let views: Vec<PlannedView> = pipeline.views_of(&source.name).into_iter().cloned().collect();
        let reasons = try_views(source, &views).await;
        let refused = views.iter().filter_map(|view| Some(finding(view, reasons.get(&view.name)?)));
        findings.extend(refused);
    }
    findings.sort_by_key(|finding| finding.line);
    if findings.is_empty() { Ok(()) } else { Err(PipelineError(findings)) }
}

/// Why views cannot be run, by their names.
async fn try_views(source: &Arc<SourceDefinition>, views: &[PlannedView]) -> BTreeMap<ViewName, String> {
    let all = |error: String| views.iter().map(|view| (view.name.clone(), error.clone())).collect();
    // Whatever decoding refuses of the definition itself it refuses before the first record.
    if let Err(error) = decode(source, &[]) {
        return all(error.to_string());
    }
    let events = match sample_events(source) {
        Ok(events) => events,
        Err(error) => return all(error.to_string()),
    };
    let mut reasons = BTreeMap::new();
    for view in views {
        if let Err(error) = try_view(view, &events).await {
            reasons.insert(view.name.clone(), error.to_string());
        }
    }
    let left: Vec<PlannedView> = views.iter().filter(|view| !reasons.contains_key(&view.name)).cloned().collect();
    if left.is_empty() {
        return reasons;
    }
    let lake = Lake::new(Arc::new(InMemory::new()), Path::default());
    let components = RecomputeComponents {
        master: MasterDataset::new(&lake, Arc::clone(source)),
        lake,
        views: left,
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds),
    };
    match try_recompute(&components, source, &events).await {
        Ok(failed) => reasons.extend(failed.into_iter().map(|(view, error)| (view, error.to_string()))),
        Err(error) => reasons.extend(components.views.iter().map(|view| (view.name.clone(), error.to_string()))),
    }
    reasons
}

fn finding(view: &PlannedView, reason: &str) -> Finding {
    Finding {
        line: view.line,
        text: format!("CREATE MATERIALIZED VIEW {}", view.name),
        message: format!(
            "view {} can be planned, but not run: over generated events it fails with \"{}\"",
            view.name,
            plain(reason)
        ),
        hint:
            "leave out, or write another way, the function, type or column that the reason names; views that are not \
               listed here were run and are not concerned"
                .to_owned(),
    }
}

/// What the engine says last, in one line: before that come the names of its own parts, behind it advice to report it.
fn plain(reason: &str) -> String {
    let cause = reason.rsplit("caused by\n").next().unwrap_or(reason);
    let ends = ["\n\nbacktrace: ", "This issue was likely caused by", "This was likely caused by"];
    let end = ends.iter().filter_map(|end| cause.find(end)).min().unwrap_or(cause.len());
    cause[..end].split_whitespace().collect::<Vec<_>>().join(" ")
}
