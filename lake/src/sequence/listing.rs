//! The objects of a sequence: their names, and finding them.
//!
//! Why so: ten digits, so that names sort as numbers do; registries of earlier versions named their objects this way.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;

use super::number::Number;
use crate::{Lake, LakeError};

pub(super) const ENTRY: &str = ".json";
pub(super) const SNAPSHOT: &str = ".snapshot.json";
pub(super) const CUT: &str = ".cut.json";

/// The numbers that a listing found.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) entries: BTreeSet<Number>,
    /// With the time at which the store was given each, in microseconds since 1970.
    pub(super) snapshots: BTreeMap<Number, i64>,
    pub(super) cuts: BTreeSet<Number>,
}

impl Listing {
    /// Lists what bears `from` or a higher number.
    pub(super) async fn read(lake: &Lake, folder: &Path, from: Number) -> Result<Self, LakeError> {
        let objects = match from.0.checked_sub(1) {
            None => lake.store().list(Some(folder)),
            // Behind every object of the number before.
            Some(before) => lake.store().list_with_offset(Some(folder), &folder.clone().join(format!("{before:010}~"))),
        };
        let mut listing = Self::default();
        let mut objects = objects.map_err(|error| LakeError::store(folder, error));
        while let Some(object) = objects.try_next().await? {
            let Some(name) = object.location.filename() else { continue };
            if let Some(number) = number_of(name, ENTRY) {
                listing.entries.insert(number);
            } else if let Some(number) = number_of(name, SNAPSHOT) {
                listing.snapshots.insert(number, object.last_modified.timestamp_micros());
            } else if let Some(number) = number_of(name, CUT) {
                listing.cuts.insert(number);
            }
        }
        Ok(listing)
    }

    pub(super) fn newest(&self) -> Number {
        let newest = self.entries.last().copied().max(self.snapshot());
        newest.unwrap_or_default()
    }

    pub(super) fn snapshot(&self) -> Option<Number> {
        self.snapshots.keys().next_back().copied()
    }

    /// Entries below this one were deleted, or are about to be.
    pub(super) fn cut(&self) -> Option<Number> {
        self.cuts.last().copied()
    }
}

pub(super) fn path(folder: &Path, number: Number, suffix: &str) -> Path {
    folder.clone().join(format!("{:010}{suffix}", number.0))
}

fn number_of(name: &str, suffix: &str) -> Option<Number> {
    let digits = name.strip_suffix(suffix)?;
    let is_number = digits.len() == 10 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok().map(Number)).flatten()
}
