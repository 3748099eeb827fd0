//! Keeping journal and state short: snapshots, trimming, ended runs into the history. Done by the leader.
//!
//! Guarantee: an ended run leaves the state only after its object of the history is there. On retry or after a crash
//! the next step goes on. Objects of a run that no entry names are deleted by a leader that has seen them for the whole
//! of `trim_grace`.

use std::collections::{BTreeMap, VecDeque};

use tokio::time::Instant;

use crate::beat::remove_beat;
use crate::config::WorkflowSettings;
use crate::entry::Change;
use crate::error::{Parts, WorkflowError};
use crate::ids::RunId;
use crate::journal::{Decision, Journal};
use crate::objects::history_name;
use crate::runs::{Run, RunState};
use crate::state::State;
use crate::watched::Watched;

/// Runs that are archived or forgotten in one step.
const MOST_AT_ONCE: usize = 10;

/// Does what is due; what cannot be done keeps nothing else back.
pub(crate) async fn keep_up(
    journal: &Journal,
    settings: &WorkflowSettings,
    watched: &mut Watched,
    now: Instant,
) -> Result<(), WorkflowError> {
    let (mut parts, state) = (Parts::default(), journal.state());
    parts.note(limit(journal, settings.max_concurrent).await)?;
    parts.note(shorten(journal, settings, watched, now).await)?;
    for run in surplus(&state, settings.recent_runs, false) {
        parts.note(archive(journal, &state, run).await)?;
    }
    for run in surplus(&state, settings.history_runs.max(settings.recent_runs), true) {
        parts.note(forget(journal, &state, run).await)?;
    }
    for worker in watched.forget(&state, settings.lease_patience * 4, now) {
        parts.note(remove_beat(journal.objects(), &worker).await)?;
    }
    parts.end()
}

/// Writes a snapshot, and deletes what is not needed behind it.
async fn shorten(
    journal: &Journal,
    settings: &WorkflowSettings,
    watched: &mut Watched,
    now: Instant,
) -> Result<(), WorkflowError> {
    if !journal.write_snapshot(settings.snapshot_entries).await? {
        return Ok(());
    }
    journal.trim(settings.trim_grace).await?;
    // Whoever was about to start these died before the entry that would name them, or works under a lease that is lost.
    let (mut strays, state) = (journal.objects().keys_of_runs().await?, journal.state());
    strays.retain(|key| !state.runs.values().any(|run| *run.key == **key));
    for key in watched.settled_strays(strays, settings.trim_grace, now) {
        journal.objects().delete_of_run(&key).await?;
    }
    Ok(())
}

/// The oldest ended runs beyond `keep`, as far as they are archived or not; failed ones apart from others, so that one
/// can be retried however many are done since.
fn surplus(state: &State, keep: usize, is_archived: bool) -> Vec<RunId> {
    let ended = state.runs.values().map(|run| &**run).filter(|run| run.state.is_ended());
    let ended = ended.filter(|run| state.leases_in(run.id) == 0);
    let (failed, others): (Vec<&Run>, Vec<&Run>) = ended.partition(|run| run.state == RunState::Failed);
    let meant = beyond(failed, keep).into_iter().chain(beyond(others, keep));
    meant.filter(|run| run.is_archived == is_archived).map(|run| run.id).take(MOST_AT_ONCE).collect()
}

/// Those of `runs`, the oldest first, that are more than `keep`: always the oldest one of the schedule that has the
/// most, so that what runs each second does not push out what runs each night. Those by hand count as of one schedule.
fn beyond(runs: Vec<&Run>, keep: usize) -> Vec<&Run> {
    let mut surplus = runs.len().saturating_sub(keep);
    let mut by_schedule: BTreeMap<Option<&str>, VecDeque<&Run>> = BTreeMap::new();
    for run in runs {
        by_schedule.entry(run.spec.schedule.as_deref()).or_default().push_back(run);
    }
    let mut beyond = Vec::new();
    while surplus > 0 {
        let most = by_schedule.values_mut().max_by_key(|runs| runs.len());
        beyond.extend(most.and_then(VecDeque::pop_front));
        surplus -= 1;
    }
    beyond
}

async fn limit(journal: &Journal, max_concurrent: Option<u32>) -> Result<(), WorkflowError> {
    if journal.state().max_concurrent == max_concurrent {
        return Ok(());
    }
    let limited = journal.commit(|state| {
        let is_so = state.max_concurrent == max_concurrent || state.leader.as_ref() != Some(journal.worker());
        Ok(if is_so { Decision::Nothing(()) } else { Decision::Append(vec![Change::Limited { max_concurrent }], ()) })
    });
    limited.await
}

async fn archive(journal: &Journal, state: &State, run: RunId) -> Result<(), WorkflowError> {
    let Some(found) = state.run(run) else { return Ok(()) };
    journal.objects().put(&history_name(run), found).await?;
    let archived = journal.commit(|state| {
        // A retry may have changed what the object says.
        let is_same = state.run(run) == Some(found);
        Ok(if is_same { Decision::Append(vec![Change::Archived { run }], true) } else { Decision::Nothing(false) })
    });
    if unless_refused(archived.await)?.unwrap_or(false) {
        journal.objects().delete_of_run(&found.key).await?;
    }
    Ok(())
}

async fn forget(journal: &Journal, state: &State, run: RunId) -> Result<(), WorkflowError> {
    let Some(found) = state.run(run) else { return Ok(()) };
    journal.objects().delete_of_run(&found.key).await?;
    journal.objects().lake().delete_if_there(&journal.objects().path(&history_name(run))).await?;
    unless_refused(journal.commit(|_| Ok(Decision::Append(vec![Change::Forgotten { run }], ()))).await)?;
    Ok(())
}

/// `None` where the state does not allow it any more: the next step looks again.
fn unless_refused<T>(done: Result<T, WorkflowError>) -> Result<Option<T>, WorkflowError> {
    match done {
        Err(WorkflowError::Refused(_)) => Ok(None),
        done => done.map(Some),
    }
}
