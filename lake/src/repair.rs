//! Examining a table that something happened to, and mending what its own objects allow.
//!
//! In: the objects of a table. Out: [`Examination`]: the newest version that can be read as Twofold left it, and what
//! stands between it and the newest there is. [`Table::repair`] makes it the newest again.
//! Guarantee: examining changes nothing. Mending is one commit under the rule of all commits, so it may run beside
//! writers, and done twice it finds nothing to do. Only commits that nobody can read are written over, lowest first;
//! after a crash the next call goes on.
//! Not here: rows of files that are gone: only who knows where they came from can bring them back (`batch-layer`).

use std::collections::HashMap;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use serde::de::IgnoredAny;

use crate::foreign::Foreign;
use crate::snapshot::State;
use crate::{Change, DataFile, LakeError, Snapshot, Table, Version};

/// How many commits may be in the way of the newest that can be read.
const MAX_UNREADABLE: usize = 100;

/// What is wrong with a table, as far as its objects tell.
#[derive(Clone, Debug)]
pub struct Examination {
    /// The newest version that can be read, as Twofold left it.
    pub snapshot: Snapshot,
    /// What other tools did to its rows since, in words.
    pub foreign: Option<String>,
    /// The versions above it, newest first, each with why it cannot be read.
    pub unreadable: Vec<(Version, String)>,
    /// Its files that are gone, or not as long as they were committed.
    pub missing: Vec<DataFile>,
}

impl Examination {
    /// Whether another commit of ours would change what anybody sees.
    pub fn has_to_be_put_back(&self) -> bool {
        !self.unreadable.is_empty() || self.snapshot.is_beside_others()
    }

    /// Whether nothing is wrong.
    pub fn is_whole(&self) -> bool {
        !self.has_to_be_put_back() && self.missing.is_empty()
    }
}

impl Snapshot {
    /// The live files that are gone from the store, or not as long as they were committed. One listing of the folder.
    ///
    /// # Errors
    /// [`LakeError::Unreachable`]: try again.
    pub async fn missing_files(&self) -> Result<Vec<DataFile>, LakeError> {
        let table = self.table();
        let listed = table.lake().store().list_with_delimiter(Some(table.path())).await;
        let listed = listed.map_err(|error| LakeError::store(table.path(), error))?;
        let size = |object: ObjectMeta| (object.location, object.size);
        let sizes: HashMap<Path, u64> = listed.objects.into_iter().map(size).collect();
        let is_missing = |file: &&DataFile| sizes.get(&table.object_path(&file.path)) != Some(&file.size_bytes);
        Ok(self.files().iter().filter(is_missing).cloned().collect())
    }
}

impl Table {
    /// Looks for the newest version that can be read, and for its files; `None` where there is no table. Reads the log
    /// once for each version that cannot be read.
    ///
    /// # Errors
    /// [`LakeError::Corrupt`]: no version can be read, or too many cannot; the newest is named.
    /// [`LakeError::Unreachable`]: try again.
    pub async fn examine(&self) -> Result<Option<Examination>, LakeError> {
        let listing = self.log().list(Version(0)).await?;
        let Some(newest) = listing.newest() else { return Ok(None) };
        let mut unreadable = Vec::new();
        let (mut first, mut version) = (None, newest);
        let snapshot = loop {
            let loaded = self.load(&listing, version).await;
            match loaded.and_then(|snapshot| self.with_whole_facts(snapshot)) {
                Ok(snapshot) => break snapshot,
                Err(error @ LakeError::Corrupt { .. }) => {
                    unreadable.push((version, error.to_string()));
                    let first = first.get_or_insert(error);
                    if version <= Version(0) || unreadable.len() > MAX_UNREADABLE {
                        return Err(LakeError::corrupt(self.folder(), first));
                    }
                    version = Version(version.0 - 1);
                }
                Err(error) => return Err(error),
            }
        };
        let missing = snapshot.missing_files().await?;
        Ok(Some(Examination { foreign: snapshot.state().foreign.words(), snapshot, unreadable, missing }))
    }

    /// Makes the version that was found the newest again: what other tools did is left out, and the versions that
    /// cannot be read are written over as ones that changed nothing. `nonce` as in [`Table::commit`].
    ///
    /// # Errors
    /// [`LakeError::Conflict`]: somebody committed meanwhile; examine again. [`LakeError::Refused`]: no commit can put
    /// the table back. [`LakeError::Unreachable`]: it is unknown what was done; examine again.
    pub async fn repair(&self, examined: &Examination, nonce: u128) -> Result<Snapshot, LakeError> {
        if !examined.has_to_be_put_back() {
            return Ok(examined.snapshot.clone());
        }
        let facts = self.facts_to_keep(&examined.snapshot)?;
        let on = self.write_over(examined, &facts, nonce).await?;
        self.commit_checked(&on, Change::default(), None, facts, nonce).await
    }

    /// Commits on exactly `on` that nothing changed, so that other tools see what we see. `nonce` as in
    /// [`Table::commit`].
    ///
    /// # Errors
    /// As [`Self::repair`].
    pub async fn put_back(&self, on: &Snapshot, nonce: u128) -> Result<Snapshot, LakeError> {
        let facts = self.facts_to_keep(on)?;
        self.commit_checked(on, Change::default(), None, facts, nonce).await
    }

    /// The facts that the next version has, too, unless no commit can put the table back.
    fn facts_to_keep(&self, on: &Snapshot) -> Result<Bytes, LakeError> {
        if on.state().foreign.has_vectors {
            let reason = "another tool marked rows of our files as deleted, and no commit of ours takes that back; move \
                          its folder away";
            return Err(LakeError::refused(self.folder(), reason));
        }
        let nothing = || LakeError::refused(self.folder(), "nothing of Twofold is in it yet; move its folder away");
        on.facts_bytes().cloned().ok_or_else(nothing)
    }

    /// Makes commits that cannot be read such that change nothing; what the last of them leads to.
    async fn write_over(&self, examined: &Examination, facts: &Bytes, nonce: u128) -> Result<Snapshot, LakeError> {
        let mut on = examined.snapshot.clone();
        for (version, _) in examined.unreadable.iter().rev() {
            let draft = self.draft(&on, &Change::default(), None, facts, (nonce, *version)).await?;
            // First, so that no reader takes it for the sum of what now is there.
            self.lake().delete_if_there(&self.log().checkpoint_path(*version)).await?;
            self.lake().put(&self.log().commit_path(*version), draft.bytes.into()).await?;
            let transaction = Some(draft.transaction);
            let state = State { transaction, foreign: Foreign::default(), ..on.state().clone() };
            on = Snapshot::new(self.clone(), *version, state, Some(facts.clone()));
        }
        Ok(on)
    }

    /// A snapshot whose facts are JSON, whatever they say.
    fn with_whole_facts(&self, snapshot: Snapshot) -> Result<Snapshot, LakeError> {
        let checked = snapshot.facts_bytes().map(|facts| serde_json::from_slice::<IgnoredAny>(facts)).transpose();
        match checked {
            Ok(_) => Ok(snapshot),
            Err(error) => {
                let object = format!("facts of {} version {}", self.folder(), snapshot.version());
                Err(LakeError::corrupt(object, error))
            }
        }
    }
}
