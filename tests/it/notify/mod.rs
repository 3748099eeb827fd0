//! Notices of runs: what is told, what it says, and how it reaches whoever it is for.

mod lineage;
mod sending;
mod telling;

use positions::{SourceName, TimestampMicros, ViewName};
use twofold::notify::RunEvent;
use workflow::schedule::ScheduleName;
use workflow::{RunMode, RunState};

/// A run of a schedule that came into a state, `seconds` after a day began.
fn event(run: &str, state: RunState, seconds: i64) -> RunEvent {
    let at = TimestampMicros(1_780_012_800_000_000 + seconds * 1_000_000);
    RunEvent {
        run: run.to_owned(),
        kind: "recompute".to_owned(),
        schedule: Some(ScheduleName("nightly".to_owned())),
        source: SourceName::new("clicks"),
        views: vec![ViewName::new("hits"), ViewName::new("visits")],
        mode: RunMode::Incremental,
        state,
        reason: (state == RunState::Failed).then(|| "group 7 is over its limit".to_owned()),
        started_at: Some(TimestampMicros(1_780_012_800_000_000)),
        ended_at: (!matches!(state, RunState::Queued | RunState::Running | RunState::Paused)).then_some(at),
        at,
    }
}

/// The same of a backfill of two days that somebody started.
fn backfill(run: &str, state: RunState, seconds: i64) -> RunEvent {
    let at = |days: i64| TimestampMicros((20_454 + days) * 86_400_000_000);
    let mode = RunMode::Buckets { from: at(0), to: at(2), only_missing: true };
    RunEvent { kind: "backfill".to_owned(), schedule: None, mode, ..event(run, state, seconds) }
}
