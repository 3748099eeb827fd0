//! A speed worker: what it shares, what it owns, and what a poll means for both. Waits for stores, but never sleeps.
//!
//! Guarantee: everything here can be dropped at any await; stores and log say where to go on.
//! Not here: the loop and polling (`run.rs`), partitions (`ownership.rs`), the steps of a turn (`turn.rs`), what
//! follows from errors (`policy.rs`).

use std::sync::Arc;

use event_log::{EventLogError, Poll};
use records::master::MasterSnapshot;
use tracing::warn;

use crate::context::Context;
use crate::ownership::Ownership;
use crate::policy::Pace;
use crate::read::note_expired;
use crate::turn::take_turn;
use crate::{SpeedComponents, SpeedError, SpeedSettings, metrics};

/// The state of one worker.
pub(crate) struct Worker {
    pub context: Arc<Context>,
    pub ownership: Ownership,
    is_log_failing: bool,
}

impl Worker {
    /// A worker that owns nothing yet.
    ///
    /// # Errors
    /// [`SpeedError::View`]: a view cannot be kept in realtime.
    pub async fn new(
        components: SpeedComponents,
        settings: SpeedSettings,
        master: Option<MasterSnapshot>,
    ) -> Result<Self, SpeedError> {
        let ownership = Ownership::new(&components.views);
        let context = Arc::new(Context::new(components, settings, master).await?);
        Ok(Self { context, ownership, is_log_failing: false })
    }

    /// Notes that the log failed; the consumer is told its positions again.
    ///
    /// # Errors
    /// Fatal ones only.
    pub fn note_log_error(&mut self, error: EventLogError) -> Result<(), SpeedError> {
        self.ownership.forget_seek();
        if note_expired(&mut self.ownership.partitions, &error) {
            warn!(%error, "reading on in the master dataset");
            return Ok(());
        }
        let error = SpeedError::from(error);
        if error.is_fatal() {
            return Err(error);
        }
        if !self.is_log_failing {
            warn!(%error, "event log failed; trying again");
        }
        self.is_log_failing = true;
        metrics::count(metrics::FAILURES, &self.context.components.source.name, 1);
        Ok(())
    }

    /// Takes in what was polled (`None`: nothing, the log failed) and does everything that follows from it.
    ///
    /// # Errors
    /// Fatal ones only.
    pub async fn process(&mut self, polled: Option<Poll>) -> Result<Pace, SpeedError> {
        let records = match polled {
            Some(Poll::Records(records)) => {
                self.is_log_failing = false;
                records
            }
            Some(Poll::Assigned(owned)) => {
                // Also where nothing changed: after each rebalance the consumer waits to be told its positions.
                self.ownership.forget_seek();
                self.ownership.assign(&self.context, owned, false);
                return Ok(Pace::AtOnce);
            }
            None => Vec::new(),
        };
        take_turn(&self.context, &mut self.ownership, records).await.map(Pace::after)
    }
}
