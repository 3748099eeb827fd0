//! The registry of definition sets: gives every set of view definitions an increasing number, and keeps all of it.
//!
//! In: a pipeline; later, which of its views are served. Out: its number; later, the pipeline itself. Each claim and
//! each view that comes to be served is one entry of the sequence `definitions` ([`lake::sequence`]); the last entry is
//! the present set. Static files are objects of their own, named by their content, since they may be large and stay
//! while the text changes.
//! Guarantee: two processes that claim the same set get the same number; of two that claim different sets at once, one
//! gets the next number and the other one after it. A number is never given to two sets. What an entry names is there.
//! Nothing is written where nothing changes. A process that starts with definitions which others replaced claims none
//! (`claim_at_start`): they win again only when somebody asks for it (`claim`).
//! Why so: an entry holds every file that one of its hashes comes from, so that a process can plan what is served from
//! the last entry alone, whatever its own file says. That a view is served is an entry, but no new number: those who
//! write under the number go on.
//! Not here: what a set looks like (`definition_set.rs`), removing what no set needs (`registry/clean.rs`), planning
//! what is served while another definition is being built (`registry/former.rs`), when a view is served (the gateway
//! says so).

mod clean;
mod former;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use lake::sequence::{Append, Number, Numbered, Sequence};
use lake::{Lake, LakeError};
use object_store::path::Path;
use positions::{DefinitionHash, DefinitionNumber, TimestampMicros, ViewName};
use views::Pipeline;
use xxhash_rust::xxh3::xxh3_128;

use crate::ServingError;
pub use crate::definition_set::{
    Defined, DefinitionSet, Flip, Kept, PipelineFile, SourceColumn, StaticFile, ViewState,
};
pub use crate::former_view::{FormerView, FormerViews, LostView};

const FOLDER: &str = "definitions";
/// Where static files are, below the root.
const STATIC_FOLDER: &str = "definition-files";
/// Each lost race means that another process changed something: more of them than this at once is a defect.
const MAX_ATTEMPTS: usize = 16;

/// Where the definitions of a process that starts stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// They are the present ones, under this number.
    Present(DefinitionNumber),
    /// They were present before, and others have taken their place since: an old process that starts again.
    Past {
        /// Their last number.
        own: DefinitionNumber,
        /// That of the present ones.
        present: DefinitionNumber,
    },
}

