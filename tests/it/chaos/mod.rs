//! Chaos: the roles as processes of their own on real Kafka, Redis and S3, and one bad thing after another, drawn from
//! a seed, while events come in and a reader asks without pause.
//!
//! Guarantee: every answer is right for the head that it claims, says when it is stale, and never goes back; in the
//! end, everything is exact in both layers. `TWOFOLD_CHAOS_SEED` repeats a schedule, `TWOFOLD_CHAOS_KILLS` sets its
//! length.

mod changes;
mod definitions;
mod fail_points;
mod faults;
mod load;
mod oracle;
mod outages;
mod reader;
mod schedule;

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::own_services::OwnServices;
use tests::services::Services;
use tokio_util::sync::CancellationToken;

use self::faults::Cluster;
use self::load::{Acknowledged, Load, Pace};
use self::oracle::Oracle;
use self::reader::{Reader, check_rows, heads};
use self::schedule::{Role, Step, draw};
use crate::support::process::{DEADLINE, Running, Setup};

/// The gap is longer than the archive is mostly behind: what it has not read yet must not look like silence, or cuts
/// lie inside runs and answers are stale most of the time.
const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (
  id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, page VARCHAR NOT NULL, amount BIGINT NOT NULL
) STORED AS JSON LOCATION 'kafka://hits'
  OPTIONS (event_time 'time', event_id 'id', grid '64', gap '3s', partitions '4');

CREATE MATERIALIZED VIEW hits_by_page AS
SELECT page, count(*) AS hits, sum(amount) AS amount FROM hits GROUP BY page;
";
const SOURCE: &str = "hits";
const VIEW: &str = "hits_by_page";
const PAGES: usize = 7;
const PARTITIONS: i32 = 4;
const STALE_AFTER: Duration = Duration::from_secs(3);
const KILLS: usize = 25;
/// Its first steps hold most kinds of faults.
const SEED: u64 = 2;
/// So often the answers so far are compared, so that a wrong one ends a long run early.
const STEPS_BETWEEN_CHECKS: usize = 5;

/// What outlives the processes, and where the present ones are.
struct World {
    own: OwnServices,
    setup: Setup,
    folder: tempfile::TempDir,
    client: reqwest::Client,
    acknowledged: Acknowledged,
    // Written by the faults before a process is killed and after the next one is ready, read by the load.
    collector: Mutex<Option<String>>,
    // The same for the reader, which must know one gateway process from the next.
    gateway: Mutex<Option<(u64, String)>>,
    gateways: Mutex<u64>,
}

impl World {
    /// `None` where there are no services.
    async fn new() -> Option<Self> {
        Self::of(PIPELINE).await
    }

    async fn of(text: &str) -> Option<Self> {
        let own = OwnServices::start().await?;
        let folder = tempfile::tempdir().unwrap();
        Some(Self {
            setup: setup(&own.services, folder.path(), text),
            own,
            folder,
            client: reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap(),
            acknowledged: Acknowledged::default(),
            collector: Mutex::default(),
            gateway: Mutex::default(),
            gateways: Mutex::default(),
        })
    }

    fn with(mut self, key: &str, value: &str) -> Self {
        self.setup = self.setup.with(key, value);
        self
    }

    fn serve(&self, address: String) {
        let mut gateways = self.gateways.lock().unwrap();
        *gateways += 1;
        *self.gateway.lock().unwrap() = Some((*gateways, address));
    }

    fn generation(&self) -> Option<u64> {
        self.gateway.lock().unwrap().as_ref().map(|(generation, _)| *generation)
    }

    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(format!("{name}.log"))).unwrap_or_default()
    }

    async fn wipe(&self) {
        let client = redis::Client::open(self.own.services.redis.as_str()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        redis::cmd("FLUSHALL").exec_async(&mut connection).await.unwrap();
    }
}

