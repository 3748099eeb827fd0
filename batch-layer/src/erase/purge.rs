//! What former versions held: their logs, whose statistics quote values, their files, and the tables of former
//! definitions; and the groups that reports of exactness name.
//!
//! Guarantee: of a table that is without what was erased the newest version stays and nothing before it; a table of a
//! former definition of a view that is not is deleted as a whole. Readers of former versions meet missing files, and
//! begin again. Done twice, the second time finds nothing to do.
//! Why at once, and not by age as the cleanup does: an operator asked for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use lake::{Lake, LakeError, Vacuumed};
use positions::{Erased, ViewName};
use records::RecordsError;
use records::master::MasterSnapshot;
use serving_layer::exactness::{EXACTNESS_FOLDER, ExactnessStore};
use serving_layer::{BatchFacts, BatchViewStore, ServingError};
use views::PlannedView;

use super::EraseComponents;
use super::raw::delete_strays;
use crate::BatchError;

/// What went with former versions, and what did not.
#[derive(Default)]
pub(super) struct Purged {
    /// How many objects were deleted.
    pub(super) objects: u64,
    /// The tables that were left.
    pub(super) tables_left: Vec<String>,
    /// Files of imports at work, or cut short, that were left.
    pub(super) imports_left: usize,
}

/// Deletes what is older than the newest versions.
///
/// # Errors
/// Those of the store; call again.
pub(super) async fn purge(
    components: &EraseComponents,
    on: &MasterSnapshot,
    erased: &Arc<Erased>,
) -> Result<Purged, BatchError> {
    let gone = on.snapshot.table().purge(&on.snapshot).await.map_err(RecordsError::from)?;
    let strays = delete_strays(on, erased).await?;
    let mut purged =
        Purged { objects: objects(gone) + strays.deleted, imports_left: strays.of_imports, ..Purged::default() };
    let lake = &components.context.lake;
    let mut present = BTreeSet::new();
    for view in views_of_source(components) {
        present.insert(folder_name(lake, &format!("{}-{}", view.name, view.hash)));
        if let Some(newest) = BatchViewStore::new(lake, view.clone()).newest().await? {
            purged.objects +=
                objects(newest.snapshot.table().purge(&newest.snapshot).await.map_err(ServingError::from)?);
        }
    }
    let folders = lake.folders("views").await.map_err(ServingError::from)?;
    for folder in folders.into_iter().filter(|folder| !present.contains(folder)) {
        let Some((view, _)) = folder.rsplit_once('-') else { continue };
        match of_view(components, view) {
            Whose::AnotherSource => {}
            // One with letters that paths write otherwise cannot be opened by its folder.
            Whose::Source if !folder.contains('%') => {
                purged.objects += purge_former(lake, &folder, erased.number).await?
            }
            Whose::Source | Whose::Nobody => purged.tables_left.push(format!("views/{folder}")),
        }
    }
    purged.objects += forget_groups(components, &present, erased.number).await?;
    Ok(purged)
}

/// Takes the names of groups out of the reports of exactness. Of the present views also where there is no table yet,
/// since a gateway may be about to write one; of former ones, and of views that nobody defines any more, where one is.
async fn forget_groups(
    components: &EraseComponents,
    present: &BTreeSet<String>,
    number: u64,
) -> Result<u64, BatchError> {
    let (lake, ids) = (&components.context.lake, components.context.ids.as_ref());
    let mut deleted = 0;
    for view in views_of_source(components) {
        deleted += objects(ExactnessStore::new(lake, view).forget_groups(number, ids).await?);
    }
    let folders = lake.folders(EXACTNESS_FOLDER).await.map_err(ServingError::from)?;
    for folder in folders.into_iter().filter(|folder| !present.contains(folder)) {
        let Some((view, _)) = folder.rsplit_once('-') else { continue };
        match of_view(components, view) {
            Whose::AnotherSource => {}
            Whose::Source if !folder.contains('%') => {
                deleted += objects(ExactnessStore::in_folder(lake, &folder).forget_groups(number, ids).await?);
            }
            // Nobody writes it any more, or it cannot be opened by its folder: reports are not worth keeping.
            Whose::Source | Whose::Nobody => deleted += delete_folder(lake, EXACTNESS_FOLDER, &folder).await?,
        }
    }
    Ok(deleted)
}

