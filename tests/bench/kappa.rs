//! Lambda and kappa mode side by side, in one run over one log: what keeping three views costs, how long building them
//! again takes, and what the realtime store holds. `docs/lambda-or-kappa.md` says what the figures mean.
//!
//! Log and realtime store are in memory, the master dataset is on a local disk. Copies within the horizon are removed
//! by both modes; there are no others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use event_log::EventLog;
use event_log::memory::MemoryLog;
use lake::Lake;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use positions::{DefinitionNumber, PartitionId};
use records::master::MasterDataset;
use serving_layer::memory::MemoryStore;
use serving_layer::{BatchViewStore, PartitionKey, RealtimeStore, named_blobs};
use speed_layer::{Keeping, SpeedComponents, SpeedSettings, SpeedView};
use tokio_util::sync::CancellationToken;
use views::{Pipeline, PlannedView};

use crate::archive::archive_all;
use crate::data::{PIPELINE, RandomIds, SystemClock, pipeline};
use crate::log::fill;
use crate::recompute::recompute_in_full;
use crate::report::Report;

const EVENTS: usize = 1_000_000;
/// Of the realtime store: more than three views of all events take.
const STORE_BYTES: u64 = 16 << 30;

/// The log and the tables that both modes work on.
struct World {
    log: Arc<MemoryLog>,
    lake: Lake,
}

/// What some work took.
struct Cost {
    wall: Duration,
    cpu_seconds: f64,
}

impl Cost {
    fn rate(&self) -> f64 {
        EVENTS as f64 / self.wall.as_secs_f64()
    }

    fn cpu_per_million(&self) -> f64 {
        self.cpu_seconds * 1e6 / EVENTS as f64
    }
}

/// Measures lambda first, then kappa.
pub async fn measure(report: &mut Report) {
    let in_kappa = PIPELINE.replace("partitions '2'", "partitions '2', mode 'kappa'");
    let (lambda, kappa) = (pipeline(), Pipeline::read(&in_kappa, &BTreeMap::new()).unwrap());
    let source = &lambda.sources[0];
    let log = Arc::new(MemoryLog::new(Arc::new(SystemClock)));
    fill(log.as_ref(), source, EVENTS).await;
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap());
    let world = World { log, lake: Lake::new(store, Path::default()) };

    let (kept, lambda_bytes) = world.keep(&lambda).await;
    let master = MasterDataset::new(&world.lake, source.clone());
    let archiving = async {
        archive_all(world.log.clone(), master.clone(), source, EVENTS).await;
    };
    let archived = cost(archiving).await;
    let recomputed = cost(recompute_in_full(&world.lake, master, &lambda)).await;
    let (replayed, kappa_bytes) = world.keep(&kappa).await;
    world.expire(&kappa).await;
    let (from_master, _) = world.keep(&kappa).await;

    let rebuild = ("lambda: full recompute, published", recomputed.rate());
    report.add("kappa: three views replayed from the log", replayed.rate(), "events/s", rebuild);
    report.add("kappa: three views replayed from the master dataset", from_master.rate(), "events/s", rebuild);
    let keeping = ("lambda: one worker for three views", kept.rate());
    report.add("kappa: three workers, one view each, from the log", replayed.rate(), "events/s", keeping);
    let lambda_cpu = kept.cpu_per_million() + recomputed.cpu_per_million();
    let cpu = ("lambda: speed layer and one full recompute", lambda_cpu);
    report.add("kappa: processor time per million events, speed layer", replayed.cpu_per_million(), "s", cpu);
    report.note("both: processor time per million events, archive", archived.cpu_per_million(), "s");
    let held = ("lambda: before the first batch version", lambda_bytes as f64 / 1e6);
    report.add("kappa: realtime states of three views, encoded", kappa_bytes as f64 / 1e6, "MB", held);
}

