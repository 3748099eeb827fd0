//! Decoding batch after batch of one source: what all its batches have in common is worked out once.
//!
//! In: records of the log. Out: rows as [`decode`](super::decode) makes them, which is the same function.
//! Why so: a request of one event is a batch of its own, and a definition takes longer to sum up than an event to read.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use event_log::Record;
use views::SourceDefinition;

use super::rows::Rows;
use super::schema::{master_schema, reading_of};
use super::wire::Schemas;
use crate::RecordsError;

/// Decodes records of one source.
#[derive(Clone, Debug)]
pub struct Decoder {
    source: Arc<SourceDefinition>,
    reading: i32,
    schema: SchemaRef,
}

impl Decoder {
    /// A decoder for records of `source`.
    pub fn new(source: Arc<SourceDefinition>) -> Self {
        Self { reading: reading_of(&source), schema: master_schema(&source), source }
    }

    /// The source as it is defined here.
    pub fn source(&self) -> &Arc<SourceDefinition> {
        &self.source
    }

    /// As [`decode`](super::decode).
    ///
    /// # Errors
    /// As there.
    pub fn decode(&self, records: &[Record]) -> Result<RecordBatch, RecordsError> {
        decode_as(&self.source, &Schemas::none(), records, self.reading, &self.schema).map(|(rows, _)| rows)
    }
}

/// The rows of records, and for each declared column how many of its values are NULL because they could not be read.
/// `reading` and `schema` are those of the source.
pub(super) fn decode_as(
    source: &SourceDefinition,
    schemas: &Schemas,
    records: &[Record],
    reading: i32,
    schema: &SchemaRef,
) -> Result<(RecordBatch, Vec<u64>), RecordsError> {
    let mut rows = Rows::new(source, schemas, records)?;
    rows.push_all();
    rows.finish(reading, schema)
}
