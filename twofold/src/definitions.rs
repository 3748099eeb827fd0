//! The definitions that a process runs with: a set with its number, and a handle through which others follow it.
//!
//! Guarantee: whoever starts with definitions that others have replaced runs the present ones of the registry; only
//! where this version cannot read or run those it runs its own under their last number, and says so.
//! Not here: what other processes made of the registry meanwhile (`definitions/run.rs`), going over to it
//! (`following.rs`).

pub mod gateway;
pub mod run;

use std::sync::Arc;

use anyhow::{Context, Error, Result};
use batch_layer::FormerDefinitions;
use lake::Lake;
use positions::{CurrentDefinitions, DefinitionHash, DefinitionNumber, SourceName, ViewName};
use serving_layer::ServingError;
use serving_layer::registry::{DefinitionRegistry, DefinitionSet, FormerView, LostView, Standing};
use tokio::sync::watch;
use tracing::{error, info, warn};
use views::{Pipeline, PlannedView};

use crate::trial::try_pipeline;

/// What failed where the registry cannot be read.
const UNREAD: &str = "cannot read the definitions";

/// The sources and views that a process runs with, under their number.
#[derive(Clone, Debug, Default)]
pub struct RunningDefinitions {
    /// The sources and views.
    pub pipeline: Arc<Pipeline>,
    /// The number of the set in the registry.
    pub number: DefinitionNumber,
    /// The former definitions that answer while those of this set are being built.
    pub former: Vec<FormerView>,
    /// Replaced definitions that are computed on beside those of this set, and answer nothing: for a quick way back.
    pub kept: Vec<FormerView>,
    /// The set that took the place of this one before the process started, and that it cannot run; `None`: this one is
    /// present, or was then.
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
        Self::claimed(&registry, pipeline, number).await
    }

    /// Whether these were never registered, and others were.
    ///
    /// # Errors
    /// If the registry cannot be read.
    pub async fn is_new_beside_others(lake: &Lake, pipeline: &Pipeline) -> Result<bool> {
        let registry = DefinitionRegistry::new(lake);
        let present = registry.present().await.map_err(unregistered)?;
        Ok(present.is_some() && registry.standing(pipeline).await.map_err(unregistered)?.is_none())
    }

    /// For a process that starts: definitions that were never registered take the next number, as [`Self::claim`] gives
    /// it. Those that were registered before and replaced since get none: the process follows the registry, and says
    /// so.
    ///
    /// # Errors
    /// As there; and where new definitions would give answers that hardly anybody means ([`Pipeline::check_new`]).
    pub async fn claim_at_start(lake: &Lake, pipeline: Pipeline) -> Result<Self> {
        let registry = DefinitionRegistry::new(lake);
        if registry.standing(&pipeline).await.map_err(unregistered)?.is_none() {
            pipeline.check_new().context("these definitions are new, and were not registered")?;
        }
        match registry.claim_at_start(&pipeline).await.map_err(unregistered)? {
            Standing::Present(number) => Self::claimed(&registry, pipeline, number).await,
            Standing::Past { own, present } => {
                let set = Self::present_or_own(&registry, pipeline, (own, present)).await?;
                if set.superseded_by.is_none() {
                    warn!("{}", describe_followed(own, present));
                }
                Ok(set)
            }
        }
    }

    /// The set under which a pipeline was claimed; or the one that took its place before it was read again.
    async fn claimed(registry: &DefinitionRegistry, pipeline: Pipeline, number: DefinitionNumber) -> Result<Self> {
        let present = registry.present().await.context(UNREAD)?;
        match present {
            Some(set) if set.number == number => Self::of(registry, &set, pipeline).await,
            Some(set) => Self::present_or_own(registry, pipeline, (number, set.number)).await,
            None => Ok(Self { pipeline: Arc::new(pipeline), number, ..Self::default() }),
        }
    }

    /// The present set of the registry; where this version cannot run it, the pipeline under its own last number.
    async fn present_or_own(
        registry: &DefinitionRegistry,
        pipeline: Pipeline,
        (own, present): (DefinitionNumber, DefinitionNumber),
    ) -> Result<Self> {
        match Self::read_present(registry).await {
            Err(error) if error.is::<CannotFollow>() => {
                let set = Self { pipeline: Arc::new(pipeline), number: own, ..Self::default() };
                let set = Self { superseded_by: Some(present), ..set };
                set.superseded().iter().for_each(|why| error!(reason = %error, "{why}"));
                Ok(set)
            }
            read => read,
        }
    }

    /// For a role in a process of its own that starts: where others have registered definitions that this version can
    /// run, it runs those, whatever its file holds, and says so. Else as [`Self::claim_at_start`]: of an upgrade, whose
    /// version reads the same text otherwise, the first process registers what it makes of it.
    ///
    /// # Errors
    /// As there.
    pub async fn follow_at_start(lake: &Lake, pipeline: Pipeline) -> Result<Self> {
        if Self::is_new_beside_others(lake, &pipeline).await? {
            match Self::read_present(&DefinitionRegistry::new(lake)).await {
                Ok(set) => {
                    warn!("{}", describe_unregistered(set.number));
                    return Ok(set);
                }
                Err(error) if error.is::<CannotFollow>() => {
                    warn!(reason = %error, "this version registers what it makes of its own pipeline file");
                }
                Err(error) => return Err(error),
            }
        }
        Self::claim_at_start(lake, pipeline).await
    }

    /// The present set of the registry, planned from the text and the static files that it keeps, and tried.
    ///
    /// # Errors
    /// [`CannotFollow`]: asking again changes nothing before the registry has another set. Others: ask again.
    pub async fn read_present(registry: &DefinitionRegistry) -> Result<Self> {
        let set = registry.present().await.context(UNREAD)?;
        let set = set.ok_or_else(|| CannotFollow("no set is registered".to_owned()))?;
        let number = set.number;
        let read = match registry.pipeline(&set, number).await {
            Ok(read) => read,
            Err(error @ ServingError::Corrupt { .. }) => return Err(CannotFollow(error.to_string()).into()),
            Err(error) => return Err(Error::new(error).context(UNREAD)),
        };
        let pipeline = read.ok_or_else(|| {
            CannotFollow(format!("the version that registered definitions {} kept no text of them", number.0))
        })?;
        try_pipeline(&pipeline).await.map_err(|error| CannotFollow(error.to_string()))?;
        Self::of(registry, &set, pipeline).await
    }

    /// With the former definitions of the very set that the pipeline is of: a later one may say that other definitions
    /// are being built, and then nothing would answer until that is followed.
    async fn of(registry: &DefinitionRegistry, set: &DefinitionSet, pipeline: Pipeline) -> Result<Self> {
        let (former, kept) = plan_former(registry, set, &pipeline).await?;
        Ok(Self { pipeline: Arc::new(pipeline), number: set.number, former, kept, superseded_by: None })
    }

    /// The replaced definitions that runs hold on: where the source is read otherwise, batch alone goes on with them.
    pub fn kept_in_realtime(&self) -> impl Iterator<Item = &FormerView> {
        self.kept.iter().filter(|kept| {
            let source = self.pipeline.source(kept.view.source.name.as_str());
            source.is_some_and(|source| kept.reads_as(source))
        })
    }

    /// The replaced definitions that batch goes on with.
    pub fn former_views(&self) -> impl Iterator<Item = &PlannedView> {
        let former = self.former.iter().chain(&self.kept).map(|former| &former.view);
        former.filter(|view| view.source.is_recomputed())
    }

    /// A view by its name and definition: a present one, or a former one that still answers.
    pub fn view(&self, name: &ViewName, hash: DefinitionHash) -> Option<&PlannedView> {
        let present = self.pipeline.view(name.as_str()).filter(|view| view.hash == hash);
        present.or_else(|| {
            let mut former = self.former.iter().map(|former| &former.view);
            former.find(|view| view.name == *name && view.hash == hash)
        })
    }

    /// What is wrong with running these, and the way out, where others took their place before the process started.
    pub fn superseded(&self) -> Option<String> {
        Some(describe_superseded(self.number, self.superseded_by?))
    }
}

