//! The definition hash: what a state depends on, and nothing else.
//!
//! Guarantee: equal on every machine for equal definitions; different whenever states could differ in meaning. The
//! layout of keywords and comments does not matter, nor do `grid`, `gap` and `partitions`, nor in lambda `horizon`.

use std::collections::BTreeMap;

use arrow::datatypes::Schema;
use positions::DefinitionHash;
use sha2::{Digest, Sha256};

use crate::bucket::Bucket;
use crate::declared::declared_extras;
use crate::source::{SourceDefinition, SourceMode};

/// Raised whenever the meaning of stored states or of decoded events changes.
pub(crate) const STATE_FORMAT: u32 = 5;

/// What a view is made of.
pub(crate) struct Definition<'a> {
    pub(crate) name: &'a str,
    pub(crate) canonical_sql: &'a str,
    pub(crate) source: &'a SourceDefinition,
    pub(crate) bucket: Bucket,
    /// Name, columns and the digest of the content of each joined static table.
    pub(crate) statics: Vec<(&'a str, &'a Schema, &'a [u8; 32])>,
}

impl Definition<'_> {
    /// Of each static table its name, and a text that differs where its content or its columns do.
    pub(crate) fn static_texts(&self) -> BTreeMap<String, String> {
        let text = |digest: &[u8; 32], schema: &Schema| {
            let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{digits}\n{}", columns(schema))
        };
        self.statics.iter().map(|(name, schema, digest)| ((*name).to_owned(), text(digest, schema))).collect()
    }

    /// The first 16 bytes of a SHA-256 over all fields.
    pub(crate) fn hash(&self) -> DefinitionHash {
        let mut hasher = FieldHasher(Sha256::new());
        hasher.add("state_format", STATE_FORMAT.to_le_bytes());
        hasher.add("view", self.name);
        hasher.add("sql", self.canonical_sql);
        hasher.add("bucket", self.bucket.as_str());
        let source = self.source;
        hasher.add("source", source.name.as_str());
        hasher.add("topic", &source.topic);
        hasher.add("columns", columns(&source.declared));
        hasher.add("reading", source.reading());
        // Nothing is added for lambda, as before there was a choice. In kappa no batch settles what the horizon left.
        if source.mode == SourceMode::Kappa {
            hasher.add("mode", source.mode.as_str());
            hasher.add("horizon", source.horizon.as_micros().to_le_bytes());
        }
        for (name, schema, digest) in &self.statics {
            hasher.add("static", name);
            hasher.add("columns", columns(schema));
            hasher.add("content", digest);
        }
        let digest = hasher.0.finalize();
        let mut first = [0; 16];
        first.copy_from_slice(&digest[..16]);
        DefinitionHash(u128::from_be_bytes(first))
    }
}

struct FieldHasher(Sha256);

impl FieldHasher {
    /// Lengths go in too, so that no two lists of fields look alike.
    fn add(&mut self, name: &str, value: impl AsRef<[u8]>) {
        for bytes in [name.as_bytes(), value.as_ref()] {
            self.0.update((bytes.len() as u64).to_le_bytes());
            self.0.update(bytes);
        }
    }
}

/// What a definition depends on of the columns of a table.
fn columns(schema: &Schema) -> String {
    let columns = schema.fields().iter().map(|field| {
        let null = if field.is_nullable() { "null" } else { "not null" };
        format!("{} {} {null}{}", field.name(), field.data_type(), declared_extras(field))
    });
    columns.collect::<Vec<_>>().join("\n")
}
