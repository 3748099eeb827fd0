//! The registry of definition sets: gives every set of view definitions an increasing number, and keeps all of it.
//!
//! In: a pipeline. Out: its number; later, the pipeline itself. A set is one entry of the sequence `definitions`
//! ([`lake::sequence`]); the last entry is the present set. Static files are objects of their own, named by their
//! content, since they may be large and stay while the text changes.
//! Guarantee: two processes that claim the same set get the same number; of two that claim different sets at once, one
//! gets the next number and the other the one after. A number is never given to two sets. What an entry names is there.
//! Why so: an entry holds every file that one of its hashes comes from, so that a process can plan what is served from
//! the last entry alone, whatever its own file says.
//! Not here: what a set looks like (`definition_set.rs`).

use std::collections::BTreeMap;

use bytes::Bytes;
use lake::sequence::{Append, Number, Sequence};
use lake::{Lake, LakeError};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use positions::{DefinitionHash, DefinitionNumber};
use views::Pipeline;
use xxhash_rust::xxh3::xxh3_128;

use crate::ServingError;
pub use crate::definition_set::{Defined, DefinitionSet, PipelineFile, SourceColumn, StaticFile, ViewState};

const FOLDER: &str = "definitions";
/// Where static files are, below the root.
const STATIC_FOLDER: &str = "definition-files";
/// Each lost race means that another process claimed a set: more of them than this at once is a defect.
const MAX_ATTEMPTS: usize = 16;

/// The sets of definitions of one deployment.
#[derive(Clone, Debug)]
pub struct DefinitionRegistry {
    lake: Lake,
    sets: Sequence,
}

impl DefinitionRegistry {
    /// The registry below the root of a lake. Does no IO.
    pub fn new(lake: &Lake) -> Self {
        Self { lake: lake.clone(), sets: lake.sequence(FOLDER) }
    }

    /// The number of the pipeline's set of definitions: the present one where nothing changed, otherwise the next, and
    /// from then on all its views are served by their new definitions.
    ///
    /// # Errors
    /// [`ServingError::Unreachable`]: try again. [`ServingError::Corrupt`]: the newest object is no definition set.
    pub async fn claim(&self, pipeline: &Pipeline) -> Result<DefinitionNumber, ServingError> {
        let claimed: BTreeMap<&str, DefinitionHash> =
            pipeline.views.iter().map(|view| (view.name.as_str(), view.hash)).collect();
        let static_files = named_by_content(&pipeline.static_files);
        let mut is_stored = false;
        for _ in 0..MAX_ATTEMPTS {
            let present = self.present().await?;
            if let Some(present) = present.as_ref().filter(|present| present.newest_hashes() == claimed) {
                return Ok(present.number);
            }
            if !is_stored {
                self.store_static_files(&static_files).await?;
                is_stored = true;
            }
            let last = present.map_or(0, |present| present.number.0);
            let set = DefinitionSet::served(DefinitionNumber(last + 1), pipeline, &static_files);
            // Named by what it says: who claims the same set at the same moment takes our entry for its own.
            let nonce = xxh3_128(&serde_json::to_vec(&set).expect("a set is plain data"));
            if let Append::Appended(number) = self.sets.append(Number(last), &set, nonce).await.map_err(from_lake)? {
                return Ok(DefinitionNumber(number.0));
            }
        }
        let reason = format!("{MAX_ATTEMPTS} other processes claimed definitions at the same time");
        Err(ServingError::Unreachable { store: "object store", reason })
    }

    /// The present set, or `None` where none was ever claimed.
    ///
    /// # Errors
    /// As [`Self::claim`].
    pub async fn present(&self) -> Result<Option<DefinitionSet>, ServingError> {
        let Some(last) = self.sets.last().await.map_err(from_lake)? else { return Ok(None) };
        let stored = last.read().map_err(from_lake)?;
        Ok(Some(DefinitionSet::from_stored(DefinitionNumber(last.number.0), stored)))
    }

    /// Reads and plans one of the files of a set again: [`Defined::file`] says which one a view needs. `None` where the
    /// set was claimed by a version that did not keep it.
    ///
    /// # Errors
    /// [`ServingError::Unreachable`]: try again. [`ServingError::Corrupt`]: a static file is missing, or this version
    /// of Twofold makes something else of the file.
    pub async fn pipeline(
        &self,
        set: &DefinitionSet,
        file: DefinitionNumber,
    ) -> Result<Option<Pipeline>, ServingError> {
        let Some(kept) = set.file(file) else { return Ok(None) };
        let mut static_files = BTreeMap::new();
        for (location, named) in &kept.static_files {
            static_files.insert(location.clone(), self.read_static_file(location, named).await?);
        }
        set.read_file(kept, &static_files).map(Some)
    }

    async fn store_static_files(&self, files: &[(String, StaticFile, Bytes)]) -> Result<(), ServingError> {
        for (_, file, bytes) in files {
            let path = self.static_path(file);
            match self.lake.store().put_opts(&path, bytes.clone().into(), PutMode::Create.into()).await {
                Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => {}
                Err(error) => return Err(unreachable(error)),
            }
        }
        Ok(())
    }

    async fn read_static_file(&self, location: &str, file: &StaticFile) -> Result<Bytes, ServingError> {
        let path = self.static_path(file);
        let corrupt = |reason: &str| ServingError::Corrupt {
            what: format!("static file {location} at {path}"),
            reason: reason.to_owned(),
        };
        let bytes = match self.lake.store().get(&path).await {
            Ok(found) => found.bytes().await.map_err(unreachable)?,
            Err(object_store::Error::NotFound { .. }) => return Err(corrupt("the object is missing")),
            Err(error) => return Err(unreachable(error)),
        };
        if StaticFile::of(&bytes) == *file { Ok(bytes) } else { Err(corrupt("its content is not what its name says")) }
    }

    fn static_path(&self, file: &StaticFile) -> Path {
        self.lake.path(&format!("{STATIC_FOLDER}/{}", file.digest))
    }
}

fn named_by_content(files: &BTreeMap<String, Bytes>) -> Vec<(String, StaticFile, Bytes)> {
    files.iter().map(|(location, bytes)| (location.clone(), StaticFile::of(bytes), bytes.clone())).collect()
}

fn from_lake(error: LakeError) -> ServingError {
    match error {
        LakeError::Unreachable { .. } => unreachable(error),
        LakeError::Corrupt { object, reason } => {
            ServingError::Corrupt { what: format!("definition set {object}"), reason }
        }
        error => ServingError::Lake(error),
    }
}

fn unreachable(reason: impl ToString) -> ServingError {
    ServingError::Unreachable { store: "object store", reason: reason.to_string() }
}
