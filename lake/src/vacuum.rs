//! Deleting what no retained version needs: the log before the oldest of them, then data files and facts.
//!
//! Guarantee: a version that can be opened can be read. The log is cut first, at a checkpoint that was committed before
//! `grace` began, so that everything below it has been out of use for all that time; then those objects are deleted
//! that no version in the rest of the log names, and that are older than `grace` themselves. So `grace` must be longer
//! than the slowest reader of an expired version. Versions between that checkpoint and `oldest_kept` stay, too. What
//! was written for a version that does not exist yet stays in any case: its commit may come however late. Once the
//! version was made by another commit, it can never come; or whoever wrote it may know that it will not. On retry or
//! after a crash: every step leaves a table that can be read; the next call goes on.
//! Why so: logs are cut in rising order, one object after the other, so that a missing version means that everything
//! before it is missing too; `log.rs` relies on that. The clock is the caller's, compared with the store's own times.

use std::collections::HashSet;
use std::ops::AddAssign;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arrow::record_batch::RecordBatch;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::checkpoint::writer;
use crate::log::Listing;
use crate::table::FACTS_FOLDER;
use crate::{LakeError, Snapshot, Table, Version, commit, file};

/// Behind every time that a store gives to an object.
const FAR_OFF: Duration = Duration::from_secs(300 * 365 * 24 * 3_600);

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

impl AddAssign for Vacuumed {
    fn add_assign(&mut self, more: Self) {
        self.objects += more.objects;
        self.log_objects += more.log_objects;
        self.size_bytes += more.size_bytes;
    }
}

impl Table {
    /// Deletes the log that only versions below `oldest_kept` need, and the data files and facts that no version left
    /// in the log names; nothing that the store modified within `grace` before `now`, and nothing that was written for
    /// a version still to come.
    ///
    /// # Errors
    /// [`LakeError::Refused`]: `oldest_kept` does not exist. [`LakeError::Unreachable`]: call again.
    pub async fn vacuum(&self, oldest_kept: Version, grace: Duration, now: SystemTime) -> Result<Vacuumed, LakeError> {
        self.vacuum_given_up(oldest_kept, (grace, now), &|_| false).await
    }

    /// As [`Self::vacuum`], and of what was written for a version still to come those data files of which `is_given_up`
    /// says that none will name them. It is asked by their names.
    ///
    /// # Errors
    /// As there.
    pub async fn vacuum_given_up(
        &self,
        oldest_kept: Version,
        (grace, now): (Duration, SystemTime),
        is_given_up: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<Vacuumed, LakeError> {
        let before = now.checked_sub(grace).and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        let before_micros = i64::try_from(before.as_micros()).unwrap_or(0);
        let mut deleted = Vacuumed::default();
        self.cut_log(oldest_kept, before_micros, &mut deleted).await?;
        let (named, newest) = self.named_objects().await?;
        let mut objects = self.lake().store().list(Some(self.path()));
        let failed = |error| LakeError::store(self.path(), error);
        while let Some(object) = objects.try_next().await.map_err(failed)? {
            let is_of_known_version = self.is_of_known_version(&object.location, newest, is_given_up);
            if is_of_known_version && !named.contains(&object.location) && is_old(&object, before_micros) {
                self.delete(&object, &mut deleted).await?;
                deleted.objects += 1;
            }
        }
        Ok(deleted)
    }

    /// Leaves `newest`, which must be the newest version, and nothing before it: neither commits and checkpoints, whose
    /// statistics quote values, nor the files of earlier versions, however young. Whoever reads one of those meets
    /// missing files, and has to begin again with the newest.
    ///
    /// # Errors
    /// [`LakeError::Unreachable`], [`LakeError::Full`]: call again.
    pub async fn purge(&self, newest: &Snapshot) -> Result<Vacuumed, LakeError> {
        writer::write(newest).await?;
        self.vacuum(newest.version(), Duration::ZERO, UNIX_EPOCH + FAR_OFF).await
    }

    /// Data files that no version names, and that one still to come may name, as far as the table knows: those of a
    /// compaction at work, or of one that was killed.
    ///
    /// # Errors
    /// [`LakeError::Unreachable`]: call again.
    pub async fn stray_files(&self) -> Result<Vec<String>, LakeError> {
        let (named, _) = self.named_objects().await?;
        let objects = self.lake().objects(self.path()).await?;
        let strays = objects.into_iter().filter(|object| !named.contains(&object.location)).filter_map(|object| {
            let mut parts = object.location.prefix_match(self.path())?;
            let (first, below) = (parts.next()?, parts.next());
            let name: &str = first.as_ref();
            (below.is_none() && file::last_version_of(name).is_some()).then(|| name.to_owned())
        });
        Ok(strays.collect())
    }

    /// The rows of a file that no version names, as they are stored; none where it is gone or broken.
    ///
    /// # Errors
    /// [`LakeError::Unreachable`]: call again.
    pub async fn read_stray(&self, path: &str) -> Result<Vec<RecordBatch>, LakeError> {
        let Some(bytes) = self.lake().get(&self.object_path(path)).await? else { return Ok(Vec::new()) };
        // One that was put is whole; what is no Parquet holds no rows that anybody reads.
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).and_then(|builder| builder.build());
        Ok(reader.map_or_else(|_| Vec::new(), |reader| reader.filter_map(Result::ok).collect()))
    }

