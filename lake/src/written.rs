//! A data file in words that another process can read: written there, committed here.
//!
//! Guarantee: what is read back commits as the file itself would have: the same path, size, rows and bounds.
//! Why so: the bounds are read from the file again and not told, since they are values of events: what is told is kept
//! where runs are kept, and nobody erases a person there.

use std::sync::Arc;

use datafusion::execution::SendableRecordBatchStream;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parquet::arrow::parquet_to_arrow_schema;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use serde::{Deserialize, Serialize};

use crate::{Bounds, DataFile, LakeError, Snapshot, file, stats};

/// How much of the end of a file is read at first: what is said of it is there, and nearly always in so much.
const FOOTER_BYTES: u64 = 64 << 10;

/// A data file that was written and that no commit names yet, as it is told to the process that commits it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenFile {
    /// Relative to the table's folder.
    pub path: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Rows in the file.
    pub rows: u64,
}

impl From<&DataFile> for WrittenFile {
    fn from(file: &DataFile) -> Self {
        Self { path: file.path.clone(), size_bytes: file.size_bytes, rows: file.rows }
    }
}

/// By the types that the columns were written with.
fn bounds_of(metadata: &ParquetMetaData) -> Result<Bounds, String> {
    let file = metadata.file_metadata();
    let schema = parquet_to_arrow_schema(file.schema_descr(), file.key_value_metadata());
    stats::bounds_of(metadata, &Arc::new(schema.map_err(|error| error.to_string())?))
}

impl Snapshot {
    /// The file that another process wrote on this very version, with the bounds of its columns. One small request.
    ///
    /// # Errors
    /// [`LakeError::Corrupt`]: it is gone, broken, or not what was told of it. [`LakeError::Unreachable`]: try again.
    pub async fn data_file(&self, written: &WrittenFile) -> Result<DataFile, LakeError> {
        let path = self.table().object_path(&written.path);
        let metadata = self.metadata_of(&path, written.size_bytes).await?;
        let rows = metadata.file_metadata().num_rows();
        if u64::try_from(rows) != Ok(written.rows) {
            return Err(LakeError::corrupt(&path, format!("{} rows are told of, and it has {rows}", written.rows)));
        }
        let bounds = bounds_of(&metadata).map_err(|reason| LakeError::corrupt(&path, reason))?;
        let WrittenFile { path, size_bytes, rows } = written.clone();
        Ok(DataFile { path, size_bytes, rows, bounds: Arc::new(bounds) })
    }

    /// How many rows each row group of a file has, in their order. One small request.
    ///
    /// # Errors
    /// [`LakeError::Corrupt`]: the file is gone or broken. [`LakeError::Unreachable`]: try again.
    pub async fn row_groups(&self, file: &DataFile) -> Result<Vec<u64>, LakeError> {
        let metadata = self.metadata_of(&self.table().object_path(&file.path), file.size_bytes).await?;
        Ok(metadata.row_groups().iter().map(|group| group.num_rows().unsigned_abs()).collect())
    }

    async fn metadata_of(&self, path: &Path, size_bytes: u64) -> Result<ParquetMetaData, LakeError> {
        let mut reader = ParquetMetaDataReader::new();
        let mut length = FOOTER_BYTES;
        loop {
            let end = size_bytes.saturating_sub(length)..size_bytes;
            let bytes = self.table().lake().store().get_range(path, end).await;
            let bytes = bytes.map_err(|error| LakeError::named(path, error))?;
            match reader.try_parse_sized(&bytes, size_bytes) {
                Ok(()) => return reader.finish().map_err(|error| LakeError::corrupt(path, error)),
                // Each time more, so that it ends.
                Err(ParquetError::NeedMoreData(needed)) if needed as u64 > length => length = needed as u64,
                Err(error) => return Err(LakeError::corrupt(path, error)),
            }
        }
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
