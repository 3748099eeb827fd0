//! A scheduler and executors in this process, each on a runtime of its own that can be ended at any moment.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ballista_engine::{Cluster, ClusterSettings, ExecutorSettings, SchedulerSettings, run_executor, run_scheduler};
use batch_layer::PlanEngine;
use lake::Lake;
use tests::process::free_port;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const MESSAGE_BYTES: u32 = 64 << 20;
/// An executor with a free slot asks for work ten times a second.
const LOST_AFTER: Duration = Duration::from_secs(5);

const KEEP: Duration = Duration::from_secs(600);

/// What runs until it is dropped, and ends then as a process that is killed.
pub struct Killed(Option<oneshot::Sender<()>>);

impl Drop for Killed {
    fn drop(&mut self) {
        // Nobody hears it where it has ended by itself.
        let _ = self.0.take().map(|kill| kill.send(()));
    }
}

fn on_a_runtime<F: Future<Output = ()>>(work: impl FnOnce() -> F + Send + 'static) -> Killed {
    let (kill, killed) = oneshot::channel();
    thread::spawn(move || {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            tokio::select! {
                biased;
                _ = killed => (),
                () = work() => (),
            }
        });
        runtime.shutdown_background();
    });
    Killed(Some(kill))
}

/// A scheduler, its executors, and how a worker reaches them.
pub struct Machines {
    pub engine: Arc<dyn PlanEngine>,
    pub executors: Vec<Killed>,
    _scheduler: Killed,
    _folders: Vec<tempfile::TempDir>,
}

impl Machines {
    /// Executors over the files of `lake`.
    pub async fn start(lake: &Lake, count: usize) -> Self {
        let port = free_port();
        let scheduler = on_a_runtime(move || async move {
            let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
            let settings = SchedulerSettings { max_message_bytes: MESSAGE_BYTES, lost_after: LOST_AFTER, keep: KEEP };
            run_scheduler(listener, &settings, CancellationToken::new()).await.unwrap();
        });
        let cluster = Cluster::new(cluster_settings(port), "worker".to_owned());
        let answers = async {
            while cluster.probe().await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(30), answers).await.unwrap();
        let folders: Vec<_> = (0..count).map(|_| tempfile::tempdir().unwrap()).collect();
        let executors = folders.iter().map(|folder| start_executor(lake.clone(), executor_settings(port, folder)));
        let executors = executors.collect();
        Self { engine: Arc::new(cluster), executors, _scheduler: scheduler, _folders: folders }
    }
}

fn start_executor(lake: Lake, settings: ExecutorSettings) -> Killed {
    on_a_runtime(move || async move { run_executor(&lake, &settings, CancellationToken::new()).await.unwrap() })
}

fn cluster_settings(port: u16) -> ClusterSettings {
    ClusterSettings {
        scheduler_host: "127.0.0.1".to_owned(),
        scheduler_port: port,
        from_bytes: 0,
        partitions: 3,
        max_plan_bytes: 32 << 20,
        max_message_bytes: MESSAGE_BYTES,
        deadline: Duration::from_secs(60),
    }
}

fn executor_settings(port: u16, folder: &tempfile::TempDir) -> ExecutorSettings {
    ExecutorSettings {
        listen: SocketAddr::from(([127, 0, 0, 1], free_port())),
        advertised_host: None,
        scheduler_host: "127.0.0.1".to_owned(),
        scheduler_port: port,
        // More than a plan has parts, so that one is always free.
        slots: 8,
        memory_bytes: 512 << 20,
        folder: folder.path().to_owned(),
        spill_limit_bytes: 1 << 30,
        max_message_bytes: MESSAGE_BYTES,
        keep: KEEP,
        stop_deadline: Duration::ZERO,
    }
}
