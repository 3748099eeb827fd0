//! The loop of the loader: read a piece, send it until it is stored, keep to the rate.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use indicatif::ProgressBar;
use positions::format_span;
use tokio::task::block_in_place;
use tokio::time::Instant;

use super::bad_run::BadRun;
use super::chunk::{Chunks, Pending};
use super::event::{Event, ReadError};
use super::files::Input;
use super::open::{Opened, open};
use super::progress::progress_bar;
use super::report::LoadReport;
use crate::client::{Client, OnError, SendOutcome};

/// A request of this size is far below the collector's limits, and answered within a fraction of a second.
const CHUNK_BYTES: usize = 2 << 20;
const CHUNK_EVENTS: usize = 2_000;
/// The first pause before a chunk is sent again, doubled each time up to the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What is to be loaded.
#[derive(Clone, Debug)]
pub struct LoadPlan {
    /// The files, in order.
    pub inputs: Vec<Input>,
    /// The source.
    pub source: String,
    /// Events a second at most.
    pub rate: Option<u64>,
    /// What becomes of events that are not good.
    pub on_error: OnError,
    /// The loader gives up after so long without a single event being taken.
    pub give_up_after: Duration,
    /// The loader gives up on a file after so many rejected events in a row; 0: never.
    pub give_up_after_bad: u64,
}

/// Loads files. Nothing is sent before each of them was looked at; pipes are looked at when their turn comes.
///
/// # Errors
/// Where a file cannot be read, there is no such source, the collector refuses for good, takes nothing for as long as
/// the plan says, or rejects as many events in a row, or all there are; `report` then says how far it came.
pub async fn load_files(client: &Client, plan: &LoadPlan, report: &mut LoadReport) -> Result<()> {
    let source = client.source(&plan.source).await?;
    let declared: BTreeMap<_, _> = source.columns.into_iter().map(|column| (column.name, column.data_type)).collect();
    block_in_place(|| plan.inputs.iter().try_for_each(|input| look_at(input, &declared)))?;
    report.has_ids = source.event_id.is_some();
    if !report.has_ids {
        tracing::warn!(source = plan.source, "the source names no event id: events that are loaded again count again");
    }
    let mut loader = Loader { client, plan, report, declared, started: Instant::now(), sent: 0 };
    for (at, input) in plan.inputs.iter().enumerate() {
        if let Err(error) = loader.load(at, input).await {
            loader.report.not_begun = plan.inputs[at + 1..].iter().map(Input::to_string).collect();
            return Err(error);
        }
    }
    loader.report.describe_failure().map_or(Ok(()), |failure| Err(anyhow!("nothing was accepted: {failure}")))
}

/// Opens a file as far as that costs nothing; what can be read once only is left alone.
fn look_at(input: &Input, declared: &BTreeMap<String, String>) -> Result<()> {
    let Input::File(path) = input else { return Ok(()) };
    if path.metadata().is_ok_and(|facts| !facts.is_file() && !facts.is_dir()) {
        return Ok(());
    }
    let opened = open(input, &ProgressBar::hidden())?;
    if opened.is_cheap() {
        read_events(opened, input, declared)?;
    }
    Ok(())
}

fn read_events(opened: Opened, input: &Input, declared: &BTreeMap<String, String>) -> Result<Chunks> {
    let kind = opened.describe();
    let events = opened.events(declared, CHUNK_BYTES).with_context(|| format!("cannot load {input} as {kind}"))?;
    Ok(Chunks::new(events, CHUNK_BYTES))
}

/// What all files have in common.
struct Loader<'a> {
    client: &'a Client,
    plan: &'a LoadPlan,
    report: &'a mut LoadReport,
    declared: BTreeMap<String, String>,
    started: Instant,
    // Events that were sent since then.
    sent: u64,
}

