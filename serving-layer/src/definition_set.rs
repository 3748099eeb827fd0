//! A set of definitions as a value: what a pipeline file said, and which of its views are served and being built.
//!
//! Guarantee: reading a file back gives views with the hashes that the set holds for it, or an error.
//! Why so: a view may be served by an older file than the last one while its new definition is being built; so hashes
//! name the file that they come from, and a set holds each file that is named.
//! Not here: storing sets and giving out numbers (`registry.rs`).

use std::collections::BTreeMap;

use bytes::Bytes;
use positions::{DefinitionHash, DefinitionNumber};
use serde::{Deserialize, Serialize};
use views::Pipeline;
use xxhash_rust::xxh3::xxh3_128;

use crate::ServingError;

/// All view definitions of a deployment at one number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinitionSet {
    /// Its number; a higher one replaces a lower one.
    pub number: DefinitionNumber,
    /// By name.
    pub views: BTreeMap<String, ViewState>,
    /// The files that the views come from. Empty where the set was claimed before files were kept.
    pub files: Vec<PipelineFile>,
}

/// Where a view stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewState {
    /// What answers; `None` while the first definition is being built.
    pub served: Option<Defined>,
    /// What is being built to take its place.
    pub building: Option<Defined>,
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
}

/// A set as stored: as it is now, or as it was before files were kept.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Stored {
    Whole(DefinitionSet),
    Hashes { views: BTreeMap<String, DefinitionHash> },
}

impl DefinitionSet {
    /// A set of which every view is served by one file.
    pub(crate) fn served(
        number: DefinitionNumber,
        pipeline: &Pipeline,
        static_files: &[(String, StaticFile, Bytes)],
    ) -> Self {
        let hashes = pipeline.views.iter().map(|view| (view.name.as_str().to_owned(), view.hash)).collect();
        let static_files = static_files.iter().map(|(location, file, _)| (location.clone(), file.clone())).collect();
        let text = pipeline.text.to_string();
        let files = vec![PipelineFile { number, text, static_files, sources: declared_columns(pipeline) }];
        Self { files, ..Self::of_hashes(number, hashes) }
    }

    pub(crate) fn from_stored(number: DefinitionNumber, stored: Stored) -> Self {
        match stored {
            Stored::Whole(set) => Self { number, ..set },
            Stored::Hashes { views } => Self::of_hashes(number, views),
        }
    }

    fn of_hashes(number: DefinitionNumber, hashes: BTreeMap<String, DefinitionHash>) -> Self {
        let state = |hash| ViewState { served: Some(Defined { hash, file: number }), building: None };
        let views = hashes.into_iter().map(|(name, hash)| (name, state(hash))).collect();
        Self { number, views, files: Vec::new() }
    }

    /// Per view the hash of its newest definition, being built or served.
    pub fn newest_hashes(&self) -> BTreeMap<&str, DefinitionHash> {
        let newest = |state: &ViewState| state.building.or(state.served).map(|defined| defined.hash);
        self.views.iter().filter_map(|(name, state)| Some((name.as_str(), newest(state)?))).collect()
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
            for defined in [state.served, state.building].into_iter().flatten() {
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
    pub(crate) fn of(bytes: &Bytes) -> Self {
        let size_bytes = u64::try_from(bytes.len()).expect("sizes fit into 64 bits");
        Self { digest: format!("{:032x}", xxh3_128(bytes)), size_bytes }
    }
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
