//! Where schemas come from: a schema registry, and what was learned from it.
//!
//! In: ids that payloads name. Out: their schemas.
//! Guarantee: what was learned stays; a registry that does not answer costs nothing but time.
//! Not here: speaking to a registry (`twofold`), reading payloads by schemas (`decode::wire`), keeping them for good
//! (`master`).

mod book;
mod client;

pub use book::SchemaBook;
pub use client::{RegistryError, SchemaRegistry};
