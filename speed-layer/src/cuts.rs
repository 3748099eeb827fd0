//! Published cuts: what batch versions cover, as the speed layer knows it.
//!
//! In: the newest versions of every view. Out: where a partition may start, where runs must end, what need not be kept.
//! Guarantee: the decisions are pure functions of the cuts seen so far, the index, and the given instant.
//! Not here: starting (`start.rs`), dropping (`expire.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::try_join_all;
use positions::{
    Cut, DefinitionHash, Incarnation, Index, Offset, PartitionId, Position, TimestampMicros, micros, tile, tile_held,
};
use serving_layer::{BatchVersion, ServingError, Version};

use crate::{Keeping, SpeedView};

/// The published cuts of all views of a source.
#[derive(Clone, Debug, Default)]
pub(crate) struct PublishedCuts {
    views: Vec<ViewCuts>,
}

/// The published cuts of one view.
#[derive(Clone, Debug)]
struct ViewCuts {
    view: DefinitionHash,
    keeping: Keeping,
    /// Newest first.
    versions: Vec<BatchVersion>,
    /// Since when each version has been known.
    seen_at: BTreeMap<Version, TimestampMicros>,
}

impl PublishedCuts {
    /// Nothing is known yet.
    pub fn new(views: &[SpeedView]) -> Self {
        let unknown = |view: &SpeedView| ViewCuts {
            view: view.definition.hash,
            keeping: view.keeping,
            versions: Vec::new(),
            seen_at: BTreeMap::new(),
        };
        Self { views: views.iter().map(unknown).collect() }
    }

    /// Looks up the newest `retained` versions of each view, without borrowing the cuts: [`Self::note`] takes them in.
    /// The view of a generation, which is alone, has none, and the store is not asked.
    pub fn look_up(
        &self,
        views: &[SpeedView],
        retained: usize,
    ) -> impl Future<Output = Result<Vec<Vec<BatchVersion>>, ServingError>> + Send + 'static {
        let lookups = self.views.iter().filter_map(|known| {
            let view = views.iter().find(|view| view.definition.hash == known.view)?;
            let published = view.definition.generation().is_none().then(|| view.published.clone())?;
            let known = known.versions.clone();
            Some(async move { published.newest_versions(retained, &known).await })
        });
        try_join_all(lookups.collect::<Vec<_>>())
    }

    /// Takes in what a look found.
    pub fn note(&mut self, found: Vec<Vec<BatchVersion>>, now: TimestampMicros) {
        self.views.iter_mut().zip(found).for_each(|(known, versions)| known.note(versions, now));
    }

    /// Forgets the views that are not among these: former definitions that nobody needs any more. Not while a look is
    /// under way: [`Self::note`] takes what it finds for that of the views in their order.
    pub fn keep(&mut self, needed: &BTreeSet<DefinitionHash>) {
        self.views.retain(|known| needed.contains(&known.view));
    }

    /// Offsets that no run and no merge of the partition may cross, beside grid and gaps.
    pub fn borders(&self, partition: PartitionId) -> BTreeSet<Offset> {
        self.cuts().map(|cut| cut.offset(partition)).collect()
    }

    /// The life of the topic that the newest published cuts belong to.
    pub fn incarnation(&self) -> Incarnation {
        self.cuts().map(Cut::incarnation).max().unwrap_or_default()
    }

    /// Whether the newest version of every view that has one belongs to this life of the topic; in a later life than
    /// the first there must be one. Former definitions are not asked: they may never see it.
    pub fn are_of(&self, incarnation: Incarnation) -> bool {
        let present = self.views.iter().filter(|view| view.keeping == Keeping::Present);
        let mut newest = present.filter_map(|view| view.versions.first()).peekable();
        let is_begun = newest.peek().is_some() || incarnation == Incarnation(0);
        is_begun && newest.all(|version| version.facts.cut.incarnation() == incarnation)
    }

    /// One position per view that a reader may be served from in the partition, as `positions::choose_start` takes
    /// them.
    ///
    /// A view without a version counts as served from the start where its runs reach back to it, or where no view has a
    /// version: the first build of the source. Otherwise it was added later and is served from its first version on.
    /// One that stands has no say: no run from here on holds it.
    pub fn serving(&self, partition: PartitionId, index: Option<&Index>) -> Vec<Position> {
        let incarnation = self.incarnation();
        let origin_of = |index: &Index| Position::start(index.head.incarnation);
        let is_first_build = self.views.iter().all(|view| view.versions.is_empty());
        let origin = Position::start(incarnation);
        let serving = |view: &ViewCuts| match view.versions.first() {
            Some(newest) => Some(newest.facts.cut.position(partition, incarnation)),
            None if is_first_build => Some(origin),
            None => index.and_then(|index| tile(Some(index), view.view, origin_of(index)).ok()).map(|_| origin),
        };
        self.views.iter().filter(|view| view.keeping != Keeping::Standing).filter_map(serving).collect()
    }

    /// Below which offset no reader needs runs of the partition: the least, over the views, of the newest cut that
    /// tiles with the index and has been known for `courtesy`.
    pub fn unneeded_below(
        &self,
        partition: PartitionId,
        index: &Index,
        now: TimestampMicros,
        courtesy: Duration,
    ) -> Offset {
        let least = |view: &ViewCuts| view.tiling_cut(partition, index, now, courtesy);
        let published = self.views.iter().filter(|view| !view.versions.is_empty()).map(least);
        // Above all those of views that realtime alone answers for.
        let served = self.serving(partition, Some(index)).into_iter().map(|position| position.offset);
        let standing = self.views.iter().filter(|view| view.stands_from_start(index)).map(|_| Offset(0));
        published.chain(served).chain(standing).min().unwrap_or_default()
    }

    fn cuts(&self) -> impl Iterator<Item = &Cut> {
        self.views.iter().flat_map(|view| &view.versions).map(|version| &version.facts.cut)
    }
}

impl ViewCuts {
    fn note(&mut self, versions: Vec<BatchVersion>, now: TimestampMicros) {
        let numbers = versions.iter().map(BatchVersion::number);
        let seen_at = numbers.map(|number| (number, self.seen_at.get(&number).copied().unwrap_or(now)));
        self.seen_at = seen_at.collect();
        self.versions = versions;
    }

    /// Whether realtime alone answers for a former definition that stands.
    fn stands_from_start(&self, index: &Index) -> bool {
        let origin = Position::start(index.head.incarnation);
        let is_unpublished = self.keeping == Keeping::Standing && self.versions.is_empty();
        is_unpublished && !tile_held(Some(index), self.view, origin).runs.is_empty()
    }

    /// The newest cut that tiles with the index and has been known for `courtesy`; 0 where there is none. Of a former
    /// definition: of the cuts from which runs reach furthest.
    fn tiling_cut(&self, partition: PartitionId, index: &Index, now: TimestampMicros, courtesy: Duration) -> Offset {
        let is_known = |version: &&BatchVersion| {
            let seen_at = self.seen_at.get(&version.number());
            seen_at.is_some_and(|seen_at| now.micros_since(*seen_at) >= micros(courtesy))
        };
        let at = |version: &BatchVersion| version.facts.cut.position(partition, index.head.incarnation);
        let mut cuts = self.versions.iter().filter(is_known).map(at);
        let best = match self.keeping {
            Keeping::Present => cuts.find(|cut| tile(Some(index), self.view, *cut).is_ok()),
            Keeping::Former | Keeping::Standing => {
                cuts.max_by_key(|cut| (tile_held(Some(index), self.view, *cut).head.offset, cut.offset))
            }
        };
        best.map(|cut| cut.offset).unwrap_or_default()
    }
}
