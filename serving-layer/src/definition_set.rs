//! A set of definitions as a value: what a pipeline file said, and which of its views are served and being built.
//!
//! Guarantee: reading a file back gives views with the hashes that the set holds for it, or an error.
//! Why so: a view may be served by an older file than the last one while its new definition is being built; so hashes
//! name the file that they come from, and a set holds each file that is named.
//! Not here: storing sets and giving out numbers (`registry.rs`).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use positions::{DefinitionHash, DefinitionNumber, TimestampMicros, ViewName};
use serde::{Deserialize, Serialize};
use views::Pipeline;
use xxhash_rust::xxh3::xxh3_128;

use crate::ServingError;

/// All view definitions of a deployment at one number. What of them is served may change while the number stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinitionSet {
    /// Its number, that of the entry with which it was claimed; a higher one replaces a lower one.
    pub number: DefinitionNumber,
    /// By name.
    pub views: BTreeMap<String, ViewState>,
    /// The files that the views come from. Empty where the set was claimed before files were kept.
    pub files: Vec<PipelineFile>,
    /// The sets that were present before and are not, by the digest of their hashes, with their last numbers: a process
    /// that starts with one of them is an old one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub past: BTreeMap<String, DefinitionNumber>,
    /// When what is being built comes to be served.
    #[serde(default, skip_serializing_if = "Flip::is_one_by_one")]
    pub flip: Flip,
}

/// When the new definitions of views come to be served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flip {
    /// Each view as soon as it answers completely.
    #[default]
    OneByOne,
    /// All views of the set in one step, once the last of them answers completely: whoever asks several of them never
    /// sees some by the former definitions and some by the present ones.
    Together,
}

impl Flip {
    /// What sets were before they could say so.
    fn is_one_by_one(&self) -> bool {
        *self == Self::OneByOne
    }
}

/// So many past sets are remembered, the newest ones: some kilobytes.
const MAX_PAST: usize = 1_000;

/// Where a view stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewState {
    /// The last definition whose answers were complete; `None` while the first one is being built.
    pub served: Option<Defined>,
    /// What is being built to take its place.
    pub building: Option<Defined>,
    /// What was served before, and is computed on beside for a time, so that there is a quick way back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
}

/// A definition of a view that was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The definition.
    pub defined: Defined,
    /// Until when it is computed, by the clock of whoever noted what took its place.
    pub until: TimestampMicros,
}

impl ViewState {
    /// What becomes of the state of a view when its definition is claimed.
    fn claim(before: Option<&Self>, claimed: Defined) -> Self {
        let kept = before.and_then(|before| before.kept).filter(|kept| kept.defined.hash != claimed.hash);
        match before.and_then(|before| before.served) {
            Some(served) if served.hash == claimed.hash => Self { served: Some(claimed), building: None, kept },
            served => Self { served, building: Some(claimed), kept },
        }
    }

    /// Serves what was being built; what was served before is kept until an instant, where one is given.
    fn flip(&mut self, keep_until: Option<TimestampMicros>) {
        let former = std::mem::replace(&mut self.served, self.building.take());
        if let (Some(defined), Some(until)) = (former, keep_until) {
            self.kept = Some(Kept { defined, until });
        }
    }

    /// All definitions that it speaks of.
    pub(crate) fn all(&self) -> impl Iterator<Item = Defined> {
        [self.served, self.building, self.kept.map(|kept| kept.defined)].into_iter().flatten()
    }
}

/// A definition of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Defined {
    /// Of the definition.
    pub hash: DefinitionHash,
    /// The number of the set that came with the file.
    pub file: DefinitionNumber,
}

/// A pipeline file and what it names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineFile {
    /// The number of the set that came with it.
    pub number: DefinitionNumber,
    /// The SQL.
    pub text: String,
    /// By location, as the SQL has it.
    pub static_files: BTreeMap<String, StaticFile>,
    /// The declared columns of each source, for people and other tools: the SQL says the same.
    pub sources: BTreeMap<String, Vec<SourceColumn>>,
}

/// A column as declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceColumn {
    /// Its name.
    pub name: String,
    /// Its type, in Arrow's words.
    pub data_type: String,
    /// False for NOT NULL.
    pub is_nullable: bool,
}

/// Names the bytes of a static file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaticFile {
    /// XXH3 of the bytes, 128 bits, in hexadecimal digits.
    pub digest: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// The set for which the object was stored; `None`: by a version that named objects by their content alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_for: Option<DefinitionNumber>,
}

/// A set as stored: as it is now, or as it was before files were kept.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Stored {
    Whole(DefinitionSet),
    Hashes { views: BTreeMap<String, DefinitionHash> },
}

