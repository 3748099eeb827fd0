//! The second step: one group of buckets, or a part of one, from rows of the master dataset to files of states.
//!
//! Plans run here, or on the machines of a [`PlanEngine`] where the part is large and there are some.
//! In: a plan, and a part of it. Out: a [`GroupOutput`] that names files which nobody sees yet.
//! Guarantee: rows go from the scan to the files in one stream, within the session's memory. All copies of an event lie
//! in one part, so each searches its own, once for all views. A part that is computed twice, under two names, gives
//! the same rows. An error of one view, or a panic, does not stop the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::{execute_stream, execute_stream_partitioned};
use futures::TryStreamExt;
use positions::{Cut, ViewName};
use serving_layer::{PublicationPart, WrittenPart};
use tracing::warn;
use views::{FailedRows, caught, column, count_failures};

use super::distinct::{Copies, find_copies, keep_first, only_repeated, sightings};
use super::groups::BucketGroup;
use super::master_rows::ranges_between;
use super::open_plan::{OpenPlan, OpenView};
use super::parts::GroupPart;
use super::plan::GroupOutput;
use super::progress::GroupProgress;
use crate::master_columns::field;
use crate::{BatchError, PlanEngine, RecomputeSettings, engine};

/// What a part of a group gave, and what it did not.
#[derive(Debug, Default)]
pub struct Computed {
    /// For publishing.
    pub output: GroupOutput,
    /// The views of which no states could be computed: without them, their plan cannot publish them.
    pub errors: BTreeMap<ViewName, BatchError>,
}

impl OpenPlan {
    /// Computes a part of a group, and writes its files under names that begin with `name`: letters a-z, digits, `-`
    /// and `_`, and nothing else was ever written under it. `progress` tells others how far it is.
    ///
    /// What does not fit into memory and spill folder is computed half by half, down to single buckets: what is given
    /// covers the part exactly once, rising by event time.
    ///
    /// # Errors
    /// Of what all views share, the removal of copies. [`BatchError::NoSuchGroup`]: the plan has no such part.
    pub async fn compute_part(
        &self,
        part: &GroupPart,
        name: &str,
        settings: &RecomputeSettings,
        progress: &GroupProgress,
    ) -> Result<Vec<Computed>, BatchError> {
        let (mut all, mut hopeless) = (Vec::new(), BTreeSet::new());
        let (mut open, mut tries) = (vec![part.clone()], 0_u32);
        while let Some(part) = open.pop() {
            let of_try = if tries == 0 { name.to_owned() } else { format!("{name}-h{tries}") };
            tries += 1;
            let halves = part.halves();
            let computed = self.try_part(part, &of_try, settings, progress).await;
            match halves {
                Some([first, second]) if is_too_much(&computed, &hopeless) => {
                    warn!(group = first.group, "a part of a recompute does not fit; it is computed half by half");
                    open.extend([second, first]);
                }
                _ => {
                    let computed = computed?;
                    let over = computed.errors.iter().filter(|(_, error)| error.is_over_limit());
                    hopeless.extend(over.map(|(view, _)| view.clone()));
                    all.push(computed);
                }
            }
        }
        Ok(all)
    }

    /// About how many rows computing a part reads, as its progress counts them.
    pub fn rows_to_read(&self, part: &GroupPart) -> u64 {
        part.rows.saturating_mul(self.views().len() as u64 + 1)
    }

    async fn try_part(
        &self,
        part: GroupPart,
        name: &str,
        settings: &RecomputeSettings,
        progress: &GroupProgress,
    ) -> Result<Computed, BatchError> {
        let mut part = self.begin_part(part, settings, progress).await?;
        for view in self.views() {
            part.compute(view, name).await;
        }
        Ok(part.computed)
    }

    /// Finds the copies of a part, for the views that are computed of it one after the other.
    pub(crate) async fn begin_part<'a>(
        &'a self,
        part: GroupPart,
        settings: &RecomputeSettings,
        progress: &'a GroupProgress,
    ) -> Result<OpenPart<'a>, BatchError> {
        let groups = &self.plan().groups;
        let within = |group: &&BucketGroup| group.from <= part.from && part.from < part.to && part.to <= group.to;
        let no_such_group = || BatchError::NoSuchGroup { group: part.group, groups: groups.len() };
        let group = groups.get(part.group).filter(within).ok_or_else(no_such_group)?;
        let bounds = (part.from, part.to);
        let bounds = (bounds != (group.from, group.to)).then_some(bounds);
        let engine = self.engine_for(&part);
        let session = engine::session_for(settings, engine.as_deref())?;
        // Also where the source names no event id: a record may bring one in its header, and realtime counts it once.
        let all = ranges_between(&Cut::default(), &self.plan().cut);
        let events = self.rows().events(&all, self.buckets(self.grains(), &part).as_ref())?;
        let mut open = OpenPart {
            plan: self,
            part,
            session,
            engine,
            copies: Arc::default(),
            progress,
            computed: Computed::default(),
        };
        let copies = open.find_copies(sightings(events)?).await;
        progress.end();
        let copies = copies.map_err(|error| engine::told_apart(&open.session, error))?;
        let output = GroupOutput {
            group: open.part.group,
            part: bounds,
            left_out: copies.left_out.clone(),
            left_out_before: copies.left_out_before.clone(),
            ..GroupOutput::default()
        };
        open.computed = Computed { output, errors: BTreeMap::new() };
        open.copies = Arc::new(copies);
        Ok(open)
    }
}

