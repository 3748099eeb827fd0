//! Signs of life: a small object that each process overwrites, with what it works at and how far it is.
//!
//! Guarantee: whoever sees the object change knows that the process lives; no clocks are compared. What a process has
//! taken, and what it may report, is in the journal alone.
//! Not here: what silence leads to (`watched.rs`).
//! Why the leader tells of silence in its own sign of life: it watches all, and whoever looks once cannot know.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};
use lake::LakeError;
use serde::{Deserialize, Serialize};

use crate::error::WorkflowError;
use crate::ids::{Token, WorkerId};
use crate::objects::Objects;
use crate::progress::Reached;

const FOLDER: &str = "workers";
/// The most processes that are listened to.
const MAX_PROCESSES: usize = 1_000;
const CONCURRENT_READS: usize = 16;

/// What a process says of itself. What a later version adds is passed over by an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Beat {
    /// Another one each time.
    pub beat: u64,
    /// Steps of leading, or of waiting to, that succeeded: whoever leads and takes none any more is replaced, though it
    /// lives.
    pub steps: u64,
    /// Who it is, for people: host and process.
    pub name: String,
    /// Tasks that it can work at at the same time.
    pub slots: usize,
    /// How many of them may need all that a task may take; 0: a version that does not say.
    pub full_size: usize,
    /// What it works at.
    pub at_work: Vec<AtWork>,
    /// Of whoever leads: the processes that it has heard nothing of for as long as a lease is left to them, or longer,
    /// and for how many seconds by its monotonic clock.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub silent: BTreeMap<WorkerId, u64>,
}

/// A task at work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtWork {
    /// Its lease.
    pub token: Token,
    /// For how long, by the worker's monotonic clock, in milliseconds.
    pub elapsed_millis: u64,
    /// How far it is.
    pub reached: Reached,
}

fn name_of(worker: &WorkerId) -> String {
    format!("{FOLDER}/{worker}.json")
}

/// Says that `worker` lives.
pub(crate) async fn put_beat(objects: &Objects, worker: &WorkerId, beat: &Beat) -> Result<(), WorkflowError> {
    objects.put(&name_of(worker), beat).await
}

/// The sign of life of one process, where there is one.
pub(crate) async fn read_beat(objects: &Objects, worker: &WorkerId) -> Result<Option<Beat>, WorkflowError> {
    match objects.get(&name_of(worker)).await {
        // Not what a process writes: it is silent.
        Err(LakeError::Corrupt { .. }) => Ok(None),
        found => Ok(found?),
    }
}

/// Takes the sign of life of a process away that has ended.
pub(crate) async fn remove_beat(objects: &Objects, worker: &WorkerId) -> Result<(), WorkflowError> {
    Ok(objects.lake().delete_if_there(&objects.path(&name_of(worker))).await?)
}

/// The signs of life of all processes. One listing, and a request for each.
pub(crate) async fn read_beats(objects: &Objects) -> Result<BTreeMap<WorkerId, Beat>, WorkflowError> {
    let listed = objects.lake().objects(&objects.path(FOLDER)).await?;
    let names = listed.iter().filter_map(|object| object.location.filename()?.strip_suffix(".json"));
    let mut workers: Vec<WorkerId> = names.map(WorkerId::from_name).collect();
    workers.sort_unstable();
    workers.truncate(MAX_PROCESSES);
    let reads = futures::stream::iter(workers).map(|worker| async move {
        let beat = read_beat(objects, &worker).await?;
        Ok::<_, WorkflowError>((worker, beat))
    });
    let found: Vec<(WorkerId, Option<Beat>)> = reads.buffered(CONCURRENT_READS).try_collect().await?;
    Ok(found.into_iter().filter_map(|(worker, beat)| Some((worker, beat?))).collect())
}