impl World {
    /// Takes in the whole log, or what is left of it and the master dataset, into an empty realtime store: what that
    /// took, and how many bytes the indexes name then.
    async fn keep(&self, pipeline: &Pipeline) -> (Cost, u64) {
        let store = Arc::new(MemoryStore::new(STORE_BYTES, Arc::new(SystemClock)));
        let stop = CancellationToken::new();
        let work = async {
            let groups = groups(pipeline);
            let workers: Vec<_> = groups
                .iter()
                .map(|views| {
                    let components = self.components(pipeline, views, store.clone());
                    tokio::spawn(speed_layer::run::run(components, SpeedSettings::default(), stop.clone()))
                })
                .collect();
            for views in &groups {
                until_read(store.as_ref(), &places(views)).await;
            }
            stop.cancel();
            for worker in workers {
                worker.await.unwrap().unwrap();
            }
        };
        let cost = cost(work).await;
        let mut held = 0;
        for place in groups(pipeline).iter().flat_map(|views| places(views)) {
            let index = store.read_index(&place).await.unwrap().unwrap();
            let keys: Vec<_> = named_blobs(&index).into_iter().collect();
            let blobs = store.get_blobs(&place, &keys).await.unwrap();
            held += blobs.iter().flatten().map(|blob| blob.len() as u64).sum::<u64>();
        }
        (cost, held)
    }

    fn components(&self, pipeline: &Pipeline, views: &[PlannedView], store: Arc<MemoryStore>) -> SpeedComponents {
        let source = pipeline.sources[0].clone();
        let speed_view = |view: &PlannedView| SpeedView {
            definition: view.clone(),
            published: BatchViewStore::new(&self.lake, view.clone()),
            keeping: Keeping::Present,
        };
        SpeedComponents {
            log: self.log.clone(),
            store,
            master: MasterDataset::new(&self.lake, source.clone()),
            source,
            registry: None,
            views: views.iter().map(speed_view).collect(),
            definitions: Arc::new(DefinitionNumber(1)),
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
        }
    }

    /// The log forgets what is archived.
    async fn expire(&self, pipeline: &Pipeline) {
        let source = &pipeline.sources[0];
        let master = MasterDataset::new(&self.lake, source.clone()).open().await.unwrap().unwrap();
        for partition in self.log.partitions(&source.topic).await.unwrap() {
            let end = master.facts.partitions[&partition].archived.end.offset;
            self.log.expire_below(&source.topic, partition, end).unwrap();
        }
    }
}

/// The views of one worker each.
fn groups(pipeline: &Pipeline) -> Vec<Vec<PlannedView>> {
    match pipeline.sources[0].is_recomputed() {
        true => vec![pipeline.views.clone()],
        false => pipeline.views.iter().map(|view| vec![view.clone()]).collect(),
    }
}

/// Where what a worker keeps lies.
fn places(views: &[PlannedView]) -> Vec<PartitionKey> {
    let view = &views[0];
    let place = |partition| PartitionKey {
        generation: view.generation(),
        ..PartitionKey::new(&view.source.name, PartitionId(partition))
    };
    (0..view.source.partitions_at_creation()).map(place).collect()
}

async fn until_read(store: &MemoryStore, places: &[PartitionKey]) {
    loop {
        let mut read = 0;
        for place in places {
            read += store.read_index(place).await.unwrap().map_or(0, |index| index.head.offset.0);
        }
        if read >= EVENTS as i64 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn cost(work: impl Future<Output = ()>) -> Cost {
    let (began, cpu) = (Instant::now(), cpu_seconds());
    work.await;
    Cost { wall: began.elapsed(), cpu_seconds: cpu_seconds() - cpu }
}

/// The processor time of this process so far; 0 where the system does not tell.
fn cpu_seconds() -> f64 {
    // The kernel counts in hundredths of a second, whatever its own clock does.
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program may hold blanks; what follows its closing bracket does not.
    let rest = stat.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
    let times = rest.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
    times.sum::<f64>() / TICKS
}
