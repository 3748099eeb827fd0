//! The command on real Kafka, Redis and S3: what is in order, what is not, and that nothing of a check stays.

use std::process::Output;

use ::event_log::kafka::{KafkaLog, KafkaSettings};
use ::event_log::{EventLog, NewRecord};
use positions::{PartitionId, TimestampMicros};
use serving_layer::redis::{RedisSettings, RedisStore, acl_rules};
use tests::services::Services;

use crate::cli::check;
use crate::support::process::{Running, Setup};
use crate::support::redis::RedisServer;

const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, page VARCHAR NOT NULL)
STORED AS JSON LOCATION 'kafka://hits' OPTIONS (event_time 'time', event_id 'id', partitions '3');
CREATE MATERIALIZED VIEW hits_by_page AS SELECT page, count(*) AS hits FROM hits GROUP BY page;
";

struct World {
    services: Services,
    setup: Setup,
    _folder: tempfile::TempDir,
}

impl World {
    /// `None` where there are no services.
    fn new() -> Option<Self> {
        let services = Services::find()?;
        let folder = tempfile::tempdir().unwrap();
        let setup = Setup::new(folder.path(), &services.pipeline(PIPELINE), services.settings());
        Some(Self { services, setup, _folder: folder })
    }

    fn topic(&self) -> String {
        self.services.named("hits")
    }

    async fn log(&self) -> KafkaLog {
        let bootstrap_servers = self.services.kafka.clone();
        KafkaLog::connect(KafkaSettings { bootstrap_servers, ..KafkaSettings::default() }).await.unwrap()
    }
}

async fn doctor(setup: &Setup) -> Output {
    setup.run_to_its_end(&["doctor"]).await
}

/// What the command printed holds none of these.
fn check_without(output: &Output, parts: &[&str]) {
    let printed = String::from_utf8_lossy(&output.stdout);
    for part in parts {
        assert!(!printed.contains(part), "`{part}` in:\n{printed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_in_order_are_told_as_that_and_no_topic_is_made() {
    let Some(world) = World::new() else { return };
    let topic = format!("ok    topic {}: is not there yet, and may be made", world.topic());
    let output = doctor(&world.setup).await;
    check(
        &output,
        0,
        &["ok    object store: s3://", "ok    tables: 0 of 2", "ok    event log", &topic, "ok    realtime store"],
    );
    check_without(&output, &["WARN", "FAIL"]);
    let error = world.log().await.partitions(&world.topic()).await.unwrap_err();
    assert!(error.to_string().contains("does not exist"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_tried_and_not_written() {
    let Some(world) = World::new() else { return };
    let (topic, log) = (world.topic(), world.log().await);
    world.services.admin().create(&topic, 3, &[("retention.ms", "172800000"), ("max.message.bytes", "4096")]).await;
    let record = NewRecord { key: None, payload: "one".into(), timestamp: TimestampMicros(0), clock_shift: None };
    log.append(&topic, vec![record]).await.remove(0).unwrap();
    let grouped = world.setup.clone().with("SPEED__GROUP", &world.services.named("workers"));
    let output = doctor(&grouped).await;
    check(&output, 0, &[&format!("ok    topic {topic}: 3 partitions, records are kept for 2d")]);
    check_without(&output, &["WARN", "FAIL"]);
    let mut records = 0;
    for partition in 0..3 {
        records += log.bounds(&topic, PartitionId(partition)).await.unwrap().high.0;
    }
    assert_eq!(records, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_another_one_than_the_archived_is_told_as_at_the_start() {
    let Some(world) = World::new() else { return };
    let running = Running::start(&world.setup).await;
    running.post("hits", &[r#"{"id":"1","time":"2026-01-05T10:00:00Z","page":"/"}"#]).await;
    running.wait_until_archived(1).await;
    assert!(running.terminate().success());
    check(&doctor(&world.setup).await, 0, &["ok    topic", "ok    tables"]);
    world.services.admin().replace(&world.topic(), 3).await;
    let told = format!("FAIL  topic {}", world.topic());
    check(&doctor(&world.setup).await, 1, &[&told, "`twofold source reset` begins its next life"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_partitions_than_written_are_told_as_at_the_start() {
    let Some(world) = World::new() else { return };
    world.services.admin().create(&world.topic(), 1, &[]).await;
    let told = format!("WARN  topic {0}: topic {0} has fewer partitions (1)", world.topic());
    check(&doctor(&world.setup).await, 0, &[&told, "kafka-topics.sh --alter"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_topic_is_refused_by_name() {
    let Some(world) = World::new() else { return };
    world.services.admin().create(&world.topic(), 1, &[("cleanup.policy", "compact")]).await;
    let told = format!("FAIL  topic {}", world.topic());
    check(&doctor(&world.setup).await, 1, &[&told, "cleanup.policy = compact", "to `delete`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_cannot_be_made_is_told() {
    let Some(world) = World::new() else { return };
    let told = ["FAIL  topic", "set `log.replication` to what the brokers can give"];
    check(&doctor(&world.setup.clone().with("LOG__REPLICATION", "3")).await, 1, &told);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_be_used_is_told_as_at_the_start() {
    let Some(world) = World::new() else { return };
    let tls = format!("https://{}", world.services.kafka_ssl);
    for (key, value, told) in [
        ("LAKE__SECRET_ACCESS_KEY", "not-the-secret", "correct `lake.secret_access_key`"),
        ("LAKE__ACCESS_KEY_ID", "nobody", "correct `lake.access_key_id`"),
        ("LAKE__ENDPOINT", tls.as_str(), "an authority that this machine does not trust"),
    ] {
        let setup = world.setup.clone().with(key, value);
        check(&doctor(&setup).await, 1, &["FAIL  object store", told]);
        let start = setup.run_to_its_end(&["up"]).await;
        check(&start, 1, &[told]);
        assert!(!String::from_utf8_lossy(&start.stderr).contains("not-the-secret"), "{start:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_of_redis_leaves_nothing_that_does_not_expire() {
    let server = RedisServer::start().await;
    let settings = RedisSettings { url: server.url(), ..RedisSettings::default() };
    let time = RedisStore::connect(settings).await.unwrap().probe(7).await.unwrap();
    assert!(time.is_some_and(|time| time > TimestampMicros(0)), "{time:?}");
    check_that_all_expires(&server).await;
}

/// As where the command is killed behind any of its steps: what it changed is not removed any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_probe_of_redis_that_does_not_come_to_its_end_leaves_what_expires() {
    let server = RedisServer::start().await;
    // In the order of the steps: the index is written, read, changed, removed.
    for (step, command) in ["get", "getrange", "del"].into_iter().enumerate() {
        server.let_in("limited", &format!("{} -{command}", acl_rules("default", false))).await;
        server.run::<()>(&["SCRIPT", "FLUSH"]).await;
        let settings = RedisSettings { url: server.url_of("limited"), ..RedisSettings::default() };
        RedisStore::connect(settings).await.unwrap().probe(step as u128 + 1).await.unwrap_err();
        assert!(check_that_all_expires(&server).await.iter().any(|key| key.ends_with(":index")), "{command}");
        server.run::<()>(&["FLUSHALL"]).await;
    }
}

/// The keys that are there.
async fn check_that_all_expires(server: &RedisServer) -> Vec<String> {
    let mut connection = server.connection().await.unwrap();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
    for key in &keys {
        let left: i64 = redis::cmd("PTTL").arg(key).query_async(&mut connection).await.unwrap();
        assert!(left > 0, "{key} stays");
    }
    keys
}
