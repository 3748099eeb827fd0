//! The registry of definition sets: gives every set of view definitions an increasing number.
//!
//! In: a pipeline. Out: its number. A set is one immutable object `definitions/<number>.json`, created by a conditional
//! put; the highest number is the present set.
//! Guarantee: two processes that claim the same set get the same number; of two that claim different sets at once, one
//! gets the next number and the other the one after. A number is never given to two sets.
//! Why numbered objects and not one that is overwritten: a local file system can create conditionally, but not replace;
//! so one way works on every store, and the history stays readable.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use positions::{DefinitionHash, DefinitionNumber};
use serde::{Deserialize, Serialize};
use views::Pipeline;

use crate::ServingError;

const FOLDER: &str = "definitions";
/// Each lost race means that another process claimed a set: more of them than this at once is a defect.
const MAX_ATTEMPTS: usize = 16;

/// The sets of definitions of one deployment.
#[derive(Clone, Debug)]
pub struct DefinitionRegistry {
    lake: lake::Lake,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct DefinitionSet {
    number: DefinitionNumber,
    views: BTreeMap<String, DefinitionHash>,
}

impl DefinitionRegistry {
    /// The registry below the root of a lake. Does no IO.
    pub fn new(lake: &lake::Lake) -> Self {
        Self { lake: lake.clone() }
    }

    /// The number of the pipeline's set of definitions: the present one where nothing changed, otherwise the next.
    ///
    /// # Errors
    /// [`ServingError::Unreachable`]: try again. [`ServingError::Corrupt`]: the newest object is no definition set.
    pub async fn claim(&self, pipeline: &Pipeline) -> Result<DefinitionNumber, ServingError> {
        let views: BTreeMap<String, DefinitionHash> =
            pipeline.views.iter().map(|view| (view.name.as_str().to_owned(), view.hash)).collect();
        for _ in 0..MAX_ATTEMPTS {
            let present = self.present().await?;
            if let Some(present) = present.as_ref().filter(|present| present.views == views) {
                return Ok(present.number);
            }
            let number = DefinitionNumber(present.map_or(0, |present| present.number.0) + 1);
            if self.create(&DefinitionSet { number, views: views.clone() }).await? {
                return Ok(number);
            }
        }
        Err(unreachable(format!("{MAX_ATTEMPTS} other processes claimed definitions at the same time")))
    }

    async fn present(&self) -> Result<Option<DefinitionSet>, ServingError> {
        let folder = self.lake.path(FOLDER);
        let objects: Vec<_> = self.lake.store().list(Some(&folder)).try_collect().await.map_err(unreachable)?;
        let Some(number) = objects.iter().filter_map(|object| number_of(&object.location)).max() else {
            return Ok(None);
        };
        let path = self.path(number);
        let found = self.lake.store().get(&path).await.map_err(unreachable)?;
        let bytes = found.bytes().await.map_err(unreachable)?;
        serde_json::from_slice(&bytes).map(Some).map_err(|error| ServingError::Corrupt {
            what: format!("definition set {path}"),
            reason: error.to_string(),
        })
    }

    async fn create(&self, set: &DefinitionSet) -> Result<bool, ServingError> {
        let bytes = serde_json::to_vec_pretty(set).expect("maps of names and hashes always serialise");
        let put = self.lake.store().put_opts(&self.path(set.number), bytes.into(), PutMode::Create.into()).await;
        match put {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(unreachable(error)),
        }
    }

    fn path(&self, number: DefinitionNumber) -> Path {
        self.lake.path(&format!("{FOLDER}/{:010}.json", number.0))
    }
}

fn number_of(path: &Path) -> Option<DefinitionNumber> {
    path.filename()?.strip_suffix(".json")?.parse().ok().map(DefinitionNumber)
}

fn unreachable(reason: impl ToString) -> ServingError {
    ServingError::Unreachable { store: "object store", reason: reason.to_string() }
}
