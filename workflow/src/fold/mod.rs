//! The fold: how an entry of the journal changes the state.
//!
//! Guarantee: pure, and all or nothing. An entry that does not fit the state changes nothing; every reader refuses it
//! in the same way, so all states of one number are equal.
//! Not here: changes of leases and tasks (`leases.rs`), of runs (`runs.rs`).

mod leases;
mod runs;

use std::sync::Arc;

use serde_json::Value;

use crate::entry::{Change, Entry};
use crate::ids::{RunId, WorkerId};
use crate::refused::Refused;
use crate::runs::Run;
use crate::state::State;

/// The most notes that a leader keeps.
const MAX_NOTES: usize = 10_000;
/// The largest note, in bytes of JSON.
const MAX_NOTE_BYTES: usize = 1_024;

impl State {
    /// The state after an entry.
    ///
    /// # Errors
    /// The first change that does not fit. Where the entry is in the journal nevertheless, the state stays as it is.
    pub fn after(&self, entry: &Entry) -> Result<Self, Refused> {
        if entry.epoch != self.epoch {
            return Err(Refused::OtherEpoch { found: entry.epoch, present: self.epoch });
        }
        if entry.changes.is_empty() {
            return Err(Refused::Empty);
        }
        let mut next = self.clone();
        for change in &entry.changes {
            next.change(entry, change)?;
        }
        Ok(next)
    }

    /// Becomes the state after an entry.
    ///
    /// # Errors
    /// As [`Self::after`]; the state is unchanged then.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), Refused> {
        *self = self.after(entry)?;
        Ok(())
    }

    fn change(&mut self, entry: &Entry, change: &Change) -> Result<(), Refused> {
        let (by, at) = (&entry.by, entry.at);
        if is_for_the_leader(change) && self.leader.as_ref() != Some(by) {
            return Err(Refused::NotLeader);
        }
        match change {
            Change::Lead => self.lead(by),
            Change::Resigned => {
                self.leader = None;
                Ok(())
            }
            Change::Limited { max_concurrent } => {
                self.max_concurrent = *max_concurrent;
                Ok(())
            }
            Change::Noted { key, value } => self.note(key, value),
            Change::Started { run, key, spec, tasks } => runs::start(self, Run::new(*run, key, spec, at), tasks),
            Change::Joined { run, key } => runs::join(self, *run, key),
            Change::Paused { run } => runs::pause(self, *run),
            Change::Resumed { run } => runs::resume(self, *run),
            Change::Cancelled { run } => runs::cancel(self, *run, at),
            Change::Retried { run } => runs::retry(self, *run, at),
            Change::DeadlineMissed { run } => runs::miss_deadline(self, *run),
            Change::Archived { run } => runs::archive(self, *run),
            Change::Forgotten { run } => runs::forget(self, *run),
            Change::Leased { token } => leases::lease(self, *token, by, at),
            Change::Done { token, output, next, work } => {
                let done = leases::Done { output, next, work: *work };
                leases::done(self, token, by, &done, at)
            }
            Change::Failed { token, failure } => leases::fail(self, token, by, failure, at),
            Change::Released { token } => leases::release(self, token, by, at),
            Change::Expired { token, reason } => leases::expire(self, token, reason, at),
            Change::Split { token, parts } => leases::split(self, token, parts, at),
            Change::Ready { run, task, attempt } => leases::ready(self, *run, *task, *attempt, at),
        }
    }

    fn lead(&mut self, by: &WorkerId) -> Result<(), Refused> {
        if self.leader.as_ref() == Some(by) {
            return Err(Refused::AlreadyLeads);
        }
        self.leader = Some(by.clone());
        self.epoch = self.epoch.next();
        Ok(())
    }

    fn note(&mut self, key: &str, value: &Value) -> Result<(), Refused> {
        if value.is_null() {
            return Arc::make_mut(&mut self.notes).remove(key).map(drop).ok_or(Refused::Already);
        }
        let is_new = !self.notes.contains_key(key);
        if (is_new && self.notes.len() >= MAX_NOTES) || value.to_string().len() + key.len() > MAX_NOTE_BYTES {
            let bounds = format!("at most {MAX_NOTES} notes of {MAX_NOTE_BYTES} bytes each are kept");
            return Err(Refused::TooMuch(bounds));
        }
        Arc::make_mut(&mut self.notes).insert(key.to_owned(), value.clone());
        Ok(())
    }

    /// A run to be changed; states before this one keep it as it was.
    fn run_mut(&mut self, id: RunId) -> Result<&mut Run, Refused> {
        self.runs.get_mut(&id).map(Arc::make_mut).ok_or(Refused::NoRun(id))
    }
}

fn is_for_the_leader(change: &Change) -> bool {
    match change {
        Change::Resigned
        | Change::Limited { .. }
        | Change::Expired { .. }
        | Change::Split { .. }
        | Change::Ready { .. }
        | Change::DeadlineMissed { .. }
        | Change::Archived { .. }
        | Change::Forgotten { .. }
        | Change::Noted { .. } => true,
        Change::Lead
        | Change::Started { .. }
        | Change::Joined { .. }
        | Change::Leased { .. }
        | Change::Done { .. }
        | Change::Failed { .. }
        | Change::Released { .. }
        | Change::Paused { .. }
        | Change::Resumed { .. }
        | Change::Cancelled { .. }
        | Change::Retried { .. } => false,
    }
}