/// What became of a set that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is the present one now, under this number.
    Now(DefinitionNumber),
    /// It was the present one already.
    Already(DefinitionNumber),
    /// Nothing was changed: another set took the place of the one that was planned on.
    Overtaken(DefinitionNumber),
}

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

    /// The number of the pipeline's set of definitions: the present one where nothing changed, otherwise the next.
    /// Views whose definition changed are being built from then on, and their old definition is served until
    /// [`Self::note_served`].
    ///
    /// # Errors
    /// [`ServingError::Unreachable`]: try again. [`ServingError::Corrupt`]: the newest object is not a definition set.
    /// [`ServingError::Lake`]: the object store is full, or must not be used as it is configured.
    pub async fn claim(&self, pipeline: &Pipeline) -> Result<DefinitionNumber, ServingError> {
        match self.claim_as(pipeline, true).await? {
            Standing::Present(number) | Standing::Past { own: number, .. } => Ok(number),
        }
    }

    /// As [`Self::claim`], for a process that starts: definitions that were present before and are not claim nothing.
    /// So the newer ones do not lose to whoever starts last.
    ///
    /// # Errors
    /// As there.
    pub async fn claim_at_start(&self, pipeline: &Pipeline) -> Result<Standing, ServingError> {
        self.claim_as(pipeline, false).await
    }

    /// `is_asked`: also definitions of the past.
    async fn claim_as(&self, pipeline: &Pipeline, is_asked: bool) -> Result<Standing, ServingError> {
        for _ in 0..MAX_ATTEMPTS {
            let (last, present) = self.last().await?;
            match present.as_ref().and_then(|present| standing_in(present, pipeline)) {
                Some(Standing::Past { .. }) if is_asked => {}
                Some(standing) => return Ok(standing),
                None => {}
            }
            if let Some(number) = self.succeed(last, present.as_ref(), (pipeline, Flip::default())).await? {
                return Ok(Standing::Present(number));
            }
        }
        Err(too_many_changes())
    }

    /// Makes a pipeline the present set, if the present one is still `planned_on`: of two who apply at once, the second
    /// one has planned on a set that is over, and is told so.
    ///
    /// # Errors
    /// As [`Self::claim`].
    pub async fn apply(
        &self,
        pipeline: &Pipeline,
        planned_on: Option<DefinitionNumber>,
        flip: Flip,
    ) -> Result<Applied, ServingError> {
        for _ in 0..MAX_ATTEMPTS {
            let (last, present) = self.last().await?;
            if let Some(present) = &present {
                // What no hash depends on, such as partitions or a source without views, is in the text alone.
                if let Some(Standing::Present(number)) = standing_in(present, pipeline)
                    && present.is_written_as(pipeline)
                {
                    return Ok(Applied::Already(number));
                }
                if planned_on != Some(present.number) {
                    return Ok(Applied::Overtaken(present.number));
                }
            }
            if let Some(number) = self.succeed(last, present.as_ref(), (pipeline, flip)).await? {
                return Ok(Applied::Now(number));
            }
        }
        Err(too_many_changes())
    }

    /// Appends the set that follows on the present one when a pipeline is claimed; its number, or `None` where another
    /// entry came first.
    async fn succeed(
        &self,
        last: Number,
        present: Option<&DefinitionSet>,
        (pipeline, flip): (&Pipeline, Flip),
    ) -> Result<Option<DefinitionNumber>, ServingError> {
        let number = DefinitionNumber(last.next().0);
        let static_files = self.store_static_files(number, present, pipeline).await?;
        let set = DefinitionSet::claimed(number, present, (pipeline, flip), static_files);
        Ok(self.append(last, &set).await?.then_some(number))
    }

    /// The newest set before the present one that had other definitions, or another one of this view, as far as it is
    /// still kept.
    ///
    /// # Errors
    /// As [`Self::claim`].
    pub async fn before_present(&self, view: Option<&str>) -> Result<Option<DefinitionSet>, ServingError> {
        let sets = self.kept().await?;
        let Some(present) = sets.first() else { return Ok(None) };
        let is_other = |set: &&DefinitionSet| match view {
            None => set.newest_hashes() != present.newest_hashes(),
            Some(view) => {
                let hash = set.newest_hashes().get(view).copied();
                hash.is_some() && hash != present.newest_hashes().get(view).copied()
            }
        };
        Ok(sets.iter().find(is_other).cloned())
    }

    /// All sets that are still kept, the present one first. Of a set that more was noted of, each state is one.
    ///
    /// # Errors
    /// As [`Self::claim`].
    pub async fn kept(&self) -> Result<Vec<DefinitionSet>, ServingError> {
        Ok(self.entries().await?.into_iter().map(|(_, set)| set).rev().collect())
    }

    /// All definitions of views that a set speaks of which is still kept, by view and hash: those that somebody may
    /// run, or go back to.
    ///
    /// # Errors
    /// As [`Self::claim`].
    pub async fn named_definitions(&self) -> Result<BTreeSet<(String, DefinitionHash)>, ServingError> {
        let entries = self.entries().await?;
        let views = entries.iter().flat_map(|(_, set)| &set.views);
        Ok(views.flat_map(|(name, state)| state.all().map(move |defined| (name.clone(), defined.hash))).collect())
    }

    /// Notes that these definitions answer completely: they are served from now on, and being built no longer; what was
    /// served before is computed on beside until `keep_until`. Changes nothing where the present set says so already,
    /// or holds other definitions. What this call noted: of the rest another set may have taken the place of the one
    /// that the caller knows, and what that replaces goes on.
    ///
    /// # Errors
    /// As [`Self::claim`].
    pub async fn note_served(
        &self,
        served: &BTreeMap<ViewName, DefinitionHash>,
        keep_until: Option<TimestampMicros>,
    ) -> Result<BTreeMap<ViewName, DefinitionHash>, ServingError> {
        for _ in 0..MAX_ATTEMPTS {
            let (last, present) = self.last().await?;
            let Some(present) = present else { return Ok(BTreeMap::new()) };
            let due = present.due(served);
            let Some(set) = present.with_served(&due, keep_until) else { return Ok(BTreeMap::new()) };
            if self.append(last, &set).await? {
                return Ok(due);
            }
        }
        Err(too_many_changes())
    }

    /// Ends the keeping of replaced definitions whose time is over; the views that they are of. Nothing is written
    /// where there is none.
    ///
    /// # Errors
    /// As [`Self::claim`].
    pub async fn end_kept(&self, now: TimestampMicros) -> Result<Vec<String>, ServingError> {
        for _ in 0..MAX_ATTEMPTS {
            let (last, present) = self.last().await?;
            let Some((set, over)) = present.and_then(|present| present.without_expired(now)) else {
                return Ok(Vec::new());
            };
            if self.append(last, &set).await? {
                return Ok(over);
            }
        }
        Err(too_many_changes())
    }

    /// Where the definitions of a pipeline stand; `None`: they were never present. Changes nothing.
    ///
    /// # Errors
    /// As [`Self::claim`].
    pub async fn standing(&self, pipeline: &Pipeline) -> Result<Option<Standing>, ServingError> {
        Ok(self.last().await?.1.and_then(|present| standing_in(&present, pipeline)))
    }

    /// The present set, or `None` where none was ever claimed.
    ///
    /// # Errors
    /// As [`Self::claim`].
    pub async fn present(&self) -> Result<Option<DefinitionSet>, ServingError> {
        Ok(self.last().await?.1)
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

    /// The last number of the sequence, and the set of its entry.
    async fn last(&self) -> Result<(Number, Option<DefinitionSet>), ServingError> {
        let Some(last) = self.sets.last().await.map_err(from_lake)? else { return Ok((Number(0), None)) };
        Ok((last.number, Some(read_set(&last)?)))
    }

    /// Whether the set is the entry behind `last` now.
    async fn append(&self, last: Number, set: &DefinitionSet) -> Result<bool, ServingError> {
        // Named by what it says: who appends the same set at the same moment takes our entry for its own.
        let nonce = xxh3_128(&serde_json::to_vec(set).expect("a set is plain data"));
        let appended = self.sets.append(last, set, nonce).await.map_err(from_lake)?;
        Ok(matches!(appended, Append::Appended(_)))
    }

    /// Stores the static files of a pipeline for the set of this number, but those that the set before it names.
    async fn store_static_files(
        &self,
        number: DefinitionNumber,
        before: Option<&DefinitionSet>,
        pipeline: &Pipeline,
    ) -> Result<BTreeMap<String, StaticFile>, ServingError> {
        let known: Vec<&StaticFile> = before.into_iter().flat_map(DefinitionSet::static_files).collect();
        let mut stored = BTreeMap::new();
        for (location, bytes) in &pipeline.static_files {
            let file = StaticFile::of(bytes, number);
            let file = match known.iter().find(|known| known.is_same(&file)) {
                Some(known) => (*known).clone(),
                None => {
                    self.store_static_file(&file, bytes).await?;
                    file
                }
            };
            stored.insert(location.clone(), file);
        }
        Ok(stored)
    }

    async fn store_static_file(&self, file: &StaticFile, bytes: &Bytes) -> Result<(), ServingError> {
        self.lake.put_once(&self.static_path(file), bytes.clone()).await.map_err(from_lake)
    }

    async fn read_static_file(&self, location: &str, file: &StaticFile) -> Result<Bytes, ServingError> {
        let path = self.static_path(file);
        let corrupt = |reason: &str| ServingError::Corrupt {
            what: format!("static file {location} at {path}"),
            reason: reason.to_owned(),
        };
        let found = self.lake.get(&path).await.map_err(from_lake)?;
        let bytes = found.ok_or_else(|| corrupt("the object is missing"))?;
        if file.is_of(&bytes) { Ok(bytes) } else { Err(corrupt("its content is not what its name says")) }
    }

    fn static_path(&self, file: &StaticFile) -> Path {
        self.static_folder().join(file.object_name())
    }

    fn static_folder(&self) -> Path {
        self.lake.path(STATIC_FOLDER)
    }
}