impl Loader<'_> {
    async fn load(&mut self, at: usize, input: &Input) -> Result<()> {
        self.report.begin(input.to_string());
        let bar = progress_bar(&input.to_string(), size_of(input), (at + 1, self.plan.inputs.len()));
        let opened = block_in_place(|| open(input, &bar))?;
        let kind = opened.describe();
        self.report.current().kind.clone_from(&kind);
        let mut chunks = block_in_place(|| read_events(opened, input, &self.declared))?;
        let mut bad = BadRun::new(self.plan.give_up_after_bad);
        while let Some(chunk) = block_in_place(|| chunks.next_chunk(self.chunk_events(&bad))) {
            self.report.current().bytes = bar.position();
            self.take(chunk, &mut bad).await.with_context(|| format!("cannot load all of {input}"))?;
            bar.set_message(format!("{} events", self.report.accepted()));
            if let Some(run) = bad.describe() {
                let limit = self.plan.give_up_after_bad;
                bail!("{input} was read as {kind}: {run}; --give-up-after-bad {limit} says when to end, 0 is never");
            }
        }
        self.report.current().bytes = bar.length().unwrap_or_else(|| bar.position());
        bar.finish_and_clear();
        Ok(())
    }

    fn chunk_events(&self, bad: &BadRun) -> usize {
        let by_rate = |rate| usize::try_from(rate / 5).unwrap_or(CHUNK_EVENTS);
        CHUNK_EVENTS.min(self.plan.rate.map_or(CHUNK_EVENTS, by_rate)).min(bad.room())
    }

    /// Sends what was read, and notes what became of it.
    async fn take(&mut self, chunk: Result<Vec<Event>, ReadError>, bad: &mut BadRun) -> Result<()> {
        match chunk {
            Ok(events) => {
                self.sent += events.len() as u64;
                self.send(Pending::new(events), bad).await?;
                if let Some(rate) = self.plan.rate {
                    let due = self.started + Duration::from_secs_f64(self.sent as f64 / rate as f64);
                    tokio::time::sleep_until(due).await;
                }
            }
            Err(ReadError::LeftOut { place, reason }) => {
                bad.note(place, Some(&reason));
                self.report.reject(place, format!("{reason}, left out"));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Sends one chunk until every event of it is answered for.
    async fn send(&mut self, mut pending: Pending, bad: &mut BadRun) -> Result<()> {
        let (client, plan) = (self.client, self.plan);
        let (mut pause, mut deadline) = (FIRST_PAUSE, Instant::now() + plan.give_up_after);
        let mut is_doubtful = false;
        while !pending.is_empty() {
            let before = pending.len();
            let outcome = client.send_events_with(&plan.source, pending.body(), plan.on_error).await;
            let outcome = outcome.inspect_err(|_| self.report.current().open = pending.range())?;
            let (after, reason) = match outcome {
                SendOutcome::Received(receipt) => {
                    pending.note_receipt(&receipt, self.report)?;
                    continue;
                }
                SendOutcome::Later { after, reason, maybe_stored, partly } => {
                    // Also where no event was accepted: a rejected one is answered for, and must not be sent again.
                    partly.map_or(Ok(()), |receipt| pending.note_receipt(&receipt, self.report))?;
                    if maybe_stored && !std::mem::replace(&mut is_doubtful, true) {
                        self.report.repeated += pending.len() as u64;
                    }
                    (after, reason)
                }
            };
            if pending.len() < before {
                (pause, deadline) = (FIRST_PAUSE, Instant::now() + plan.give_up_after);
            }
            if Instant::now() >= deadline {
                self.report.current().open = pending.range();
                bail!("the collector took no event for {}: {reason}", format_span(plan.give_up_after));
            }
            tracing::warn!(events = pending.len(), reason, "not all events were taken, sending again");
            tokio::time::sleep(after.unwrap_or(pause).min(deadline - Instant::now())).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        pending.outcomes().for_each(|(place, rejection)| bad.note(place, rejection));
        Ok(())
    }
}

/// Bytes of a file; of standard input and pipes nobody knows how many there are.
fn size_of(input: &Input) -> Option<u64> {
    match input {
        Input::File(path) => path.metadata().ok().filter(|facts| facts.is_file()).map(|facts| facts.len()),
        Input::StandardInput => None,
    }
}
