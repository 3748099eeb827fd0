//! The loop of the archive: the only file here that spawns, loops or sleeps.
//!
//! Guarantee: it ends soon after `shutdown`, with a last commit. Errors that may pass by themselves are tried again
//! with growing waits.

use records::RecordsError;
use records::master::MasterSnapshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::archiver::{Archiver, Committed};
use super::watch::ColumnWatch;
use super::{ArchiveComponents, ArchiveSettings, ArchiveState};
use crate::BatchError;
use crate::metrics::{self, ARCHIVE_FAILURES, ARCHIVE_RACES};

/// Archives one source until `shutdown`.
///
/// # Errors
/// What an operator must look at: another topic under the same name, a topic that cannot be used, a table that cannot
/// be read. An unreachable log or object store is retried until it is back.
pub async fn run_archive(
    components: ArchiveComponents,
    settings: ArchiveSettings,
    shutdown: CancellationToken,
) -> Result<(), BatchError> {
    metrics::announce_archive(&components.source);
    let mut watch = ColumnWatch::new(&components.source);
    let mut failures = Failures { count: 0, settings: &settings, components: &components, shutdown: &shutdown };
    let ended = loop {
        match archive_session(&components, &settings, &shutdown, &mut failures, &mut watch).await {
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

/// Why a session ended without an error.
enum SessionEnd {
    Shutdown,
    /// Another archiver continued the table.
    Raced,
}

/// From opening the table to shutdown, a lost race, or an error.
async fn archive_session(
    components: &ArchiveComponents,
    settings: &ArchiveSettings,
    shutdown: &CancellationToken,
    failures: &mut Failures<'_>,
    watch: &mut ColumnWatch,
) -> Result<SessionEnd, BatchError> {
    let Some(opened) = shutdown.run_until_cancelled(Archiver::open(components, settings, watch)).await else {
        return Ok(SessionEnd::Shutdown);
    };
    let mut archiver = opened?;
    let mut commit = CommitInFlight::default();
    while !shutdown.is_cancelled() {
        let step = archive_step(&mut archiver, &mut commit, settings, shutdown).await;
        match step {
            Ok(Committed::Raced) => return Ok(SessionEnd::Raced),
            Ok(Committed::Done) => {
                failures.count = 0;
                archiver.publish_status(archiver.state());
            }
            // The rows stay: a commit that failed is tried again before anything more is read.
            Err(error) if error.is_retryable() => {
                archiver.publish_status(ArchiveState::Retrying { error: error.to_string() });
                failures.wait(Some(&error)).await;
            }
            Err(error) => return Err(error),
        }
    }
    match commit_all(&mut archiver, &mut commit).await? {
        Committed::Done => archiver.publish_status(ArchiveState::Running),
        Committed::Raced => tracing::debug!("another archiver was first at shutdown; it goes on"),
    }
    Ok(SessionEnd::Shutdown)
}

/// Starts the commit that is due, then reads once while it is written.
async fn archive_step(
    archiver: &mut Archiver<'_>,
    commit: &mut CommitInFlight,
    settings: &ArchiveSettings,
    shutdown: &CancellationToken,
) -> Result<Committed, BatchError> {
    let has_failed = archiver.has_sealed() && commit.is_idle();
    if has_failed {
        start_commit(archiver, commit).await?;
    }
    let must_wait = has_failed || archiver.is_commit_due(settings);
    if commit.finish(archiver, must_wait).await? == Committed::Raced {
        return Ok(Committed::Raced);
    }
    if archiver.is_commit_due(settings) {
        archiver.seal();
        start_commit(archiver, commit).await?;
    }
    if archiver.is_listing_due(settings.partitions_interval) {
        archiver.list_partitions().await?;
    }
    shutdown.run_until_cancelled(archiver.poll(settings)).await.unwrap_or(Ok(()))?;
    Ok(Committed::Done)
}

/// Starts writing what was sealed, if anything. Its rejected records are in their topic first, where there is one.
async fn start_commit(archiver: &mut Archiver<'_>, commit: &mut CommitInFlight) -> Result<(), BatchError> {
    archiver.append_dead().await?;
    commit.start(archiver);
    Ok(())
}

/// Commits everything that was read.
async fn commit_all(archiver: &mut Archiver<'_>, commit: &mut CommitInFlight) -> Result<Committed, BatchError> {
    loop {
        if commit.is_idle() {
            archiver.seal();
            start_commit(archiver, commit).await?;
        }
        if commit.is_idle() {
            return Ok(Committed::Done);
        }
        if commit.finish(archiver, true).await? == Committed::Raced {
            return Ok(Committed::Raced);
        }
    }
}

/// The commit in flight, if any: never more than one. Dropping it gives it up; the table shows whether it happened.
#[derive(Default)]
struct CommitInFlight {
    // A set for one task: it aborts the task when dropped.
    tasks: JoinSet<Result<MasterSnapshot, RecordsError>>,
}

impl CommitInFlight {
    fn is_idle(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Starts writing what the archiver has sealed, if anything.
    fn start(&mut self, archiver: &Archiver<'_>) {
        if let Some(commit) = archiver.commit() {
            self.tasks.spawn(commit);
        }
    }

    /// Hands the outcome to the archiver if the commit has ended; waits for the end if it must.
    async fn finish(&mut self, archiver: &mut Archiver<'_>, must_wait: bool) -> Result<Committed, BatchError> {
        let ended = if must_wait { self.tasks.join_next().await } else { self.tasks.try_join_next() };
        match ended {
            Some(Ok(outcome)) => archiver.finish_commit(outcome),
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
        self.shutdown.run_until_cancelled(tokio::time::sleep(delay)).await;
    }
}
