//! An event log without room: who operates the system is told, until something fits again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use event_log::memory::MemoryLog;
use event_log::{EventLog, EventLogError, NewRecord};
use positions::{Offset, PartitionId, TimestampMicros};
use twofold::health::Health;
use twofold::watched_log::WatchedLog;

use crate::support::log_layer::{Layered, LogLayer};
use crate::support::seams::ManualClock;

const REASON: &str = "7 bytes do not fit into the folder";

/// A log that may be full.
struct Filling {
    inner: MemoryLog,
    is_full: Arc<AtomicBool>,
}

#[async_trait]
impl LogLayer for Filling {
    fn inner(&self) -> &MemoryLog {
        &self.inner
    }

    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Vec<Result<(PartitionId, Offset), EventLogError>> {
        if self.is_full.load(Ordering::SeqCst) {
            return records.iter().map(|_| Err(EventLogError::Full(REASON.to_owned()))).collect();
        }
        self.inner.append(topic, records).await
    }
}

#[tokio::test]
async fn a_full_log_is_known_until_something_fits_again() {
    let (health, is_full) = (Arc::new(Health::default()), Arc::new(AtomicBool::new(false)));
    let inner = MemoryLog::new(Arc::new(ManualClock::at(1_767_225_600_000_000)));
    let log = WatchedLog::new(Arc::new(Layered(Filling { inner, is_full: is_full.clone() })), health.clone());
    log.ensure_topic("hits", 1).await.unwrap();
    let record = NewRecord { key: None, payload: "{}".into(), timestamp: TimestampMicros(1), clock_shift: None };
    for (is_now_full, expected) in [(false, None), (true, Some(REASON)), (false, None)] {
        is_full.store(is_now_full, Ordering::SeqCst);
        let outcomes = log.append("hits", vec![record.clone()]).await;
        assert_eq!(outcomes[0].is_err(), is_now_full, "{outcomes:?}");
        assert_eq!(health.full_log().as_deref(), expected);
    }
}
