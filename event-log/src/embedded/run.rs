//! Runs the broker on a thread and a runtime of its own, and starts it again if its storage dies.
//!
//! Why so: the storage engine works inside its futures; on the caller's runtime it would hold up queries.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tansu_broker::NODE_ID;
use tansu_broker::broker::Builder;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use url::Url;
use uuid::Uuid;

use super::probe::{Health, probe};
use super::{StorageFolder, unusable};
use crate::EventLogError;

/// Topics belong to the cluster of this name: it never changes, or they would be gone.
const CLUSTER: &str = "twofold";
/// How often the storage is asked whether it lives.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);
/// How long one such question may take: a large fetch goes first.
const PROBE_PATIENCE: Duration = Duration::from_secs(60);
/// Pause between looks whether a broker that starts accepts connections.
const START_PAUSE: Duration = Duration::from_millis(10);
/// Threads of the broker: one works for the storage while the other packs and unpacks frames.
const THREADS: usize = 2;
/// How long tasks may take to end when the broker stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A broker about to run.
pub(super) struct Broker {
    pub(super) address: SocketAddr,
    pub(super) storage: StorageFolder,
    // Answered once, when the first start came to something.
    pub(super) ready: Mutex<Option<oneshot::Sender<Result<(), EventLogError>>>>,
    pub(super) stop: CancellationToken,
    pub(super) ended: CancellationToken,
}

/// Why one run of the broker ended.
enum End {
    Stopped,
    StorageDied,
    Failed(String),
}

/// Starts the thread.
pub(super) fn spawn(broker: Broker) -> Result<(), EventLogError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("twofold-broker")
        .enable_all()
        .build()
        .map_err(|error| unusable(&format!("the embedded broker cannot start its threads: {error}")))?;
    std::thread::Builder::new()
        .name("twofold-broker".to_owned())
        .spawn(move || {
            // Also when the broker panics: nobody waits for its end in vain.
            let _ended = broker.ended.clone().drop_guard();
            runtime.block_on(broker.run());
            runtime.shutdown_timeout(STOP_TIMEOUT);
        })
        .map(drop)
        .map_err(|error| unusable(&format!("the embedded broker cannot start its thread: {error}")))
}

impl Broker {
    async fn run(&self) {
        loop {
            match self.run_once().await {
                End::Stopped => {
                    info!(address = %self.address, "embedded broker stopped");
                    return;
                }
                End::StorageDied if self.has_started() => {
                    warn!(address = %self.address, "storage of the embedded broker ended, starting it again");
                }
                End::StorageDied => return self.answer(Err(unusable("the embedded broker's storage did not start"))),
                End::Failed(reason) => {
                    error!(address = %self.address, reason, "embedded broker failed");
                    return self.answer(Err(unusable(&format!("the embedded broker: {reason}"))));
                }
            }
        }
    }

    async fn run_once(&self) -> End {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => End::Stopped,
            reason = self.serve() => End::Failed(reason),
            () = self.watch() => End::StorageDied,
        }
    }

    /// Serves until something fails.
    async fn serve(&self) -> String {
        let listener = match Url::parse(&format!("tcp://{}", self.address)) {
            Ok(listener) => listener,
            Err(error) => return error.to_string(),
        };
        let broker = Builder::<(), (), (), (), (), ()>::default()
            .node_id(NODE_ID)
            .cluster_id(CLUSTER)
            .incarnation_id(Uuid::nil())
            .advertised_listener(listener.clone())
            .listener(listener)
            .storage(self.storage.url.clone())
            .silent(true)
            .build()
            .await;
        let served = match broker {
            Ok(mut broker) => broker.serve(Instant::now()).await,
            Err(error) => Err(error),
        };
        served.map_or_else(|error| error.to_string(), |()| "the listener was closed".to_owned())
    }

    /// Returns when the storage is dead.
    async fn watch(&self) {
        let start = Instant::now();
        while probe(self.address, PROBE_PATIENCE).await != Health::Alive {
            if start.elapsed() > PROBE_PATIENCE {
                return;
            }
            sleep(START_PAUSE).await;
        }
        info!(address = %self.address, start_ms = start.elapsed().as_millis() as u64, "embedded broker started");
        self.answer(Ok(()));
        while probe(self.address, PROBE_PATIENCE).await == Health::Alive {
            sleep(PROBE_INTERVAL).await;
        }
    }

    fn has_started(&self) -> bool {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    fn answer(&self, outcome: Result<(), EventLogError>) {
        if let Some(ready) = self.ready.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Nobody listens where `start` was cancelled; the drop guard of its caller then stops us.
            let _ = ready.send(outcome);
        }
    }
}
