//! What there is to do for one view: compares its newest version with what is archived.
//!
//! Guarantee: a task's cut never lies below the cut of the version before.

use lake::Lake;
use positions::{Clock, Cut, TimestampMicros, choose_cut};
use records::RecordsError;
use records::master::{MasterFacts, MasterSnapshot};
use serving_layer::BatchViewStore;
use views::{PlannedView, ViewDefinition};

use super::master_rows::MasterRows;
use super::range::plan_range;
use super::task::{Mode, Outcome, Planned, Scope, Task};
use crate::BatchError;

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
    let mode = match mode {
        Mode::Range { from, to, only_missing } => {
            let rows = MasterRows { master, source: &view.source };
            return plan_range(&rows, (store, previous), view, (from, to, only_missing)).await;
        }
        Mode::Incremental if is_behind => Mode::Full,
        mode => mode,
    };
    let before = facts.map(|facts| facts.cut.clone()).unwrap_or_default();
    let cut = next_cut(&master.facts, &before, view, clock.now());
    let is_new = !before.is_at_or_above(&cut);
    if !is_new && (mode == Mode::Incremental || previous.is_none()) {
        return Ok(Planned::Skipped(why_nothing(&master.facts, &before)));
    }
    let is_all = mode == Mode::Full || previous.is_none();
    let scope = if is_all { Scope::All } else { Scope::Since(before) };
    Ok(Planned::Task(Task { view: view.clone(), store, previous, cut, scope }))
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
