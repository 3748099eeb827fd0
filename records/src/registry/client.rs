//! A schema registry, as the layers see it.

use async_trait::async_trait;
use positions::SchemaId;

use crate::decode::wire::StoredSchema;

/// Tells schemas by their ids. An id means the same schema for ever.
#[async_trait]
pub trait SchemaRegistry: Send + Sync {
    /// The schema of an id, with all that it refers to.
    ///
    /// # Errors
    /// None of them is for good: ask again.
    async fn schema(&self, id: SchemaId) -> Result<StoredSchema, RegistryError>;
}

/// Why a registry told no schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// It answers, and has no schema of this id.
    #[error("the schema registry has none of this id")]
    Unknown,
    /// It answers, and not with a schema of this id that can be used; others may be.
    #[error("{0}")]
    Refused(String),
    /// It does not answer, not now, or not to this client.
    #[error("{0}")]
    Unavailable(String),
}
