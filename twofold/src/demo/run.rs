//! The loop of the demo: send for a second, compare, show, again.

use std::time::Duration;

use anyhow::{Result, ensure};
use positions::PositionToken;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::answer::{Answer, ask_pages};
use super::check::{Comparison, compare};
use super::screen::{Frame, Screen};
use super::summary::Summary;
use crate::client::Client;
use crate::generator::{Feed, SEND_EVERY, TrafficSettings, Truth};

const COMPARE_EVERY: Duration = Duration::from_secs(1);

/// What the demo is to do.
#[derive(Clone, Debug)]
pub struct DemoPlan {
    /// The traffic.
    pub traffic: TrafficSettings,
    /// Lines a second.
    pub rate: u32,
    /// Ends after this; `None`: at `stop`.
    pub span: Option<Duration>,
    /// The published bound of the view's sketch.
    pub sketch_bound: f64,
}

struct Demo<'a> {
    client: &'a Client,
    plan: DemoPlan,
    feed: Feed<'a>,
    truth: Truth,
    token: PositionToken,
    summary: Summary,
    screen: Screen,
    started: Instant,
    version: Option<i64>,
    last_batch_visits: i64,
}

/// Runs the demo against the system behind `client` until its span is over or `stop` is cancelled.
///
/// # Errors
/// Where the system refuses what it should not, or an answer differs from the truth.
pub async fn run_demo(client: &Client, plan: DemoPlan, stop: CancellationToken) -> Result<()> {
    let feed = Feed::new(client, plan.traffic.clone(), plan.rate, stop.clone());
    let started = Instant::now();
    let mut demo = Demo {
        client,
        plan,
        feed,
        truth: Truth::default(),
        token: PositionToken::default(),
        summary: Summary::default(),
        screen: Screen::new(),
        started,
        version: None,
        last_batch_visits: 0,
    };
    let outcome = demo.run(stop).await;
    demo.screen.end(&demo.summary.describe(&demo.truth, client.base()));
    outcome?;
    demo.summary.verdict()
}

impl Demo<'_> {
    async fn run(&mut self, stop: CancellationToken) -> Result<()> {
        let mut sending = tokio::time::interval(SEND_EVERY);
        sending.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut next_comparison = self.started + COMPARE_EVERY;
        while self.plan.span.is_none_or(|span| self.started.elapsed() < span) {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = sending.tick() => {}
            }
            self.send_due().await?;
            if Instant::now() >= next_comparison {
                self.compare_and_show().await?;
                next_comparison = Instant::now() + COMPARE_EVERY;
            }
        }
        self.compare_and_show().await
    }

    /// Sends what is due; the truth learns what was answered for.
    async fn send_due(&mut self) -> Result<()> {
        let (summary, token, truth) = (&mut self.summary, &mut self.token, &mut self.truth);
        let sent = self.feed.send_due(|lines, receipt| {
            summary.rejected += receipt.rejected;
            token.merge(&PositionToken::decode(&receipt.token)?);
            truth.acknowledge(lines);
            Ok(())
        });
        let outcome = sent.await;
        self.summary.retries = self.feed.retries;
        outcome
    }

    async fn compare_and_show(&mut self) -> Result<()> {
        let limit = self.plan.traffic.pages;
        let answer = ask_pages(self.client, &self.token.encode(), limit).await?;
        self.check_head(&answer)?;
        let comparison = compare(&answer, &self.truth, self.plan.sketch_bound);
        self.note_publication(&answer, &comparison);
        self.screen.show(&Frame {
            elapsed_seconds: self.started.elapsed().as_secs(),
            answer: &answer,
            truth: &self.truth,
            comparison: &comparison,
            page_url: self.client.base(),
        });
        self.summary.comparisons += 1;
        self.summary.outcome.add(comparison);
        Ok(())
    }

    /// The answer must reach exactly as far as what was acknowledged: then the truth is about the same events.
    fn check_head(&self, answer: &Answer) -> Result<()> {
        for (partition, offset) in self.token.sources.values().flatten() {
            let reached = answer.head.get(&partition.to_string()).copied();
            ensure!(
                reached == Some(offset.0),
                "partition {partition}: {offset} events were acknowledged, the answer reaches {reached:?}"
            );
        }
        Ok(())
    }

    fn note_publication(&mut self, answer: &Answer, comparison: &Comparison) {
        let batch_visits: i64 = answer.pages.values().map(|page| page.batch_visits).sum();
        if answer.version != self.version && answer.version.is_some() {
            self.summary.publications += 1;
            self.screen.say(&format!(
                "  {:>4} s   batch view {} has landed: {} visits turned from realtime into batch, largest difference {}",
                self.started.elapsed().as_secs(),
                answer.version.unwrap_or_default(),
                batch_visits - self.last_batch_visits,
                comparison.largest_difference,
            ));
        }
        self.version = answer.version;
        self.last_batch_visits = batch_visits;
    }
}
