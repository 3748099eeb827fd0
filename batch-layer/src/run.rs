//! The loops of the batch layer: the only file here that spawns, loops or sleeps.
//!
//! Guarantee: both loops end soon after `shutdown`: the archive with a last commit, the batch loop by giving up the
//! round at hand (nothing of it is visible). Errors that may pass by themselves are tried again with growing waits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use positions::{SourceName, TimestampMicros, ViewName};
use records::RecordsError;
use records::master::{MasterDataset, MasterSnapshot};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::archive::{ArchiveComponents, ArchiveSettings, ArchiveState, Archiver, Committed};
use crate::metrics::{
    self, ARCHIVE_FAILURES, ARCHIVE_RACES, BATCH_FAILURES, BATCH_PUBLICATIONS, BATCH_ROWS, BATCH_SECONDS, BATCH_VERSION,
};
use crate::recompute::{Mode, Outcome, RecomputeComponents, Round, recompute};
use crate::{BatchError, BatchParts, BatchSettings, RecomputeSettings, cleanup, compact};

/// Archives one source until `shutdown`.
///
/// # Errors
/// What an operator must look at: another topic under the same name, a topic that cannot be used, a table that cannot
/// be read. An unreachable log or object store is waited for.
pub async fn run_archive(
    components: ArchiveComponents,
    settings: ArchiveSettings,
    shutdown: CancellationToken,
) -> Result<(), BatchError> {
    metrics::announce_archive(components.source.name.as_str());
    let mut failures = Failures { count: 0, settings: &settings, components: &components, shutdown: &shutdown };
    let ended = loop {
        match archive_session(&components, &settings, &shutdown, &mut failures).await {
            Ok(SessionEnd::Shutdown) => break Ok(()),
            Ok(SessionEnd::Raced) => {
                let source = &components.source.name;
                tracing::warn!(%source, "another archiver continued the master dataset; starting again from it");
                metrics::count(ARCHIVE_RACES, source.as_str(), 1);
                failures.wait(None).await;
            }
            Err(error) if error.is_retryable() => failures.wait(Some(&error)).await,
            Err(error) => break Err(error),
        }
        if shutdown.is_cancelled() {
            break Ok(());
        }
    };
    let error = ended.as_ref().err().map(BatchError::to_string);
    components.status.send_modify(|status| status.state = ArchiveState::Stopped { error });
    ended
}

enum SessionEnd {
    Shutdown,
    Raced,
}

/// From opening the table to shutdown, a lost race, or an error.
async fn archive_session(
    components: &ArchiveComponents,
    settings: &ArchiveSettings,
    shutdown: &CancellationToken,
    failures: &mut Failures<'_>,
) -> Result<SessionEnd, BatchError> {
    let Some(opened) = shutdown.run_until_cancelled(Archiver::open(components)).await else {
        return Ok(SessionEnd::Shutdown);
    };
    let mut archiver = opened?;
    let mut commits = Commits::default();
    while !shutdown.is_cancelled() {
        let step = match archive_step(&mut archiver, &mut commits, settings, shutdown).await {
            Ok(Committed::Raced) => return Ok(SessionEnd::Raced),
            Ok(Committed::Done) => Ok(()),
            Err(error) if error.is_retryable() => Err(error),
            Err(error) => return Err(error),
        };
        match step {
            Ok(()) => {
                failures.count = 0;
                archiver.tell(ArchiveState::Running);
            }
            // The rows stay: a commit that failed is tried again before anything more is read.
            Err(error) => {
                archiver.tell(ArchiveState::Retrying { error: error.to_string() });
                failures.wait(Some(&error)).await;
            }
        }
    }
    match commit_all(&mut archiver, &mut commits).await? {
        Committed::Done => archiver.tell(ArchiveState::Running),
        Committed::Raced => tracing::debug!("another archiver was first at shutdown; it goes on"),
    }
    Ok(SessionEnd::Shutdown)
}

/// Starts the commit that is due, then reads once while it is written.
async fn archive_step(
    archiver: &mut Archiver<'_>,
    commits: &mut Commits,
    settings: &ArchiveSettings,
    shutdown: &CancellationToken,
) -> Result<Committed, BatchError> {
    let has_failed = archiver.has_sealed() && commits.is_idle();
    if has_failed {
        commits.start(archiver);
    }
    let must_wait = has_failed || archiver.is_commit_due(settings);
    if commits.settle(archiver, must_wait).await? == Committed::Raced {
        return Ok(Committed::Raced);
    }
    if archiver.is_commit_due(settings) {
        archiver.seal();
        commits.start(archiver);
    }
    if archiver.is_listing_due(settings.partitions_interval) {
        archiver.list_partitions().await?;
    }
    shutdown.run_until_cancelled(archiver.poll(settings.poll)).await.unwrap_or(Ok(()))?;
    Ok(Committed::Done)
}

