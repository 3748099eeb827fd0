//! Examining a table that something happened to, and mending what its own objects allow.
//!
//! In: the objects of a table. Out: [`Examination`]: the newest version that can be read as Twofold left it, and what
//! stands between it and the newest there is. [`Table::repair`] makes it the newest again.
//! Guarantee: examining changes nothing. Mending is one commit under the rule of all commits, so it may run beside
//! writers, and done twice it finds nothing to do. Only commits that nobody can read are written over, each on
//! condition that it is what was examined. The lowest comes last: until then none can be read, so that no version ever
//! shows which lacks the rows of one below it. After a crash the next call goes on.
//! Not here: rows of files that are gone: only who knows where they came from can bring them back (`batch-layer`).

use std::collections::HashMap;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, UpdateVersion};
use serde::de::IgnoredAny;

use crate::foreign::Foreign;
use crate::snapshot::State;
use crate::store::Put;
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
    /// The versions above it, newest first.
    pub unreadable: Vec<Unreadable>,
    /// Its files that are gone, or not as long as they were committed.
    pub missing: Vec<DataFile>,
}

/// A version that cannot be read.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// Which.
    pub version: Version,
    /// Why not.
    pub reason: String,
    /// The object of its commit before it was read, where there was one.
    seen: Option<UpdateVersion>,
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
            let seen = self.lake().get_with_version(&self.log().commit_path(version)).await?.map(|(_, seen)| seen);
            let loaded = self.load(&listing, version).await;
            match loaded.and_then(|snapshot| self.with_whole_facts(snapshot)) {
                Ok(snapshot) => break snapshot,
                Err(error @ LakeError::Corrupt { .. }) => {
                    unreadable.push(Unreadable { version, reason: error.to_string(), seen });
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

    /// Whether [`Self::repair`] can put the table back. Reads nothing.
    ///
    /// # Errors
    /// [`LakeError::Refused`]: no commit can.
    pub fn check_repair(&self, examined: &Examination) -> Result<(), LakeError> {
        self.facts_to_keep(&examined.snapshot).map(drop)
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
        match examined.unreadable.split_last() {
            None => self.commit_checked(&examined.snapshot, Change::default(), None, facts, nonce).await,
            Some(broken) => self.write_over(&examined.snapshot, broken, facts, nonce).await,
        }
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

    /// Makes the commits that cannot be read, the lowest and those above it, such that change nothing; behind them
    /// comes one that whoever still goes on from one of them finds in the way.
    async fn write_over(
        &self,
        on: &Snapshot,
        (lowest, above): (&Unreadable, &[Unreadable]),
        facts: Bytes,
        nonce: u128,
    ) -> Result<Snapshot, LakeError> {
        // It cannot be read either, and with it none of those above.
        let claim = Bytes::from(format!("a repair is under way, {nonce:032x}"));
        self.replace_commit(lowest.version, lowest.seen.as_ref(), claim.clone()).await?;
        let state = State { foreign: Foreign::default(), ..on.state().clone() };
        let plain = Snapshot::new(self.clone(), on.version(), state.clone(), Some(facts.clone()));
        let nothing = Change::default();
        for broken in above {
            let draft = self.draft(&plain, &nothing, None, &facts, (nonce, broken.version)).await?;
            self.replace_commit(broken.version, broken.seen.as_ref(), draft.bytes.into()).await?;
        }
        let next = above.first().unwrap_or(lowest).version.next();
        let last = self.draft(&plain, &nothing, None, &facts, (nonce, next)).await?;
        self.replace_commit(next, None, last.bytes.into()).await?;
        let claimed = self.lake().get_with_version(&self.log().commit_path(lowest.version)).await?;
        let Some((_, claimed)) = claimed.filter(|(bytes, _)| *bytes == claim) else {
            return Err(self.conflict_at(lowest.version));
        };
        let draft = self.draft(on, &nothing, None, &facts, (nonce, lowest.version)).await?;
        self.replace_commit(lowest.version, Some(&claimed), draft.bytes.into()).await?;
        let state = State { transaction: Some(last.transaction), ..state };
        let repaired = Snapshot::new(self.clone(), next, state, Some(facts));
        self.write_checkpoint(&repaired).await;
        Ok(repaired)
    }

    /// Puts a commit in the place of one that cannot be read, or of none, and of nothing else. A checkpoint of that
    /// version would not be the sum of what is there now.
    async fn replace_commit(
        &self,
        version: Version,
        seen: Option<&UpdateVersion>,
        bytes: Bytes,
    ) -> Result<(), LakeError> {
        match self.lake().replace(&self.log().commit_path(version), seen, bytes).await? {
            Put::New => self.lake().delete_if_there(&self.log().checkpoint_path(version)).await,
            Put::Exists => Err(self.conflict_at(version)),
        }
    }

    fn conflict_at(&self, version: Version) -> LakeError {
        LakeError::Conflict { table: self.folder().to_owned(), expected: version }
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
