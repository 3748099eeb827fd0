//! Parquet and Arrow IPC to events: each row one object, written by Arrow's JSON writer.
//!
//! Timestamps of any zone, at any depth, are the same instants in UTC (RFC 3339); those without a zone are taken for
//! UTC. NULL is left out. Bytes are hexadecimal digits, decimals numbers, dates `2026-01-31`.
//!
//! Guarantee: memory is bounded by one batch of the file (of Parquet, a thousand rows and the pages that hold them),
//! and the JSON of a thousand rows.

use std::fs::File;
use std::io::{BufReader, Read};
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{ArrayData, make_array};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamReader};
use arrow::json::writer::LineDelimitedWriter;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use indicatif::{ProgressBar, ProgressBarIter};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::reader::{ChunkReader, Length};

use super::event::{Event, Place, ReadError};

/// Rows that are JSON at one time.
const ROWS: usize = 1_000;
const UTC: &str = "+00:00";

type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>>>;

/// The rows of a file of columns.
pub struct ColumnRows {
    batches: Batches,
    // What is left of the batch that is being read.
    batch: Option<RecordBatch>,
    // Rows as lines, and where the next one begins.
    lines: Vec<u8>,
    at: usize,
    row: u64,
}

impl ColumnRows {
    /// The rows of a Parquet file; `bar` follows what is read of it.
    ///
    /// # Errors
    /// If it is none, or torn.
    pub fn of_parquet(file: File, bar: &ProgressBar) -> Result<Self> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(Watched { file, bar: bar.clone() })
            .and_then(|builder| builder.with_batch_size(ROWS).build())
            .context("cannot read it as Parquet")?;
        Ok(Self::new(Box::new(reader)))
    }

    /// The rows of an Arrow IPC file; `bar` follows what is read of it.
    ///
    /// # Errors
    /// If it is none, or torn.
    pub fn of_arrow_file(file: File, bar: &ProgressBar) -> Result<Self> {
        let file = BufReader::new(bar.wrap_read(file));
        let reader = FileReader::try_new(file, None).context("cannot read it as an Arrow file")?;
        Ok(Self::new(Box::new(reader)))
    }

    /// The rows of an Arrow IPC stream.
    ///
    /// # Errors
    /// If it does not begin with a schema.
    pub fn of_arrow_stream(stream: Box<dyn Read>) -> Result<Self> {
        let reader = StreamReader::try_new_buffered(stream, None).context("cannot read it as an Arrow stream")?;
        Ok(Self::new(Box::new(reader)))
    }

    fn new(batches: Batches) -> Self {
        Self { batches, batch: None, lines: Vec::new(), at: 0, row: 0 }
    }

    /// Whether there are more rows.
    fn fill(&mut self) -> Result<bool, ArrowError> {
        while self.at == self.lines.len() {
            let batch = match self.batch.take() {
                Some(batch) => batch,
                None => match self.batches.next() {
                    Some(batch) => in_utc(&batch?)?,
                    None => return Ok(false),
                },
            };
            let rows = batch.num_rows().min(ROWS);
            (self.lines, self.at) = (write_lines(&batch.slice(0, rows))?, 0);
            self.batch = (rows < batch.num_rows()).then(|| batch.slice(rows, batch.num_rows() - rows));
        }
        Ok(true)
    }
}

impl Iterator for ColumnRows {
    type Item = Result<Event, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.fill() {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => {
                self.batches = Box::new(std::iter::empty());
                let after = (self.row > 0).then_some(Place::Row(self.row));
                return Some(Err(ReadError::Ended { after, reason: error.to_string() }));
            }
        }
        let line = self.lines[self.at..].split(|byte| *byte == b'\n').next().unwrap_or_default();
        let json = line.to_vec();
        self.at += json.len() + 1;
        self.row += 1;
        Some(Ok(Event { place: Place::Row(self.row), json }))
    }
}

fn write_lines(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut lines = Vec::new();
    LineDelimitedWriter::new(&mut lines).write(batch)?;
    Ok(lines)
}

/// The same rows with every timestamp in UTC.
fn in_utc(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let fields: Vec<FieldRef> = batch.schema_ref().fields().iter().map(field_in_utc).collect();
    if batch.schema_ref().fields().iter().eq(&fields) {
        return Ok(batch.clone());
    }
    let columns = batch.columns().iter().map(|column| data_in_utc(column.to_data()).map(make_array));
    let columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// A timestamp is an instant whatever its zone, so only the type changes.
fn data_in_utc(data: ArrayData) -> Result<ArrayData, ArrowError> {
    let data_type = type_in_utc(data.data_type());
    if data_type == *data.data_type() {
        return Ok(data);
    }
    let children = data.child_data().iter().cloned().map(data_in_utc).collect::<Result<Vec<_>, _>>()?;
    data.into_builder().data_type(data_type).child_data(children).build()
}

fn type_in_utc(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Timestamp(unit, _) => DataType::Timestamp(*unit, Some(UTC.into())),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field_in_utc).collect()),
        DataType::List(field) => DataType::List(field_in_utc(field)),
        DataType::LargeList(field) => DataType::LargeList(field_in_utc(field)),
        DataType::ListView(field) => DataType::ListView(field_in_utc(field)),
        DataType::LargeListView(field) => DataType::LargeListView(field_in_utc(field)),
        DataType::FixedSizeList(field, size) => DataType::FixedSizeList(field_in_utc(field), *size),
        DataType::Map(field, is_sorted) => DataType::Map(field_in_utc(field), *is_sorted),
        DataType::RunEndEncoded(ends, values) => DataType::RunEndEncoded(ends.clone(), field_in_utc(values)),
        DataType::Dictionary(key, value) => DataType::Dictionary(key.clone(), Box::new(type_in_utc(value))),
        other => other.clone(),
    }
}

fn field_in_utc(field: &FieldRef) -> FieldRef {
    Arc::new(Field::clone(field).with_data_type(type_in_utc(field.data_type())))
}

/// A file that tells a progress bar how much of it was read.
struct Watched {
    file: File,
    bar: ProgressBar,
}

impl Length for Watched {
    fn len(&self) -> u64 {
        self.file.len()
    }
}

impl ChunkReader for Watched {
    type T = ProgressBarIter<BufReader<File>>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(self.bar.wrap_read(self.file.get_read(start)?))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        self.bar.inc(length as u64);
        self.file.get_bytes(start, length)
    }
}
