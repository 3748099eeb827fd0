//! What several areas of tests need: seeds, events, and what a layer under test stands in.

pub mod changes;
pub mod counted_store;
pub mod damage;
pub mod event;
pub mod flaky_store;
pub mod house;
pub mod large_body;
pub mod log_layer;
pub mod mutate;
pub mod object_layer;
pub mod post;
pub mod principals;
pub mod schema_registry;
pub mod seams;
pub mod seeds;
pub mod surroundings;
pub mod traces;
pub mod unready;

pub use tests::{certificates, parts, process, redis, redis_cluster};
