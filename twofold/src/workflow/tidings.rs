//! What became of runs, for whoever is told: each change of a run's state, from the journal.
//!
//! In: the state, as the leader reads it. Out: events for `crate::notify`, and what was told, as notes of the journal.
//! Guarantee: what happened while nobody led is told by the next leader, and what was told may be told again, under the
//! same id. A state between two looks that a run went through is told where it can be known: that it ran.

use serde_json::{Value, json};
use tracing::warn;
use workflow::schedule::ScheduleName;
use workflow::{Run, RunId, RunState, State};

use super::notes::{Notes, difference, noted};
use super::specs::part_of;
use crate::notify::{COMPACT, Judge, Notifier, RunEvent};

const PREFIX: &str = "notices/";
const LAST: &str = "last";
const OPEN: &str = "open/";
const FAILING: &str = "failing/";

/// Tells what the journal says has changed since the last telling; what is to be noted for the next one.
pub(super) fn tell(state: &State, notifier: &mut Notifier) -> Vec<(String, Value)> {
    if !notifier.has_receivers() {
        return Vec::new();
    }
    let before = noted(state, PREFIX);
    notifier.resume(failing(&before));
    let last = before.get(LAST).and_then(Value::as_u64).unwrap_or(0);
    for run in state.runs.values() {
        let told = before.get(&open_name(run.id)).and_then(Value::as_str);
        tell_run(run, (told, run.id.0 <= last), notifier);
    }
    difference(PREFIX, &before, &wanted(state, notifier.judge()))
}

/// `told` is the state that was told last of a run that had not ended then.
fn tell_run(run: &Run, (told, is_known): (Option<&str>, bool), notifier: &mut Notifier) {
    let was_told = told == Some(run.state.name()) || told.is_none() && is_known && run.state.is_ended();
    if was_told {
        return;
    }
    let has_run = told.is_some_and(|told| told == RunState::Running.name() || told == RunState::Paused.name());
    if run.state.is_ended() && run.started_at.is_some() && !has_run {
        notifier.run_changed(&event_of(run, RunState::Running));
    }
    notifier.run_changed(&event_of(run, run.state));
}

fn wanted(state: &State, judge: &Judge) -> Notes {
    let mut notes = Notes::new();
    if state.last_run > RunId(0) {
        notes.insert(LAST.to_owned(), json!(state.last_run.0));
    }
    notes.extend(state.open_runs().map(|run| (open_name(run.id), json!(run.state.name()))));
    let failing: Vec<String> = serde_json::from_value(json!(judge)).unwrap_or_default();
    notes.extend(failing.into_iter().map(|subject| (format!("{FAILING}{subject}"), json!(true))));
    notes
}

fn failing(notes: &Notes) -> Judge {
    let subjects: Vec<&str> = notes.keys().filter_map(|name| name.strip_prefix(FAILING)).collect();
    serde_json::from_value(json!(subjects)).unwrap_or_else(|error| {
        warn!(%error, "what was failing is not known any more");
        Judge::default()
    })
}

fn open_name(run: RunId) -> String {
    format!("{OPEN}{run}")
}

/// What it is for, in one word: an erasing or a merging is not well because some other housekeeping is done.
fn kind_of(run: &Run) -> &'static str {
    match part_of(&run.spec) {
        Some("erase") => "erase",
        Some(COMPACT) => COMPACT,
        _ => run.spec.kind.name(),
    }
}

fn event_of(run: &Run, state: RunState) -> RunEvent {
    let failure = run.failure.as_ref().map(|failed| &failed.failure).filter(|_| state == RunState::Failed);
    // Nothing is wrong where others do what is left of it.
    let state = if failure.is_some_and(|failure| failure.is_superseded) { RunState::Cancelled } else { state };
    let at = match state {
        RunState::Queued => None,
        RunState::Running | RunState::Paused => run.started_at,
        RunState::Done | RunState::Failed | RunState::Cancelled => run.ended_at,
    };
    RunEvent {
        run: run.id.to_string(),
        kind: kind_of(run).to_owned(),
        schedule: run.spec.schedule.clone().map(ScheduleName),
        source: run.spec.source.clone(),
        views: run.spec.views.iter().map(|(view, _)| view.clone()).collect(),
        mode: run.spec.mode,
        state,
        reason: failure.map(|failure| failure.reason.clone()),
        started_at: run.started_at,
        ended_at: run.ended_at,
        at: at.unwrap_or(run.created_at),
    }
}
