//! The loops that send traffic: keep to the rate, send again what was not taken, tell how far it is.
//!
//! Guarantee: lines are told as acknowledged once the collector has answered for all of them. What it did not answer
//! for is sent again, which counts once: every visit has an id.

use std::time::Duration;

use anyhow::{Result, bail};
use bytes::Bytes;
use positions::{Clock, PositionToken, format_span};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::traffic::SOURCE;
use super::{Line, Tally, Traffic, TrafficSettings};
use crate::client::{Client, Receipt, SendOutcome};
use crate::console::say;
use crate::environment::SystemClock;

/// Between two looks at what is due.
pub const SEND_EVERY: Duration = Duration::from_millis(100);
const TELL_EVERY: Duration = Duration::from_secs(5);
/// Lines of one request at most.
const CHUNK: usize = 2_000;
/// The pause before lines are sent again where the collector names none.
const SEND_PAUSE: Duration = Duration::from_millis(200);
/// For how long one request is sent again: a restart of a collector or of its brokers is shorter.
const PATIENCE: Duration = Duration::from_secs(120);

/// Traffic on its way to a collector, at a rate.
pub struct Feed<'a> {
    client: &'a Client,
    traffic: Traffic,
    rate: u64,
    started: Instant,
    generated: u64,
    stop: CancellationToken,
    /// Requests that were sent again.
    pub retries: u64,
}

impl<'a> Feed<'a> {
    /// A feed that starts now, at `rate` lines a second, until `stop`.
    pub fn new(client: &'a Client, settings: TrafficSettings, rate: u32, stop: CancellationToken) -> Self {
        let traffic = Traffic::new(settings);
        Self { client, traffic, rate: u64::from(rate), started: Instant::now(), generated: 0, stop, retries: 0 }
    }

    /// Since the start.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Sends what the rate says should have been sent by now; what a slow system held up is not caught up beyond a
    /// second. `acknowledged` hears of every request that was answered for.
    ///
    /// # Errors
    /// A refusal for good, or a collector that takes nothing for minutes.
    pub async fn send_due(&mut self, mut acknowledged: impl FnMut(&[Line], &Receipt) -> Result<()>) -> Result<()> {
        let due = (self.elapsed().as_secs_f64() * self.rate as f64) as u64;
        self.generated = self.generated.max(due.saturating_sub(self.rate));
        while self.generated < due && !self.stop.is_cancelled() {
            let count = CHUNK.min(usize::try_from(due - self.generated).unwrap_or(CHUNK));
            let lines = self.traffic.next_lines(SystemClock.now(), count);
            if let Some(receipt) = self.send(&lines).await? {
                acknowledged(&lines, &receipt)?;
            }
            self.generated += count as u64;
        }
        Ok(())
    }

    /// Sends lines until they are answered for; `None` where the feed is stopped before.
    async fn send(&mut self, lines: &[Line]) -> Result<Option<Receipt>> {
        let body = Bytes::from(lines.iter().flat_map(|line| [line.text.as_str(), "\n"]).collect::<String>());
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (after, reason) = match self.client.send_events(SOURCE, body.clone()).await? {
                SendOutcome::Received(receipt) => return Ok(Some(receipt)),
                SendOutcome::Later { after, reason, .. } => (after.unwrap_or(SEND_PAUSE), reason),
            };
            if Instant::now() >= deadline {
                bail!("the collector took nothing for {}: {reason}", format_span(PATIENCE));
            }
            tracing::warn!(reason, "the collector asks to send again later");
            self.retries += 1;
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(None),
                () = tokio::time::sleep(after) => {}
            }
        }
    }
}

/// What `generate` is to do.
#[derive(Clone, Debug)]
pub struct GeneratePlan {
    /// The traffic.
    pub traffic: TrafficSettings,
    /// Lines a second.
    pub rate: u32,
    /// Ends after this; `None`: at `stop`.
    pub span: Option<Duration>,
}

/// Sends traffic to the system behind `client` until its span is over or `stop` is cancelled, a line of progress every
/// few seconds; what was acknowledged.
///
/// # Errors
/// As in [`Feed::send_due`].
pub async fn run_generator(client: &Client, plan: GeneratePlan, stop: CancellationToken) -> Result<Tally> {
    let mut feed = Feed::new(client, plan.traffic, plan.rate, stop.clone());
    let mut tally = Tally::default();
    let mut sending = tokio::time::interval(SEND_EVERY);
    sending.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut next_line = TELL_EVERY;
    while plan.span.is_none_or(|span| feed.elapsed() < span) {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = sending.tick() => {}
        }
        feed.send_due(|lines, receipt| {
            tally.token.merge(&PositionToken::decode(&receipt.token)?);
            tally.acknowledge(lines);
            Ok(())
        })
        .await?;
        tally.retries = feed.retries;
        if feed.elapsed() >= next_line {
            say(&tally.describe(feed.elapsed()));
            next_line = feed.elapsed() + TELL_EVERY;
        }
    }
    tally.retries = feed.retries;
    Ok(tally)
}
