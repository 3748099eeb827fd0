//! Schemas as a registry tells them and as the facts of a master dataset keep them.

use serde::{Deserialize, Serialize};

/// In which language a schema is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SchemaKind {
    /// Avro's own JSON.
    Avro,
    /// The text of a `.proto` file.
    Protobuf,
    /// JSON Schema: its payloads are JSON, and are read without it.
    Json,
}

/// A schema with all that is needed to read payloads by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSchema {
    /// The language.
    pub kind: SchemaKind,
    /// The schema.
    pub text: String,
    /// What it refers to, also in turn; each of them after those that it refers to itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<SchemaReference>,
}

/// A schema that another one refers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaReference {
    /// The name of a type (Avro), or the path of an import (Protobuf).
    pub name: String,
    /// The schema.
    pub text: String,
}