/// The present set of the registry is none that this process can run.
#[derive(Debug, thiserror::Error)]
#[error("the present definitions of the registry cannot be run here: {0}")]
pub struct CannotFollow(pub String);

/// What a start with definitions that others took the place of comes to, and how to go back to them.
pub fn describe_followed(own: DefinitionNumber, present: DefinitionNumber) -> String {
    format!(
        "definitions {} of the pipeline file were replaced by definitions {} before: a process that starts with the file \
         follows the registry and runs those; to go back to the file, run `twofold apply --pipeline FILE`",
        own.0, present.0
    )
}

/// What a start of a role with definitions comes to that nobody registered, and how to make them the present ones.
fn describe_unregistered(present: DefinitionNumber) -> String {
    format!(
        "the definitions of the pipeline file were never registered, and a role of its own follows the registry: it runs \
         definitions {}; to make those of the file the present ones, run `twofold apply --pipeline FILE`",
        present.0
    )
}

/// What is wrong with running under definitions that others took the place of, and the way out.
fn describe_superseded(own: DefinitionNumber, present: DefinitionNumber) -> String {
    format!(
        "definitions {} of this process were replaced by definitions {} before it started, which this version cannot run: \
         start the version that registered those, or start with the newer pipeline file; or, to go back to these, run \
         `twofold apply --pipeline FILE`",
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

/// The former definitions of the views that are being built, and the replaced ones that are kept.
async fn plan_former(
    registry: &DefinitionRegistry,
    set: &DefinitionSet,
    pipeline: &Pipeline,
) -> Result<(Vec<FormerView>, Vec<FormerView>)> {
    let found = registry.former_views(set, pipeline).await.context("cannot read the former view definitions")?;
    found.lost.iter().for_each(warn_lost);
    let mut former = Vec::new();
    for one in found.planned {
        match try_former(&one.view).await {
            Ok(()) => {
                let (view, of_set, building) = (&one.view.name, one.set.0, set.number.0);
                info!(%view, set = of_set, building, "answered by its former definition until the present one is built");
                former.push(one);
            }
            Err(reason) => warn_lost(&LostView { view: one.view.name.clone(), set: one.set, reason }),
        }
    }
    let mut kept = Vec::new();
    for one in found.kept {
        if try_former(&one.view).await.is_ok() {
            info!(view = %one.view.name, set = one.set.0, "its replaced definition is computed on, for a way back");
            kept.push(one);
        }
    }
    Ok((former, kept))
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
        let set = self.0.borrow();
        let mut needed = set.former.iter().chain(set.kept_in_realtime());
        needed.any(|needed| needed.view.hash == former)
    }
}

impl FormerDefinitions for Definitions {
    fn views_of(&self, source: &SourceName) -> Vec<PlannedView> {
        let set = self.0.borrow();
        set.former_views().filter(|view| view.source.name == *source).cloned().collect()
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
