//! The speed workers of a source: one above its batch views, and one for each generation.
//!
//! ```text
//!  source in lambda mode:  one worker for all views, former definitions over the same reading among them
//!  source in kappa mode:   one worker for each view, from the first record on, under a key of its own
//! ```
//!
//! In: a source, its views, the former definitions of the moment. Guarantee: what a former definition needs is kept
//! until its successor answers, whichever mode each of the two is of; then its generation leaves the realtime store.
//! Not here: when a former definition is over (`definitions/run.rs`), the worker itself (`speed-layer`).

use std::sync::Arc;

use anyhow::{Result, anyhow};
use futures::future::{join_all, try_join, try_join_all};
use positions::DefinitionHash;
use records::master::MasterDataset;
use serving_layer::{BatchViewStore, PartitionKey};
use speed_layer::{Keeping, SpeedComponents, SpeedView};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use views::{Pipeline, PlannedView, SourceDefinition};

use crate::definitions::Definitions;
use crate::definitions::run::{cancel_once_over, replaced_definitions};
use crate::health::Health;
use crate::stage::RoleError;
use crate::watched_store::WatchedStore;
use crate::wiring::SharedComponents;

/// A source, and those of its views that a worker is about.
pub(super) type SpeedSubject = (Arc<SourceDefinition>, Pipeline);

/// What the workers of a source are made of.
#[derive(Clone)]
pub(super) struct SpeedWorker {
    pub(super) shared: SharedComponents,
    pub(super) definitions: Definitions,
    pub(super) health: Arc<Health>,
}

impl SpeedWorker {
    /// Works until `stop`. `is_generation`: at the generation of the only view of the subject.
    pub(super) async fn keep(
        self,
        subject: SpeedSubject,
        is_generation: bool,
        stop: CancellationToken,
    ) -> Result<(), RoleError> {
        if !is_generation {
            return self.keep_source(subject, stop).await;
        }
        let (source, pipeline) = subject;
        let views = pipeline.views.into_iter().map(|view| self.speed_view(view, Keeping::Present)).collect();
        self.work(source, views, stop).await
    }

    /// Log to realtime views, of one source: what lies above its batch views, and generations of former definitions.
    async fn keep_source(self, (source, pipeline): SpeedSubject, stop: CancellationToken) -> Result<(), RoleError> {
        let current = self.definitions.current();
        let former = current.former.iter().chain(current.kept_in_realtime()).cloned();
        let former = former.filter(|former| former.view.source.name == source.name);
        let (above, apart): (Vec<_>, Vec<_>) = former.partition(|former| former.view.source.is_recomputed());
        let former_hashes: Vec<DefinitionHash> = above.iter().map(|former| former.view.hash).collect();
        let above = above.into_iter().map(|former| {
            let keeping = if former.reads_as(&source) { Keeping::Former } else { Keeping::Standing };
            self.speed_view(former.view, keeping)
        });
        let present = pipeline.views.into_iter().filter(|view| view.source.is_recomputed());
        let present = present.map(|view| self.speed_view(view, Keeping::Present));
        let views: Vec<SpeedView> = present.chain(above).collect();
        let generations = apart.into_iter().map(|former| self.keep_former_generation(former.view, stop.clone()));
        let kept = async {
            if source.is_recomputed() {
                return self.work(source.clone(), views, stop.clone()).await;
            }
            if !views.is_empty() {
                self.work_until_over(source.clone(), views, (former_hashes.as_slice(), &stop)).await?;
            }
            self.forget_replaced(&source, &stop).await;
            stop.cancelled().await;
            Ok(())
        };
        try_join(kept, try_join_all(generations)).await.map(|_| ())
    }

    /// Keeps the generation of a former definition until it is over, and removes it then.
    async fn keep_former_generation(&self, view: PlannedView, stop: CancellationToken) -> Result<(), RoleError> {
        let (source, generation) = (view.source.clone(), view.hash);
        // Kept whole until its end, which is not in the worker's hands.
        let views = vec![self.speed_view(view.clone(), Keeping::Present)];
        if self.work_until_over(source.clone(), views, ([generation].as_slice(), &stop)).await? {
            match self.forget(&source, generation).await {
                Ok(()) => info!(source = %source.name, view = %view.name, %generation, "former generation removed"),
                Err(error) => {
                    let error = format!("{error:#}");
                    warn!(source = %source.name, view = %view.name, %generation, error, "former generation stays in the realtime store");
                }
            }
        }
        Ok(())
    }

    /// Removes what is left of views that were dropped, and of definitions that others replaced before they answered.
    async fn forget_replaced(&self, source: &SourceDefinition, stop: &CancellationToken) {
        let grace = self.shared.config.speed.grace;
        for generation in replaced_definitions(&self.shared.lake, &self.definitions, (grace, stop)).await {
            if let Err(error) = self.forget(source, generation).await {
                let error = format!("{error:#}");
                warn!(source = %source.name, %generation, error, "a generation stays in the realtime store");
            }
        }
    }

    async fn forget(&self, source: &SourceDefinition, generation: DefinitionHash) -> Result<()> {
        let (log, store) = (self.shared.log()?, self.shared.store()?);
        let partitions = log.partitions(&source.topic).await?;
        let removed = join_all(partitions.into_iter().map(|partition| {
            let (store, key) = (store.clone(), PartitionKey::of_generation(&source.name, generation, partition));
            async move {
                match store.read_index(&key).await {
                    // Looking for blobs costs a search of the whole store.
                    Ok(None) => Ok(()),
                    _ => store.forget(&key).await,
                }
            }
        }));
        removed.await.into_iter().try_for_each(|removed| removed.map_err(anyhow::Error::from))
    }

    /// Works until none of these former definitions is needed; whether that is why it ended.
    async fn work_until_over(
        &self,
        source: Arc<SourceDefinition>,
        views: Vec<SpeedView>,
        (former, stop): (&[DefinitionHash], &CancellationToken),
    ) -> Result<bool, RoleError> {
        let over = stop.child_token();
        let work = async {
            let ended = self.work(source, views, over.clone()).await;
            over.cancel();
            ended
        };
        let grace = self.shared.config.speed.grace;
        let (ended, is_over) =
            futures::future::join(work, cancel_once_over(self.definitions.clone(), former, &over, grace)).await;
        ended.map(|()| is_over)
    }

    async fn work(
        &self,
        source: Arc<SourceDefinition>,
        views: Vec<SpeedView>,
        stop: CancellationToken,
    ) -> Result<(), RoleError> {
        let Self { shared, definitions, health } = self.clone();
        let components = SpeedComponents {
            log: shared.log().map_err(RoleError::Failed)?,
            store: Arc::new(WatchedStore::new(shared.store().map_err(RoleError::Failed)?, health)),
            master: MasterDataset::new(&shared.lake, source.clone()),
            source: source.clone(),
            registry: shared.registry.clone(),
            views,
            definitions: Arc::new(definitions),
            clock: shared.clock,
            ids: shared.ids,
        };
        let ended = speed_layer::run::run(components, shared.config.speed.clone(), stop).await;
        ended.map_err(|error| RoleError::SourceStopped { source: source.name.to_string(), error: anyhow!(error) })
    }

    fn speed_view(&self, view: PlannedView, keeping: Keeping) -> SpeedView {
        let published = BatchViewStore::new(&self.shared.lake, view.clone());
        SpeedView { definition: view, published, keeping }
    }
}
