//! Parquet and Arrow IPC to events: each row one object, written by Arrow's JSON writer.
//!
//! Timestamps of any zone, at any depth, are the same instants in UTC (RFC 3339); those without a zone are taken for
//! UTC. NULL is left out. Bytes are hexadecimal digits, decimals numbers, dates `2026-01-31`.
//!
//! Guarantee: memory is bounded by one batch of the file (of Parquet, a thousand rows and the pages that hold them),
//! and the JSON of a thousand rows. A damaged file is an error, or ends with one, whatever the readers of its format
//! think of it: they make room for as much as it says, and panic where they did not expect what it says.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{ArrayData, make_array};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamDecoder, read_footer_length};
use arrow::ipc::root_as_footer;
use arrow::json::writer::LineDelimitedWriter;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use indicatif::{ProgressBar, ProgressBarIter};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::reader::{ChunkReader, Length};

use super::event::{Event, Place, ReadError};

/// Rows that are JSON at one time.
const ROWS: usize = 1_000;
/// How much of an Arrow stream is read at one time.
const PIECE_BYTES: usize = 64 << 10;
/// The end of an Arrow file: the length of its footer (4 bytes) and `ARROW1`.
const TRAILER_BYTES: u64 = 10;
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
        Self::of_parquet_by(file, bar, ROWS)
    }

    /// The same, of which `rows` are in memory at one time.
    ///
    /// # Errors
    /// As there.
    pub fn of_parquet_by(file: File, bar: &ProgressBar, rows: usize) -> Result<Self> {
        let watched = Watched { file, bar: bar.clone() };
        let reader = guarded(|| {
            let builder = ParquetRecordBatchReaderBuilder::try_new(watched)?;
            Ok(builder.with_batch_size(rows).build()?)
        });
        Ok(Self::new(Box::new(reader.context("cannot read it as Parquet")?)))
    }

    /// The rows of an Arrow IPC file; `bar` follows what is read of it.
    ///
    /// # Errors
    /// If it is none, or torn.
    pub fn of_arrow_file(mut file: File, bar: &ProgressBar) -> Result<Self> {
        let reader = guarded(|| {
            check_blocks(&mut file)?;
            FileReader::try_new(BufReader::new(bar.wrap_read(file)), None)
        });
        Ok(Self::new(Box::new(reader.context("cannot read it as an Arrow file")?)))
    }

    /// The rows of an Arrow IPC stream.
    ///
    /// # Errors
    /// If it does not begin with a schema.
    pub fn of_arrow_stream(stream: Box<dyn Read>) -> Result<Self> {
        let mut batches =
            StreamBatches { stream, decoder: StreamDecoder::new(), buffer: Buffer::from(Vec::<u8>::new()) };
        // The schema is known when the first batch is, or the end.
        let first = guarded(|| batches.read());
        if batches.decoder.schema().is_none() {
            let none = || ArrowError::IpcError("it does not begin with a schema".to_owned());
            return Err(first.err().unwrap_or_else(none)).context("cannot read it as an Arrow stream");
        }
        Ok(Self::new(Box::new(first.transpose().into_iter().chain(batches))))
    }

    /// The rows as they are, batch by batch, with every timestamp in UTC.
    pub fn into_batches(self) -> ColumnBatches {
        ColumnBatches { batches: self.batches, rows: 0 }
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
        match guarded(|| self.fill()) {
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

/// The batches of a file of columns. An error comes when all rows before it were given.
pub struct ColumnBatches {
    batches: Batches,
    rows: u64,
}

impl Iterator for ColumnBatches {
    type Item = Result<RecordBatch, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = guarded(|| self.batches.next().transpose()?.as_ref().map(in_utc).transpose());
        match read {
            Ok(batch) => {
                let batch = batch?;
                self.rows += batch.num_rows() as u64;
                Some(Ok(batch))
            }
            Err(error) => {
                self.batches = Box::new(std::iter::empty());
                let after = (self.rows > 0).then_some(Place::Row(self.rows));
                Some(Err(ReadError::Ended { after, reason: error.to_string() }))
            }
        }
    }
}

/// Runs a reader of a format: where it panics, it cannot read the file.
fn guarded<T>(read: impl FnOnce() -> Result<T, ArrowError>) -> Result<T, ArrowError> {
    // Unwind safe: nothing is read any more of what a panic leaves behind.
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        Err(ArrowError::ParseError("it is damaged in a way that its reader does not expect".to_owned()))
    })
}

/// Whether every block that the footer of an Arrow file names lies in the file: its reader makes room for each as it is
/// named there, and memory that cannot be had ends the process.
fn check_blocks(file: &mut File) -> Result<(), ArrowError> {
    let damaged = |what: &str| ArrowError::ParseError(format!("{what} is damaged"));
    let length = file.seek(SeekFrom::End(0))?;
    let footer_end = length.checked_sub(TRAILER_BYTES).ok_or_else(|| damaged("its end"))?;
    file.seek(SeekFrom::Start(footer_end))?;
    let mut trailer = [0; TRAILER_BYTES as usize];
    file.read_exact(&mut trailer)?;
    let footer_length = read_footer_length(trailer)?;
    let footer_start = footer_end.checked_sub(footer_length as u64).ok_or_else(|| damaged("its end"))?;
    file.seek(SeekFrom::Start(footer_start))?;
    let mut footer = vec![0; footer_length];
    file.read_exact(&mut footer)?;
    let footer = root_as_footer(&footer).map_err(|error| damaged(&format!("its footer ({error})")))?;
    for block in footer.recordBatches().into_iter().flatten().chain(footer.dictionaries().into_iter().flatten()) {
        let lengths = [block.offset(), block.metaDataLength().into(), block.bodyLength()];
        let end = lengths.into_iter().try_fold(0_u64, |end, length| end.checked_add(u64::try_from(length).ok()?));
        if end.is_none_or(|end| end > length) {
            return Err(damaged("a block that its footer names"));
        }
    }
    file.rewind()?;
    Ok(())
}

/// The batches of an Arrow stream, read piece by piece: the reader that takes a stream as a whole makes room for each
/// message as it says of itself.
struct StreamBatches {
    stream: Box<dyn Read>,
    decoder: StreamDecoder,
    // What was read and not yet decoded.
    buffer: Buffer,
}

impl StreamBatches {
    fn read(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        loop {
            if let Some(batch) = self.decoder.decode(&mut self.buffer)? {
                return Ok(Some(batch));
            }
            let mut piece = vec![0; PIECE_BYTES];
            match self.stream.read(&mut piece) {
                Ok(0) => return self.decoder.finish().map(|()| None),
                Ok(count) => {
                    piece.truncate(count);
                    self.buffer = Buffer::from(piece);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Iterator for StreamBatches {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
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