/// Commits everything that was read.
async fn commit_all(archiver: &mut Archiver<'_>, commits: &mut Commits) -> Result<Committed, BatchError> {
    loop {
        if commits.is_idle() {
            archiver.seal();
            commits.start(archiver);
        }
        if commits.is_idle() {
            return Ok(Committed::Done);
        }
        if commits.settle(archiver, true).await? == Committed::Raced {
            return Ok(Committed::Raced);
        }
    }
}

/// The commit in flight, at most one. Dropped, it is given up: whether it happened is seen in the table.
#[derive(Default)]
struct Commits {
    tasks: JoinSet<Result<MasterSnapshot, RecordsError>>,
}

impl Commits {
    fn is_idle(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Starts writing what the archiver has sealed, if anything.
    fn start(&mut self, archiver: &Archiver<'_>) {
        if let Some(commit) = archiver.commit() {
            self.tasks.spawn(commit);
        }
    }

    /// Tells the archiver how the commit ended, where it has; waits for that where it must.
    async fn settle(&mut self, archiver: &mut Archiver<'_>, must_wait: bool) -> Result<Committed, BatchError> {
        let ended = if must_wait { self.tasks.join_next().await } else { self.tasks.try_join_next() };
        match ended {
            Some(Ok(outcome)) => archiver.settle(outcome),
            // Nobody aborts it, so it panicked.
            Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            None => Ok(Committed::Done),
        }
    }
}

/// Failures in a row, and the waits between them.
struct Failures<'a> {
    count: u32,
    components: &'a ArchiveComponents,
    settings: &'a ArchiveSettings,
    shutdown: &'a CancellationToken,
}

impl Failures<'_> {
    async fn wait(&mut self, error: Option<&BatchError>) {
        self.count = self.count.saturating_add(1);
        let delay = self.settings.backoff.delay(self.count);
        if let Some(error) = error {
            let source = &self.components.source.name;
            tracing::warn!(%source, %error, ?delay, failures = self.count, "archive failed, trying again");
            metrics::count(ARCHIVE_FAILURES, source.as_str(), 1);
            let state = ArchiveState::Retrying { error: error.to_string() };
            self.components.status.send_modify(|status| status.state = state);
        }
        pause(delay, self.shutdown).await;
    }
}

/// Asks the batch loop for a round at once.
#[derive(Debug)]
pub struct BatchRequest {
    /// How much to compute.
    pub mode: Mode,
    /// Which views; `None`: all.
    pub views: Option<Vec<ViewName>>,
    /// Told how it ended; may be dropped.
    pub reply: oneshot::Sender<Round>,
}

/// What the batch loop works with.
pub struct BatchComponents {
    /// What every round works with.
    pub parts: BatchParts,
    /// Rounds asked for by hand; a closed channel is no error.
    pub requests: mpsc::Receiver<BatchRequest>,
    /// Written by the loop alone, read by `/v1/status`.
    pub status: watch::Sender<BatchStatus>,
    /// One permit, held while a loop computes: loops that share it take turns, within the memory of one.
    pub turn: Arc<Semaphore>,
}

/// What the batch loop has done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchStatus {
    /// Whether a round is at work.
    pub is_running: bool,
    /// When the last round ended.
    pub finished_at: Option<TimestampMicros>,
    /// The views that failed in the last round, and why.
    pub errors: Vec<(ViewName, String)>,
    /// Live files of each master dataset, as the last look for a compaction found or left them.
    pub master_files: BTreeMap<SourceName, usize>,
}

