//! Deleting what no retained version needs: data files, facts, and the log before the oldest retained version.
//!
//! Guarantee: an object that a version at or above `oldest_kept` names is never deleted, nor any object younger than
//! `grace`: files are written before the commit that names them, so `grace` must be longer than the slowest commit
//! and the slowest reader of an expired version.
//! On retry or after a crash: every step leaves a table that can be read; the next call goes on.
//! Why so: logs are cut in rising order, one object after the other, so that a missing version means that everything
//! before it is missing too; `commit.rs` and `table.rs` rely on that.

use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::{LakeError, Table, Version};

/// What a call deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vacuumed {
    /// Data files and facts.
    pub objects: u64,
    /// Commits and checkpoints.
    pub log_objects: u64,
    /// The sum of their sizes.
    pub size_bytes: u64,
}

impl Table {
    /// Deletes data files and facts that no version at or above `oldest_kept` names, and the log that only older
    /// versions need; nothing that the store modified within `grace` before `now`.
    ///
    /// # Errors
    /// [`LakeError::Refused`]: `oldest_kept` does not exist. [`LakeError::Unreachable`]: call again.
    pub async fn vacuum(&self, oldest_kept: Version, grace: Duration, now: SystemTime) -> Result<Vacuumed, LakeError> {
        let before = now.checked_sub(grace).and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        let before_micros = i64::try_from(before.as_micros()).unwrap_or(0);
        let named = self.named_objects(oldest_kept).await?;
        let mut deleted = Vacuumed::default();
        let mut objects = self.lake().store().list(Some(self.path()));
        let failed = |error| LakeError::store(self.path(), error);
        while let Some(object) = objects.try_next().await.map_err(failed)? {
            if self.is_ours(&object.location) && !named.contains(&object.location) && is_old(&object, before_micros) {
                self.delete(&object, &mut deleted.size_bytes).await?;
                deleted.objects += 1;
            }
        }
        deleted.log_objects = self.cut_log(oldest_kept, before_micros, &mut deleted.size_bytes).await?;
        Ok(deleted)
    }

    /// The full paths of data files and facts that a version at or above `oldest` names.
    async fn named_objects(&self, oldest: Version) -> Result<HashSet<Path>, LakeError> {
        let Some(snapshot) = self.open_at(oldest).await? else {
            return Err(LakeError::refused(self.folder(), format!("version {oldest} is not in the log")));
        };
        let mut named: HashSet<Path> = snapshot.files().iter().map(|file| self.object_path(&file.path)).collect();
        named.extend(snapshot.state().transaction.map(|transaction| self.facts_path(transaction)));
        let mut version = oldest.next();
        while let Some(actions) = self.log().read_commit(version).await? {
            named
                .extend(actions.iter().filter_map(|action| action.add.as_ref()).map(|add| self.object_path(&add.path)));
            let transaction = crate::action::transaction_of(&actions);
            named.extend(transaction.map(|transaction| self.facts_path(transaction)));
            version = version.next();
        }
        Ok(named)
    }

    /// Whether an object is one that we write beside the log.
    fn is_ours(&self, object: &Path) -> bool {
        let Some(mut parts) = object.prefix_match(self.path()) else { return false };
        let (first, second, third) = (parts.next(), parts.next(), parts.next());
        match (first, second, third) {
            (Some(file), None, None) => file.as_ref().ends_with(".parquet"),
            (Some(folder), Some(file), None) => {
                folder.as_ref() == crate::commit::FACTS_FOLDER && file.as_ref().ends_with(".json")
            }
            _ => false,
        }
    }

    /// Deletes commits and checkpoints below the newest checkpoint that `oldest_kept` can be opened from.
    async fn cut_log(&self, oldest_kept: Version, before_micros: i64, size_bytes: &mut u64) -> Result<u64, LakeError> {
        let listing = self.log().list(Version(0)).await?;
        let Some(checkpoint) = listing.checkpoint_for(oldest_kept) else { return Ok(0) };
        let mut deleted = 0;
        for version in listing.commits.union(&listing.checkpoints).filter(|version| **version < checkpoint) {
            for path in [self.log().checkpoint_path(*version), self.log().commit_path(*version)] {
                let Some(object) = self.head(&path).await? else { continue };
                if !is_old(&object, before_micros) {
                    return Ok(deleted);
                }
                self.delete(&object, size_bytes).await?;
                deleted += 1;
            }
        }
        Ok(deleted)
    }

    async fn head(&self, path: &Path) -> Result<Option<ObjectMeta>, LakeError> {
        match self.lake().store().head(path).await {
            Ok(object) => Ok(Some(object)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(LakeError::store(path, error)),
        }
    }

    async fn delete(&self, object: &ObjectMeta, size_bytes: &mut u64) -> Result<(), LakeError> {
        match self.lake().store().delete(&object.location).await {
            Ok(()) | Err(Error::NotFound { .. }) => {
                *size_bytes += object.size;
                Ok(())
            }
            Err(error) => Err(LakeError::store(&object.location, error)),
        }
    }
}

fn is_old(object: &ObjectMeta, before_micros: i64) -> bool {
    object.last_modified.timestamp_micros() < before_micros
}
