//! What was decided of schedules, as notes of the journal: one for each schedule.
//!
//! Guarantee: pure. A note that cannot be read counts as none: its schedule is new then.

use serde_json::Value;
use tracing::warn;
use workflow::State;
use workflow::schedule::{Memory, ScheduleName};

use super::notes::{Notes, difference, noted};
use super::values::stored;

const PREFIX: &str = "schedules/";
/// No name of a schedule.
const LAST_START: &str = "/last-start";

/// What the journal holds.
pub(super) fn noted_of(state: &State) -> Notes {
    noted(state, PREFIX)
}

/// What notes stand for.
pub(super) fn memory_of(notes: &Notes) -> Memory {
    let mut memory = Memory::default();
    for (name, value) in notes {
        let read = match name.as_str() {
            LAST_START => serde_json::from_value(value.clone()).map(|start| memory.last_start = start),
            _ => serde_json::from_value(value.clone()).map(|kept| {
                memory.schedules.insert(ScheduleName(name.clone()), kept);
            }),
        };
        if let Err(error) = read {
            warn!(schedule = name, %error, "what is remembered of a schedule cannot be read");
        }
    }
    memory
}

/// What is to be written so that the journal holds this memory.
pub(super) fn changes(before: &Notes, memory: &Memory) -> Vec<(String, Value)> {
    difference(PREFIX, before, &notes_of(memory))
}

fn notes_of(memory: &Memory) -> Notes {
    let schedules = memory.schedules.iter().map(|(name, kept)| (name.0.clone(), stored(kept)));
    let last = memory.last_start.iter().map(|start| (LAST_START.to_owned(), stored(&Some(start))));
    schedules.chain(last).collect()
}
