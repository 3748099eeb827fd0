//! The batch loops of this process, by source, and the one way to ask them for a round now.
//!
//! Not here: what a round does (`batch_layer::recompute`), when loops start and stop (`topology/run.rs`).

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use anyhow::{Context, Result, anyhow, ensure};
use batch_layer::BatchRequest;
use batch_layer::recompute::{Mode, Round};
use positions::SourceName;
use tokio::sync::{mpsc, oneshot};

type Requests = mpsc::Sender<BatchRequest>;

const NONE_HERE: &str = "no batch role is running here";

/// See the module.
#[derive(Debug, Default)]
pub struct BatchLoops {
    // Changed when a loop starts or stops, copied by whoever asks for a round.
    requests: RwLock<BTreeMap<SourceName, Requests>>,
}

impl BatchLoops {
    /// Notes the loop of a source.
    pub fn add(&self, source: SourceName, requests: Requests) {
        self.requests.write().unwrap_or_else(PoisonError::into_inner).insert(source, requests);
    }

    /// Forgets the loop of a source: it was stopped.
    pub fn remove(&self, source: &SourceName) {
        self.requests.write().unwrap_or_else(PoisonError::into_inner).remove(source);
    }

    /// Computes and publishes the batch views of a source now, beside the interval. Given up, the round goes on.
    ///
    /// # Errors
    /// If no loop of this process has the source, or it is stopping.
    pub async fn recompute(&self, source: &SourceName, mode: Mode) -> Result<Round> {
        let requests = self.known().remove(source).context(NONE_HERE)?;
        ask(&requests, mode).await
    }

    /// As [`Self::recompute`], the views of all sources, one source after the other.
    ///
    /// # Errors
    /// As there.
    pub async fn recompute_all(&self, mode: Mode) -> Result<Round> {
        let known = self.known();
        ensure!(!known.is_empty(), NONE_HERE);
        let mut round = Round::new();
        for requests in known.values() {
            round.extend(ask(requests, mode).await?);
        }
        Ok(round)
    }

    fn known(&self) -> BTreeMap<SourceName, Requests> {
        self.requests.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn ask(requests: &Requests, mode: Mode) -> Result<Round> {
    let (reply, answer) = oneshot::channel();
    let request = BatchRequest { mode, views: None, reply };
    requests.send(request).await.map_err(|_| anyhow!("the batch role has stopped"))?;
    answer.await.context("the batch role stopped before it was done")
}
