//! The journal of one process: what it has read of the sequence, and appending behind exactly that.
//!
//! In: decisions on the state. Out: entries of the sequence `_workflow/journal`, and the state that they add up to.
//! Guarantee: an entry is appended only if it fits the state that everything before it adds up to; whoever reads the
//! sequence has the same state. What could not be read or appended changes nothing here, and is read later if it is
//! there nevertheless. On a conflict the caller decides again, on what is new.
//! Why so: appends of one process stand in line, so its tasks lose no races against each other. A snapshot is an object
//! of its own, since a state with many tasks is larger than an entry may be.
//! Not here: waiting between tries (`run.rs`), when a snapshot is due (`upkeep.rs`).

use std::sync::Arc;
use std::time::Duration;

use lake::sequence::{Append, History, Number, Sequence};
use lake::{Lake, LakeError};
use object_store::path::Path;
use positions::{Clock, IdSource, TimestampMicros};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};
use tracing::debug;

use crate::entry::{Change, Entry};
use crate::error::WorkflowError;
use crate::ids::WorkerId;
use crate::objects::Objects;
use crate::refused::Refused;
use crate::state::State;

/// How often one call decides again.
const MAX_DECISIONS: usize = 8;
/// How often one append is asked for while its outcome is unknown.
const MAX_APPENDS: usize = 3;
/// How often a snapshot is looked for whose object a trimming has just deleted.
const MAX_LOADS: usize = 3;

/// What a decision on the state leads to.
pub(crate) enum Decision<T> {
    /// These changes come into force together; then the caller is told this.
    Append(Vec<Change>, T),
    /// Nothing changes.
    Nothing(T),
}

/// What the sequence's own snapshot holds: the name of the object with the state.
#[derive(Deserialize, Serialize)]
struct SnapshotName {
    object: String,
}

fn snapshot_name(number: Number) -> String {
    format!("snapshots/{:010}.json", number.0)
}

struct Followed {
    number: Number,
    /// The newest snapshot that this process read or wrote.
    snapshot: Number,
    state: Arc<State>,
}

/// An entry as others will read it: a number may lose its last digit on the way through text, and equal journals must
/// give equal states. What is nested too deeply to be read again is refused here; a snapshot nests it a little deeper
/// still.
fn as_read(entry: &Entry) -> Result<Entry, Refused> {
    let refused = |error: serde_json::Error| Refused::TooMuch(format!("it cannot be stored: {error}"));
    let text = serde_json::to_vec(&[[[[entry]]]]).map_err(refused)?;
    let [[[[read]]]]: [[[[Entry; 1]; 1]; 1]; 1] = serde_json::from_slice(&text).map_err(refused)?;
    Ok(read)
}

/// What is missing, or what this version cannot read, it does not pass over: its state would be another one than that
/// of the processes that can. It takes nothing until that is there, or is updated.
fn not_understood(error: LakeError) -> LakeError {
    match error {
        LakeError::Corrupt { object, reason } => {
            let way_out = "if a later version wrote it, update this process; else put it back from a backup, or stop \
                           all processes of the lake and delete its folder `_workflow`: nothing published is in it, \
                           but all that is known of runs";
            LakeError::Corrupt { object, reason: format!("{reason}; {way_out}") }
        }
        error => error,
    }
}

/// What this process knows of the journal, and its pen.
pub(crate) struct Journal {
    sequence: Sequence,
    objects: Objects,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    worker: WorkerId,
    /// Held while this process reads or appends: one after the other.
    followed: Mutex<Followed>,
    /// The newest state that was read; read by whoever shows it or waits for a change.
    published: watch::Sender<Arc<State>>,
    /// Why the last reading failed, where no further one will do better; written by it, read by whoever shows it.
    broken: watch::Sender<Option<String>>,
    /// Readings in a row to which the store did not answer, and why the last one; as above.
    unanswered: watch::Sender<(u32, String)>,
}

