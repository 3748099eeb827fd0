//! Replacing files of the master dataset by others that hold the same rows.
//!
//! In: files just written, and those that they are to replace. Out: the next version, with the very same facts.
//! Guarantee: one commit on exactly its predecessor, refused if that does not hold a file to be replaced. Positions,
//! counters, holes and the ledger are those of the predecessor, so an archive that meets a compaction continues behind
//! it. The new files must count as many rows as the old ones, and agree with them in the bounds and nulls of every
//! column.
//! Not here: which files, and writing them (`batch-layer`, compaction).
//! Why so: a compaction may be computed on one version and committed behind a later one, without a second look at the
//! rows: files never change, so it is enough that each of them is still live there.

use std::cmp::Ordering;

use arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;
use lake::{Change, DataFile, Version, extreme};

use super::{MasterDataset, MasterSnapshot};
use crate::RecordsError;

/// Files that hold the same rows, before and after.
#[derive(Clone, Debug)]
pub struct Compaction {
    /// The files to replace.
    pub old: Vec<DataFile>,
    /// The files that replace them.
    pub new: Vec<DataFile>,
    /// The last version that may name the new files.
    pub last: Version,
}

impl MasterDataset {
    /// Replaces files on exactly `on`, which may be newer than the version that the compaction was computed from.
    ///
    /// # Errors
    /// [`RecordsError::Conflict`]: somebody committed first; refresh and call again. [`RecordsError::Lake`] with
    /// `NotLive`: a file was replaced by somebody else; drop the compaction. [`RecordsError::LedgerMismatch`],
    /// [`RecordsError::RowsDiffer`]: rows would be lost or doubled, a defect. [`RecordsError::Lake`] with
    /// `Unreachable`: it is unknown whether it happened; open the newest version and decide again.
    pub async fn compact(
        &self,
        on: &MasterSnapshot,
        compaction: &Compaction,
        nonce: u128,
    ) -> Result<MasterSnapshot, RecordsError> {
        on.check_ledger()?;
        self.check_rows(on, compaction)?;
        let change = Change {
            add: compaction.new.clone(),
            remove: compaction.old.iter().map(|file| file.path.clone()).collect(),
            changes_data: false,
        };
        self.commit(on, change, on.facts.clone(), nonce).await
    }

    /// Old and new files must hold the same rows, as far as their statistics tell.
    fn check_rows(&self, on: &MasterSnapshot, compaction: &Compaction) -> Result<(), RecordsError> {
        let rows = |files: &[DataFile]| files.iter().map(|file| file.rows).sum::<u64>();
        let (old, new) = (rows(&compaction.old), rows(&compaction.new));
        let table = self.table.folder().to_owned();
        if old != new {
            let files = (on.facts.rows + new).saturating_sub(old);
            return Err(RecordsError::LedgerMismatch { table, files, commits: on.facts.rows });
        }
        let schema = on.snapshot.schema();
        let differing = schema.fields().iter().map(|field| field.name()).find(|name| {
            let (old, new) = (Summary::of(&compaction.old, name), Summary::of(&compaction.new, name));
            old.zip(new).is_some_and(|(old, new)| old != new)
        });
        match differing {
            Some(column) => Err(RecordsError::RowsDiffer { table, column: column.clone() }),
            None => Ok(()),
        }
    }
}

/// What the statistics of some files say about one column.
#[derive(Debug, PartialEq)]
struct Summary {
    /// Null where no file has bounds that occur as values.
    least: ScalarValue,
    largest: ScalarValue,
    nulls: u64,
}

impl Summary {
    /// `None` where a file says nothing.
    fn of(files: &[DataFile], column: &str) -> Option<Self> {
        let mut summary = Self { least: ScalarValue::Null, largest: ScalarValue::Null, nulls: 0 };
        for file in files {
            let (least, largest, nulls) = file.bounds.get(column)?;
            summary.nulls += nulls;
            // The bounds of text are limits, not values: long ones are cut, each file at another place.
            if !least.is_null() && least.data_type() != DataType::Utf8 {
                summary.least = extreme(summary.least, least.clone(), Ordering::Less);
                summary.largest = extreme(summary.largest, largest.clone(), Ordering::Greater);
            }
        }
        Some(summary)
    }
}
