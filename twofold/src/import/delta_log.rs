//! The log of a Delta table that others wrote, as far as its live files follow from it.
//!
//! In: the objects of `_delta_log`. Out: the table's id and its live files.
//! Guarantee: rows that are not in the table any more are in none of the files; what cannot be known without more of
//! the protocol is refused with its name: deletion vectors, columns under other names, checkpoints of version 2 alone.
//! Not here: our own tables (`lake`), which only we commit to.
//! # Source
//! The Delta transaction log protocol; checkpoints are read as the actions that they hold, one a row.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use arrow::json::writer::LineDelimitedWriter;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Deserialize;

/// What tables may ask of their readers: all of it says nothing about which rows are in which files, but for deletion
/// vectors, which are looked at file by file.
const FEATURES: [&str; 5] = ["deletionVectors", "timestampNtz", "vacuumProtocolCheck", "columnMapping", "v2Checkpoint"];

/// A table as its log tells.
#[derive(Debug, Default)]
pub struct LoggedTable {
    /// Its id, drawn when it was made.
    pub id: String,
    /// The columns that its folders give.
    pub partition_columns: Vec<String>,
    /// Live files by their paths as the log writes them.
    pub files: BTreeMap<String, LoggedFile>,
}

/// One live file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoggedFile {
    path: String,
    /// The values of the table's partition columns, as text.
    pub partition_values: BTreeMap<String, Option<String>>,
    /// In bytes.
    pub size: u64,
    deletion_vector: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Action {
    protocol: Option<Protocol>,
    meta_data: Option<Metadata>,
    add: Option<LoggedFile>,
    remove: Option<Removed>,
}

#[derive(Deserialize)]
struct Removed {
    path: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Protocol {
    #[serde(default)]
    reader_features: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    id: String,
    #[serde(default)]
    partition_columns: Vec<String>,
    #[serde(default)]
    configuration: BTreeMap<String, Option<String>>,
}

/// Reads the log in a folder.
///
/// # Errors
/// If it is not whole, or asks for what is not understood here.
pub async fn read_log(store: &dyn ObjectStore, folder: &Path) -> Result<LoggedTable> {
    let objects: Vec<ObjectMeta> = store.list(Some(folder)).try_collect().await.context("cannot list its log")?;
    let mut commits: BTreeMap<u64, Path> = BTreeMap::new();
    let mut checkpoints: BTreeMap<u64, Vec<Path>> = BTreeMap::new();
    for object in objects {
        let name = object.location.filename().unwrap_or_default().to_owned();
        match name.split('.').collect::<Vec<_>>()[..] {
            [version, "json"] => {
                if let Some(version) = version_of(version) {
                    commits.insert(version, object.location);
                }
            }
            [version, "checkpoint", "parquet"] | [version, "checkpoint", _, _, "parquet"] => {
                if let Some(version) = version_of(version) {
                    checkpoints.entry(version).or_default().push(object.location);
                }
            }
            _ => {}
        }
    }
    checkpoints.retain(|_, parts| is_whole(parts));
    let mut table = LoggedTable::default();
    let mut next = 0;
    if let Some((version, parts)) = checkpoints.pop_last() {
        for part in parts {
            let bytes = get(store, &part).await?;
            table.take(&lines_of(bytes).with_context(|| format!("{part} cannot be read"))?)?;
        }
        next = version + 1;
    }
    for (version, commit) in commits.range(next..) {
        ensure!(
            *version == next,
            "version {next} of its log is missing, and no checkpoint is behind it that is read here"
        );
        table.take(&get(store, commit).await?).with_context(|| format!("{commit} cannot be read"))?;
        next += 1;
    }
    ensure!(!table.id.is_empty(), "its log says nothing of a table");
    Ok(table)
}

impl LoggedTable {
    /// Takes in actions, one a line.
    fn take(&mut self, lines: &[u8]) -> Result<()> {
        let actions = lines.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
        for line in actions {
            let action: Action = serde_json::from_slice(line)?;
            if let Some(protocol) = action.protocol {
                let unknown = protocol.reader_features.iter().find(|feature| !FEATURES.contains(&feature.as_str()));
                ensure!(unknown.is_none(), "it asks for the reader feature {}", unknown.map_or("", String::as_str));
            }
            if let Some(metadata) = action.meta_data {
                let mapping = metadata.configuration.get("delta.columnMapping.mode").and_then(Option::as_deref);
                ensure!(
                    mapping.is_none_or(|mode| mode == "none"),
                    "its files call columns by other names (column mapping)"
                );
                (self.id, self.partition_columns) = (metadata.id, metadata.partition_columns);
            }
            if let Some(removed) = action.remove {
                self.files.remove(&removed.path);
            }
            if let Some(file) = action.add {
                if file.deletion_vector.is_some() {
                    bail!(
                        "rows of {} are deleted by a vector beside it: have the table rewritten without such first \
                         (REORG TABLE ... APPLY (PURGE))",
                        file.path
                    );
                }
                self.files.insert(file.path.clone(), file);
            }
        }
        Ok(())
    }
}

fn version_of(text: &str) -> Option<u64> {
    (text.len() == 20).then(|| text.parse().ok()).flatten()
}

/// Whether all parts of a checkpoint are there: `<version>.checkpoint.<number>.<of>.parquet`, or one alone.
fn is_whole(parts: &[Path]) -> bool {
    let of = parts.first().and_then(Path::filename).and_then(|name| name.split('.').nth(3)?.parse::<usize>().ok());
    parts.len() == of.unwrap_or(1)
}

async fn get(store: &dyn ObjectStore, path: &Path) -> Result<Bytes> {
    let read = async { store.get(path).await?.bytes().await };
    read.await.with_context(|| format!("cannot read {path}"))
}

/// A checkpoint as the lines of a commit.
fn lines_of(checkpoint: Bytes) -> Result<Vec<u8>> {
    let mut lines = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(checkpoint)?.build()? {
        let mut writer = LineDelimitedWriter::new(&mut lines);
        writer.write(&batch?)?;
        writer.finish()?;
    }
    Ok(lines)
}