    /// Deletes a file that no version will name.
    ///
    /// # Errors
    /// [`LakeError::Unreachable`]: call again.
    pub async fn delete_stray(&self, path: &str) -> Result<(), LakeError> {
        self.lake().delete_if_there(&self.object_path(path)).await
    }

    /// Deletes commits and checkpoints below the newest checkpoint that `oldest_kept` can be opened from and that was
    /// committed before the grace.
    async fn cut_log(&self, oldest_kept: Version, before_micros: i64, deleted: &mut Vacuumed) -> Result<(), LakeError> {
        let listing = self.log().list(Version(0)).await?;
        if listing.newest().is_none_or(|newest| newest < oldest_kept) {
            return Err(LakeError::refused(self.folder(), format!("version {oldest_kept} does not exist")));
        }
        let Some(checkpoint) = self.settled_checkpoint(&listing, oldest_kept, before_micros).await? else {
            return Ok(());
        };
        for version in listing.commits.union(&listing.checkpoints).filter(|version| **version < checkpoint) {
            for path in [self.log().checkpoint_path(*version), self.log().commit_path(*version)] {
                let Some(object) = self.lake().head(&path).await? else { continue };
                if !is_old(&object, before_micros) {
                    return Ok(());
                }
                self.delete(&object, deleted).await?;
                deleted.log_objects += 1;
            }
        }
        Ok(())
    }

    /// The newest checkpoint at or below `oldest_kept` whose commit is old. The age of the versions below would not do:
    /// the last of them was in use until that commit, and its files may have been removed by it.
    async fn settled_checkpoint(
        &self,
        listing: &Listing,
        oldest_kept: Version,
        before_micros: i64,
    ) -> Result<Option<Version>, LakeError> {
        for version in listing.checkpoints.range(..=oldest_kept).rev() {
            let commit = self.lake().head(&self.log().commit_path(*version)).await?;
            let is_settled = commit.is_some_and(|commit| is_old(&commit, before_micros));
            // Behind another tool's, or one that cannot be read, the commits are still needed.
            if is_settled && matches!(self.read_checkpoint(*version).await, Ok(Some(_))) {
                return Ok(Some(*version));
            }
        }
        Ok(None)
    }

    /// The full paths of data files and facts that any version in the log names, and the newest version read.
    async fn named_objects(&self) -> Result<(HashSet<Path>, Version), LakeError> {
        let listing = self.log().list(Version(0)).await?;
        let snapshot = match listing.oldest() {
            Some(oldest) => self.open_at(oldest).await?,
            None => None,
        };
        let snapshot =
            snapshot.ok_or_else(|| LakeError::corrupt(self.folder(), "no version of the log can be opened"))?;
        let mut named: HashSet<Path> = snapshot.files().iter().map(|file| self.object_path(&file.path)).collect();
        named.extend(snapshot.state().transaction.map(|transaction| self.facts_path(transaction)));
        let mut newest = snapshot.version();
        while let Some(actions) = self.log().read_commit(newest.next()).await? {
            newest = newest.next();
            named
                .extend(actions.iter().filter_map(|action| action.add.as_ref()).map(|add| self.object_path(&add.path)));
            let transaction = crate::action::transaction_of(&actions);
            named.extend(transaction.map(|transaction| self.facts_path(transaction)));
        }
        // Whatever stands in the way of reading all of the log, nothing may be deleted for it.
        if listing.newest().is_none_or(|listed| listed > newest) {
            return Err(LakeError::corrupt(self.log().commit_path(newest.next()), "the object is missing"));
        }
        Ok((named, newest))
    }

    /// Whether an object is one that we write beside the log, for a version that exists by now or never will.
    fn is_of_known_version(&self, object: &Path, newest: Version, is_given_up: &dyn Fn(&str) -> bool) -> bool {
        let Some(mut parts) = object.prefix_match(self.path()) else { return false };
        let (first, second, third) = (parts.next(), parts.next(), parts.next());
        match (first, second, third) {
            (Some(name), None, None) => {
                let is_to_come = file::last_version_of(name.as_ref()).is_some_and(|last| last > newest);
                name.as_ref().ends_with(".parquet") && (!is_to_come || is_given_up(name.as_ref()))
            }
            (Some(folder), Some(name), None) if folder.as_ref() == FACTS_FOLDER => {
                let transaction = name.as_ref().strip_suffix(".json").map(|digits| i64::from_str_radix(digits, 16));
                transaction.is_some_and(|number| !number.is_ok_and(|number| commit::is_to_come(number, newest)))
            }
            _ => false,
        }
    }

    async fn delete(&self, object: &ObjectMeta, deleted: &mut Vacuumed) -> Result<(), LakeError> {
        self.lake().delete_if_there(&object.location).await?;
        deleted.size_bytes += object.size;
        Ok(())
    }
}

fn is_old(object: &ObjectMeta, before_micros: i64) -> bool {
    object.last_modified.timestamp_micros() < before_micros
}