fn read_set(entry: &Numbered) -> Result<DefinitionSet, ServingError> {
    let stored = entry.read().map_err(from_lake)?;
    Ok(DefinitionSet::from_stored(DefinitionNumber(entry.number.0), stored))
}

/// Where the definitions of a pipeline stand beside a set that is present; `None`: they never were.
fn standing_in(present: &DefinitionSet, pipeline: &Pipeline) -> Option<Standing> {
    let asked: BTreeMap<&str, DefinitionHash> =
        pipeline.views.iter().map(|view| (view.name.as_str(), view.hash)).collect();
    if present.newest_hashes() == asked {
        return Some(Standing::Present(present.number));
    }
    Some(Standing::Past { own: present.past_number(&asked)?, present: present.number })
}

fn too_many_changes() -> ServingError {
    let reason = format!("{MAX_ATTEMPTS} other processes changed the definitions at the same time");
    ServingError::Unreachable { store: "object store", reason }
}

fn from_lake(error: LakeError) -> ServingError {
    match error {
        LakeError::Unreachable { object, reason } => {
            ServingError::Unreachable { store: "object store", reason: format!("{object}: {reason}") }
        }
        LakeError::Corrupt { object, reason } => {
            ServingError::Corrupt { what: format!("definition set {object}"), reason }
        }
        error => ServingError::Lake(error),
    }
}