fn setup(services: &Services, folder: &Path, pipeline: &str) -> Setup {
    // So often that faults fall into commits, publications, the dropping of runs and of files.
    Setup::new(folder, &services.pipeline(pipeline), services.settings())
        .with_short_waits()
        .with("ARCHIVE__COMMIT_INTERVAL", "300ms")
        .with("BATCH__INTERVAL", "1s")
        .with("BATCH__CLEANUP_INTERVAL", "5s")
        .with("BATCH__CLEANUP_GRACE", "20s")
        .with("SPEED__GROUP", &services.named("workers"))
        .with("SPEED__COURTESY", "500ms")
        .with("GATEWAY__STALE_AFTER", "3s")
        .with("LOG__SESSION_TIMEOUT", "2s")
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_right_whatever_is_killed_stopped_doubled_or_wiped() {
    let seed = number("TWOFOLD_CHAOS_SEED").unwrap_or(SEED);
    let kills = number("TWOFOLD_CHAOS_KILLS").map_or(KILLS, |kills| kills as usize);
    let Some(world) = World::new().await else { return };
    eprintln!("chaos: repeat with TWOFOLD_CHAOS_SEED={seed} TWOFOLD_CHAOS_KILLS={kills}");
    let steps = draw(seed, kills);
    let cluster = Cluster::start(&world).await;
    run(&world, cluster, Load::new(seed, Pace::FULL), &steps).await;
}

/// Load and questions while one step is taken after the other; then everything must be exact.
async fn run(world: &World, mut cluster: Cluster, mut load: Load, steps: &[Step]) {
    let reader = tokio::sync::Mutex::new(Reader::default());
    let asking = load.pace.asking;
    let oracle = Oracle::new(&world.own.services);
    let stop = CancellationToken::new();
    let reading = async {
        loop {
            reader.lock().await.ask(world).await;
            tokio::time::sleep(asking).await;
        }
    };
    let breaking = async {
        let oracle = take_steps(world, &mut cluster, steps, oracle, &reader).await;
        stop.cancel();
        oracle
    };
    let all = async { tokio::join!(load.run(world, &stop), breaking) };
    let ((), oracle) = tokio::select! {
        biased;
        done = all => done,
        () = reading => unreachable!("it asks without end"),
    };
    let mut reader = reader.into_inner();
    check_once_calm(world, &cluster, oracle, &mut reader, load.events as usize).await;
    report(steps, &load, &reader, &cluster);
}

async fn take_steps(
    world: &World,
    cluster: &mut Cluster,
    steps: &[Step],
    mut oracle: Oracle,
    reader: &tokio::sync::Mutex<Reader>,
) -> Oracle {
    let began = Instant::now();
    for (number, step) in steps.iter().enumerate() {
        eprintln!("  {number} at {:?}: {step:?}", began.elapsed());
        cluster.take(world, step).await;
        if number % STEPS_BETWEEN_CHECKS == 0 {
            oracle = catch_up(oracle).await;
            let mut reader = reader.lock().await;
            reader.check(&oracle);
            eprintln!(
                "    {} of {} answers stale, {} compared: {:?}",
                reader.stale, reader.answers, reader.compared, reader.reasons
            );
        }
    }
    oracle
}

/// Away from the thread on which the reader asks.
async fn catch_up(mut oracle: Oracle) -> Oracle {
    let read = tokio::task::spawn_blocking(move || {
        oracle.catch_up();
        oracle
    });
    read.await.unwrap()
}

/// When nothing goes wrong any more, both layers together are exact, and so is the batch layer alone.
async fn check_once_calm(world: &World, cluster: &Cluster, oracle: Oracle, reader: &mut Reader, events: usize) {
    let oracle = catch_up(oracle).await;
    assert_eq!(oracle.events(), events, "the topic holds every event that was acknowledged");
    let gateway = cluster.of(Role::Gateway);
    let deadline = Instant::now() + DEADLINE;
    loop {
        reader.ask(world).await;
        let answer = gateway.rows(VIEW, &[("limit", "1000")]).await;
        check_rows(&oracle, false, &answer);
        let envelope = &answer["envelope"];
        let is_whole = heads(envelope) == oracle.heads() && envelope["stale"] == false;
        if is_whole && envelope["realtime_rows"] == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "batch never covered everything: {envelope}\n{}", logs(world));
    }
    reader.check(&oracle);
    assert_eq!(reader.unchecked(), 0, "no answer reaches further than the topic");
    check_batch(&oracle, gateway).await;
    let full = world.setup.beside("full").run_to_its_end(&["batch", "run", "--full"]).await;
    assert!(full.status.success(), "{full:?}");
    check_batch(&oracle, gateway).await;
}

async fn check_batch(oracle: &Oracle, gateway: &Running) {
    for (is_total, parameter) in [(true, ("by", "")), (false, ("limit", "1000"))] {
        let answer: Value = gateway.rows(VIEW, &[parameter, ("consistency", "batch")]).await;
        assert_eq!(heads(&answer["envelope"]), oracle.heads(), "{}", answer["envelope"]);
        check_rows(oracle, is_total, &answer);
    }
}

fn logs(world: &World) -> String {
    let of = |role: Role| format!("--- {}\n{}", role.name(), tail(&world.log(role.name())));
    schedule::ROLES.map(of).join("\n")
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

fn report(steps: &[Step], load: &Load, reader: &Reader, cluster: &Cluster) {
    let kills: usize = steps.iter().map(|step| step.fault.kills()).sum();
    eprintln!(
        "chaos: {} faults with {kills} kills; {} events; {} answers, {} of them stale, {} different ones compared; {} batch \
         versions served; {} answers 503 of new gateways; {} starts repeated",
        steps.len(),
        load.events,
        reader.answers,
        reader.stale,
        reader.compared,
        reader.versions.len(),
        reader.not_yet,
        cluster.failed_starts,
    );
    eprintln!("chaos: stale because {:#?}", reader.reasons);
    assert!(reader.versions.len() > 1, "batch versions were published meanwhile");
}
