//! Notices: what the processes of one deployment tell each other of what is wrong, through small objects of the lake.
//!
//! ```text
//!  status --> problems --+                                          +--> problems --> status, standstills of views
//!                        +--> <lake>/_notices/PROCESS.json --> watch +
//!  health --> stops -----+                                          +--> stops --> health --> collector
//! ```
//!
//! In: what this process found, and where it has stopped sources. Out: the same of the others, as far as they live.
//! Guarantee: what a process tells is known to the others within some 12 seconds, and forgotten by them at most some 30
//! seconds after it was last told, whoever died meanwhile. A source counts as stopped in a stage only where one process
//! says so and no process that lives does that work. Where nothing is wrong, nothing is written; where the store does
//! not answer, nothing changes. No clocks are compared.
//! Not here: whose word counts (`notices/watch.rs`), reading and writing the objects (`notices/run.rs`).
//! Why so: the roles meet in stores alone, and the lake is the one that all of them have. One object of a process, and
//! not one of each source, is one listing and rarely anything to read.

pub mod run;
pub mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use collector::StoppedSource;
use positions::SourceName;
use query_gateway::Trouble;
use serde::{Deserialize, Serialize};

use crate::health::Stops;

/// What one process tells the others. What a later version adds is passed over by an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Notice {
    /// Another one each time, so that it can be seen that the process lives.
    pub beat: u64,
    /// By source, then by stage: what this process has given up.
    pub stops: NoticedStops,
    /// By source, of those that others have given up in some stage: the stages that this process works in.
    pub keeps: BTreeMap<SourceName, BTreeSet<String>>,
    /// Everything that this process found to be wrong, but for what every gateway finds by itself.
    pub problems: Vec<Trouble>,
}

impl Notice {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.stops.is_empty() && self.keeps.is_empty() && self.problems.is_empty()
    }
}

/// By source, then by stage: why it does not go on.
pub type NoticedStops = BTreeMap<SourceName, BTreeMap<String, NoticedStop>>;

/// Why a source does not go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NoticedStop {
    /// What stopped it.
    pub reason: String,
    /// What an operator does about it.
    pub way_out: String,
    /// Whether the batch layer has archived rows to build views from nevertheless.
    pub has_rows: bool,
}

/// What other processes tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// What is given up everywhere.
    pub stops: NoticedStops,
    /// What they found.
    pub problems: Vec<Trouble>,
    /// Sources that somebody gave up in some stage, and that another process publishes batch views of.
    pub with_batch: BTreeSet<SourceName>,
}

impl Heard {
    /// The stops as those of this process are noted.
    pub fn as_stops(&self) -> Stops {
        let stop =
            |noticed: &NoticedStop| StoppedSource { reason: noticed.reason.clone(), way_out: noticed.way_out.clone() };
        let stages = |stages: &BTreeMap<String, NoticedStop>| {
            stages.iter().map(|(stage, noticed)| (stage.clone(), stop(noticed))).collect()
        };
        self.stops.iter().map(|(source, of_source)| (source.clone(), stages(of_source))).collect()
    }

    /// Whether rows of a source are archived that has stopped elsewhere.
    pub fn has_rows(&self, source: &SourceName) -> bool {
        self.stops.get(source).is_some_and(|stages| stages.values().any(|stop| stop.has_rows))
    }
}

/// What this process found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Everything that is wrong, but for what every gateway finds by itself.
    pub problems: Vec<Trouble>,
    /// Sources of which this process has archived rows.
    pub with_rows: BTreeSet<SourceName>,
}

/// What is to be told and what was heard, between the status and the loop that reads and writes.
#[derive(Debug, Default)]
pub struct Notices {
    // Written once a second by whoever gathers the status, read by the loop; held for a copy only.
    found: Mutex<Found>,
    // Written by the loop, read once a second by whoever gathers the status; held for a copy only.
    heard: Mutex<Heard>,
}

impl Notices {
    /// Has the others told of this, in place of what was found before.
    pub fn tell(&self, found: Found) {
        *lock(&self.found) = found;
    }

    /// What the others told last.
    pub fn heard(&self) -> Heard {
        lock(&self.heard).clone()
    }

    fn found(&self) -> Found {
        lock(&self.found).clone()
    }

    fn note_heard(&self, heard: Heard) {
        *lock(&self.heard) = heard;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
