//! Removing what no set of definitions needs any more: old entries, then static files that none of those left names.
//!
//! Guarantee: the newest sets stay, and so does every entry that was among them within the grace: whoever has just read
//! one finds its static files. On retry or after a crash the next call goes on.
//! Why so: a static file bears the number of the set for which it was stored. A claim names files of the set directly
//! before it, or stores its own; so a file that no entry names, and whose number was given to some set, will never be
//! named again. One with a number still to come stays, however old: its claim may come however late. The clock decides
//! about readers alone.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use lake::Vacuumed;
use lake::sequence::Number;
use object_store::ObjectMeta;
use positions::{DefinitionHash, DefinitionNumber, TimestampMicros};

use super::{DefinitionRegistry, from_lake, read_set};
use crate::ServingError;
use crate::definition_set::{DefinitionSet, StaticFile};

impl DefinitionRegistry {
    /// Deletes all but the newest `keep` sets (at least 1), and static files that no entry left names; nothing that was
    /// in use within `grace` before `now`.
    ///
    /// # Errors
    /// [`ServingError::Unreachable`]: call again. [`ServingError::Corrupt`]: an entry cannot be read, so that nobody
    /// knows what it names; no static file was deleted.
    pub async fn clean(&self, keep: usize, grace: Duration, now: TimestampMicros) -> Result<Vacuumed, ServingError> {
        let mut deleted = Vacuumed::default();
        let mut entries = self.entries().await?;
        if let Some((oldest, set)) = oldest_kept(&entries, keep)
            && entries.first().is_some_and(|(first, _)| first < oldest)
        {
            // Younger than what replaced the entries below it, so a cut that waits for it waits long enough for them.
            self.sets.write_snapshot(*oldest, set).await.map_err(from_lake)?;
            let cut = self.sets.cut(grace, now.system_time()).await.map_err(from_lake)?;
            deleted.log_objects = u64::try_from(cut).unwrap_or(u64::MAX);
            entries = self.entries().await?;
        }
        let Some((newest, _)) = entries.last() else { return Ok(deleted) };
        let named: HashSet<String> = entries.iter().flat_map(|(_, set)| names(set)).collect();
        let unnamed = self.unnamed_files(&named, DefinitionNumber(newest.0)).await?;
        let before_micros = now.minus(grace).0;
        for object in unnamed.into_iter().filter(|object| object.last_modified.timestamp_micros() < before_micros) {
            self.lake.delete_if_there(&object.location).await.map_err(from_lake)?;
            deleted.objects += 1;
            deleted.size_bytes += object.size;
        }
        Ok(deleted)
    }

    /// The definitions of earlier sets, as far as these are still there, that the present one neither serves nor
    /// builds.
    ///
    /// # Errors
    /// [`ServingError::Unreachable`]: call again. [`ServingError::Corrupt`]: an entry cannot be read.
    pub async fn replaced(&self) -> Result<BTreeSet<DefinitionHash>, ServingError> {
        let entries = self.entries().await?;
        let present = entries.last().map(|(_, set)| set.hashes().collect::<BTreeSet<_>>()).unwrap_or_default();
        let all = entries.iter().flat_map(|(_, set)| set.hashes());
        Ok(all.filter(|hash| !present.contains(hash)).collect())
    }

    /// All entries that are still there, oldest first.
    pub(super) async fn entries(&self) -> Result<Vec<(Number, DefinitionSet)>, ServingError> {
        let entries = self.sets.entries().await.map_err(from_lake)?;
        entries.iter().map(|entry| Ok((entry.number, read_set(entry)?))).collect()
    }

    /// Static files that no entry names, nor will.
    async fn unnamed_files(
        &self,
        named: &HashSet<String>,
        newest: DefinitionNumber,
    ) -> Result<Vec<ObjectMeta>, ServingError> {
        let objects = self.lake.objects(&self.static_folder()).await.map_err(from_lake)?;
        let is_unnamed = |object: &ObjectMeta| {
            let Some(name) = object.location.filename() else { return false };
            StaticFile::stored_for(name).is_some_and(|number| number <= newest) && !named.contains(name)
        };
        Ok(objects.into_iter().filter(is_unnamed).collect())
    }
}

fn names(set: &DefinitionSet) -> Vec<String> {
    set.static_files().map(StaticFile::object_name).collect()
}

/// The first entry of the oldest set that stays. That a view came to be served makes an entry, but no set.
fn oldest_kept(entries: &[(Number, DefinitionSet)], keep: usize) -> Option<&(Number, DefinitionSet)> {
    let numbers: BTreeSet<DefinitionNumber> = entries.iter().map(|(_, set)| set.number).collect();
    let oldest = numbers.into_iter().rev().take(keep.max(1)).min()?;
    entries.iter().find(|(_, set)| set.number == oldest)
}
