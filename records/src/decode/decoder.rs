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
use super::wire::{Schemas, first_missing};
use crate::RecordsError;
use crate::in_place::in_place;

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
        self.decode_with(&Schemas::none(), records).map(|(rows, _)| rows)
    }

    /// As [`Self::decode`], of records that may name schemas; and tells what was lost: for each declared column, in
    /// their order, how many values are NULL because they could not be read. Values inside STRUCT and ARRAY count for
    /// their column; those of rejected records do not. Zeros where the source is strict.
    ///
    /// # Errors
    /// [`RecordsError::SchemaMissing`]: a record names a schema that is not among `schemas`: learn it and call again.
    /// Others as [`decode`](super::decode).
    pub fn decode_with(&self, schemas: &Schemas, records: &[Record]) -> Result<(RecordBatch, Vec<u64>), RecordsError> {
        if let Some(missing) = first_missing(&self.source, schemas, records) {
            return Err(missing.because("it is not known here yet"));
        }
        let bytes = records.iter().map(|record| record.payload.len()).sum();
        in_place(bytes, || {
            let mut rows = Rows::new(&self.source, schemas, records)?;
            rows.push_all();
            rows.finish(self.reading, &self.schema)
        })
    }
}
