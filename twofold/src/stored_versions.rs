//! Batch versions of definitions of a view, read from the lake and compared.
//!
//! In: views as a set of the registry defines them, and versions. Out: a [`Compared`].
//! Guarantee: nothing is written, and no system has to run. Each version takes at most so many bytes in memory.
//! Not here: versions of one definition, which a running system is asked for (`version_diff.rs`).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use anyhow::{Context, Result, bail};
use arrow::array::RecordBatch;
use lake::Lake;
use positions::DefinitionNumber;
use serving_layer::registry::{Defined, DefinitionRegistry, DefinitionSet};
use serving_layer::{BatchVersion, BatchViewStore, Version};
use views::{Comparable, Pipeline, PlannedView};

use crate::compared::Compared;

/// A batch version of one definition of a view.
#[derive(Clone, Debug)]
pub struct StoredVersion {
    /// The view by that definition.
    pub view: PlannedView,
    /// The version.
    pub version: BatchVersion,
}

impl StoredVersion {
    /// The newest version of a view; `None`: none was published.
    ///
    /// # Errors
    /// If its table cannot be read.
    pub async fn newest(lake: &Lake, view: &PlannedView) -> Result<Option<Self>> {
        let newest = BatchViewStore::new(lake, view.clone()).newest().await;
        let newest = newest.with_context(|| format!("cannot read the batch view of {}", view.name))?;
        Ok(newest.map(|version| Self { view: view.clone(), version }))
    }

    /// The version of this number, of the view as the set of that number defined it.
    ///
    /// # Errors
    /// If the registry keeps no such set, it has no such view, or there is no such version.
    pub async fn find(lake: &Lake, name: &str, set: DefinitionNumber, number: Version) -> Result<Self> {
        let view = view_of_set(&DefinitionRegistry::new(lake), name, set).await?;
        let store = BatchViewStore::new(lake, view.clone());
        let unread = || format!("cannot read the batch view of {name}");
        let Some(version) = store.version(number).await.with_context(unread)? else {
            let newest = store.newest().await.with_context(unread)?;
            let newest = newest.map_or_else(|| "none".to_owned(), |newest| newest.number().to_string());
            let set = set.0;
            bail!("{name} as definitions {set} have it has no version {number}; the newest one is {newest}");
        };
        Ok(Self { view, version })
    }

    /// How many records it counts.
    pub fn records(&self) -> u64 {
        self.version.facts.counters.values().map(|counters| counters.rows).sum()
    }

    /// Its groups, rolled up to these dimensions.
    async fn groups(&self, lake: &Lake, by: &[&str], limit_bytes: usize) -> Result<RecordBatch> {
        let states = BatchViewStore::new(lake, self.view.clone()).load(&self.version, limit_bytes).await?;
        let finish = self.view.plans.compile_finish(by).await?;
        Ok(finish.execute_whole(states).await?)
    }
}

/// Compares two versions, the former one first; each may take `limit_bytes` in memory, and of each measure the `worst`
/// groups are named.
///
/// # Errors
/// If one cannot be read, or needs more memory.
pub async fn compare_stored(
    lake: &Lake,
    [former, newer]: [&StoredVersion; 2],
    limit_bytes: usize,
    worst: usize,
) -> Result<Compared> {
    let comparable = Comparable::between(&former.view, &newer.view);
    let by = comparable.dimensions();
    let before = former.groups(lake, &by, limit_bytes).await?;
    let after = newer.groups(lake, &by, limit_bytes).await?;
    let found = comparable.compare(&before, &after, worst)?;
    Ok(Compared::new(&comparable, found))
}

/// The definitions that a set of the registry names; each file is read and planned once.
#[derive(Debug)]
pub struct DefinedViews<'a> {
    registry: &'a DefinitionRegistry,
    set: &'a DefinitionSet,
    /// `None`: it cannot be read.
    read: BTreeMap<DefinitionNumber, Option<Pipeline>>,
}

impl<'a> DefinedViews<'a> {
    /// Those of this set.
    pub fn new(registry: &'a DefinitionRegistry, set: &'a DefinitionSet) -> Self {
        Self { registry, set, read: BTreeMap::new() }
    }

    /// A view by a definition that the set names; `None`: its text cannot be read.
    pub async fn view(&mut self, name: &str, defined: Defined) -> Option<&PlannedView> {
        let pipeline = match self.read.entry(defined.file) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(self.registry.pipeline(self.set, defined.file).await.ok().flatten()),
        };
        pipeline.as_ref()?.view(name).filter(|view| view.hash == defined.hash)
    }
}

async fn view_of_set(registry: &DefinitionRegistry, name: &str, number: DefinitionNumber) -> Result<PlannedView> {
    let sets = registry.kept().await.context("cannot read the definitions")?;
    let Some(set) = sets.iter().find(|set| set.file(number).is_some()) else {
        let mut known: Vec<String> = sets.iter().map(|set| set.number.0.to_string()).collect();
        known.dedup();
        let number = number.0;
        bail!("the registry keeps no definitions {number}, it keeps {}", known.join(", "));
    };
    let read = registry.pipeline(set, number).await.context("cannot read the definitions")?;
    let view = read.and_then(|pipeline| pipeline.view(name).cloned());
    view.with_context(|| format!("definitions {} have no view {name}", number.0))
}
