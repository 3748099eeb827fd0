//! A plan with what it names: the master dataset, the definitions, the versions before.
//!
//! Guarantee: the definitions are those that the plan was made of, and the versions before those that it was made on.

use std::sync::Arc;

use positions::{Clock, IdSource, TimestampMicros};
use records::RecordsError;
use records::master::{MasterDataset, MasterSnapshot};
use serving_layer::{BatchVersion, BatchViewStore, BucketRanges, ServingError};
use views::{PlannedView, SourceDefinition};

use super::groups::{BucketGroup, Scale};
use super::inputs::holes_below;
use super::master_rows::MasterRows;
use super::parts::GroupPart;
use super::plan::{RecomputePlan, ViewPlan};
use super::task::RecomputeComponents;
use crate::grains::{Buckets, Grains, widened};
use crate::{BatchError, PlanEngine};

/// A plan whose groups can be computed, and which can be published. Cheap to clone; holds no rows.
#[derive(Clone)]
pub struct OpenPlan {
    plan: Arc<RecomputePlan>,
    master: MasterSnapshot,
    source: Arc<SourceDefinition>,
    views: Vec<OpenView>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    /// Who computes large groups; `None`: whoever is asked for them.
    engine: Option<Arc<dyn PlanEngine>>,
}

/// A view of a plan.
#[derive(Clone)]
pub(crate) struct OpenView {
    pub(crate) plan: ViewPlan,
    pub(crate) view: PlannedView,
    pub(crate) store: BatchViewStore,
    pub(crate) previous: Option<BatchVersion>,
}

impl OpenPlan {
    /// Of what was opened already. `views` in the order of the plan; there is one at least.
    pub(crate) fn new(
        components: &RecomputeComponents,
        plan: RecomputePlan,
        master: MasterSnapshot,
        views: Vec<OpenView>,
    ) -> Self {
        let source = Arc::clone(&views[0].view.source);
        let (clock, ids) = (Arc::clone(&components.clock), Arc::clone(&components.ids));
        Self { plan: Arc::new(plan), master, source, views, clock, ids, engine: None }
    }

    /// Opens what a plan names, in any process that has the same definitions.
    ///
    /// # Errors
    /// [`BatchError::DefinitionChanged`], [`BatchError::EmptyPlan`]: make a new plan. [`BatchError::Serving`] with
    /// `Conflict`: a version that the plan was made on is not there any more, so nothing can be published on it.
    /// Others: an object store failed.
    pub async fn open(components: &RecomputeComponents, plan: RecomputePlan) -> Result<Self, BatchError> {
        let mut views = Vec::with_capacity(plan.views.len());
        for planned in &plan.views {
            let is_it = |view: &&PlannedView| view.name == planned.name && view.hash == planned.hash;
            let Some(view) = components.views.iter().find(is_it) else {
                return Err(BatchError::DefinitionChanged { view: planned.name.clone(), hash: planned.hash });
            };
            views.push(OpenView::open(components, planned, view).await?);
        }
        if views.is_empty() {
            return Err(BatchError::EmptyPlan);
        }
        let master = open_master(&components.master, &plan).await?;
        Ok(Self::new(components, plan, master, views))
    }

    /// The same, with large groups computed by `engine`.
    pub fn with_engine(mut self, engine: Arc<dyn PlanEngine>) -> Self {
        self.engine = Some(engine);
        self
    }

    /// Who else computes a part; `None`: whoever is asked for it. Rows that are decoded again stay here, since only a
    /// worker has the definitions for it; a compaction ends that.
    pub(crate) fn engine_for(&self, part: &GroupPart) -> Option<Arc<dyn PlanEngine>> {
        let engine = self.engine.as_ref().filter(|engine| engine.takes(part.bytes))?;
        (!self.master.has_rows_read_again()).then(|| Arc::clone(engine))
    }

    /// The plan.
    pub fn plan(&self) -> &RecomputePlan {
        &self.plan
    }

    /// All of each group, in their order, as what computes it is asked.
    pub fn parts(&self) -> Vec<GroupPart> {
        let (grains, scale) = (self.grains(), self.scale());
        let groups = self.plan.groups.iter().enumerate();
        groups.map(|(number, group)| GroupPart::all_of(number, group, grains, &scale)).collect()
    }

