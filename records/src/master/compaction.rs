//! Replacing files of the master dataset by others that hold the same records.
//!
//! In: files just written, and those that they are to replace. Out: the next version.
//! Guarantee: one commit on exactly its predecessor, refused if that does not hold a file to be replaced. Positions and
//! holes are those of the predecessor, so an archive that meets a compaction continues behind it.
//! Of the same rows, the facts stay as they are: the new files must count as many rows as the old ones, and agree with
//! them in the bounds and nulls of every column. Of rows that were read again, the facts take in what that changed in
//! their counts ([`Recount`]): so the ledger and the counters are true of the files, whichever of them were rewritten.
//! The new files must then be of the present reading, and hold places within those of the old ones.
//! Not here: which files, and writing them (`batch-layer`, compaction).
//! Why so: a compaction may be computed on one version and committed behind a later one, without a second look at the
//! rows: files never change, so it is enough that each of them is still live there.

use std::cmp::Ordering;

use arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;
use lake::{Change, DataFile, LakeError, Version, extreme};
use views::column;

use super::{MasterDataset, MasterFacts, MasterSnapshot, Recount};
use crate::RecordsError;
use crate::decode::column as master_column;

/// What the record itself gave, whatever it is read by.
const PLACE: [&str; 3] = [column::PARTITION, column::OFFSET, column::TIMESTAMP];

/// Files that hold the same records, before and after.
#[derive(Clone, Debug)]
pub struct Compaction {
    /// The files to replace.
    pub old: Vec<DataFile>,
    /// The files that replace them.
    pub new: Vec<DataFile>,
    /// The last version that may name the new files.
    pub last: Version,
    /// What the rows of the old files count for as they are stored, and the new ones. `None`: the very same rows.
    pub recount: Option<Recount>,
}

impl MasterDataset {
    /// Replaces files on exactly `on`, which may be newer than the version that the compaction was computed from.
    ///
    /// # Errors
    /// [`RecordsError::Conflict`]: somebody committed first; refresh and call again. [`RecordsError::Lake`] with
    /// `NotLive`: a file was replaced by somebody else; drop the compaction. [`RecordsError::LedgerMismatch`],
    /// [`RecordsError::RowsDiffer`], [`RecordsError::CountsDiffer`]: rows would be lost or doubled, a defect.
    /// [`RecordsError::Lake`] with `Unreachable`: it is unknown whether it happened; open the newest version and decide
    /// again.
    pub async fn compact(
        &self,
        on: &MasterSnapshot,
        compaction: &Compaction,
        nonce: u128,
    ) -> Result<MasterSnapshot, RecordsError> {
        on.check_ledger()?;
        self.check_live(on, compaction)?;
        let facts = match &compaction.recount {
            None => {
                self.check_same_rows(on, compaction)?;
                on.facts.clone()
            }
            Some(recount) => self.count_again(on, compaction, recount)?,
        };
        let change = Change {
            add: compaction.new.clone(),
            remove: compaction.old.iter().map(|file| file.path.clone()).collect(),
            // Whoever follows the changes of the table finds other values in rows that were read again.
            changes_data: compaction.recount.is_some(),
        };
        self.commit(on, change, facts, nonce).await
    }

    /// A file that somebody else replaced was counted by him.
    fn check_live(&self, on: &MasterSnapshot, compaction: &Compaction) -> Result<(), RecordsError> {
        match compaction.old.iter().find(|file| !on.snapshot.is_live(&file.path)) {
            None => Ok(()),
            Some(gone) => {
                let (table, version, path) = (self.folder(), on.snapshot.version(), gone.path.clone());
                Err(LakeError::NotLive { table, version, path }.into())
            }
        }
    }

    /// Old and new files must hold the same rows, as far as their statistics tell.
    fn check_same_rows(&self, on: &MasterSnapshot, compaction: &Compaction) -> Result<(), RecordsError> {
        let (old, new) = (rows_in(&compaction.old), rows_in(&compaction.new));
        if old != new {
            let files = (on.facts.rows + new).saturating_sub(old);
            return Err(RecordsError::LedgerMismatch { table: self.folder(), files, commits: on.facts.rows });
        }
        let schema = on.snapshot.schema();
        let differing = schema.fields().iter().map(|field| field.name()).find(|name| {
            let (old, new) = (Summary::of(&compaction.old, name), Summary::of(&compaction.new, name));
            old.zip(new).is_some_and(|(old, new)| old != new)
        });
        match differing {
            Some(column) => Err(RecordsError::RowsDiffer { table: self.folder(), column: column.clone() }),
            None => Ok(()),
        }
    }

    /// The facts behind rows that were read again. The new files must hold what was counted, read as the source is
    /// defined now, of no other places than the old ones.
    fn count_again(
        &self,
        on: &MasterSnapshot,
        compaction: &Compaction,
        recount: &Recount,
    ) -> Result<MasterFacts, RecordsError> {
        for (files, counted) in [(&compaction.old, &recount.stored), (&compaction.new, &recount.read)] {
            let files = rows_in(files);
            if files != counted.rows {
                return Err(RecordsError::LedgerMismatch { table: self.folder(), files, commits: counted.rows });
            }
        }
        let differs = |column: &str| RecordsError::RowsDiffer { table: self.folder(), column: column.to_owned() };
        if compaction.new.iter().any(|file| on.is_read_again(file)) {
            return Err(differs(master_column::SCHEMA));
        }
        for name in PLACE {
            let (old, new) = (Summary::of(&compaction.old, name), Summary::of(&compaction.new, name));
            if old.zip(new).is_some_and(|(old, new)| !new.is_within(&old)) {
                return Err(differs(name));
            }
        }
        recount.apply(&on.facts).ok_or_else(|| RecordsError::CountsDiffer { table: self.folder() })
    }

    fn folder(&self) -> String {
        self.table.folder().to_owned()
    }
}

fn rows_in(files: &[DataFile]) -> u64 {
    files.iter().map(|file| file.rows).sum()
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

    /// Whether no bound lies beyond those of `other`.
    fn is_within(&self, other: &Self) -> bool {
        self.least.partial_cmp(&other.least) != Some(Ordering::Less)
            && self.largest.partial_cmp(&other.largest) != Some(Ordering::Greater)
    }
}