impl DefinitionSet {
    /// The set that follows on `before` when a pipeline is claimed: what is not served yet is being built, and what is
    /// served goes on until then.
    pub(crate) fn claimed(
        number: DefinitionNumber,
        before: Option<&Self>,
        (pipeline, flip): (&Pipeline, Flip),
        static_files: BTreeMap<String, StaticFile>,
    ) -> Self {
        let views = pipeline.views.iter().map(|view| {
            let before = before.and_then(|before| before.views.get(view.name.as_str()));
            let claimed = Defined { hash: view.hash, file: number };
            (view.name.as_str().to_owned(), ViewState::claim(before, claimed))
        });
        let text = pipeline.text.to_string();
        let mut files = before.map(|before| before.files.clone()).unwrap_or_default();
        files.push(PipelineFile { number, text, static_files, sources: declared_columns(pipeline) });
        let past = before.map(|before| before.past.clone()).unwrap_or_default();
        let mut set = Self { number, views: views.collect(), files, past, flip };
        set.forget_files();
        set.note_past(before);
        set
    }

    /// Notes the set before as past, and that this one is not.
    fn note_past(&mut self, before: Option<&Self>) {
        if let Some(before) = before {
            self.past.insert(digest_of(&before.newest_hashes()), before.number);
        }
        let own = digest_of(&self.newest_hashes());
        self.past.remove(&own);
        while self.past.len() > MAX_PAST {
            let Some(oldest) = self.past.iter().min_by_key(|(_, number)| **number) else { return };
            let oldest = oldest.0.clone();
            self.past.remove(&oldest);
        }
    }

    /// The last number of the set with these newest definitions, where it was present before and is not.
    pub fn past_number(&self, newest: &BTreeMap<&str, DefinitionHash>) -> Option<DefinitionNumber> {
        self.past.get(&digest_of(newest)).copied()
    }

    /// Those of some definitions that may come to be served now: they are being built, and the flip does not wait for
    /// others.
    pub fn due(&self, complete: &BTreeMap<ViewName, DefinitionHash>) -> BTreeMap<ViewName, DefinitionHash> {
        let is_built = |(view, hash): &(&ViewName, &DefinitionHash)| {
            let building = self.views.get(view.as_str()).and_then(|state| state.building);
            building.is_some_and(|defined| defined.hash == **hash)
        };
        let built: BTreeMap<ViewName, DefinitionHash> =
            complete.iter().filter(is_built).map(|(view, hash)| (view.clone(), *hash)).collect();
        let waits = self.flip == Flip::Together && built.len() < self.being_built().count();
        if waits { BTreeMap::new() } else { built }
    }

    /// The same set once these definitions are served, which are those that are [`Self::due`]; `None` where there is
    /// none.
    pub(crate) fn with_served(
        &self,
        due: &BTreeMap<ViewName, DefinitionHash>,
        keep_until: Option<TimestampMicros>,
    ) -> Option<Self> {
        let mut set = self.clone();
        for (name, hash) in due {
            let state = set.views.get_mut(name.as_str());
            if let Some(state) = state.filter(|state| state.building.is_some_and(|defined| defined.hash == *hash)) {
                state.flip(keep_until);
            }
        }
        set.forget_files();
        (set.views != self.views).then_some(set)
    }

    /// The same set without what is kept no longer at this instant, and the names of those views; `None` where all is.
    pub(crate) fn without_expired(&self, now: TimestampMicros) -> Option<(Self, Vec<String>)> {
        let mut set = self.clone();
        let mut over = Vec::new();
        for (name, state) in &mut set.views {
            if state.kept.take_if(|kept| kept.until <= now).is_some() {
                over.push(name.clone());
            }
        }
        set.forget_files();
        (!over.is_empty()).then_some((set, over))
    }

    /// Keeps the newest file, and those that a view comes from.
    fn forget_files(&mut self) {
        let used = self.views.values().flat_map(ViewState::all);
        let mut used: BTreeSet<DefinitionNumber> = used.map(|defined| defined.file).collect();
        used.insert(self.number);
        self.files.retain(|file| used.contains(&file.number));
    }

    /// `number` is that of the entry: the set's own, where an earlier version stored hashes alone.
    pub(crate) fn from_stored(number: DefinitionNumber, stored: Stored) -> Self {
        match stored {
            Stored::Whole(set) => set,
            Stored::Hashes { views } => Self::of_hashes(number, views),
        }
    }

    fn of_hashes(number: DefinitionNumber, hashes: BTreeMap<String, DefinitionHash>) -> Self {
        let state = |hash| ViewState { served: Some(Defined { hash, file: number }), building: None, kept: None };
        let views = hashes.into_iter().map(|(name, hash)| (name, state(hash))).collect();
        Self { number, views, files: Vec::new(), past: BTreeMap::new(), flip: Flip::OneByOne }
    }

    /// The views of which a definition is being built.
    pub fn being_built(&self) -> impl Iterator<Item = &str> {
        self.views.iter().filter(|(_, state)| state.building.is_some()).map(|(name, _)| name.as_str())
    }

