//! Data files: Parquet, written whole before anybody can see them, read in their order.
//!
//! In: record batches. Out: a [`DataFile`] with the bounds of its columns. Guarantee: rows keep their order; the object
//! appears at once, complete, under a name that nothing else has; no reader looks at it before a commit names it. The
//! name says which version is the last that can commit the file: the next one, unless more were asked for.
//! Why so: the compressed file is built in memory and put with one request: a put on condition cannot be split, and
//! the callers bound their files. The version in the name tells `vacuum.rs`, without any clock, that a file which
//! nobody names will never be named: once its last version was made by another commit.
//! Not here: scans with filters (`scan.rs`).

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use crate::{DataFile, LakeError, LakeSettings, Snapshot, Table, Version, stats};

/// How much work goes into a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Small files: what is read again and again.
    Small,
    /// Files that are soon there, about half as large again: for many rows at once, which compaction packs later.
    Quick,
}

/// One Parquet file in the making. Dropped unfinished, it leaves nothing behind.
pub struct FileWriter {
    table: Table,
    path: String,
    schema: SchemaRef,
    rows: u64,
    writer: ArrowWriter<Vec<u8>>,
}

impl Snapshot {
    /// Writes one Parquet file (zstd) for the version after this one: no reader sees it before a commit on this
    /// snapshot names it, and no commit on another one may. `name` is unique, drawn by the caller; the path is
    /// `<version>-<name>.parquet`. Rows stay in the order given.
    ///
    /// # Errors
    /// [`LakeError::Refused`]: no batch, or batches of different schemas. [`LakeError::Full`],
    /// [`LakeError::Unreachable`]: nothing was written that a reader sees.
    pub async fn write_file(&self, name: &str, batches: &[RecordBatch]) -> Result<DataFile, LakeError> {
        let Some(first) = batches.first() else {
            return Err(LakeError::refused(self.table().folder(), format!("file {name} would have no batch")));
        };
        let mut writer = self.file_writer(name, first.schema())?;
        for batch in batches {
            writer.write(batch).await?;
        }
        writer.finish().await
    }

    /// Starts a file that is written batch by batch. See [`Self::write_file`].
    ///
    /// # Errors
    /// [`LakeError::Refused`]: the name is not plain, or the schema cannot be stored.
    pub fn file_writer(&self, name: &str, schema: SchemaRef) -> Result<FileWriter, LakeError> {
        self.file_writer_until(self.version().next(), name, schema)
    }

    /// Starts a file that any version after this one may name, up to and including `last`: for rows that stay right
    /// while others commit (compaction). Left over, it stays until `last` was made by another commit.
    ///
    /// # Errors
    /// As [`Self::file_writer`].
    pub fn file_writer_until(&self, last: Version, name: &str, schema: SchemaRef) -> Result<FileWriter, LakeError> {
        self.file_writer_packed(Packing::Small, last, name, schema)
    }

    /// As [`Self::file_writer_until`], packed as the caller wants it.
    ///
    /// # Errors
    /// As [`Self::file_writer`].
    pub fn file_writer_packed(
        &self,
        packing: Packing,
        last: Version,
        name: &str,
        schema: SchemaRef,
    ) -> Result<FileWriter, LakeError> {
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
        if name.is_empty() || name.starts_with('_') || !name.chars().all(is_plain) {
            let reason = format!("file name {name:?} has other letters than a-z, 0-9, '-' and '_', or starts with '_'");
            return Err(LakeError::refused(self.table().folder(), reason));
        }
        let properties = properties(self.table().lake().settings(), &schema, packing);
        let writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties))
            .map_err(|error| LakeError::refused(self.table().folder(), error))?;
        let path = format!("{:020}-{name}.parquet", last.0);
        Ok(FileWriter { table: self.table().clone(), path, schema, rows: 0, writer })
    }
}

/// The last version that a file was written for; `None` for a name that says nothing.
pub(crate) fn last_version_of(path: &str) -> Option<Version> {
    let (digits, _) = path.split_once('-')?;
    (digits.len() == 20).then(|| digits.parse().ok().map(Version)).flatten()
}

impl FileWriter {
    /// Appends rows.
    ///
    /// # Errors
    /// [`LakeError::Refused`]: the batch has another schema.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<(), LakeError> {
        let refused = |reason: String| Err(LakeError::refused(self.table.folder(), reason));
        if batch.schema().fields() != self.schema.fields() {
            return refused(format!("file {}: a batch has another schema than the first", self.path));
        }
        if let Err(error) = self.writer.write(batch) {
            return refused(format!("file {}: {error}", self.path));
        }
        self.rows += u64::try_from(batch.num_rows()).expect("rows fit into 64 bits");
        // Encoding is work for the processor: others get their turn between batches.
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Rows written so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// About how large the file is so far, in bytes: also the memory that it takes.
    pub fn size_bytes(&self) -> usize {
        self.writer.bytes_written() + self.writer.in_progress_size()
    }

    /// Puts the file.
    ///
    /// # Errors
    /// [`LakeError::Full`], [`LakeError::Unreachable`]: nothing was written that a reader sees.
    pub async fn finish(mut self) -> Result<DataFile, LakeError> {
        let failed = |reason: String| LakeError::refused(self.table.folder(), format!("file {}: {reason}", self.path));
        let metadata = self.writer.finish().map_err(|error| failed(error.to_string()))?;
        let bounds = stats::bounds_of(&metadata, &self.schema).map_err(failed)?;
        let bytes = bytes::Bytes::from(std::mem::take(self.writer.inner_mut()));
        let size_bytes = u64::try_from(bytes.len()).expect("sizes fit into 64 bits");
        let path = self.table.object_path(&self.path);
        self.table.lake().put_once(&path, bytes).await?;
        Ok(DataFile { path: self.path, size_bytes, rows: self.rows, bounds: Arc::new(bounds) })
    }
}

/// Instants are stored as differences: a fifth of the time and half of the bytes of a dictionary that overflows. Bytes
/// (payloads, keys, sketches) hardly ever repeat: no dictionary is tried on them. Packed quickly, none is tried on
/// large numbers either, whose dictionary would be as large as they are, and bytes are packed by Snappy.
fn properties(settings: &LakeSettings, schema: &Schema, packing: Packing) -> WriterProperties {
    let level = ZstdLevel::try_new(settings.compression_level).unwrap_or_default();
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(settings.row_group_rows.max(1)))
        .set_created_by(concat!("twofold ", env!("CARGO_PKG_VERSION")).to_owned());
    for field in schema.fields() {
        let path = ColumnPath::from(field.name().as_str());
        properties = match field.data_type() {
            DataType::Timestamp(..) => properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
            DataType::Binary if packing == Packing::Quick => properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_compression(path, Compression::SNAPPY),
            DataType::Int64 if packing == Packing::Quick => properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
            DataType::Float64 if packing == Packing::Quick => properties.set_column_dictionary_enabled(path, false),
            DataType::Binary => properties.set_column_dictionary_enabled(path, false),
            _ => properties,
        };
    }
    properties.build()
}
