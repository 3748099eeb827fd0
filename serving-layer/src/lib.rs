//! Where views live: the batch-view store and the realtime-view store, each with the half that writes and the half
//! that reads.
//!
//! ```text
//!  batch layer --publish--> batch views (tables) --newest_versions, load--+
//!                                                                         +--> query gateway
//!  speed layer --put_blobs, swap_index--> realtime views --read_index ----+
//! ```
//!
//! Guarantee: readers see a version or an index as one writer left it, never half of one.

mod batch_views;
pub mod blob;
mod bucket_cursor;
mod bucket_files;
mod bucket_ranges;
mod config;
mod definition_set;
mod error;
pub mod exactness;
mod folded;
mod former_view;
pub mod memory;
mod metrics;
mod publication;
mod realtime;
pub mod redis;
pub mod registry;

pub use batch_views::{BatchFacts, BatchVersion, BatchViewStore, Publisher};
pub use bucket_ranges::BucketRanges;
pub use config::BatchViewSettings;
pub use error::ServingError;
pub use folded::Folded;
/// Where batch views lie, and the number of one: for callers that need nothing else of the `lake` crate.
pub use lake::{Lake, Version};
pub use publication::{MayCommit, Publication, PublicationPart, WrittenPart, always};
pub use realtime::{BlobKey, PartitionKey, RealtimeStore, Swap, named_blobs};
