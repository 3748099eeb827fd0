//! A compaction as steps that any process may take: what is due, and one merge of it.
//!
//! In: the newest version of a master dataset. Out: merges by the names of their files; then one commit for each.
//! Guarantee: a merge is committed on a version in which all of its files are live, or not at all; so whoever has it
//! done twice, or beside others, replaces them once. Killed at any step, it leaves files that nobody sees.
//! Not here: the version that a merge begins on, and its commit (`dataset.rs`).

use std::sync::Arc;

use records::decode::reading_of;
use records::master::MasterDataset;
use serde::{Deserialize, Serialize};
use serving_layer::MayCommit;
use views::SourceDefinition;

use super::dataset::{prepare_reading, replace, report};
use super::newest::is_newest_reading;
use super::rewrite::rewrite;
use super::{Merge, choose_merges};
use crate::metrics::{self, COMPACTION_RACES, MASTER_FILES};
use crate::recompute::GroupProgress;
use crate::{BatchContext, BatchError, CompactSettings, RecomputeSettings};

/// Files to be merged, by their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedMerge {
    /// The files, in the order of their offsets.
    pub files: Vec<String>,
    /// Whether their rows are read again, as the source is defined now.
    pub is_read_again: bool,
    /// Rows in all files.
    pub rows: u64,
    /// Bytes of all files.
    pub size_bytes: u64,
}

impl NamedMerge {
    fn of(merge: &Merge) -> Self {
        Self {
            files: merge.files.iter().map(|file| file.path.clone()).collect(),
            is_read_again: merge.is_read_again,
            rows: merge.rows(),
            size_bytes: merge.size_bytes(),
        }
    }
}

/// What a merge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merged {
    /// Files that were replaced.
    pub files_before: u64,
    /// Files in their place.
    pub files: u64,
    /// Their rows.
    pub rows: u64,
    /// Bytes of the files that were replaced.
    pub bytes_before: u64,
    /// Bytes of those in their place.
    pub bytes: u64,
}

/// The merges that are due in the newest version of a master dataset, as many as one pass should carry out; none where
/// there is no table. Writes nothing, and reads no rows.
///
/// # Errors
/// Those of the store: ask again.
pub async fn due_merges(
    context: &BatchContext,
    source: &Arc<SourceDefinition>,
    settings: &CompactSettings,
) -> Result<Vec<NamedMerge>, BatchError> {
    if !settings.is_on {
        return Ok(Vec::new());
    }
    let master = MasterDataset::new(&context.lake, Arc::clone(source));
    let Some(on) = master.open().await? else { return Ok(Vec::new()) };
    metrics::set_source(MASTER_FILES, source.name.as_str(), on.snapshot.files().len() as f64);
    let may_read_again = on.has_rows_read_again() && is_newest_reading(context, source).await?;
    let merges = choose_merges(on.snapshot.files(), may_read_again.then(|| reading_of(source)), settings);
    Ok(merges.iter().map(NamedMerge::of).collect())
}

/// Carries out one merge on the newest version; `None` where one of its files is not live there, or others came first
/// too often: what is due is to be asked anew. `may_commit` is asked directly before the commit, `progress` tells
/// others how far it is, and `name` is in the names of files: no other call ever had it.
///
/// # Errors
/// Those of store and engine, [`BatchError::Serving`] with `Withdrawn` where `may_commit` says no; nothing was
/// replaced.
pub async fn merge_files(
    context: &BatchContext,
    source: &Arc<SourceDefinition>,
    wanted: &NamedMerge,
    (engine, progress, name): (&RecomputeSettings, &GroupProgress, &str),
    may_commit: &MayCommit<'_>,
) -> Result<Option<Merged>, BatchError> {
    let master = MasterDataset::new(&context.lake, Arc::clone(source));
    let Some(on) = master.open().await? else { return Ok(None) };
    let (on, reading) = prepare_reading(context, source, &master, on).await?;
    let files: Option<Vec<_>> = wanted.files.iter().map(|path| on.snapshot.file(path).cloned()).collect();
    // By somebody who claimed the source since, the same rows would be read again by turns.
    let is_ours = !wanted.is_read_again || reading.is_some();
    let Some(files) = files.filter(|files| is_ours && !files.is_empty()) else { return Ok(None) };
    let (began, ids) = (context.clock.now(), context.ids.as_ref());
    let merge = Merge { files, is_read_again: wanted.is_read_again };
    let Some(compaction) = rewrite(source, &on, merge, (engine, name), progress).await? else { return Ok(None) };
    let Some(next) = replace(&master, &on, &compaction, ids, may_commit).await? else {
        metrics::count(COMPACTION_RACES, source.name.as_str(), 1);
        return Ok(None);
    };
    metrics::set_source(MASTER_FILES, source.name.as_str(), next.snapshot.files().len() as f64);
    report(source, &next, &compaction, context.clock.now().micros_since(began) as f64 / 1e6);
    Ok(Some(Merged {
        files_before: compaction.old.len() as u64,
        files: compaction.new.len() as u64,
        rows: compaction.old.iter().map(|file| file.rows).sum(),
        bytes_before: compaction.old.iter().map(|file| file.size_bytes).sum(),
        bytes: compaction.new.iter().map(|file| file.size_bytes).sum(),
    }))
}
