//! The loop of the loader: read a chunk, send until it is stored, keep to the rate.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use crate::load::lines::{Chunks, LinesError};
use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use positions::format_span;
use tokio::time::Instant;

use super::chunk::{LoadReport, Pending};
use crate::client::{Client, SendOutcome};

/// A request of this size is far below the collector's limits, and answered within a fraction of a second.
const CHUNK_BYTES: usize = 2 << 20;
const CHUNK_LINES: usize = 2_000;
/// The first pause before a chunk is sent again, doubled each time up to the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What is to be loaded.
#[derive(Clone, Debug)]
pub struct LoadPlan {
    /// JSON lines, plain or gzip.
    pub file: PathBuf,
    /// The source.
    pub source: String,
    /// Lines a second at most.
    pub rate: Option<u64>,
    /// The loader gives up after so long without a single line being taken.
    pub give_up_after: Duration,
}

/// Loads a file.
///
/// # Errors
/// Where the file cannot be read, there is no such source, the collector refuses for good, or takes nothing for as long
/// as the plan says; `report` then says how far it came.
pub async fn load_file(client: &Client, plan: &LoadPlan, report: &mut LoadReport) -> Result<()> {
    let file = File::open(&plan.file).with_context(|| format!("cannot open {}", plan.file.display()))?;
    report.has_ids = client.source(&plan.source).await?.event_id.is_some();
    if !report.has_ids {
        tracing::warn!(source = plan.source, "the source names no event id: lines that are loaded again count again");
    }
    let bar = progress_bar(&file);
    let chunk_lines =
        plan.rate.map_or(CHUNK_LINES, |rate| CHUNK_LINES.min(usize::try_from(rate / 5).unwrap_or(1).max(1)));
    let mut chunks = Chunks::new(bar.wrap_read(file), CHUNK_BYTES, chunk_lines);
    let (started, mut sent) = (Instant::now(), 0);
    while let Some(chunk) = tokio::task::block_in_place(|| chunks.next()) {
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(LinesError::TooLong { line, limit }) => {
                report.reject(line, format!("longer than {limit} bytes, left out"));
                continue;
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", plan.file.display())),
        };
        let pending = Pending::new(&chunk);
        sent += pending.len() as u64;
        send(client, plan, pending, report).await?;
        bar.set_message(format!("{} events", report.accepted));
        if let Some(rate) = plan.rate {
            tokio::time::sleep_until(started + Duration::from_secs_f64(sent as f64 / rate as f64)).await;
        }
    }
    bar.finish();
    Ok(())
}

/// Sends one chunk until every line of it is answered for.
async fn send(client: &Client, plan: &LoadPlan, mut pending: Pending, report: &mut LoadReport) -> Result<()> {
    let (mut pause, mut deadline) = (FIRST_PAUSE, Instant::now() + plan.give_up_after);
    let mut is_doubtful = false;
    while !pending.is_empty() {
        let before = pending.len();
        let outcome = client.send_events(&plan.source, pending.body()).await;
        let later = match outcome.inspect_err(|_| report.open = pending.range())? {
            SendOutcome::Received(receipt) => {
                pending.note_receipt(&receipt, report)?;
                continue;
            }
            SendOutcome::Later { after, reason, maybe_stored, partly } => {
                // Also where no line was accepted: a rejected one is answered for, and must not be sent again.
                partly.map_or(Ok(()), |receipt| pending.note_receipt(&receipt, report))?;
                if maybe_stored && !std::mem::replace(&mut is_doubtful, true) {
                    report.repeated += pending.len() as u64;
                }
                (after, reason)
            }
        };
        let (after, reason) = later;
        if pending.len() < before {
            (pause, deadline) = (FIRST_PAUSE, Instant::now() + plan.give_up_after);
        }
        if Instant::now() >= deadline {
            report.open = pending.range();
            bail!("the collector took no line for {}: {reason}", format_span(plan.give_up_after));
        }
        tracing::warn!(lines = pending.len(), reason, "not all lines were taken, sending again");
        tokio::time::sleep(after.unwrap_or(pause).min(deadline - Instant::now())).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Ok(())
}

fn progress_bar(file: &File) -> ProgressBar {
    let size = file.metadata().map_or(0, |facts| facts.len());
    let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {msg} ({elapsed}, {eta} left)")
        .expect("the template is written by hand: a test loads a file");
    ProgressBar::new(size).with_style(style)
}
