//! Runs that failed and were not done again, and a workflow in which nothing is taken, or whose journal is broken.
//!
//! Guarantee: told by the processes that take part in runs, from the journal as they read it last; each work has the
//! last of its runs, and no other. Definitions that are not the present ones any more are passed over. A run has failed
//! since it ended, whichever process tells of it.

use std::collections::BTreeMap;

use query_gateway::Trouble;
use workflow::{Run, RunState, State};

use super::FactSuppliers;
use crate::definitions::RunningDefinitions;
use crate::runs::instant::instant_text;
use crate::runs::paused::{ALL_PAUSED, END_OF_PAUSE};
use crate::workflow::interval::INTERVAL;
use crate::workflow::specs::part_of;

impl FactSuppliers {
    pub(super) fn run_troubles(&self) -> Vec<Trouble> {
        if !self.roles.take_part_in_runs() {
            return Vec::new();
        }
        let state = self.shared.workflow.state();
        let paused = state.is_paused.then(|| Trouble::new("runs-paused", "runs", ALL_PAUSED, END_OF_PAUSE));
        let unreadable = self.shared.workflow.broken().map(|problem| {
            let way_out = "no task is taken, and nothing that is due starts, until what the problem says is done";
            Trouble::new("runs-unreadable", "runs", problem, way_out)
        });
        let failed = failed_runs(&state, &self.definitions.current());
        failed.into_iter().map(tell).chain(paused).chain(unreadable).collect()
    }
}

/// The last ended run of each work, where it failed.
fn failed_runs<'a>(state: &'a State, set: &RunningDefinitions) -> Vec<&'a Run> {
    let mut last: BTreeMap<_, &Run> = BTreeMap::new();
    // Those of the interval are told by view.
    let runs = state.runs.values().filter(|run| run.spec.schedule.as_deref() != Some(INTERVAL));
    let ended = runs.filter(|run| matches!(run.state, RunState::Done | RunState::Failed));
    for run in ended {
        let views: Vec<_> = run.spec.views.iter().map(|(view, _)| view).collect();
        // Of a source, merging is another work than deleting.
        let part = part_of(&run.spec);
        last.insert((&run.spec.schedule, run.spec.kind, part, &run.spec.source, views), run);
    }
    let is_present = |run: &&Run| {
        let mut views = run.spec.views.iter();
        views.all(|(view, hash)| set.pipeline.view(view.as_str()).is_some_and(|view| view.hash == *hash))
    };
    last.into_values().filter(|run| run.state == RunState::Failed).filter(is_present).collect()
}

fn tell(run: &Run) -> Trouble {
    let spec = &run.spec;
    let by = spec.schedule.as_ref().map(|schedule| format!(" by schedule {schedule}")).unwrap_or_default();
    let reason = run.failure.as_ref().map_or("no reason is known", |failed| failed.failure.reason.as_str());
    let problem = format!("{} of source {}{by} failed: {reason}", spec.kind.name(), spec.source);
    let id = run.id;
    let way_out = format!(
        "the last versions of its views stay; do what the reason says, then `twofold runs retry {id}` does what failed, \
         and nothing that is done; a run of the same work that is done ends this as well"
    );
    let since = run.ended_at.and_then(instant_text);
    Trouble { since, ..Trouble::new("run-failed", format!("run {id}"), problem, way_out) }
}
