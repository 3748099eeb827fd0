//! The definitions that a process runs with: a set with its number, and a handle through which others follow it.
//!
//! Not here: what other processes made of the registry meanwhile (`definitions/run.rs`).

pub mod run;

use std::sync::Arc;

use anyhow::{Context, Result};
use lake::Lake;
use positions::{CurrentDefinitions, DefinitionNumber};
use serving_layer::registry::DefinitionRegistry;
use tokio::sync::watch;
use views::Pipeline;

/// The sources and views that a process runs with, under their number.
#[derive(Clone, Debug, Default)]
pub struct RunningDefinitions {
    /// The sources and views.
    pub pipeline: Arc<Pipeline>,
    /// The number of the set in the registry.
    pub number: DefinitionNumber,
}

impl RunningDefinitions {
    /// The pipeline with its number in the registry of the lake.
    ///
    /// # Errors
    /// If the registry cannot be read or written.
    pub async fn claim(lake: &Lake, pipeline: Pipeline) -> Result<Self> {
        let registry = DefinitionRegistry::new(lake);
        let number = registry.claim(&pipeline).await.context("cannot register the view definitions")?;
        Ok(Self { pipeline: Arc::new(pipeline), number })
    }
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
