//! Checkpoints: the sum of a log up to a version, in one Parquet object; its form, and reading it.
//!
//! Why so: read as lines of JSON, a checkpoint goes through the parser of commits and its checks. That other readers of
//! Delta understand what is written is asked by the tests, of `deltalake-core`.
//! Not here: summing up and writing (`checkpoint/writer.rs`), cutting the log behind one (`vacuum.rs`).

mod schema;
pub(crate) mod writer;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::json::{LineDelimitedWriter, ReaderBuilder};
use bytes::Bytes;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::action::{self, Action};
use crate::{Lake, LakeError};

/// The actions that make up a state; tombstones are for other tools.
const KINDS: [&str; 4] = ["protocol", "metaData", "txn", "add"];

/// Actions that are encoded at a time.
const BATCH_ACTIONS: usize = 1024;

/// Reads the actions of a checkpoint.
pub(crate) async fn read(lake: &Lake, path: &Path) -> Result<Vec<Action>, LakeError> {
    let bytes = lake.get(path).await?;
    decode(path, bytes.ok_or_else(|| LakeError::corrupt(path, "the object is missing"))?)
}

fn decode(path: &Path, bytes: Bytes) -> Result<Vec<Action>, LakeError> {
    // Of a damaged object Parquet's reader refuses much, and panics at the rest. Nothing is kept of what it read.
    let lines = catch_unwind(AssertUnwindSafe(|| lines_of(bytes)))
        .unwrap_or_else(|_| Err("it is damaged in a way that its reader does not expect".to_owned()));
    lines.and_then(|lines| action::parse(&lines)).map_err(|reason| LakeError::corrupt(path, reason))
}

/// As lines of JSON a checkpoint reads like a commit: one parser, one set of checks.
fn lines_of(bytes: Bytes) -> Result<Vec<u8>, String> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|error| error.to_string())?;
    let columns = reader.schema().fields().iter().enumerate();
    let wanted = columns.filter(|(_, field)| KINDS.contains(&field.name().as_str())).map(|(index, _)| index);
    let mask = ProjectionMask::roots(reader.parquet_schema(), wanted.collect::<Vec<_>>());
    let batches = reader.with_projection(mask).build().map_err(|error| error.to_string())?;
    let mut lines = LineDelimitedWriter::new(Vec::new());
    for batch in batches {
        let batch = batch.map_err(|error| error.to_string())?;
        lines.write(&batch).map_err(|error| error.to_string())?;
    }
    lines.finish().map_err(|error| error.to_string())?;
    Ok(lines.into_inner())
}

fn encode(actions: &[Action]) -> Result<Vec<u8>, String> {
    let schema = schema::checkpoint_schema();
    let properties = WriterProperties::builder()
        // The one codec that every reader has.
        .set_compression(Compression::SNAPPY)
        .set_created_by(concat!("twofold ", env!("CARGO_PKG_VERSION")).to_owned())
        .build();
    let mut writer =
        ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties)).map_err(|error| error.to_string())?;
    // Strict: a field of an action that has no column is an error and not lost.
    let mut rows =
        ReaderBuilder::new(schema).with_strict_mode(true).build_decoder().map_err(|error| error.to_string())?;
    for actions in actions.chunks(BATCH_ACTIONS) {
        rows.serialize(actions).map_err(|error| error.to_string())?;
        if let Some(batch) = rows.flush().map_err(|error| error.to_string())? {
            writer.write(&batch).map_err(|error| error.to_string())?;
        }
    }
    writer.into_inner().map_err(|error| error.to_string())
}