    /// Per view the hash of its newest definition, being built or served.
    pub fn newest_hashes(&self) -> BTreeMap<&str, DefinitionHash> {
        let newest = |state: &ViewState| state.building.or(state.served).map(|defined| defined.hash);
        self.views.iter().filter_map(|(name, state)| Some((name.as_str(), newest(state)?))).collect()
    }

    /// All definitions that it serves or builds.
    pub fn hashes(&self) -> impl Iterator<Item = DefinitionHash> {
        let states = self.views.values().flat_map(|state| [state.served, state.building]);
        states.flatten().map(|defined| defined.hash)
    }

    /// All static files that it names.
    pub(crate) fn static_files(&self) -> impl Iterator<Item = &StaticFile> {
        self.files.iter().flat_map(|file| file.static_files.values())
    }

    /// Whether its newest file is that of the pipeline, to the letter.
    pub(crate) fn is_written_as(&self, pipeline: &Pipeline) -> bool {
        self.file(self.number).is_some_and(|file| {
            let is_there = |(location, bytes): (&String, &Bytes)| {
                file.static_files.get(location).is_some_and(|named| named.is_of(bytes))
            };
            *file.text == *pipeline.text
                && file.static_files.len() == pipeline.static_files.len()
                && pipeline.static_files.iter().all(is_there)
        })
    }

    /// The file that came with a set.
    pub fn file(&self, number: DefinitionNumber) -> Option<&PipelineFile> {
        self.files.iter().find(|file| file.number == number)
    }

    /// Reads and plans a file of this set; `static_files` holds the bytes of all that it names.
    ///
    /// # Errors
    /// [`ServingError::Corrupt`]: this version of Twofold refuses the file, or its views get other hashes.
    pub fn read_file(
        &self,
        file: &PipelineFile,
        static_files: &BTreeMap<String, Bytes>,
    ) -> Result<Pipeline, ServingError> {
        let corrupt = |reason: String| ServingError::Corrupt {
            what: format!("the pipeline file of definition set {}", file.number.0),
            reason,
        };
        let pipeline = Pipeline::read(&file.text, static_files).map_err(|problems| corrupt(problems.to_string()))?;
        for (name, state) in &self.views {
            for defined in state.all() {
                let is_same = || pipeline.view(name).is_some_and(|view| view.hash == defined.hash);
                if defined.file == file.number && !is_same() {
                    return Err(corrupt(format!("view {name} has another hash than it was stored with")));
                }
            }
        }
        Ok(pipeline)
    }
}

impl StaticFile {
    pub(crate) fn of(bytes: &Bytes, stored_for: DefinitionNumber) -> Self {
        let size_bytes = u64::try_from(bytes.len()).expect("sizes fit into 64 bits");
        Self { digest: format!("{:032x}", xxh3_128(bytes)), size_bytes, stored_for: Some(stored_for) }
    }

    /// Whether these are its bytes.
    pub(crate) fn is_of(&self, bytes: &Bytes) -> bool {
        self.is_same(&Self::of(bytes, DefinitionNumber(0)))
    }

    /// Whether both have the same content.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (&self.digest, self.size_bytes) == (&other.digest, other.size_bytes)
    }

    /// The name of its object.
    pub fn object_name(&self) -> String {
        match self.stored_for {
            Some(number) => format!("{}-{:010}", self.digest, number.0),
            None => self.digest.clone(),
        }
    }

    /// The set for which an object of this name was stored; 0 where the name does not say so. `None`: it is not an
    /// object of a static file.
    pub(crate) fn stored_for(object_name: &str) -> Option<DefinitionNumber> {
        let (digest, number) = object_name.split_once('-').unwrap_or((object_name, "0"));
        let is_digest = digest.len() == 32 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        number.parse().ok().filter(|_| is_digest).map(DefinitionNumber)
    }
}

/// Names a set by the definitions of its views.
fn digest_of(hashes: &BTreeMap<&str, DefinitionHash>) -> String {
    let text: String = hashes.iter().map(|(view, hash)| format!("{view} {hash}\n")).collect();
    format!("{:032x}", xxh3_128(text.as_bytes()))
}

fn declared_columns(pipeline: &Pipeline) -> BTreeMap<String, Vec<SourceColumn>> {
    let columns = |schema: &arrow::datatypes::Schema| {
        let column = |field: &std::sync::Arc<arrow::datatypes::Field>| SourceColumn {
            name: field.name().clone(),
            data_type: field.data_type().to_string(),
            is_nullable: field.is_nullable(),
        };
        schema.fields().iter().map(column).collect()
    };
    let sources = pipeline.sources.iter();
    sources.map(|source| (source.name.as_str().to_owned(), columns(&source.declared))).collect()
}
