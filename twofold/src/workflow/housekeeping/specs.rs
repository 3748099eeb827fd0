//! The runs of housekeeping, as they are asked for.
//!
//! Guarantee: pure. The same pipeline and settings give the same runs, so that one which is open is joined.

use batch_layer::compact::NamedMerge;
use positions::{DefinitionHash, SourceName, ViewName};
use serde::{Deserialize, Serialize};
use serde_json::json;
use views::{Pipeline, PlannedView};
use workflow::{Priority, RunKind, RunMode, RunSpec, TaskId, TaskKind, TaskSpec};

use super::super::specs::{cause_key, of_part};
use super::super::values::stored;
use crate::config::Config;

/// The task of a run that looks which files are to be merged, and brings the tasks that merge them.
const COMPACT: TaskId = TaskId(1);
/// That which deletes what nobody needs.
const VACUUM: TaskId = TaskId(1);
/// That which deletes old sets of definitions, in the run of one source.
const TRIM: TaskId = TaskId(2);
/// That which folds, in a run of its own.
const FOLD: TaskId = TaskId(1);
/// The first task that merges files.
const FIRST_MERGE: u32 = 16;

/// What a task that compacts is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct CompactParameters {
    /// The files to be merged; `None`: to look which are.
    pub(super) merge: Option<NamedMerge>,
}

/// Everything that may have to be done: for each source a run that merges, one that deletes and, where
/// `batch.fold_after` is set, one for each of its views, and for each of `former`, which still answer. Each task looks
/// first whether there is anything to do. At most one task of a run is at work at one time.
pub fn housekeeping_runs_of(
    pipeline: &Pipeline,
    former: &[PlannedView],
    config: &Config,
) -> Vec<(RunSpec, Vec<TaskSpec>)> {
    let mut runs = Vec::new();
    for (at, source) in pipeline.sources.iter().enumerate() {
        // A file that cannot be merged keeps no other from being deleted. Of no view: it is the same work under any
        // definitions.
        if config.batch.compact.is_on {
            let tasks = vec![task(COMPACT, TaskKind::Compact)];
            runs.push((spec(&source.name, Vec::new(), "compact", config), tasks));
        }
        let mut tasks = vec![task(VACUUM, TaskKind::Vacuum)];
        // The sets are those of the whole lake.
        if at == 0 {
            tasks.push(task(TRIM, TaskKind::Trim));
        }
        runs.push((spec(&source.name, Vec::new(), "clean", config), tasks));
        let views = pipeline.views.iter().chain(former).filter(|view| view.source.name == source.name);
        for view in views.filter(|view| config.batch.fold_after.is_some() && view.source.is_recomputed()) {
            let views = vec![(view.name.clone(), view.hash)];
            let cause_key = Some(cause_key(&views, config));
            let spec = RunSpec { cause_key, ..spec(&source.name, views, "fold", config) };
            runs.push((spec, vec![task(FOLD, TaskKind::Fold)]));
        }
    }
    runs
}

/// The tasks that carry merges out.
pub(super) fn merge_tasks(merges: Vec<NamedMerge>) -> Vec<TaskSpec> {
    let numbered = merges.into_iter().zip(FIRST_MERGE..);
    let tasks = numbered.map(|(merge, number)| TaskSpec {
        id: TaskId(number),
        kind: TaskKind::Compact,
        after: vec![COMPACT],
        weight_bytes: merge.size_bytes,
        parameters: stored(&CompactParameters { merge: Some(merge) }),
    });
    tasks.collect()
}

fn spec(source: &SourceName, views: Vec<(ViewName, DefinitionHash)>, part: &str, config: &Config) -> RunSpec {
    RunSpec {
        kind: RunKind::Housekeeping,
        source: source.clone(),
        views,
        mode: RunMode::Full,
        parameters: of_part(part),
        // Whatever computes comes first.
        priority: Priority::Backfill,
        retries: config.workflow.retries,
        max_concurrent: Some(1),
        idempotency_key: None,
        deadline: None,
        schedule: None,
        // What fails for good rests on data here: it is tried again, less and less often.
        cause_key: None,
    }
}

fn task(id: TaskId, kind: TaskKind) -> TaskSpec {
    TaskSpec { id, kind, after: Vec::new(), parameters: json!({}), weight_bytes: 0 }
}
