//! The only file of the Kafka adapter that loops in time or spawns.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use crate::EventLogError;

const PAUSE: Duration = Duration::from_millis(50);

/// How long something is tried again.
pub(super) struct Patience {
    deadline: Instant,
}

impl Patience {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { deadline: Instant::now() + timeout }
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// `reason`, when the time is over.
    pub(super) async fn wait(&self, reason: EventLogError) -> Result<(), EventLogError> {
        if Instant::now() >= self.deadline {
            return Err(reason);
        }
        sleep(PAUSE).await;
        Ok(())
    }
}

/// Drops a client off the async threads: leaving a group waits for the broker.
pub(super) fn close<T: Send + 'static>(closing: &TaskTracker, client: T) {
    if tokio::runtime::Handle::try_current().is_ok() {
        closing.spawn_blocking(move || drop(client));
    }
}

/// Starts a question to the broker that blocks, off the async threads. `closing` waits for it.
pub(super) fn ask<T: Send + 'static>(
    closing: &TaskTracker,
    question: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    closing.spawn_blocking(question)
}
