//! Cutting a sequence: deleting the entries and snapshots that a settled snapshot stands for.
//!
//! Guarantee: what is left can be loaded, and says the same. A mark is put before the first deletion: a writer that
//! slept and then finds its number free finds the mark, too. On retry or after a crash the next call goes on.
//! Why so: only a snapshot older than `grace` counts, so that nobody loses a race against a deletion who takes less
//! than that for one append or one load. The clock is the caller's, compared with the store's own times.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use object_store::path::Path;

use super::Sequence;
use super::listing::{self, Listing};
use super::number::Number;
use crate::LakeError;

impl Sequence {
    /// Deletes what lies below the newest snapshot that the store was given longer than `grace` before `now`. Returns
    /// how many objects were deleted.
    ///
    /// # Errors
    /// [`LakeError::Unreachable`]: call again. [`LakeError::Full`]: nothing was deleted, for want of room for the mark.
    pub async fn cut(&self, grace: Duration, now: SystemTime) -> Result<usize, LakeError> {
        let before = now.checked_sub(grace).and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        let before_micros = i64::try_from(before.as_micros()).unwrap_or(0);
        let listing = Listing::read(&self.lake, &self.path, Number(0)).await?;
        let settled = listing.snapshots.iter().rev().find(|(_, modified_micros)| **modified_micros < before_micros);
        let Some((below, _)) = settled else { return Ok(0) };
        if listing.cut().is_none_or(|cut| cut < *below) {
            let mark = listing::path(&self.path, *below, listing::CUT);
            self.lake.put_new(&mark, Bytes::from_static(b"{}")).await?;
        }
        let entries = listing.entries.range(..below).map(|number| (number, listing::ENTRY));
        let snapshots = listing.snapshots.range(..below).map(|(number, _)| (number, listing::SNAPSHOT));
        let cuts = listing.cuts.range(..below).map(|number| (number, listing::CUT));
        let all = entries.chain(snapshots).chain(cuts);
        let paths: Vec<Path> = all.map(|(number, kind)| listing::path(&self.path, *number, kind)).collect();
        let deleted = paths.len();
        self.lake.delete_all(&self.path, paths).await?;
        Ok(deleted)
    }
}
