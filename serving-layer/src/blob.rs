//! Blobs: the states of one run for one view, as bytes that any store can hold.
//!
//! In: state batches (columns of `ViewDefinition::states`). Out: a 16-byte header (magic, checksum), then one Arrow IPC
//! stream, its buffers compressed with LZ4.
//! Guarantee: decoding either returns the very batches that were encoded, or says `Corrupt`; it never panics, because
//! Arrow sees only bytes whose checksum is right, and what it reads is checked against the expected columns.
//! Not here: where blobs lie (`memory.rs`, `redis.rs`).
//! Why LZ4 and not zstd: a blob lives for minutes and is read within milliseconds; speed counts for more than size.

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::CompressionType;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::ServingError;

/// The last character is the version of the format.
const MAGIC: &[u8; 8] = b"twofold1";
const NAME: &[u8] = b"twofold";
const HEADER_BYTES: usize = 16;

/// Encodes state batches of one schema into one blob. At least one batch is needed: an empty run has no blob.
///
/// # Errors
/// [`ServingError::Arrow`] for no batch at all, or batches of unequal schemas: a defect of the caller.
pub fn encode(batches: &[RecordBatch]) -> Result<Bytes, ServingError> {
    let first = batches.first().ok_or_else(|| ArrowError::InvalidArgumentError("a blob of no batch".to_owned()))?;
    let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME))?;
    let mut writer = StreamWriter::try_new_with_options(vec![0; HEADER_BYTES], &first.schema(), options)?;
    for batch in batches {
        writer.write(batch)?;
    }
    let mut bytes = writer.into_inner()?;
    let checksum = xxh3_64(&bytes[HEADER_BYTES..]);
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
    Ok(Bytes::from(bytes))
}

/// Decodes a blob into batches of exactly `schema`. Cost: decompression; nothing else is copied.
///
/// # Errors
/// [`ServingError::Corrupt`]: the bytes were damaged, come from another version, or hold other columns.
pub fn decode(blob: &Bytes, schema: &SchemaRef) -> Result<Vec<RecordBatch>, ServingError> {
    let stream = check_header(blob)?;
    let mut buffer = Buffer::from(stream);
    let mut decoder = StreamDecoder::new();
    let mut batches = Vec::new();
    while !buffer.is_empty() {
        let Some(batch) = decoder.decode(&mut buffer).map_err(|error| corrupt(error.to_string()))? else { break };
        check_columns(&batch.schema(), schema)?;
        let batch = RecordBatch::try_new(schema.clone(), batch.columns().to_vec());
        batches.push(batch.map_err(|error| corrupt(error.to_string()))?);
    }
    decoder.finish().map_err(|error| corrupt(error.to_string()))?;
    Ok(batches)
}

fn check_header(blob: &Bytes) -> Result<Bytes, ServingError> {
    if blob.len() >= HEADER_BYTES && blob.starts_with(NAME) && !blob.starts_with(MAGIC) {
        let found = char::from(blob[NAME.len()]);
        return Err(corrupt(format!("it has format {found}, and this version knows format 1 only")));
    }
    if blob.len() < HEADER_BYTES || &blob[..8] != MAGIC {
        return Err(corrupt(format!("{} bytes that do not start with `twofold1`", blob.len())));
    }
    let (header, stream) = (blob.slice(8..HEADER_BYTES), blob.slice(HEADER_BYTES..));
    if header[..] != xxh3_64(&stream).to_le_bytes() {
        return Err(corrupt("the checksum is wrong".to_owned()));
    }
    Ok(stream)
}

fn check_columns(found: &Schema, expected: &Schema) -> Result<(), ServingError> {
    let columns = |schema: &Schema| -> Vec<String> {
        schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect()
    };
    let (found, expected) = (columns(found), columns(expected));
    if found != expected {
        return Err(corrupt(format!("it holds ({}), not ({})", found.join(", "), expected.join(", "))));
    }
    Ok(())
}

fn corrupt(reason: String) -> ServingError {
    ServingError::Corrupt { what: "a blob of the realtime store".to_owned(), reason }
}