    /// All of one group.
    ///
    /// # Errors
    /// [`BatchError::NoSuchGroup`]: the plan has fewer groups.
    pub fn part(&self, number: usize) -> Result<GroupPart, BatchError> {
        let groups = &self.plan.groups;
        let group = groups.get(number).ok_or(BatchError::NoSuchGroup { group: number, groups: groups.len() })?;
        Ok(GroupPart::all_of(number, group, self.grains(), &self.scale()))
    }

    /// What is to be read lies where, by the files that are there now.
    fn scale(&self) -> Scale {
        let grains = self.grains();
        let touched = self.plan.touched.as_ref().map(|hours| widened(hours, grains));
        Scale::new(&self.rows().weights(), grains, touched.as_ref())
    }

    /// How often computing all groups opens a file of the master dataset, about, to read it once.
    pub fn files_to_open(&self) -> u64 {
        let (groups, touched, rows) = (&self.plan.groups, self.replaced(self.grains()), self.rows());
        let mut opened = 0;
        for file in self.master.snapshot.files() {
            let Some((first, last)) = rows.told_events(file) else {
                opened += groups.len();
                continue;
            };
            let behind = TimestampMicros(last.0.saturating_add(1));
            let begin = groups.partition_point(|group| group.to <= first);
            let end = groups.partition_point(|group| group.from < behind);
            let is_read = |group: &&BucketGroup| {
                let (from, to) = (group.from.max(first), group.to.min(behind));
                touched.as_ref().is_none_or(|touched| !touched.within(from, to).is_empty())
            };
            opened += groups[begin.min(end)..end].iter().filter(is_read).count();
        }
        opened as u64
    }

    pub(crate) fn views(&self) -> &[OpenView] {
        &self.views
    }

    pub(crate) fn rows(&self) -> MasterRows<'_> {
        MasterRows { master: &self.master, source: &self.source }
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    pub(crate) fn ids(&self) -> &dyn IdSource {
        self.ids.as_ref()
    }

    /// The coarsest grains of the views.
    pub(crate) fn grains(&self) -> Grains {
        Grains::coarsest(self.views.iter().map(OpenView::grains))
    }

    /// The buckets of these grains that are computed in a part; `None`: all that there are.
    pub(crate) fn buckets(&self, grains: Grains, part: &GroupPart) -> Option<Buckets> {
        let touched = self.replaced(grains).unwrap_or_else(BucketRanges::everything);
        let ranges = touched.within(part.from, part.to);
        (ranges != BucketRanges::everything()).then_some(Buckets { grains, ranges })
    }

    /// The buckets of these grains that all groups together compute; `None`: all that there are.
    pub(crate) fn replaced(&self, grains: Grains) -> Option<BucketRanges> {
        let touched = self.plan.touched.as_ref().map(|hours| widened(hours, grains));
        touched.filter(|touched| *touched != BucketRanges::everything())
    }
}

impl OpenView {
    /// The buckets of the version before, which are those of the next one.
    pub(crate) fn grains(&self) -> Grains {
        Grains::on(self.previous.as_ref(), self.view.bucket)
    }

    async fn open(
        components: &RecomputeComponents,
        planned: &ViewPlan,
        view: &PlannedView,
    ) -> Result<Self, BatchError> {
        let store = BatchViewStore::new(&components.lake, view.clone());
        let previous = match planned.previous {
            None => None,
            Some(wanted) => {
                let version = store.version(wanted.number).await?;
                let is_it = |version: &BatchVersion| version.facts.recompute == wanted.recompute;
                let gone = || ServingError::Conflict { view: view.name.to_string() };
                Some(version.filter(is_it).ok_or_else(gone)?)
            }
        };
        Ok(Self { plan: planned.clone(), view: view.clone(), store, previous })
    }
}

/// The version of the plan, or the newest where that is no longer kept: the rows below a cut are the same in every
/// later version, whichever files they are in, as long as none of them is erased or lost.
async fn open_master(master: &MasterDataset, plan: &RecomputePlan) -> Result<MasterSnapshot, BatchError> {
    let error = match master.open_at(plan.master_version).await {
        Ok(snapshot) => return Ok(snapshot),
        Err(error @ RecordsError::VersionGone { .. }) => error,
        Err(error) => return Err(error.into()),
    };
    let newest = master.open().await?;
    let is_same = |newest: &MasterSnapshot| {
        let is_later = newest.snapshot.version() > plan.master_version;
        is_later && newest.facts.erased == plan.erased && holes_below(&newest.facts, &plan.cut) == plan.holes
    };
    newest.filter(is_same).ok_or_else(|| error.into())
}
