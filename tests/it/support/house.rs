//! What runs do beside rounds, by the same steps of the layer in one process: former definitions that answer are
//! computed, files merged, old buckets folded, tables looked after. What fails is tried again by the next call.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use batch_layer::compact::{due_merges, merge_files};
use batch_layer::fold::{self as folding, FoldOutcome, folded_by};
use batch_layer::hold::HoldWatch;
use batch_layer::recompute::{GroupProgress, Mode, RecomputeComponents, recompute};
use batch_layer::{
    BatchContext, BatchError, BatchSettings, CompactSettings, FormerDefinitions, RecomputeSettings, look_after,
};
use positions::{DefinitionHash, SourceName, ViewName};
use records::master::MasterDataset;
use serving_layer::{Folded, MayCommit, always};
use tokio::time::Instant;
use views::{PlannedView, SourceDefinition};

/// Carries out every merge that is due now; how many were committed before the first one that lost its race.
pub async fn compact(
    context: &BatchContext,
    source: &Arc<SourceDefinition>,
    settings: &CompactSettings,
    engine: &RecomputeSettings,
) -> Result<usize, BatchError> {
    let mut merges = 0;
    for merge in due_merges(context, source, settings).await? {
        let (progress, name) = (GroupProgress::default(), format!("{:032x}", context.ids.next_id()));
        if merge_files(context, source, &merge, (engine, &progress, &name), &always).await?.is_none() {
            break;
        }
        merges += 1;
    }
    Ok(merges)
}

/// Folds a view once.
pub async fn fold(
    context: &BatchContext,
    view: &PlannedView,
    age: Duration,
    settings: &RecomputeSettings,
    may_commit: &MayCommit<'_>,
) -> Result<FoldOutcome, BatchError> {
    let name = format!("{:032x}", context.ids.next_id());
    folding::fold(context, view, (age, settings, &name), may_commit, &GroupProgress::default()).await
}

/// There are no former definitions.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFormer;

impl FormerDefinitions for NoFormer {
    fn views_of(&self, _source: &SourceName) -> Vec<PlannedView> {
        Vec::new()
    }
}

/// See the module.
#[derive(Default)]
pub struct House {
    /// How far there is nothing left to fold.
    folded: BTreeMap<(ViewName, DefinitionHash), Folded>,
    hold: HoldWatch,
    looked_at: Option<Instant>,
}

impl House {
    /// Does what is due.
    pub async fn keep(&mut self, context: &BatchContext, former: &dyn FormerDefinitions, settings: &BatchSettings) {
        if self.looked_at.is_none_or(|at| at.elapsed() >= settings.table_check_interval) {
            self.looked_at = Some(Instant::now());
            look_after(context).await;
        }
        let sources = &context.pipeline.sources;
        let former: Vec<PlannedView> = sources.iter().flat_map(|source| former.views_of(&source.name)).collect();
        for view in &former {
            let components = RecomputeComponents {
                lake: context.lake.clone(),
                master: MasterDataset::new(&context.lake, Arc::clone(&view.source)),
                views: vec![view.clone()],
                clock: Arc::clone(&context.clock),
                ids: Arc::clone(&context.ids),
            };
            drop(recompute(&components, Mode::Incremental, &settings.recompute).await);
        }
        for source in sources.iter().filter(|_| settings.compact.is_on) {
            drop(compact(context, source, &settings.compact, &settings.recompute).await);
        }
        self.fold(context, &former, settings).await;
    }

    async fn fold(&mut self, context: &BatchContext, former: &[PlannedView], settings: &BatchSettings) {
        let Some(age) = settings.fold_after else { return };
        if self.hold.look(&context.lake, Instant::now()).await {
            return;
        }
        let wanted = folded_by(context.clock.now(), age);
        for view in context.pipeline.views.iter().chain(former) {
            let definition = (view.name.clone(), view.hash);
            if self.folded.get(&definition) == Some(&wanted) {
                continue;
            }
            let outcome = fold(context, view, age, &settings.recompute, &always).await;
            if matches!(outcome, Ok(FoldOutcome::Folded(_) | FoldOutcome::NothingDue)) {
                self.folded.insert(definition, wanted);
            }
        }
    }
}
