//! The columns of a checkpoint: one nullable struct per kind of action.
//!
//! Why so: entries of maps are named `key_value`, items of lists `element`, values of maps may be null, as in the
//! checkpoints of Spark; every reader of Delta takes these.
//! # Source
//! The Delta transaction log protocol, "Checkpoint Schema", without the columns of features that our tables lack.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

/// The schema of a checkpoint.
pub(super) fn checkpoint_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        optional("txn", txn()),
        optional("add", add()),
        optional("remove", remove()),
        optional("metaData", metadata()),
        optional("protocol", protocol()),
    ]))
}

fn txn() -> DataType {
    record([
        required("appId", DataType::Utf8),
        required("version", DataType::Int64),
        optional("lastUpdated", DataType::Int64),
    ])
}

fn add() -> DataType {
    record([
        required("path", DataType::Utf8),
        required("partitionValues", map()),
        required("size", DataType::Int64),
        required("modificationTime", DataType::Int64),
        required("dataChange", DataType::Boolean),
        optional("tags", map()),
        optional("stats", DataType::Utf8),
    ])
}

/// Always null: a tombstone tells other tools which files may be deleted, and here only `vacuum.rs` deletes.
fn remove() -> DataType {
    record([
        required("path", DataType::Utf8),
        optional("deletionTimestamp", DataType::Int64),
        required("dataChange", DataType::Boolean),
        optional("extendedFileMetadata", DataType::Boolean),
        optional("partitionValues", map()),
        optional("size", DataType::Int64),
        optional("tags", map()),
    ])
}

fn metadata() -> DataType {
    let format = record([required("provider", DataType::Utf8), required("options", map())]);
    record([
        required("id", DataType::Utf8),
        optional("name", DataType::Utf8),
        optional("description", DataType::Utf8),
        required("format", format),
        required("schemaString", DataType::Utf8),
        required("partitionColumns", list()),
        optional("createdTime", DataType::Int64),
        required("configuration", map()),
    ])
}

fn protocol() -> DataType {
    record([
        required("minReaderVersion", DataType::Int32),
        required("minWriterVersion", DataType::Int32),
        optional("readerFeatures", list()),
        optional("writerFeatures", list()),
    ])
}

fn required(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, false)
}

fn optional(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

fn record<const N: usize>(fields: [Field; N]) -> DataType {
    DataType::Struct(fields.to_vec().into())
}

/// From text to text.
fn map() -> DataType {
    let entry = record([required("key", DataType::Utf8), optional("value", DataType::Utf8)]);
    DataType::Map(Arc::new(required("key_value", entry)), false)
}

/// Of text.
fn list() -> DataType {
    DataType::List(Arc::new(required("element", DataType::Utf8)))
}