/// Whether less at a time may help: not for a view that does not even fit with a single bucket.
fn is_too_much(computed: &Result<Computed, BatchError>, hopeless: &BTreeSet<ViewName>) -> bool {
    match computed {
        Ok(computed) => computed.errors.iter().any(|(view, error)| error.is_over_limit() && !hopeless.contains(view)),
        Err(error) => error.is_over_limit(),
    }
}

/// Rows without their first `skipped` columns as columns of `schema`, in memory; `None` where whole rows need more than
/// `limit_bytes`.
pub(super) async fn collect_states(
    mut rows: SendableRecordBatchStream,
    (schema, skipped): (&SchemaRef, usize),
    limit_bytes: usize,
) -> Result<Option<Vec<RecordBatch>>, BatchError> {
    let (mut states, mut size_bytes) = (Vec::new(), 0);
    while let Some(batch) = rows.try_next().await? {
        size_bytes += batch.get_array_memory_size();
        if size_bytes > limit_bytes {
            return Ok(None);
        }
        let batch = RecordBatch::try_new(Arc::clone(schema), batch.columns()[skipped..].to_vec());
        states.push(batch.map_err(DataFusionError::from)?);
    }
    Ok(Some(states))
}

/// A part of which some views are computed.
pub(crate) struct OpenPart<'a> {
    plan: &'a OpenPlan,
    part: GroupPart,
    /// What plans are made with, and run with where there is no other engine.
    session: SessionState,
    engine: Option<Arc<dyn PlanEngine>>,
    copies: Arc<Copies>,
    progress: &'a GroupProgress,
    pub(crate) computed: Computed,
}

impl OpenPart<'_> {
    /// Computes one view, and notes its files, or why there are none.
    pub(crate) async fn compute(&mut self, view: &OpenView, name: &str) {
        let failed = Arc::new(FailedRows::default());
        let written = caught(self.write_states(view, &failed, name)).await;
        self.progress.end();
        let view = &view.view.name;
        match written.unwrap_or_else(|panic| Err(panic.into())) {
            Ok(part) => drop(self.computed.output.parts.insert(view.clone(), part)),
            Err(error) => {
                self.computed.errors.insert(view.clone(), engine::told_apart(&self.session, error));
            }
        }
        self.computed.output.failed_rows.insert(view.clone(), failed.take());
    }

    /// The copies among all events of the group. Other machines give back only the places of events that occur more
    /// than once.
    async fn find_copies(&self, sightings: LogicalPlanBuilder) -> Result<Copies, BatchError> {
        let streams = match &self.engine {
            Some(_) => vec![self.run("copies", &only_repeated(sightings)?).await?],
            None => {
                let plan = self.session.create_physical_plan(&sightings.build()?).await?;
                self.progress.begin("copies", &plan);
                execute_stream_partitioned(plan, self.session.task_ctx())?
            }
        };
        find_copies(&self.session, streams, self.plan.plan().since.as_ref()).await
    }

    /// Runs a plan to one stream, on other machines where there are some.
    async fn run(&self, step: &str, plan: &LogicalPlan) -> Result<SendableRecordBatchStream, BatchError> {
        let plan = self.session.create_physical_plan(plan).await?;
        let Some(engine) = &self.engine else {
            self.progress.begin(step, &plan);
            return Ok(execute_stream(plan, self.session.task_ctx())?);
        };
        self.progress.begin(&format!("{step} on other machines"), &plan);
        let signs = self.progress.signs().clone();
        Ok(engine.execute(step, plan, self.session.config(), signs).await?)
    }

    async fn write_states(
        &self,
        view: &OpenView,
        failed: &Arc<FailedRows>,
        name: &str,
    ) -> Result<WrittenPart, BatchError> {
        let plan = self.plan_states(view, failed)?;
        let states = self.run(view.view.name.as_str(), &plan).await?;
        let replaced = self.plan.replaced(view.grains());
        let part = PublicationPart { replaced: replaced.as_ref(), from: self.part.from, to: self.part.to, name };
        Ok(view.store.write_part(view.previous.as_ref(), &part, states).await?)
    }

    /// The states of one view as columns of `ViewDefinition::states`, in memory; `None` where they need more than
    /// `limit_bytes`.
    pub(crate) async fn states(
        &self,
        view: &OpenView,
        limit_bytes: usize,
    ) -> Result<Option<Vec<RecordBatch>>, BatchError> {
        let plan = self.plan_states(view, &Arc::new(FailedRows::default()))?;
        let plan = self.session.create_physical_plan(&plan).await?;
        let rows = execute_stream(plan, self.session.task_ctx())?;
        // All but the bucket.
        collect_states(rows, (&view.view.states, 1), limit_bytes).await
    }

    /// Rows of the master dataset to states by bucket and dimensions, in that order.
    fn plan_states(&self, open: &OpenView, failed: &Arc<FailedRows>) -> Result<LogicalPlan, BatchError> {
        let (view, grains) = (&open.view, open.grains());
        let rows = self.plan.rows();
        let all = ranges_between(&Cut::default(), &self.plan.plan().cut);
        let mut events = rows.events(&all, self.plan.buckets(grains, &self.part).as_ref())?;
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
