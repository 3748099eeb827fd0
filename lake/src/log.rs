//! The objects of a table's log: their names, finding them, reading one.
//!
//! Guarantee: a commit that exists is read whole or reported as broken with its name.
//! Not here: what the actions add up to (`snapshot.rs`), writing commits (`commit.rs`).

use std::collections::BTreeSet;

use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;

use crate::action::{self, Action};
use crate::{Lake, LakeError, Version};

const COMMIT_SUFFIX: &str = ".json";
const CHECKPOINT_SUFFIX: &str = ".checkpoint.parquet";

/// The log of one table.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    lake: Lake,
    folder: Path,
}

/// The versions that a listing found.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) commits: BTreeSet<Version>,
    pub(crate) checkpoints: BTreeSet<Version>,
}

impl Listing {
    pub(crate) fn newest(&self) -> Option<Version> {
        self.commits.last().max(self.checkpoints.last()).copied()
    }

    /// The oldest version that can be opened.
    pub(crate) fn oldest(&self) -> Option<Version> {
        let is_uncut = self.newest().is_some_and(|newest| (0..=newest.0).map(Version).eq(self.commits.iter().copied()));
        if is_uncut { Some(Version(0)) } else { self.checkpoints.first().copied() }
    }

    pub(crate) fn holds(&self, version: Version) -> bool {
        self.commits.contains(&version) || self.checkpoints.contains(&version)
    }

    /// The newest checkpoint at or below `version`.
    pub(crate) fn checkpoint_for(&self, version: Version) -> Option<Version> {
        self.checkpoints.range(..=version).next_back().copied()
    }
}

impl Log {
    pub(crate) fn new(lake: Lake, table: &Path) -> Self {
        Self { lake, folder: table.clone().join("_delta_log") }
    }

    pub(crate) fn commit_path(&self, version: Version) -> Path {
        self.folder.clone().join(format!("{:020}{COMMIT_SUFFIX}", version.0))
    }

    pub(crate) fn checkpoint_path(&self, version: Version) -> Path {
        self.folder.clone().join(format!("{:020}{CHECKPOINT_SUFFIX}", version.0))
    }

    /// The object that names a recent checkpoint.
    pub(crate) fn last_checkpoint_path(&self) -> Path {
        self.folder.clone().join("_last_checkpoint")
    }

    /// All commits and checkpoints at or above `from`. One listing.
    pub(crate) async fn list(&self, from: Version) -> Result<Listing, LakeError> {
        let store = self.lake.store();
        let objects = if from.0 <= 0 {
            store.list(Some(&self.folder))
        } else {
            // Behind every object of the version before `from`, and before those of `from`.
            let offset = self.folder.clone().join(format!("{:020}~", from.0 - 1));
            store.list_with_offset(Some(&self.folder), &offset)
        };
        let mut listing = Listing::default();
        let mut objects = objects.map_err(|error| LakeError::store(&self.folder, error));
        while let Some(object) = objects.try_next().await? {
            let Some(name) = object.location.filename() else { continue };
            if let Some(version) = version_of(name, COMMIT_SUFFIX) {
                listing.commits.insert(version);
            } else if let Some(version) = version_of(name, CHECKPOINT_SUFFIX) {
                listing.checkpoints.insert(version);
            }
        }
        Ok(listing)
    }

    /// The version of a recent checkpoint, where the log names one.
    pub(crate) async fn last_checkpoint(&self) -> Result<Option<Version>, LakeError> {
        let path = self.last_checkpoint_path();
        // It only saves a longer listing: what cannot be read is passed over.
        let Some(bytes) = self.lake.get(&path).await? else { return Ok(None) };
        let value: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
        Ok(value.and_then(|value| value.get("version")?.as_i64()).map(Version))
    }

    /// The actions of one commit, or `None` where there is none.
    pub(crate) async fn read_commit(&self, version: Version) -> Result<Option<Vec<Action>>, LakeError> {
        let path = self.commit_path(version);
        let Some(bytes) = self.lake.get(&path).await? else { return Ok(None) };
        action::parse(&bytes).map(Some).map_err(|reason| LakeError::corrupt(&path, reason))
    }

    /// Whether the log still holds the commit that made a version, known by its transaction number. That of another
    /// tool bears none of ours, and stands for itself.
    ///
    /// Logs are cut from their start. While a commit is there, the one after it was never cut away: what is found
    /// under the next number is the next version, and what is not found there does not exist yet.
    pub(crate) async fn holds(&self, version: Version, transaction: Option<i64>) -> Result<bool, LakeError> {
        let actions = self.read_commit(version).await?;
        let is_it = |found: Option<i64>| found.is_none() || found == transaction;
        Ok(actions.is_some_and(|actions| is_it(action::transaction_of(&actions))))
    }
}

fn version_of(name: &str, suffix: &str) -> Option<Version> {
    let digits = name.strip_suffix(suffix)?;
    (digits.len() == 20).then(|| digits.parse().ok().map(Version)).flatten()
}
