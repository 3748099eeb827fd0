//! A data file in words that another process can read: written there, committed here.
//!
//! Guarantee: what is read back commits as the file itself would have: the same path, size, rows and bounds.
//! Why so: the bounds are told as a commit tells them (`stats.rs`), so that there is one form of them in the store.

use std::sync::Arc;

use datafusion::execution::SendableRecordBatchStream;
use serde::{Deserialize, Serialize};

use crate::{DataFile, LakeError, Snapshot, file, stats};

/// A data file that was written and that no commit names yet, as it is told to the process that commits it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenFile {
    /// Relative to the table's folder.
    pub path: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Rows in the file.
    pub rows: u64,
    stats: String,
}

impl From<&DataFile> for WrittenFile {
    fn from(file: &DataFile) -> Self {
        let stats = stats::to_delta(file.rows, &file.bounds);
        Self { path: file.path.clone(), size_bytes: file.size_bytes, rows: file.rows, stats }
    }
}

impl Snapshot {
    /// The file that another process wrote on this very version. Does no IO: whether it is still there, the version
    /// that it was written for tells (`vacuum.rs`).
    ///
    /// # Errors
    /// [`LakeError::Corrupt`]: what was told of it cannot be read.
    pub fn data_file(&self, written: &WrittenFile) -> Result<DataFile, LakeError> {
        let corrupt = |reason: String| {
            let object = format!("what was told of file {} of {}", written.path, self.table().folder());
            LakeError::corrupt(object, reason)
        };
        let (rows, bounds) = stats::from_delta(&written.stats, &self.schema()).map_err(corrupt)?;
        if rows != written.rows {
            return Err(corrupt(format!("{} rows are told of, and statistics of {rows}", written.rows)));
        }
        Ok(DataFile { path: written.path.clone(), size_bytes: written.size_bytes, rows, bounds: Arc::new(bounds) })
    }

    /// Reads files that were written for the version after this one and that no commit names yet, in their order and
    /// row order, batch by batch.
    ///
    /// # Errors
    /// [`LakeError::Refused`]: a file is of another version. [`LakeError::Corrupt`] while the stream is read: a file is
    /// missing or broken.
    pub fn stream_written(&self, files: &[DataFile]) -> Result<SendableRecordBatchStream, LakeError> {
        let next = self.version().next();
        let is_other = |file: &&DataFile| file::last_version_of(&file.path).is_none_or(|last| last < next);
        if let Some(other) = files.iter().find(is_other) {
            let reason = format!("file {} was not written for version {next}", other.path);
            return Err(LakeError::refused(self.table().folder(), reason));
        }
        self.stream_files(files, None)
    }
}
