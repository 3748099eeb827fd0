//! The list of the files that were imported into a master dataset: which ones, and where their records are.
//!
//! ```text
//!  facts of the newest version --> page n --> page n-1 --> ... --> first page      each up to 100 files and a few more
//! ```
//!
//! In: files of one commit. Out: the name of a page, for the facts of that commit.
//! Guarantee: what facts name is whole, and never changes. A page that no facts name says nothing.
//! Why beside the facts and not in them: the archive writes the facts anew with every commit, and a year of hourly
//! files would make each of these a megabyte. Why pages: a commit then writes the last one again and no more. Pages
//! that were written again are left, as versions that are still kept name them.
//! Why the names of files and no word of their rows: nothing here has to be erased.

use std::collections::{HashMap, HashSet};

use lake::{Lake, LakeError};
use positions::{Offset, PartitionId, SourceName};
use serde::{Deserialize, Serialize};

/// Files of one page before the next one begins.
const PAGE_FILES: usize = 100;

/// What facts say of all imports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedSoFar {
    /// The newest page.
    pub page: String,
    /// Files on all pages.
    pub files: u64,
}

/// One file that was imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedFile {
    /// What it was called.
    pub name: String,
    /// What tells it from all others, whatever it is called: a hash of its bytes, or what its store says of them.
    pub identity: String,
    /// Where its records are.
    pub partition: PartitionId,
    /// The first of them.
    pub from: Offset,
    /// Behind the last one.
    pub to: Offset,
    /// Rows: at least one of each record.
    pub rows: u64,
    /// Of these, rejected ones.
    pub rejected: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Page {
    /// The page before it.
    before: Option<String>,
    files: Vec<ImportedFile>,
}

/// The list of one source. Cheap to clone; holds nothing that was read.
#[derive(Clone, Debug)]
pub struct ImportedList {
    lake: Lake,
    folder: String,
}

/// All files of the list as of some facts.
#[derive(Clone, Debug, Default)]
pub struct ImportedFiles {
    so_far: Option<ImportedSoFar>,
    newest: Page,
    identities: HashSet<String>,
    names: HashMap<String, String>,
}

impl ImportedFiles {
    /// As of which facts.
    pub fn so_far(&self) -> Option<&ImportedSoFar> {
        self.so_far.as_ref()
    }

    /// Whether a file of these bytes is in.
    pub fn contains(&self, identity: &str) -> bool {
        self.identities.contains(identity)
    }

    /// The identity of the file that was imported last under this name.
    pub fn identity_of(&self, name: &str) -> Option<&str> {
        self.names.get(name).map(String::as_str)
    }

    /// The names that begin with `start`, each with the identity of the last file of that name.
    pub fn named_below<'a>(&'a self, start: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let names = self.names.iter().filter(move |(name, _)| name.starts_with(start));
        names.map(|(name, identity)| (name.as_str(), identity.as_str()))
    }

    fn note(&mut self, file: &ImportedFile) {
        self.identities.insert(file.identity.clone());
        // Pages are read from the newest on: the last file of a name is the first that is met.
        self.names.entry(file.name.clone()).or_insert_with(|| file.identity.clone());
    }
}

impl ImportedList {
    /// That of a source. Does no IO.
    pub fn new(lake: &Lake, source: &SourceName) -> Self {
        Self { lake: lake.clone(), folder: format!("imports/{source}") }
    }

    /// All files that facts name. A request for each page.
    ///
    /// # Errors
    /// [`LakeError::Unreachable`]: try again. [`LakeError::Corrupt`]: a page is missing or broken.
    pub async fn load(&self, so_far: Option<&ImportedSoFar>) -> Result<ImportedFiles, LakeError> {
        let mut all = ImportedFiles { so_far: so_far.cloned(), ..ImportedFiles::default() };
        let mut next = so_far.map(|so_far| so_far.page.clone());
        let mut is_newest = true;
        while let Some(name) = next {
            let page = self.read(&name).await?;
            page.files.iter().rev().for_each(|file| all.note(file));
            next = page.before.clone();
            if std::mem::take(&mut is_newest) {
                all.newest = page;
            }
        }
        Ok(all)
    }

    /// Writes a page that names these files behind all that `known` names; returns all of them. They are on the list
    /// once facts name that page.
    ///
    /// # Errors
    /// [`LakeError::Unreachable`], [`LakeError::Full`]: nothing was added.
    pub async fn write(
        &self,
        known: &ImportedFiles,
        files: &[ImportedFile],
        nonce: u128,
    ) -> Result<ImportedFiles, LakeError> {
        let mut page = match known.newest.files.len() {
            0..PAGE_FILES => known.newest.clone(),
            _ => Page { before: known.so_far.as_ref().map(|so_far| so_far.page.clone()), files: Vec::new() },
        };
        page.files.extend_from_slice(files);
        let name = format!("{nonce:032x}");
        let path = self.lake.path(&format!("{}/{name}.json", self.folder));
        let bytes = serde_json::to_vec(&page).expect("names and numbers always serialise");
        self.lake.put_once(&path, bytes.into()).await?;
        let before = known.so_far.as_ref().map_or(0, |so_far| so_far.files);
        let so_far = ImportedSoFar { page: name, files: before + files.len() as u64 };
        let mut all = ImportedFiles { so_far: Some(so_far), newest: page, ..known.clone() };
        for file in files {
            all.identities.insert(file.identity.clone());
            all.names.insert(file.name.clone(), file.identity.clone());
        }
        Ok(all)
    }

    async fn read(&self, name: &str) -> Result<Page, LakeError> {
        let path = self.lake.path(&format!("{}/{name}.json", self.folder));
        let corrupt = |reason: String| LakeError::Corrupt { object: path.to_string(), reason };
        let bytes = self.lake.get(&path).await?;
        let way_out = "without it nobody knows which files are in: bring it back from a copy of the lake";
        let bytes = bytes.ok_or_else(|| corrupt(format!("the page of imported files is missing; {way_out}")))?;
        serde_json::from_slice(&bytes).map_err(|error| corrupt(format!("{error}; {way_out}")))
    }
}
