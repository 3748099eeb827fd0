//! The loop of the loader: read a chunk, send until it is stored, keep to the rate.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use event_log::lines::{Chunks, LinesError};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use super::chunk::{LoadReport, Pending};
use crate::client::{Client, SendOutcome};

/// A request of this size is far below the collector's limits, and answered within a fraction of a second.
const CHUNK_BYTES: usize = 2 << 20;
const CHUNK_LINES: usize = 2_000;
/// The first pause before a chunk is sent again, doubled each time up to the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The loader gives up after so long without a single line being taken.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is to be loaded.
#[derive(Clone, Debug)]
pub struct LoadPlan {
    /// JSON lines, plain or gzip.
    pub file: PathBuf,
    /// The source.
    pub source: String,
    /// Lines a second at most.
    pub rate: Option<u64>,
}

/// Loads a file.
///
/// # Errors
/// Where the file cannot be read, the collector refuses for good, or takes nothing for two minutes; `report` then says
/// how far it came.
pub async fn load_file(client: &Client, plan: &LoadPlan, report: &mut LoadReport) -> Result<()> {
    let file = File::open(&plan.file).with_context(|| format!("cannot open {}", plan.file.display()))?;
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
        send(client, &plan.source, pending, report).await?;
        bar.set_message(format!("{} events", report.accepted));
        if let Some(rate) = plan.rate {
            tokio::time::sleep_until(started + Duration::from_secs_f64(sent as f64 / rate as f64)).await;
        }
    }
    bar.finish();
    Ok(())
}

async fn send(client: &Client, source: &str, mut pending: Pending, report: &mut LoadReport) -> Result<()> {
    let (mut pause, mut patience) = (FIRST_PAUSE, Instant::now() + PATIENCE);
    while !pending.is_empty() {
        match client.send_events(source, pending.body()).await? {
            SendOutcome::Received(receipt) => pending.settle(&receipt, report)?,
            SendOutcome::Later { after, reason, partly } => {
                tracing::warn!(lines = pending.len(), reason, "not all lines were taken, sending again");
                if let Some(receipt) = partly.filter(|receipt| receipt.accepted > 0) {
                    pending.settle(&receipt, report)?;
                    (pause, patience) = (FIRST_PAUSE, Instant::now() + PATIENCE);
                }
                if Instant::now() >= patience {
                    bail!("the collector took nothing for {} s: {reason}", PATIENCE.as_secs());
                }
                tokio::time::sleep(after.unwrap_or(pause)).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
    Ok(())
}

fn progress_bar(file: &File) -> ProgressBar {
    let size = file.metadata().map_or(0, |facts| facts.len());
    let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {msg} ({elapsed}, {eta} left)")
        .expect("the template is written by hand: a test loads a file");
    ProgressBar::new(size).with_style(style)
}
