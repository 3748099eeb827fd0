//! The loop of recomputes: waits for the interval or for a request, runs a round, and says how it ended.
//!
//! Guarantee: a round that failed is tried again sooner than the interval, with growing waits; rounds of some views
//! that are asked for, however many, neither put off the round of all nor take a failure of another view back.
//! Not here: what happens between two rounds (`../run.rs`), one source's recompute (`source.rs`).

use std::sync::Arc;
use std::time::Duration;

use positions::{TimestampMicros, ViewName};
use records::master::MasterDataset;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::source::recompute_counted;
use super::{Mode, RecomputeComponents, Round, report_failed_rows, report_round};
use crate::metrics::{self, BATCH_SECONDS};
use crate::{BatchContext, BatchRequest, BatchSettings, BatchStatus, RecomputeSettings};

/// The rounds of one batch loop.
pub(crate) struct Rounds<'a> {
    context: &'a BatchContext,
    requests: mpsc::Receiver<BatchRequest>,
    status: &'a watch::Sender<BatchStatus>,
    settings: &'a BatchSettings,
    /// The views of the rounds that nobody asks for; `None`: all.
    by_interval: Option<Vec<ViewName>>,
    /// When the next round of all views is due.
    due: Instant,
    /// Rounds of all views in a row in which one failed.
    failures: u32,
}

impl<'a> Rounds<'a> {
    /// The first round is due at once.
    pub(crate) fn new(
        context: &'a BatchContext,
        requests: mpsc::Receiver<BatchRequest>,
        status: &'a watch::Sender<BatchStatus>,
        settings: &'a BatchSettings,
    ) -> Self {
        let views = context.pipeline.views.iter().map(|view| &view.name);
        let by_interval = (!settings.left_out.is_empty())
            .then(|| views.filter(|view| !settings.left_out.contains(*view)).cloned().collect());
        Self { context, requests, status, settings, by_interval, due: Instant::now(), failures: 0 }
    }

    /// Waits until a round is due or asked for.
    pub(crate) async fn wait(&mut self) -> Option<BatchRequest> {
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(self.due) => None,
            Some(request) = self.requests.recv() => Some(request),
        }
    }

    /// Runs a round, and answers whoever asked for it.
    pub(crate) async fn run(&mut self, request: Option<BatchRequest>) {
        let (mode, views) = match &request {
            Some(request) => (request.mode, request.views.as_deref()),
            None => (Mode::Incremental, self.by_interval.as_deref()),
        };
        let is_of_some = request.as_ref().is_some_and(|request| request.views.is_some());
        self.status.send_modify(|status| status.is_running = true);
        let round = run_round(self.context, mode, views, &self.settings.recompute).await;
        if !is_of_some {
            self.plan_next(&round);
        }
        publish_status(self.status, &round, self.context.clock.now());
        if let Some(request) = request {
            // Whoever asked may be gone.
            let _ = request.reply.send(round);
        }
    }

    /// The next round of all views is due after a pause, and not before.
    pub(crate) fn put_off(&mut self, pause: Duration) {
        self.due = Instant::now() + pause.min(self.settings.interval);
    }

    fn plan_next(&mut self, round: &Round) {
        self.failures = if round.values().any(Result::is_err) { self.failures + 1 } else { 0 };
        let BatchSettings { interval, backoff, .. } = self.settings;
        let delay = if self.failures == 0 { *interval } else { backoff.delay(self.failures).min(*interval) };
        self.due = Instant::now() + delay;
    }
}

/// One round over the views of all sources, or over those named, one source after the other.
pub async fn run_round(
    context: &BatchContext,
    mode: Mode,
    names: Option<&[ViewName]>,
    settings: &RecomputeSettings,
) -> Round {
    let mut round = Round::new();
    for source in &context.pipeline.sources {
        let views = context.pipeline.views.iter().filter(|view| view.source.name == source.name);
        let views: Vec<_> =
            views.filter(|view| names.is_none_or(|names| names.contains(&view.name))).cloned().collect();
        if views.is_empty() {
            continue;
        }
        let components = RecomputeComponents {
            lake: context.lake.clone(),
            master: MasterDataset::new(&context.lake, Arc::clone(source)),
            views,
            clock: Arc::clone(&context.clock),
            ids: Arc::clone(&context.ids),
        };
        let began = context.clock.now();
        let recomputed = recompute_counted(&components, mode, settings).await;
        let seconds = context.clock.now().micros_since(began) as f64 / 1e6;
        metrics::time_source(BATCH_SECONDS, source.name.as_str(), seconds);
        report_failed_rows(&recomputed.failed);
        report_round(&recomputed.round, seconds);
        round.extend(recomputed.round);
    }
    round
}

fn publish_status(status: &watch::Sender<BatchStatus>, round: &Round, now: TimestampMicros) {
    let errors = round.iter().filter_map(|(view, outcome)| Some((view.clone(), outcome.as_ref().err()?.to_string())));
    status.send_modify(|status| {
        (status.is_running, status.finished_at) = (false, Some(now));
        status.errors.retain(|view, _| !round.contains_key(view));
        status.errors.extend(errors);
    });
}
