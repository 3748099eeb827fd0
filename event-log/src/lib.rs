//! The event log: where events enter, and where they can be read again.
//!
//! ```text
//!  collector --> append --> event log (Kafka, embedded, memory) --> consumer --> both layers
//! ```
//!
//! Guarantee: a record that was acknowledged is in the log, and every later reader sees it, in the order of its
//! partition.
//! Not here: what a record means (`records`), taking events in over HTTP (`collector`).

pub mod cloud_event;
pub mod embedded;
mod error;
mod group;
pub mod kafka;
mod life_log;
mod local;
mod log;
pub mod memory;
mod same_topic;

pub use error::EventLogError;
pub use group::{LocalGroups, Membership};
pub use life_log::LifeLog;
pub use log::{EventLog, LogBounds, LogConsumer, NewRecord, Poll, PollLimit, Record};
pub use same_topic::check_fingerprint;
