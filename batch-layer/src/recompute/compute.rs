//! The second step: one group of buckets, from rows of the master dataset to files of states.
//!
//! In: a plan, and the number of a group. Out: a [`GroupOutput`] that names files which nobody sees yet.
//! Guarantee: rows go from the scan to the files in one stream, within the session's memory. All copies of an event lie
//! in one group, so each searches its own, once for all views. A group that is computed twice, under two names, gives
//! the same rows. An error of one view, or a panic, does not stop the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::execution::SessionState;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::execute_stream;
use positions::{Cut, ViewName};
use serving_layer::{PublicationPart, WrittenPart};
use views::{FailedRows, caught, column, count_failures};

use super::distinct::{Copies, find_copies, keep_first};
use super::groups::BucketGroup;
use super::master_rows::ranges_between;
use super::open_plan::{OpenPlan, OpenView};
use super::plan::GroupOutput;
use super::progress::GroupProgress;
use crate::master_columns::field;
use crate::{BatchError, RecomputeSettings, engine};

/// What a group gave, and what it did not.
#[derive(Debug, Default)]
pub struct Computed {
    /// For publishing.
    pub output: GroupOutput,
    /// The views of which no states could be computed: without them, their plan cannot publish them.
    pub errors: BTreeMap<ViewName, BatchError>,
}

impl OpenPlan {
    /// Computes one group, and writes its files under names that begin with `name`: letters a-z, digits, `-` and `_`,
    /// and nothing else was ever written under it. `progress` tells others how far it is.
    ///
    /// # Errors
    /// Of what all views share, the removal of copies. [`BatchError::NoSuchGroup`]: the plan has fewer groups.
    pub async fn compute_group(
        &self,
        number: usize,
        name: &str,
        settings: &RecomputeSettings,
        progress: &GroupProgress,
    ) -> Result<Computed, BatchError> {
        let mut group = self.begin_group(number, settings, progress).await?;
        for view in self.views() {
            group.compute(view, name).await;
        }
        Ok(group.computed)
    }

    /// About how many rows computing a group reads, as its progress counts them.
    pub fn rows_to_read(&self, number: usize) -> u64 {
        let rows = self.plan().groups.get(number).map_or(0, |group| group.rows);
        rows.saturating_mul(self.views().len() as u64 + 1)
    }

    /// Finds the copies of a group, for the views that are computed of it one after the other.
    pub(crate) async fn begin_group<'a>(
        &'a self,
        number: usize,
        settings: &RecomputeSettings,
        progress: &'a GroupProgress,
    ) -> Result<OpenGroup<'a>, BatchError> {
        let groups = &self.plan().groups;
        let no_such_group = || BatchError::NoSuchGroup { group: number, groups: groups.len() };
        let group = groups.get(number).ok_or_else(no_such_group)?;
        let session = engine::session(settings)?;
        // Also where the source names no event id: a record may bring one in its header, and realtime counts it once.
        let all = ranges_between(&Cut::default(), &self.plan().cut);
        let events = self.rows().events(&all, self.buckets(self.grains(), group).as_ref())?;
        let copies = find_copies(&session, events, self.plan().since.as_ref(), progress).await?;
        progress.end();
        let (left_out, left_out_before) = (copies.left_out.clone(), copies.left_out_before.clone());
        let output = GroupOutput { group: number, left_out, left_out_before, ..GroupOutput::default() };
        let computed = Computed { output, errors: BTreeMap::new() };
        Ok(OpenGroup { plan: self, group, session, copies: Arc::new(copies), progress, computed })
    }
}

/// A group of which some views are computed.
pub(crate) struct OpenGroup<'a> {
    plan: &'a OpenPlan,
    group: &'a BucketGroup,
    session: SessionState,
    copies: Arc<Copies>,
    progress: &'a GroupProgress,
    pub(crate) computed: Computed,
}

impl OpenGroup<'_> {
    /// Computes one view, and notes its files, or why there are none.
    pub(crate) async fn compute(&mut self, view: &OpenView, name: &str) {
        let failed = Arc::new(FailedRows::default());
        let written = caught(self.write_states(view, &failed, name)).await;
        self.progress.end();
        let view = &view.view.name;
        match written.unwrap_or_else(|panic| Err(panic.into())) {
            Ok(part) => drop(self.computed.output.parts.insert(view.clone(), part)),
            Err(error) => drop(self.computed.errors.insert(view.clone(), error)),
        }
        self.computed.output.failed_rows.insert(view.clone(), failed.take());
    }

    async fn write_states(
        &self,
        view: &OpenView,
        failed: &Arc<FailedRows>,
        name: &str,
    ) -> Result<WrittenPart, BatchError> {
        let plan = self.plan_states(view, failed)?;
        let plan = self.session.create_physical_plan(&plan).await?;
        self.progress.begin(view.view.name.as_str(), &plan);
        let states = execute_stream(plan, self.session.task_ctx())?;
        let replaced = self.plan.replaced(view.grains());
        let part = PublicationPart { replaced: replaced.as_ref(), from: self.group.from, to: self.group.to, name };
        Ok(view.store.write_part(view.previous.as_ref(), &part, states).await?)
    }

    /// Rows of the master dataset to states by bucket and dimensions, in that order.
    fn plan_states(&self, open: &OpenView, failed: &Arc<FailedRows>) -> Result<LogicalPlan, BatchError> {
        let (view, grains) = (&open.view, open.grains());
        let rows = self.plan.rows();
        let all = ranges_between(&Cut::default(), &self.plan.plan().cut);
        let mut events = rows.events(&all, self.plan.buckets(grains, self.group).as_ref())?;
        if !self.copies.places.is_empty() {
            events = events.filter(keep_first(&self.copies))?;
        }
        let columns = rows.source.events.fields().iter().map(|column| field(column.name()).alias(column.name()));
        let bucket = rows.bucket(grains).alias(column::BUCKET);
        let events = events.project(columns.chain([bucket]))?.build()?;
        let states = count_failures(view.plans.state_plan(events, &[column::BUCKET])?, failed)?;
        let dimensions = view.dimensions.iter().map(|dimension| dimension.name.as_str());
        let order = [column::BUCKET].into_iter().chain(dimensions).map(|name| field(name).sort(true, true));
        Ok(LogicalPlanBuilder::from(states).sort(order)?.build()?)
    }
}
