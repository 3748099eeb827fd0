//! The folding of one view: a step that any process may take, as often as it likes.
//!
//! Guarantee: at most one commit, on exactly the version that was read. Where it is unknown whether that was made, the
//! next call finds out: nothing is due then.

use std::time::Duration;

use lake::Version;
use positions::{RecomputeId, TimestampMicros};
use serde::{Deserialize, Serialize};
use serving_layer::{BatchFacts, BatchVersion, BatchViewStore, MayCommit, Publication, PublicationPart, ServingError};
use views::PlannedView;

use super::choose::{Due, choose, folded_by};
use super::merge::{merge, session};
use crate::grains::LAST;
use crate::recompute::GroupProgress;
use crate::{BatchContext, BatchError, RecomputeSettings, engine};

/// How the folding of one view ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FoldOutcome {
    /// There is no version of the view yet.
    NoVersion,
    /// Everything that is old enough is folded, or the version has no rows of it.
    NothingDue,
    /// Another publisher was first; its version stays, and may be folded.
    LostRace,
    /// A folded version was published.
    Folded(Folding),
}

/// What a folding did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folding {
    /// The version that was published.
    pub version: Version,
    /// Rows of the version before.
    pub rows_before: u64,
    /// Rows of this one.
    pub rows: u64,
    /// Files of the version before.
    pub files_before: u64,
    /// Files of this one.
    pub files: u64,
}

/// Folds the newest version of a view, where buckets ended at least `age` ago that are finer than they might be.
/// `may_commit` is asked directly before the commit, `progress` tells others how far it is, and `name` is in the names
/// of files: no other call ever had it.
///
/// # Errors
/// Those of store and engine, [`BatchError::Serving`] with `Withdrawn` where `may_commit` says no; the newest version
/// stays. [`views::is_state_limit`] of the engine's error: a merged state is beyond the view's `max_state_bytes`.
pub async fn fold(
    context: &BatchContext,
    view: &PlannedView,
    (age, settings, name): (Duration, &RecomputeSettings, &str),
    may_commit: &MayCommit<'_>,
    progress: &GroupProgress,
) -> Result<FoldOutcome, BatchError> {
    let store = BatchViewStore::new(&context.lake, view.clone());
    let Some(on) = store.newest().await? else { return Ok(FoldOutcome::NoVersion) };
    let wanted = folded_by(context.clock.now(), age);
    let Some(due) = choose(view.bucket, on.facts.folded, wanted) else { return Ok(FoldOutcome::NothingDue) };
    let Some(table) = store.scan(&on, &due.stretches)? else { return Ok(FoldOutcome::NothingDue) };
    let part = PublicationPart { replaced: Some(&due.stretches), from: TimestampMicros::MIN, to: LAST, name };
    let session = session(settings)?;
    let written = async {
        let rows = merge(&session, view, table, &due, progress).await?;
        Ok::<_, BatchError>(store.write_part(Some(&on), &part, rows).await?)
    };
    let written = written.await;
    progress.end();
    let part = match written {
        Err(BatchError::Serving(ServingError::Conflict { .. })) => return Ok(FoldOutcome::LostRace),
        written => written.map_err(|error| engine::told_apart(&session, error))?,
    };
    context.lake.raise_format(lake::FORMAT_WITH_FOLDED).await.map_err(ServingError::from)?;
    let publication = Publication {
        replaced: Some(&due.stretches),
        parts: &[part],
        facts: facts(context, &on, &due),
        name: &format!("{:032x}", context.ids.next_id()),
        nonce: context.ids.next_id(),
        may_commit,
    };
    match store.publish_parts(Some(&on), publication).await {
        Ok(version) => Ok(FoldOutcome::Folded(folding(&on, &version))),
        Err(ServingError::Conflict { .. }) => Ok(FoldOutcome::LostRace),
        Err(error) => Err(error.into()),
    }
}

/// The bytes of the files that [`fold`] would read now, by facts and files of the newest version alone; `None` where it
/// would find nothing to fold.
///
/// # Errors
/// Those of the store: ask again.
pub async fn bytes_to_fold(
    context: &BatchContext,
    view: &PlannedView,
    age: Duration,
) -> Result<Option<u64>, BatchError> {
    let store = BatchViewStore::new(&context.lake, view.clone());
    let Some(on) = store.newest().await? else { return Ok(None) };
    let Some(due) = choose(view.bucket, on.facts.folded, folded_by(context.clock.now(), age)) else { return Ok(None) };
    let files = store.files_of(&on, &due.stretches);
    Ok((!files.is_empty()).then(|| files.iter().map(|file| file.size_bytes).sum()))
}

/// Those of the version before: the same events are in, by other buckets.
fn facts(context: &BatchContext, on: &BatchVersion, due: &Due) -> BatchFacts {
    BatchFacts {
        recompute: RecomputeId(context.ids.next_id()),
        published_at: context.clock.now(),
        is_full: false,
        publisher: None,
        folded: due.folded,
        ..on.facts.as_ref().clone()
    }
}

fn folding(before: &BatchVersion, after: &BatchVersion) -> Folding {
    let rows = |version: &BatchVersion| version.snapshot.files().iter().map(|file| file.rows).sum::<u64>();
    let files = |version: &BatchVersion| version.snapshot.files().len() as u64;
    Folding {
        version: after.number(),
        rows_before: rows(before),
        rows: rows(after),
        files_before: files(before),
        files: files(after),
    }
}
