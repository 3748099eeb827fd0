//! The files of a master dataset without what was erased.
//!
//! Guarantee: each file is replaced by one commit of its own, which a lost race or a kill leaves out or in. The facts
//! say that the rows are without what the list names only once no file holds any of it: a commit without rows, behind
//! the last file. So nobody takes rows for erased that are not.
//! Not here: what stands in the place of a row (`records::master`), the commit (`records::master`, compaction).

use std::sync::Arc;

use futures::TryStreamExt;
use lake::{DataFile, LakeError};
use positions::Erased;
use records::RecordsError;
use records::decode::column as master_column;
use records::master::{Eraser, MasterDataset, MasterSnapshot};
use serving_layer::always;
use views::column;

use super::EraseComponents;
use crate::BatchError;
use crate::compact::{Merge, replace, rewrite_erased};

/// How often a commit is tried behind those of others.
const ATTEMPTS: usize = 64;

/// What a look at stored rows needs.
const STORED: [&str; 7] = [
    column::PARTITION,
    column::OFFSET,
    column::TIMESTAMP,
    master_column::PAYLOAD,
    master_column::ITEM,
    master_column::CLOCK_SHIFT,
    master_column::HEADER_ID,
];

/// Rewrites every file that holds something of the list; returns the version that is without it, and how many files
/// were rewritten.
///
/// # Errors
/// Those of store and engine; call again.
pub(super) async fn erase_rows(
    components: &EraseComponents,
    master: &MasterDataset,
    erased: &Arc<Erased>,
) -> Result<Option<(MasterSnapshot, usize)>, BatchError> {
    let Some(mut on) = master.open().await? else { return Ok(None) };
    let (mut rewritten, mut left) = (0, ATTEMPTS);
    loop {
        on = with_all_columns(components, master, on).await?;
        let due = due_files(&on, erased).await?;
        if due.is_empty() && on.facts.erased >= erased.number {
            return Ok(Some((on, rewritten)));
        }
        if due.is_empty() {
            let facts = records::master::MasterFacts { erased: erased.number, ..on.facts.clone() };
            match master.append(&on, &[], facts, components.context.ids.next_id()).await {
                Ok(next) => return Ok(Some((next, rewritten))),
                Err(error) => on = behind(master, &on, error.into(), &mut left).await?,
            }
            continue;
        }
        for file in due {
            let Some(next) = erase_file(components, master, &on, erased, file).await? else {
                // Somebody replaced a file, or committed again and again: look again.
                on = behind(master, &on, conflict(&on), &mut left).await?;
                break;
            };
            on = next;
            rewritten += 1;
        }
    }
}

/// The newest version, after a commit that lost a race; too many of them are an error.
async fn behind(
    master: &MasterDataset,
    on: &MasterSnapshot,
    error: BatchError,
    left: &mut usize,
) -> Result<MasterSnapshot, BatchError> {
    let is_conflict = matches!(error, BatchError::Records(RecordsError::Conflict { .. }));
    if !is_conflict || *left == 0 {
        return Err(error);
    }
    *left -= 1;
    Ok(master.refresh(on).await?)
}

fn conflict(on: &MasterSnapshot) -> BatchError {
    RecordsError::Conflict { table: on.snapshot.table().folder().to_owned() }.into()
}

async fn with_all_columns(
    components: &EraseComponents,
    master: &MasterDataset,
    mut on: MasterSnapshot,
) -> Result<MasterSnapshot, BatchError> {
    let mut left = ATTEMPTS;
    loop {
        match master.with_all_columns(&on, components.context.ids.next_id()).await {
            Ok(next) => return Ok(next),
            Err(error) => on = behind(master, &on, error.into(), &mut left).await?,
        }
    }
}

async fn erase_file(
    components: &EraseComponents,
    master: &MasterDataset,
    on: &MasterSnapshot,
    erased: &Arc<Erased>,
    file: DataFile,
) -> Result<Option<MasterSnapshot>, BatchError> {
    let eraser = Eraser::new(on.clone(), Arc::clone(erased));
    let merge = Merge { files: vec![file], is_read_again: true };
    let ids = components.context.ids.as_ref();
    let rewriting = rewrite_erased(&components.source, on, merge, &eraser, (&components.settings, ids));
    match rewriting.await? {
        Some(compaction) => replace(master, on, &compaction, ids, &always).await,
        None => Ok(None),
    }
}

/// The live files that hold something of the list.
async fn due_files(on: &MasterSnapshot, erased: &Arc<Erased>) -> Result<Vec<DataFile>, BatchError> {
    let eraser = Eraser::new(on.clone(), Arc::clone(erased));
    let mut due = Vec::new();
    for file in on.snapshot.files().iter().filter(|file| eraser.may_touch(file)) {
        if holds_erased(on, &eraser, file).await? {
            due.push(file.clone());
        }
    }
    Ok(due)
}

async fn holds_erased(on: &MasterSnapshot, eraser: &Eraser, file: &DataFile) -> Result<bool, BatchError> {
    let mut rows = on.snapshot.stream(std::slice::from_ref(file), Some(&STORED)).map_err(RecordsError::from)?;
    let failed = |error| RecordsError::from(LakeError::engine(on.snapshot.table().folder(), error));
    while let Some(batch) = rows.try_next().await.map_err(failed)? {
        if eraser.touches(&batch)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Deletes files that nobody names and that hold something of the list: what was left of compactions. None of them can
/// be committed any more, since a file that it was to replace was replaced here. Of imports that were cut short, those
/// are deleted in whose place others were committed: the same events stand elsewhere by now, or nowhere, so that the
/// list does not tell which they are. Those whose place is still free may be of an import at work.
///
/// # Errors
/// Those of the store; call again.
pub(super) async fn delete_strays(on: &MasterSnapshot, erased: &Arc<Erased>) -> Result<Strays, BatchError> {
    let (eraser, table) = (Eraser::new(on.clone(), Arc::clone(erased)), on.snapshot.table());
    let mut strays = Strays::default();
    for path in table.stray_files().await.map_err(RecordsError::from)? {
        let of_import = on.is_import_over(&path);
        let is_gone = match of_import {
            Some(is_over) => is_over,
            None => {
                let rows = table.read_stray(&path).await.map_err(RecordsError::from)?;
                // What lacks our columns is none of ours.
                rows.iter().any(|batch| eraser.touches(batch).unwrap_or(false))
            }
        };
        if is_gone {
            table.delete_stray(&path).await.map_err(RecordsError::from)?;
            strays.deleted += 1;
        } else if of_import.is_some() {
            strays.of_imports += 1;
        }
    }
    Ok(strays)
}

/// What became of files that nobody names.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Strays {
    pub(super) deleted: u64,
    /// Files of imports that are at work or were cut short, which were left.
    pub(super) of_imports: usize,
}