impl Journal {
    /// Does no IO.
    pub(crate) fn new(lake: &Lake, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Self {
        let state = Arc::new(State::default());
        Self {
            sequence: lake.sequence("_workflow/journal"),
            objects: Objects::new(lake.clone()),
            worker: WorkerId::from_drawn(ids.next_id()),
            clock,
            ids,
            followed: Mutex::new(Followed { number: Number(0), snapshot: Number(0), state: Arc::clone(&state) }),
            published: watch::Sender::new(state),
            broken: watch::Sender::new(None),
            unanswered: watch::Sender::default(),
        }
    }

    pub(crate) fn objects(&self) -> &Objects {
        &self.objects
    }

    pub(crate) fn worker(&self) -> &WorkerId {
        &self.worker
    }

    pub(crate) fn draw(&self) -> u128 {
        self.ids.next_id()
    }

    pub(crate) fn now(&self) -> TimestampMicros {
        self.clock.now()
    }

    /// The number of the entry that was read last; `None` while this process reads or appends.
    pub(crate) fn number(&self) -> Option<u64> {
        self.followed.try_lock().ok().map(|followed| followed.number.0)
    }

    /// The state as it was read last.
    pub(crate) fn state(&self) -> Arc<State> {
        Arc::clone(&self.published.borrow())
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.published.subscribe()
    }

    /// Why nothing more can be read until somebody has acted.
    pub(crate) fn broken(&self) -> Option<String> {
        self.broken.borrow().clone()
    }

    /// Why the store did not answer, where it did not do so several times in a row.
    pub(crate) fn unreachable(&self) -> Option<String> {
        let (times, reason) = self.unanswered.borrow().clone();
        (times > 1).then_some(reason)
    }

    /// Reads what is new.
    pub(crate) async fn refresh(&self) -> Result<Arc<State>, WorkflowError> {
        let mut followed = self.followed.lock().await;
        self.read_news(&mut followed).await?;
        Ok(Arc::clone(&followed.state))
    }

    /// Whether there seems to be something new: a hint, for a small request.
    pub(crate) async fn has_news(&self) -> Result<bool, WorkflowError> {
        let known = self.followed.lock().await.number;
        Ok(self.sequence.has_next(known).await?)
    }

    /// Reads what is new, decides on it, and appends; decides again as long as others are faster.
    pub(crate) async fn commit<T: Send>(
        &self,
        mut decide: impl FnMut(&State) -> Result<Decision<T>, Refused> + Send,
    ) -> Result<T, WorkflowError> {
        let mut followed = self.followed.lock().await;
        for _ in 0..MAX_DECISIONS {
            self.read_news(&mut followed).await?;
            let (changes, told) = match decide(&followed.state)? {
                Decision::Nothing(told) => return Ok(told),
                Decision::Append(changes, told) => (changes, told),
            };
            let entry = Entry { epoch: followed.state.epoch, by: self.worker.clone(), at: self.clock.now(), changes };
            let next = followed.state.after(&as_read(&entry)?)?;
            if let Append::Appended(number) = self.append(followed.number, &entry).await? {
                (followed.number, followed.state) = (number, Arc::new(next));
                self.publish(&followed);
                return Ok(told);
            }
        }
        Err(WorkflowError::Contended)
    }

    /// Stores the state if `entries` were added since the last snapshot. Returns whether it was stored.
    pub(crate) async fn write_snapshot(&self, entries: u64) -> Result<bool, WorkflowError> {
        let mut followed = self.followed.lock().await;
        let number = followed.number;
        if number.0 < followed.snapshot.0 + entries.max(1) {
            return Ok(false);
        }
        let object = snapshot_name(number);
        self.objects.put(&object, &*followed.state).await?;
        self.sequence.write_snapshot(number, &SnapshotName { object }).await?;
        followed.snapshot = number;
        Ok(true)
    }

    /// Deletes what snapshots older than `grace` stand for, and objects of snapshots before the last one of this
    /// process but for one: whoever has just been told of that finds it.
    pub(crate) async fn trim(&self, grace: Duration) -> Result<usize, WorkflowError> {
        let newest = self.followed.lock().await.snapshot;
        let mut deleted = self.sequence.cut(grace, self.clock.now().system_time()).await?;
        let (lake, own) = (self.objects.lake(), self.objects.path(&snapshot_name(newest)));
        let mut former: Vec<Path> =
            lake.objects(&self.objects.path("snapshots")).await?.into_iter().map(|object| object.location).collect();
        former.retain(|path| *path < own);
        former.sort_unstable();
        former.pop();
        deleted += former.len();
        lake.delete_all(&self.objects.path("snapshots"), former).await?;
        Ok(deleted)
    }

    async fn append(&self, after: Number, entry: &Entry) -> Result<Append, LakeError> {
        let nonce = self.ids.next_id();
        let mut tried = 1;
        loop {
            match self.sequence.append(after, entry, nonce).await {
                Err(error) if error.is_transient() && tried < MAX_APPENDS => tried += 1,
                done => return done,
            }
        }
    }

    async fn read_news(&self, followed: &mut Followed) -> Result<(), WorkflowError> {
        let read = self.try_to_read_news(followed).await;
        let broken = read.as_ref().err().filter(|error| !error.is_transient()).map(ToString::to_string);
        self.broken.send_replace(broken);
        self.unanswered.send_modify(|(times, reason)| match &read {
            Err(error) if error.is_transient() => (*times, *reason) = (*times + 1, error.to_string()),
            _ => *times = 0,
        });
        read
    }

    async fn try_to_read_news(&self, followed: &mut Followed) -> Result<(), WorkflowError> {
        let mut tried = 1;
        loop {
            // From nothing, the newest snapshot is a shorter way than all entries.
            let history = match followed.number {
                Number(0) => self.sequence.load().await,
                known => self.sequence.after(known).await,
            };
            let history = history.map_err(not_understood)?;
            if history.newest == followed.number {
                return Ok(());
            }
            match self.folded(followed, &history).await {
                Ok((state, snapshot)) => {
                    (followed.number, followed.state) = (history.newest, Arc::new(state));
                    followed.snapshot = followed.snapshot.max(snapshot);
                    self.publish(followed);
                    return Ok(());
                }
                Err(LakeError::Corrupt { .. }) if history.snapshot.is_some() && tried < MAX_LOADS => tried += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The state that a history leads to, and the number of the snapshot that it begins with.
    async fn folded(&self, followed: &Followed, history: &History) -> Result<(State, Number), LakeError> {
        let (mut state, mut begin) = (State::clone(&followed.state), Number(0));
        if let Some(snapshot) = &history.snapshot {
            let SnapshotName { object } = snapshot.read().map_err(not_understood)?;
            let found = self.objects.get(&object).await.map_err(not_understood)?;
            let missing = || LakeError::Corrupt { object: object.clone(), reason: "the object is missing".to_owned() };
            (state, begin) = (found.ok_or_else(missing).map_err(not_understood)?, snapshot.number);
        }
        for numbered in &history.entries {
            let entry: Entry = numbered.read().map_err(not_understood)?;
            if let Err(refused) = state.apply(&entry) {
                debug!(number = %numbered.number, by = %entry.by, %refused, "entry of the journal passed over");
            }
        }
        Ok((state, begin))
    }

    fn publish(&self, followed: &Followed) {
        self.published.send_replace(Arc::clone(&followed.state));
    }
}
