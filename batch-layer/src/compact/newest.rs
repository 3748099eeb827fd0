//! Which process may read archived rows again for good, where several define their source otherwise.
//!
//! In: the registry of definitions. Out: whether it names this process's reading of a source as the newest.
//! Guarantee: of processes that define a source otherwise, only those rewrite it whose definition was claimed last, so
//! rows are read again at most once for each claim, and once more by whoever had looked just before it.
//! Why the hash of a view tells: the columns, the options and the rules by which a source's records are read are all
//! part of it. A source without views is left as it is: nothing computes anything from it.
//! Why not the process that came last: an old one that restarts in the middle of an upgrade would be that.

use serving_layer::registry::DefinitionRegistry;
use views::SourceDefinition;

use crate::{BatchContext, BatchError};

/// Whether the newest set of definitions reads the records of `source` as this process does. Where none was ever
/// claimed, nobody else is known, and it is so. Costs a listing and one small object.
pub(super) async fn is_newest_reading(context: &BatchContext, source: &SourceDefinition) -> Result<bool, BatchError> {
    let Some(newest) = DefinitionRegistry::new(&context.lake).present().await? else { return Ok(true) };
    let hashes = newest.newest_hashes();
    let mut views = context.pipeline.views.iter().filter(|view| view.source.name == source.name);
    Ok(views.any(|view| hashes.get(view.name.as_str()) == Some(&view.hash)))
}
