//! What is asked for: runs and tasks as their makers describe them. Plain values, fixed once a run has started.

use std::time::Duration;

use positions::{DefinitionHash, SourceName, TimestampMicros, ViewName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::TaskId;

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunKind {
    /// New versions of batch views.
    Recompute,
    /// Buckets of the past, asked for by range.
    Backfill,
    /// Compaction, vacuum, folding, trimming, retention, erasing.
    Housekeeping,
    /// Files into the master dataset.
    Import,
}

impl RunKind {
    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Recompute => "recompute",
            Self::Backfill => "backfill",
            Self::Housekeeping => "housekeeping",
            Self::Import => "import",
        }
    }

    /// Whether it computes views.
    pub fn is_of_views(self) -> bool {
        matches!(self, Self::Recompute | Self::Backfill)
    }
}

/// Which buckets a run computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunMode {
    /// All.
    Full,
    /// Those that received rows since the last version.
    #[default]
    Incremental,
    /// Those of a stretch of event time, `[from, to)`.
    Buckets {
        /// The first instant.
        from: TimestampMicros,
        /// The first instant behind it.
        to: TimestampMicros,
        /// Leave out those that are there already.
        only_missing: bool,
    },
}

impl RunMode {
    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Incremental => "incremental",
            Self::Buckets { .. } => "buckets",
        }
    }
}

/// Whose tasks are taken first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Somebody waits for it.
    ByHand,
    /// Due by a schedule.
    Scheduled,
    /// May wait for what is due.
    Backfill,
}

/// A run as it is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSpec {
    /// What it is for.
    pub kind: RunKind,
    /// The source.
    pub source: SourceName,
    /// The views, each with the definition that it is computed by.
    pub views: Vec<(ViewName, DefinitionHash)>,
    /// Which buckets.
    pub mode: RunMode,
    /// Whatever else the executor needs.
    pub parameters: Value,
    /// Whose tasks are taken first.
    pub priority: Priority,
    /// How often a task is tried again after a transient failure.
    pub retries: u32,
    /// The most tasks of this run at the same time; `None`: as many as there are slots.
    pub max_concurrent: Option<u32>,
    /// A second start with the same key is this run.
    pub idempotency_key: Option<String>,
    /// How long it may take before somebody is told.
    pub deadline: Option<Duration>,
    /// The schedule that started it.
    pub schedule: Option<String>,
    /// What a permanent failure would depend on, as it is now: definitions and limits. A scheduled run is refused while
    /// the last one of the same work failed for good under the same key.
    pub cause_key: Option<String>,
}

impl RunSpec {
    /// Whether both ask for the same work, whoever asks and however urgently.
    pub fn is_same_work(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.source == other.source
            && self.views == other.views
            && self.mode == other.mode
            && self.parameters == other.parameters
    }
}

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// Fixes the cut and the groups of buckets; brings the tasks that compute them.
    Choose,
    /// Computes one group of buckets.
    Compute,
    /// Makes the results of all groups visible in one commit.
    Publish,
    /// Compares what was published with what is there.
    Exactness,
    /// Drops realtime runs that every version covers.
    Expire,
    /// Small files into large ones.
    Compact,
    /// Deletes files that no version names.
    Vacuum,
    /// Old buckets into coarser ones.
    Fold,
    /// Cuts journals and old versions.
    Trim,
    /// Takes events out.
    Erase,
    /// Files into the master dataset.
    Import,
}

impl TaskKind {
    /// Whether the command that starts such a task does it itself, and no other process can.
    pub fn is_by_command(self) -> bool {
        matches!(self, Self::Erase | Self::Import)
    }
}

/// A task as it is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// Its number; no other task of the run has it.
    pub id: TaskId,
    /// What it does.
    pub kind: TaskKind,
    /// The tasks that must be done before; their outputs can be read.
    pub after: Vec<TaskId>,
    /// What the executor needs.
    pub parameters: Value,
    /// How much it reads, as far as that is known: by this progress and remaining time are judged.
    pub weight_bytes: u64,
}

/// A part of a task that was split: of the task's kind, behind the same tasks, in its place before others.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskPart {
    /// What the executor needs.
    pub parameters: Value,
    /// How much it reads.
    pub weight_bytes: u64,
}