/// Recomputes all views again and again until `shutdown`; after each round compacts master datasets where that is due.
///
/// # Errors
/// None at present: a view that fails is logged, counted, shown in the status, and tried again.
pub async fn run_batch(
    components: BatchComponents,
    settings: BatchSettings,
    shutdown: CancellationToken,
) -> Result<(), BatchError> {
    let BatchComponents { parts, mut requests, status, turn } = components;
    metrics::announce_batch(&parts.pipeline);
    let mut failures = 0;
    let mut cleaned_at = parts.clock.now();
    let mut delay = Duration::ZERO;
    loop {
        let request = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            Some(request) = requests.recv() => Some(request),
            () = tokio::time::sleep(delay) => None,
        };
        let (mode, views) = request.as_ref().map_or((Mode::Incremental, None), |one| (one.mode, one.views.clone()));
        let Some(Ok(_turn)) = shutdown.run_until_cancelled(turn.acquire()).await else { return Ok(()) };
        status.send_modify(|status| status.is_running = true);
        let round = run_round(&parts, mode, views.as_deref(), &settings.recompute);
        let Some(round) = shutdown.run_until_cancelled(round).await else { return Ok(()) };
        failures = if round.values().any(Result::is_err) { failures + 1 } else { 0 };
        delay = if failures == 0 { settings.interval } else { settings.backoff.delay(failures).min(settings.interval) };
        tell_round(&status, &round, parts.clock.now());
        if let Some(request) = request {
            // Who asked may have gone.
            let _ = request.reply.send(round);
        }
        // After the answer: who asked for a round does not wait for files to be rewritten.
        let compacting = compact::compact_all(&parts, &settings.compact, &settings.recompute);
        let Some(files) = shutdown.run_until_cancelled(compacting).await else { return Ok(()) };
        status.send_modify(|status| status.master_files.extend(files));
        if parts.clock.now().micros_since(cleaned_at) >= positions::micros(settings.cleanup_interval) {
            cleaned_at = parts.clock.now();
            let cleaning = cleanup::clean(&parts, settings.keep_versions, settings.cleanup_grace);
            if shutdown.run_until_cancelled(cleaning).await.is_none() {
                return Ok(());
            }
        }
    }
}

/// One round over the views of all sources (or those named), one after the other.
pub async fn run_round(
    parts: &BatchParts,
    mode: Mode,
    names: Option<&[ViewName]>,
    settings: &RecomputeSettings,
) -> Round {
    let mut round = Round::new();
    for source in &parts.pipeline.sources {
        let views = parts.pipeline.views.iter().filter(|view| view.source.name == source.name);
        let views: Vec<_> =
            views.filter(|view| names.is_none_or(|names| names.contains(&view.name))).cloned().collect();
        if views.is_empty() {
            continue;
        }
        let components = RecomputeComponents {
            lake: parts.lake.clone(),
            master: MasterDataset::new(&parts.lake, Arc::clone(source)),
            views,
            clock: Arc::clone(&parts.clock),
            ids: Arc::clone(&parts.ids),
        };
        let began = parts.clock.now();
        let outcomes = recompute(&components, mode, settings).await;
        let seconds = parts.clock.now().micros_since(began) as f64 / 1e6;
        metrics::time_source(BATCH_SECONDS, source.name.as_str(), seconds);
        outcomes.iter().for_each(|(view, outcome)| tell_outcome(view, outcome, seconds));
        round.extend(outcomes);
    }
    round
}

fn tell_outcome(view: &ViewName, outcome: &Result<Outcome, Arc<BatchError>>, seconds: f64) {
    match outcome {
        Ok(Outcome::Published(version)) => {
            let rows: u64 = version.facts.counters.values().map(|counters| counters.rows).sum();
            let number = version.snapshot.version().0;
            let cut: Vec<_> = version.facts.cut.0.iter().map(|(one, position)| (one.0, position.offset.0)).collect();
            let is_full = version.facts.is_full;
            tracing::info!(%view, version = number, rows, ?cut, is_full, seconds, "batch view published");
            metrics::count_view(BATCH_PUBLICATIONS, view.as_str(), 1);
            metrics::set_view(BATCH_VERSION, view.as_str(), number as f64);
            metrics::set_view(BATCH_ROWS, view.as_str(), rows as f64);
        }
        Ok(Outcome::NothingNew) => tracing::debug!(%view, "nothing new to publish"),
        Ok(Outcome::LostRace) => tracing::info!(%view, "another publisher was first; its version stays"),
        Err(error) => {
            metrics::count_view(BATCH_FAILURES, view.as_str(), 1);
            if error.is_retryable() {
                tracing::warn!(%view, %error, "recompute failed; the published version stays");
            } else {
                tracing::error!(%view, %error, "recompute failed; the published version stays");
            }
        }
    }
}

fn tell_round(status: &watch::Sender<BatchStatus>, round: &Round, now: TimestampMicros) {
    let errors = round.iter().filter_map(|(view, outcome)| Some((view.clone(), outcome.as_ref().err()?.to_string())));
    let errors = errors.collect();
    status.send_modify(|status| {
        (status.is_running, status.finished_at, status.errors) = (false, Some(now), errors);
    });
}

async fn pause(delay: Duration, shutdown: &CancellationToken) {
    shutdown.run_until_cancelled(tokio::time::sleep(delay)).await;
}
