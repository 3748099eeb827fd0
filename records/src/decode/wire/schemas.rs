//! Schemas by which payloads are read, and which of them are known.
//!
//! Guarantee: pure; a schema that cannot be read is known as such, and its records are rejected with the reason. What
//! is known only grows: a registry never changes what an id means.
//! Why a schema is parsed when its first record comes: facts hold all of a source's past, a batch names one or two.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use positions::SchemaId;

use super::avro;
use super::avro_schema::AvroSchema;
use super::frame::HEADER_BYTES;
use super::protobuf::ProtobufSchema;
use super::stored::{SchemaKind, StoredSchema};
use crate::decode::reject::{Read, Rejection};

/// A schema that payloads can be read by.
#[derive(Debug)]
pub struct Schema(Parsed);

#[derive(Debug)]
enum Parsed {
    Avro(AvroSchema),
    Protobuf(ProtobufSchema),
    Json,
}

impl Schema {
    /// Reads a schema.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(stored: &StoredSchema) -> Result<Self, String> {
        let StoredSchema { kind, text, references } = stored;
        Ok(Self(match kind {
            SchemaKind::Avro => Parsed::Avro(AvroSchema::parse(text, references)?),
            SchemaKind::Protobuf => Parsed::Protobuf(ProtobufSchema::parse(text, references)?),
            SchemaKind::Json => Parsed::Json,
        }))
    }

    /// The JSON text of a payload; `payload` begins with the five bytes that name this schema.
    ///
    /// # Errors
    /// The payload does not fit the schema, or is too large or too deep as JSON.
    pub fn to_json<'a>(&self, payload: &'a [u8]) -> Result<Cow<'a, str>, Box<Rejection>> {
        match &self.0 {
            Parsed::Avro(schema) => avro::to_json(schema, payload, HEADER_BYTES).map(Cow::Owned),
            Parsed::Protobuf(schema) => schema.to_json(payload, HEADER_BYTES).map(Cow::Owned),
            Parsed::Json => {
                let text = std::str::from_utf8(payload.get(HEADER_BYTES..).unwrap_or_default());
                let at = |error: std::str::Utf8Error| HEADER_BYTES + error.valid_up_to();
                text.map(Cow::Borrowed).map_err(|error| Rejection::NotUtf8 { at: at(error) }.into())
            }
        }
    }
}

/// What is known of ids. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Schemas(Arc<BTreeMap<SchemaId, Arc<Known>>>);

#[derive(Debug)]
struct Known {
    stored: Arc<StoredSchema>,
    /// Written once, by the first record that names it.
    parsed: OnceLock<Result<Schema, String>>,
}

impl Known {
    fn new(stored: Arc<StoredSchema>) -> Arc<Self> {
        Arc::new(Self { stored, parsed: OnceLock::new() })
    }
}

impl Schemas {
    /// No id is known.
    pub fn none() -> Self {
        Self::default()
    }

    /// Those of a master dataset's facts.
    pub fn of(stored: &BTreeMap<SchemaId, Arc<StoredSchema>>) -> Self {
        Self(Arc::new(stored.iter().map(|(id, stored)| (*id, Known::new(Arc::clone(stored)))).collect()))
    }

    /// These, and others where their ids are not known yet.
    pub fn with<'a>(&self, others: impl IntoIterator<Item = (&'a SchemaId, &'a Arc<StoredSchema>)>) -> Self {
        let news: Vec<_> = others.into_iter().filter(|(id, _)| !self.0.contains_key(*id)).collect();
        if news.is_empty() {
            return self.clone();
        }
        let mut known = BTreeMap::clone(&self.0);
        known.extend(news.into_iter().map(|(id, stored)| (*id, Known::new(Arc::clone(stored)))));
        Self(Arc::new(known))
    }

    /// Whether an id is known.
    pub fn knows(&self, id: SchemaId) -> bool {
        self.0.contains_key(&id)
    }

    /// The schema of an id, as a registry told it.
    pub fn stored(&self, id: SchemaId) -> Option<&Arc<StoredSchema>> {
        self.0.get(&id).map(|known| &known.stored)
    }

    /// The schema of an id, to read payloads by.
    pub(crate) fn schema(&self, id: SchemaId) -> Read<&Schema> {
        let why = "of which nothing was known here";
        let known = self.0.get(&id).ok_or(Rejection::UnknownSchema { id, why })?;
        let parsed = known.parsed.get_or_init(|| Schema::parse(&known.stored));
        parsed.as_ref().map_err(|problem| Rejection::BadSchema { id, problem: first_line(problem) }.into())
    }
}

/// As much of a problem as is worth keeping beside each record that has it.
fn first_line(problem: &str) -> String {
    const MAX_CHARS: usize = 200;
    problem.lines().next().unwrap_or_default().chars().take(MAX_CHARS).collect()
}
