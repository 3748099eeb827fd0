//! Looking for a text in everything that is stored: in bytes as they lie there, and inside what packs them, which is
//! Parquet and the blobs of runs.

use std::path::Path as FilePath;

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use lake::Lake;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// The objects of a lake, and beside it where that is below its root, that hold a text.
pub async fn traces_in_lake(lake: &Lake, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for object in lake.objects(&lake.path("")).await.unwrap() {
        // One may be gone by now.
        let Some(bytes) = lake.get(&object.location).await.unwrap() else { continue };
        found.extend(holds(&bytes, text).then(|| object.location.to_string()));
    }
    found
}

/// The files below a folder that hold a text.
pub fn traces_in_folder(folder: &FilePath, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if std::fs::read(&path).is_ok_and(|bytes| holds(&Bytes::from(bytes), text)) {
                // One that is gone by now holds nothing.
                found.push(path.display().to_string());
            }
        }
    }
    found
}

/// Whether bytes hold a text, as they are or as Parquet or a blob of a run packs it.
pub fn holds(bytes: &Bytes, text: &str) -> bool {
    if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
        return true;
    }
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    unpacked(bytes).iter().any(|rows| cells(rows).any(|cell| cell.contains(text) || cell.contains(&hex)))
}

/// The rows that bytes pack; none where they are no rows.
fn unpacked(bytes: &Bytes) -> Vec<RecordBatch> {
    // Magic and checksum stand before the stream (`serving-layer/src/blob.rs`).
    match bytes.get(..16) {
        Some(start) if start.starts_with(b"PAR1") => {
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).unwrap().build().unwrap();
            reader.map(Result::unwrap).collect()
        }
        Some(start) if start.starts_with(b"twofold1") => {
            StreamReader::try_new(&bytes[16..], None).unwrap().map(Result::unwrap).collect()
        }
        _ => Vec::new(),
    }
}

/// Every value as text; bytes as hexadecimal digits.
fn cells(rows: &RecordBatch) -> impl Iterator<Item = String> + '_ {
    rows.columns().iter().flat_map(|column| {
        let options = FormatOptions::default();
        let cells = ArrayFormatter::try_new(column.as_ref(), &options).unwrap();
        (0..column.len()).map(|row| cells.value(row).to_string()).collect::<Vec<_>>()
    })
}
