//! The definitions that a process runs with: a set with its number, and a handle through which others follow it.
//!
//! Not here: what other processes made of the registry meanwhile (`definitions/run.rs`).

pub mod run;

use std::sync::Arc;

use anyhow::{Context, Error, Result};
use batch_layer::FormerDefinitions;
use lake::Lake;
use positions::{CurrentDefinitions, DefinitionHash, DefinitionNumber, SourceName};
use serving_layer::ServingError;
use serving_layer::registry::{DefinitionRegistry, FormerView, LostView, Standing};
use tokio::sync::watch;
use tracing::{error, info, warn};
use views::{Pipeline, PlannedView};

use crate::trial::try_pipeline;

/// The sources and views that a process runs with, under their number.
#[derive(Clone, Debug, Default)]
pub struct RunningDefinitions {
    /// The sources and views.
    pub pipeline: Arc<Pipeline>,
    /// The number of the set in the registry.
    pub number: DefinitionNumber,
    /// The former definitions that answer while those of this set are being built.
    pub former: Vec<FormerView>,
    /// The set that took the place of this one before the process started; `None`: this one is present, or was then.
    pub superseded_by: Option<DefinitionNumber>,
}

impl RunningDefinitions {
    /// The pipeline with its number in the registry of the lake, and with the former definitions of the views that are
    /// being built, as far as they can still be planned and run; what cannot is logged.
    ///
    /// # Errors
    /// If the registry cannot be read or written.
    pub async fn claim(lake: &Lake, pipeline: Pipeline) -> Result<Self> {
        let registry = DefinitionRegistry::new(lake);
        let number = registry.claim(&pipeline).await.map_err(unregistered)?;
        Self::present(&registry, pipeline, number).await
    }

    /// As [`Self::claim`], for a process that starts: definitions that were registered before and replaced since get no
    /// new number. The process runs with their last one, as an old process does that lived on, and says so.
    ///
    /// # Errors
    /// As there.
    pub async fn claim_at_start(lake: &Lake, pipeline: Pipeline) -> Result<Self> {
        let registry = DefinitionRegistry::new(lake);
        match registry.claim_at_start(&pipeline).await.map_err(unregistered)? {
            Standing::Present(number) => Self::present(&registry, pipeline, number).await,
            Standing::Past { own, present } => {
                let former = Vec::new();
                let set = Self { pipeline: Arc::new(pipeline), number: own, former, superseded_by: Some(present) };
                set.superseded().iter().for_each(|why| error!("{why}"));
                Ok(set)
            }
        }
    }

    async fn present(registry: &DefinitionRegistry, pipeline: Pipeline, number: DefinitionNumber) -> Result<Self> {
        let former = plan_former(registry, &pipeline, number).await?;
        Ok(Self { pipeline: Arc::new(pipeline), number, former, superseded_by: None })
    }

    /// What is wrong with running these, and the way out, where others took their place before the process started.
    pub fn superseded(&self) -> Option<String> {
        Some(describe_superseded(self.number, self.superseded_by?))
    }
}

/// What is wrong with a start under definitions that others took the place of, and the way out.
pub fn describe_superseded(own: DefinitionNumber, present: DefinitionNumber) -> String {
    format!(
        "definitions {} of this process were replaced by definitions {} before it started, and claim no number again by \
         themselves: start it with the newer pipeline file; or, to go back to these, run `twofold apply --pipeline FILE` \
         and then start it again",
        own.0, present.0
    )
}

fn unregistered(error: ServingError) -> Error {
    let words = match &error {
        ServingError::Corrupt { .. } => {
            "cannot register the view definitions, `twofold lake repair` says what can be done about them"
        }
        _ => "cannot register the view definitions",
    };
    Error::new(error).context(words)
}

/// The former definitions of the views that are being built.
async fn plan_former(
    registry: &DefinitionRegistry,
    pipeline: &Pipeline,
    number: DefinitionNumber,
) -> Result<Vec<FormerView>> {
    let Some(set) = registry.present().await.context("cannot read the definitions")? else { return Ok(Vec::new()) };
    let found = registry.former_views(&set, pipeline).await.context("cannot read the former view definitions")?;
    found.lost.iter().for_each(warn_lost);
    let mut former = Vec::new();
    for one in found.planned {
        match try_former(&one.view).await {
            Ok(()) => {
                let (view, set, building) = (&one.view.name, one.set.0, number.0);
                info!(%view, set, building, "answered by its former definition until the present one is built");
                former.push(one);
            }
            Err(reason) => warn_lost(&LostView { view: one.view.name.clone(), set: one.set, reason }),
        }
    }
    Ok(former)
}

/// Whether this version of Twofold still runs a view that it ran before, or another version did.
async fn try_former(view: &PlannedView) -> Result<(), String> {
    let alone = Pipeline { sources: vec![view.source.clone()], views: vec![view.clone()], ..Pipeline::default() };
    try_pipeline(&alone).await.map_err(|error| error.to_string())
}

fn warn_lost(lost: &LostView) {
    let LostView { view, set, reason } = lost;
    warn!(%view, set = set.0, reason, "its former definition cannot answer until the present one is built");
}

/// The definitions of the moment. Whoever needs them asks each time, and keeps them no longer than the work at hand.
#[derive(Clone, Debug)]
pub struct Definitions(watch::Receiver<RunningDefinitions>);

impl Definitions {
    /// A handle on what `sender` changes.
    pub fn of(sender: &watch::Sender<RunningDefinitions>) -> Self {
        Self(sender.subscribe())
    }

    /// The set of this moment.
    pub fn current(&self) -> RunningDefinitions {
        self.0.borrow().clone()
    }

    /// Returns when the set is another one than at the last call; never again once nobody can change it.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl CurrentDefinitions for Definitions {
    fn number(&self) -> DefinitionNumber {
        self.0.borrow().number
    }

    fn needs(&self, former: DefinitionHash) -> bool {
        self.0.borrow().former.iter().any(|needed| needed.view.hash == former)
    }
}

impl FormerDefinitions for Definitions {
    fn views_of(&self, source: &SourceName) -> Vec<PlannedView> {
        let set = self.0.borrow();
        let former = set.former.iter().filter(|former| former.view.source.name == *source);
        former.map(|former| former.view.clone()).collect()
    }
}

/// What the registry said last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registered {
    /// The number of the present set; `None` before the first look. Another one than that of this process where another
    /// process has claimed a set since.
    pub number: Option<DefinitionNumber>,
    /// The views of the present set whose definition does not answer completely yet.
    pub being_built: Vec<String>,
}
