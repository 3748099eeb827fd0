//! What a log and its consumers share of one connection.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::config::KafkaSettings;
use super::producer::KafkaProducer;
use super::tails::Tails;

/// Clones share it.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) settings: Arc<KafkaSettings>,
    pub(super) producer: Arc<KafkaProducer>,
    /// Consumers that are leaving their groups: that blocks, so it happens off the caller's thread.
    pub(super) closing: TaskTracker,
    /// What consumers found of the ends of partitions.
    pub(super) tails: Arc<Tails>,
}
