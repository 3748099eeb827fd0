//! What a round does for one view: how much, from which cut to which, and how it ended.
//!
//! Guarantee: a task's cut never lies below the cut of the version before.

use std::collections::BTreeMap;
use std::sync::Arc;

use lake::Lake;
use positions::{Clock, Cut, TimestampMicros, ViewName, choose_cut};
use records::RecordsError;
use records::master::{MasterFacts, MasterSnapshot};
use serving_layer::{BatchVersion, BatchViewStore};
use views::{FailedRows, PlannedView, ViewDefinition};

use crate::BatchError;

/// How much is computed again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Everything below the cut.
    Full,
    /// The buckets that received rows since the version before; everything for a first version.
    #[default]
    Incremental,
}

/// How the recompute of one view ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// A new version was published.
    Published(BatchVersion),
    /// Nothing of the source is archived yet.
    NoData,
    /// All that is archived is in the version before.
    NothingNew,
    /// No cut may lie above that of the version before yet: the records from there on wait for the next multiple of the
    /// grid, or until their partition has been silent for the gap.
    AwaitsSilence {
        /// How many are archived.
        records: u64,
    },
    /// Another publisher was first; its version stays.
    LostRace,
}

/// The outcomes of one recompute, by view.
pub type Round = BTreeMap<ViewName, Result<Outcome, Arc<BatchError>>>;

/// What a round computes for one view.
pub(crate) struct Task {
    pub(crate) view: PlannedView,
    pub(crate) store: BatchViewStore,
    pub(crate) previous: Option<BatchVersion>,
    pub(crate) cut: Cut,
    /// The cut from which on rows count as new; `None`: compute everything.
    pub(crate) since: Option<Cut>,
    /// Rows that expressions of the view fail on while it is computed.
    pub(crate) failed: Arc<FailedRows>,
}

/// What planning decided for one view.
pub(crate) enum Planned {
    /// There is something to compute.
    Task(Task),
    /// There is not.
    Skipped(Outcome),
}

/// Compares the newest version of a view with what is archived, and chooses the cut of the next one.
pub(crate) async fn plan_task(
    lake: &Lake,
    clock: &dyn Clock,
    master: &MasterSnapshot,
    view: &PlannedView,
    mode: Mode,
) -> Result<Planned, BatchError> {
    let store = BatchViewStore::new(lake, view.clone());
    let previous = store.newest().await?;
    let facts = previous.as_ref().map(|version| version.facts.as_ref());
    if let Some(facts) = facts.filter(|facts| facts.master_version > master.snapshot.version()) {
        let table = master.snapshot.table();
        let newest = table.open().await.map_err(RecordsError::from)?.map(|newest| newest.version());
        if newest.is_some_and(|newest| newest >= facts.master_version) {
            return Ok(Planned::Skipped(Outcome::LostRace));
        }
        let (folder, version) = (format!("views/{}-{}", view.name, view.hash), facts.master_version);
        return Err(BatchError::MasterBehind { table: table.folder().to_owned(), version, folder });
    }
    // States of events that were erased since are in any bucket.
    let is_behind = facts.is_some_and(|facts| facts.erased < master.facts.erased);
    let mode = if is_behind { Mode::Full } else { mode };
    let before = facts.map(|facts| facts.cut.clone()).unwrap_or_default();
    let cut = next_cut(&master.facts, &before, view, clock.now());
    let is_new = !before.is_at_or_above(&cut);
    if !is_new && (mode == Mode::Incremental || previous.is_none()) {
        return Ok(Planned::Skipped(why_nothing(&master.facts, &before)));
    }
    let since = (mode == Mode::Incremental && previous.is_some()).then_some(before);
    Ok(Planned::Task(Task { view: view.clone(), store, previous, cut, since, failed: Arc::default() }))
}

/// Why there is nothing to compute above a cut.
fn why_nothing(facts: &MasterFacts, cut: &Cut) -> Outcome {
    if facts.rows == 0 {
        return Outcome::NoData;
    }
    let above = facts.partitions.iter().map(|(partition, known)| {
        let offsets = known.archived.end.offset.0 - cut.offset(*partition).0;
        u64::try_from(offsets).unwrap_or(0)
    });
    match above.sum::<u64>() {
        0 => Outcome::NothingNew,
        records => Outcome::AwaitsSilence { records },
    }
}

/// The cut of the next version: what `choose_cut` says, partition by partition.
fn next_cut(facts: &MasterFacts, before: &Cut, view: &ViewDefinition, now: TimestampMicros) -> Cut {
    let mut cut = before.clone();
    for (partition, known) in &facts.partitions {
        let previous = before.0.get(partition).copied();
        let chosen = match partition.is_imported() {
            // Whole files are there at once, and no run meets them: nothing to wait for.
            true => known.archived.end,
            false => choose_cut(&known.archived, previous, &view.source.border, now),
        };
        cut.0.insert(*partition, chosen);
    }
    cut
}

/// Groups of tasks that read the same rows.
pub(crate) fn group_by_cut(tasks: Vec<Task>) -> Vec<Vec<Task>> {
    let mut groups: Vec<Vec<Task>> = Vec::new();
    for task in tasks {
        match groups.iter_mut().find(|group| group[0].cut == task.cut && group[0].since == task.since) {
            Some(group) => group.push(task),
            None => groups.push(vec![task]),
        }
    }
    groups
}
