//! Whether the journal of runs can be read and written, and what it says of how runs stand.
//!
//! Guarantee: the journal is read as a start reads it, and nothing is added to it. What is written is a sign of life,
//! as of a process without a place for tasks, which is taken away again. Where no run was ever started, nothing is
//! written.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{DateTime, SecondsFormat, Utc};
use indicatif::{HumanBytes, HumanCount};
use lake::Lake;
use positions::{Clock, format_span};
use workflow::{Beat, Overview, Worker, WorkerId, Workflow};

use super::findings::{Findings, Found};
use crate::environment::{RandomIds, SystemClock};
use crate::runs::paused::{ALL_PAUSED, END_OF_PAUSE};
use crate::runs::view::name_of;

const PART: &str = "runs";
const FOLDER: &str = "_workflow";

pub(super) async fn check_runs(lake: &Lake, findings: &mut Findings) {
    match look(lake).await {
        Ok(None) => findings.note(PART, Ok(Found::good("none was ever started, the first one begins their journal"))),
        Ok(Some(Looked { told, is_paused })) => {
            findings.note(PART, Ok(Found::Good(told)));
            if is_paused {
                findings.note(PART, Ok(Found::Doubt(format!("{ALL_PAUSED}; {END_OF_PAUSE}"))));
            }
        }
        Err(error) => findings.note(PART, Err(error)),
    }
}

struct Looked {
    told: String,
    is_paused: bool,
}

/// `None`: there is no journal yet.
async fn look(lake: &Lake) -> Result<Option<Looked>> {
    let objects = lake.objects(&lake.path(FOLDER)).await?;
    if objects.is_empty() {
        return Ok(None);
    }
    let workflow = Workflow::new(lake, Arc::new(SystemClock), Arc::new(RandomIds));
    let overview = workflow.overview().await?;
    write_and_remove(&workflow).await.context("its objects cannot be written")?;
    let entries = workflow.entries_read().unwrap_or_default();
    let bytes: u64 = objects.iter().map(|object| object.size).sum();
    let journal = lake.path(&format!("{FOLDER}/journal"));
    let oldest = objects.iter().filter(|object| object.location.prefix_matches(&journal));
    let oldest = oldest.map(|object| object.last_modified).min();
    let oldest = oldest.map(|at| format!(", the oldest kept is of {}", instant(at))).unwrap_or_default();
    let told = format!(
        "their journal has {} entries{oldest}; {} objects with {} in {FOLDER}; {} known, {} not ended; {}",
        HumanCount(entries),
        HumanCount(objects.len() as u64),
        HumanBytes(bytes),
        overview.state.runs.len(),
        overview.state.open_runs().count(),
        leader(&overview, |worker| {
            let name = format!("{worker}.json");
            let beat = objects.iter().find(|object| object.location.filename() == Some(name.as_str()));
            beat.map(|object| object.last_modified)
        }),
    );
    Ok(Some(Looked { told, is_paused: overview.state.is_paused }))
}

/// A sign of life that is taken away at once; one that is left because this command was killed, the next leader
/// removes.
async fn write_and_remove(workflow: &Workflow) -> Result<()> {
    let worker = Worker::new(workflow);
    worker.tell(&Beat { name: "twofold doctor".to_owned(), ..Beat::default() }).await?;
    Ok(worker.fall_silent().await?)
}

/// Who leads, and since when it is silent by the clock of the store: one that was killed leads until another process
/// has watched it for a while.
fn leader(overview: &Overview, last_sign: impl Fn(&WorkerId) -> Option<DateTime<Utc>>) -> String {
    let Some(leader) = &overview.state.leader else { return "no process leads".to_owned() };
    let name = name_of(overview, leader);
    let silence = last_sign(leader).map(|at| SystemClock.now().0.saturating_sub(at.timestamp_micros()).max(0));
    match silence {
        Some(micros) => {
            let seconds = Duration::from_secs(micros.unsigned_abs() / 1_000_000);
            format!("{name} leads, and gave a sign of life {} ago", format_span(seconds))
        }
        None => format!("{name} led last, and gives no sign of life"),
    }
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
