//! Removing the tables of batch views whose definitions no kept set names: replaced and dropped ones that nobody can go
//! back to any more.
//!
//! Guarantee: a table stays while a set names its definition that is kept in the registry, as long as this process runs
//! or keeps the definition, and as long as anything was put into it within the grace. On retry or after a crash the
//! next call goes on. The registry is asked again before each table.
//! Not here: old versions of the tables that stay (`cleanup.rs`), erasing (`erase/purge.rs`).

use std::collections::BTreeSet;
use std::time::Duration;

use positions::DefinitionHash;
use serving_layer::ServingError;
use serving_layer::registry::DefinitionRegistry;
use tracing::info;
use views::PlannedView;

use crate::erase::folder_name;
use crate::{BatchContext, BatchError};

/// Digits of a hash at the end of the name of a table's folder.
const HASH_DIGITS: usize = 32;

/// Deletes the tables of definitions that no kept set names, and tells of each by its name; these names. `former` are
/// definitions that this process computes beside those of its pipeline.
///
/// # Errors
/// Those of the store; call again.
pub async fn remove_unnamed(
    context: &BatchContext,
    former: &[PlannedView],
    grace: Duration,
) -> Result<Vec<String>, BatchError> {
    let lake = &context.lake;
    let before_micros = context.clock.now().minus(grace).0;
    let mut removed = Vec::new();
    let Some(named) = named_folders(context, former).await? else { return Ok(removed) };
    let folders = lake.folders("views").await.map_err(ServingError::from)?;
    for folder in folders.into_iter().filter(|folder| is_of_table(folder) && !named.contains(folder)) {
        let path = lake.path(&format!("views/{folder}"));
        let objects = lake.objects(&path).await.map_err(ServingError::from)?;
        let is_young = objects.iter().any(|object| object.last_modified.timestamp_micros() >= before_micros);
        // Somebody may have gone back to it meanwhile.
        if is_young || named_folders(context, former).await?.is_none_or(|named| named.contains(&folder)) {
            continue;
        }
        let bytes: u64 = objects.iter().map(|object| object.size).sum();
        let paths: Vec<_> = objects.into_iter().map(|object| object.location).collect();
        let count = paths.len();
        lake.delete_all(&path, paths).await.map_err(ServingError::from)?;
        info!(table = folder, objects = count, bytes, "table of a definition removed that no set names any more");
        removed.push(folder);
    }
    Ok(removed)
}

/// Whether the name is that of a view and a hash.
fn is_of_table(folder: &str) -> bool {
    let hash = folder.rsplit_once('-').map(|(_, hash)| hash);
    hash.is_some_and(|hash| hash.len() == HASH_DIGITS && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The folders of definitions that a kept set names, or that are run here; `None`: no set is kept, so nothing is known.
async fn named_folders(context: &BatchContext, former: &[PlannedView]) -> Result<Option<BTreeSet<String>>, BatchError> {
    let named = DefinitionRegistry::new(&context.lake).named_definitions().await?;
    if named.is_empty() {
        return Ok(None);
    }
    let folder = |view: &str, hash: DefinitionHash| folder_name(&context.lake, &format!("{view}-{hash}"));
    let run = context.pipeline.views.iter().chain(former).map(|view| folder(view.name.as_str(), view.hash));
    Ok(Some(named.iter().map(|(view, hash)| folder(view, *hash)).chain(run).collect()))
}