fn objects(gone: Vacuumed) -> u64 {
    gone.objects + gone.log_objects
}

fn views_of_source(components: &EraseComponents) -> impl Iterator<Item = &PlannedView> {
    let recomputed = components.context.pipeline.views.iter().filter(|view| view.source.is_recomputed());
    recomputed.filter(move |view| view.source.name == components.source.name)
}

/// What the store calls a folder of this name.
pub(crate) fn folder_name(lake: &Lake, name: &str) -> String {
    lake.path(name).filename().unwrap_or_default().to_owned()
}

/// Whose view bears a name.
enum Whose {
    Source,
    AnotherSource,
    Nobody,
}

fn of_view(components: &EraseComponents, folder: &str) -> Whose {
    let lake = &components.context.lake;
    let mut views = components.context.pipeline.views.iter();
    match views.find(|view| folder_name(lake, view.name.as_str()) == folder) {
        Some(view) if view.source.name == components.source.name => Whose::Source,
        Some(_) => Whose::AnotherSource,
        None => Whose::Nobody,
    }
}

/// Purges the table of a former definition, or deletes it where it holds what was erased.
async fn purge_former(lake: &Lake, folder: &str, number: u64) -> Result<u64, BatchError> {
    let table = lake.table(&format!("views/{folder}"));
    let newest = match table.open().await {
        Ok(newest) => newest,
        // A deletion that was cut short.
        Err(LakeError::Corrupt { .. }) => None,
        Err(error) => return Err(ServingError::from(error).into()),
    };
    let facts = newest.as_ref().map(|newest| newest.facts::<BatchFacts>()).transpose().map_err(ServingError::from)?;
    match (newest, facts.flatten()) {
        (Some(newest), Some(facts)) if facts.erased >= number => {
            Ok(objects(table.purge(&newest).await.map_err(ServingError::from)?))
        }
        // Nothing was ever published, and nothing lies there.
        (Some(_), None) if !holds_files(lake, folder).await? => Ok(0),
        _ => delete_folder(lake, "views", folder).await,
    }
}

async fn delete_folder(lake: &Lake, parent: &str, folder: &str) -> Result<u64, BatchError> {
    let path = lake.path(&format!("{parent}/{folder}"));
    let found = lake.objects(&path).await.map_err(ServingError::from)?;
    let paths: Vec<_> = found.into_iter().map(|object| object.location).collect();
    let deleted = paths.len() as u64;
    lake.delete_all(&path, paths).await.map_err(ServingError::from)?;
    Ok(deleted)
}

/// Whether files of rows lie in the folder of a view of which nothing was published: those of a run that is not done,
/// or was cut short.
async fn holds_files(lake: &Lake, folder: &str) -> Result<bool, BatchError> {
    let folder = lake.path(&format!("views/{folder}"));
    let found = lake.objects(&folder).await.map_err(ServingError::from)?;
    Ok(found.iter().any(|object| object.location.prefix_match(&folder).is_some_and(|parts| parts.count() == 1)))
}

/// The views whose newest version is not without what was erased. One without a version is among them where files were
/// computed for its first: they go with what is before that.
///
/// # Errors
/// Those of the store.
pub(super) async fn views_behind(components: &EraseComponents, number: u64) -> Result<Vec<ViewName>, BatchError> {
    let mut behind = Vec::new();
    for view in views_of_source(components) {
        let lake = &components.context.lake;
        let is_behind = match BatchViewStore::new(lake, view.clone()).newest().await? {
            Some(newest) => newest.facts.erased < number,
            None => holds_files(lake, &format!("{}-{}", view.name, view.hash)).await?,
        };
        if is_behind {
            behind.push(view.name.clone());
        }
    }
    Ok(behind)
}
