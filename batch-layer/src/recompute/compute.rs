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
use lake::WrittenFile;
use positions::{Cut, ViewName};
use serving_layer::PublicationPart;
use views::{FailedRows, caught, column, count_failures};

use super::distinct::{Copies, find_copies, keep_first};
use super::groups::BucketGroup;
use super::master_rows::ranges_between;
use super::open_plan::{OpenPlan, OpenView};
use super::plan::GroupOutput;
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
    /// and nothing else was ever written under it.
    ///
    /// # Errors
    /// Of what all views share, the removal of copies. [`BatchError::NoSuchGroup`]: the plan has fewer groups.
    pub async fn compute_group(
        &self,
        number: usize,
        name: &str,
        settings: &RecomputeSettings,
    ) -> Result<Computed, BatchError> {
        let groups = &self.plan().groups;
        let no_such_group = || BatchError::NoSuchGroup { group: number, groups: groups.len() };
        let group = groups.get(number).ok_or_else(no_such_group)?;
        let session = engine::session(settings)?;
        // Also where the source names no event id: a record may bring one in its header, and realtime counts it once.
        let all = ranges_between(&Cut::default(), &self.plan().cut);
        let events = self.rows().events(&all, self.buckets(self.grain(), group).as_ref())?;
        let copies = Arc::new(find_copies(&session, events, self.plan().since.as_ref()).await?);
        let mut computed = Computed::default();
        computed.output.group = number;
        for view in self.views() {
            let failed = Arc::new(FailedRows::default());
            let writing = self.write_states(&session, &copies, (group, name), (view, &failed));
            match caught(writing).await.unwrap_or_else(|panic| Err(panic.into())) {
                Ok(files) => drop(computed.output.files.insert(view.view.name.clone(), files)),
                Err(error) => drop(computed.errors.insert(view.view.name.clone(), error)),
            }
            computed.output.failed_rows.insert(view.view.name.clone(), failed.take());
        }
        computed.output.left_out.clone_from(&copies.left_out);
        computed.output.left_out_before.clone_from(&copies.left_out_before);
        Ok(computed)
    }

    async fn write_states(
        &self,
        session: &SessionState,
        copies: &Arc<Copies>,
        (group, name): (&BucketGroup, &str),
        (view, failed): (&OpenView, &Arc<FailedRows>),
    ) -> Result<Vec<WrittenFile>, BatchError> {
        let plan = self.plan_states(copies, group, (view, failed))?;
        let states = execute_stream(session.create_physical_plan(&plan).await?, session.task_ctx())?;
        let replaced = self.replaced(view.view.bucket);
        let part = PublicationPart { replaced: replaced.as_ref(), from: group.from, to: group.to, name };
        Ok(view.store.write_part(view.previous.as_ref(), &part, states).await?)
    }

    /// Rows of the master dataset to states by bucket and dimensions, in that order.
    fn plan_states(
        &self,
        copies: &Arc<Copies>,
        group: &BucketGroup,
        (OpenView { view, .. }, failed): (&OpenView, &Arc<FailedRows>),
    ) -> Result<LogicalPlan, BatchError> {
        let rows = self.rows();
        let all = ranges_between(&Cut::default(), &self.plan().cut);
        let mut events = rows.events(&all, self.buckets(view.bucket, group).as_ref())?;
        if !copies.places.is_empty() {
            events = events.filter(keep_first(copies))?;
        }
        let columns = rows.source.events.fields().iter().map(|column| field(column.name()).alias(column.name()));
        let bucket = rows.bucket(view.bucket).alias(column::BUCKET);
        let events = events.project(columns.chain([bucket]))?.build()?;
        let states = count_failures(view.plans.state_plan(events, &[column::BUCKET])?, failed)?;
        let dimensions = view.dimensions.iter().map(|dimension| dimension.name.as_str());
        let order = [column::BUCKET].into_iter().chain(dimensions).map(|name| field(name).sort(true, true));
        Ok(LogicalPlanBuilder::from(states).sort(order)?.build()?)
    }
}
