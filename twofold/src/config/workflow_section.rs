//! `[workflow]`: how a process takes part in runs.

use std::time::Duration;

use positions::Backoff;
use workflow::{MemoryLimit, WorkflowSettings};

use super::quantity::parse_size;
use super::reader::{LARGEST_COUNT, SHORTEST_SPAN, Section};

/// Runs of batch views.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkflowSection {
    /// How this process takes part.
    pub takes_part: WorkflowSettings,
    /// How often a task is tried again after a transient failure, unless its run says otherwise.
    pub retries: u32,
}

pub(super) fn read_workflow(section: Section<'_>) -> WorkflowSection {
    let most = section.count("max_concurrent", 0..=LARGEST_COUNT);
    WorkflowSection {
        takes_part: WorkflowSettings {
            slots: section.length("slots", 0..=1_000),
            memory: MemoryLimit {
                all: section.parsed("memory", |text| Ok(Some(parse_size(text)?).filter(|bytes| *bytes > 0))),
                // That of the section `batch`, once all are read; and so is `all` where it is not set.
                task: 0,
            },
            may_lead: true,
            poll: section.duration("poll", SHORTEST_SPAN),
            beat: section.duration("beat", SHORTEST_SPAN),
            leader_patience: section.duration("leader_patience", SHORTEST_SPAN),
            lease_patience: section.duration("lease_patience", SHORTEST_SPAN),
            stall_limit: section.duration("stall_limit", SHORTEST_SPAN),
            retry: Backoff {
                first: section.duration("retry_min", SHORTEST_SPAN),
                longest: section.duration("retry_max", SHORTEST_SPAN),
            },
            max_concurrent: u32::try_from(most).ok().filter(|most| *most > 0),
            snapshot_entries: section.count("snapshot_entries", 1..=LARGEST_COUNT),
            trim_grace: section.duration("trim_grace", Duration::ZERO),
            recent_runs: section.length("recent_runs", 1..=1_000),
            history_runs: section.length("history_runs", 1..=100_000),
        },
        retries: u32::try_from(section.count("retries", 0..=1_000)).unwrap_or(0),
    }
}
