//! What a notice says, as JSON: one object whose `text` is a sentence for a person, and whose other keys are for a
//! program.
//!
//! Guarantee: pure; bounded, whatever reason a run has.

use positions::TimestampMicros;
use serde_json::{Value, json};
use workflow::RunMode;

use super::event::{MissedDeadline, RunEvent, rfc3339};
use crate::config::NoticeKind;
use crate::runs::view::range_view;

/// The longest reason that is told, in characters.
const LONGEST_REASON: usize = 2_000;

/// What is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// The same whenever it is sent again.
    pub id: String,
    /// What it tells.
    pub kind: NoticeKind,
    /// The object.
    pub body: Value,
}

/// Of a run that failed, or that is done again.
pub fn notice_of_run(kind: NoticeKind, event: &RunEvent) -> Notice {
    let id = format!("{}-{}", event.id(), kind.name());
    let reason = event.reason.as_deref().map(shortened);
    let what = match &event.schedule {
        Some(schedule) => format!("schedule {schedule}, source {}", event.source),
        None => format!("{} of source {}{}", event.kind, event.source, stretch(event.mode)),
    };
    let text = match kind {
        NoticeKind::Recovery => format!("{what}: run {} is done; what failed before is well again", event.run),
        _ => format!("{what}: run {} failed: {}", event.run, reason.as_deref().unwrap_or("no reason was given")),
    };
    let body = json!({
        "id": id,
        "event": kind.name(),
        "text": text,
        "run": event.run,
        "kind": event.kind,
        "schedule": event.schedule,
        "source": event.source,
        "views": event.views,
        "mode": event.mode.name(),
        "range": range_view(event.mode),
        "state": event.state.name(),
        "reason": reason,
        "started_at": event.started_at.map(rfc3339),
        "ended_at": event.ended_at.map(rfc3339),
        "at": rfc3339(event.at),
    });
    Notice { id, kind, body }
}

/// The stretch of event time that is computed, where it is not all of it.
fn stretch(mode: RunMode) -> String {
    match mode {
        RunMode::Full | RunMode::Incremental => String::new(),
        RunMode::Buckets { from, to, .. } => format!(", {} to {}", rfc3339(from), rfc3339(to)),
    }
}

/// Of a run that is not done in time.
pub fn notice_of_deadline(missed: &MissedDeadline, at: TimestampMicros) -> Notice {
    let MissedDeadline { schedule, occurrence, run } = missed;
    let kind = NoticeKind::MissedDeadline;
    let id = format!("{schedule}-{}-{}", occurrence.0, kind.name());
    let state = match run {
        Some(run) => format!("run {run} is not done"),
        None => "its run has not started".to_owned(),
    };
    let text = format!("schedule {schedule}: what was due at {} missed its deadline: {state}", rfc3339(*occurrence));
    let body = json!({
        "id": id,
        "event": kind.name(),
        "text": text,
        "run": run,
        "schedule": schedule,
        "due_at": rfc3339(*occurrence),
        "at": rfc3339(at),
    });
    Notice { id, kind, body }
}

/// The reason of a run may be of any length.
pub(super) fn shortened(reason: &str) -> String {
    match reason.char_indices().nth(LONGEST_REASON) {
        Some((end, _)) => format!("{}...", &reason[..end]),
        None => reason.to_owned(),
    }
}
