//! The suite on the embedded broker through the Kafka client, and what is special there: restarts, ports, dead ends.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use ::event_log::embedded::{EmbeddedBroker, EmbeddedSettings};
use ::event_log::kafka::{KafkaLog, KafkaSettings};
use ::event_log::{EventLog, EventLogError};
use async_trait::async_trait;
use positions::{Offset, PartitionId};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use tempfile::TempDir;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::suite::{self, Fixture};
use super::{PATIENCE, append, numbered, read, reader_of};

/// A broker in a folder of its own, and a client.
struct Embedded {
    log: KafkaLog,
    broker: EmbeddedBroker,
    stop: CancellationToken,
    _folder: TempDir,
}

impl Embedded {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stop = CancellationToken::new();
        let broker = start(folder.path(), None, &stop).await;
        let log = KafkaLog::connect(broker.kafka_settings()).await.unwrap();
        Self { log, broker, stop, _folder: folder }
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", self.broker.bootstrap_servers()).create().unwrap()
    }
}

async fn start(folder: &Path, port: Option<u16>, stop: &CancellationToken) -> EmbeddedBroker {
    let settings = EmbeddedSettings { data_dir: folder.to_owned(), port };
    EmbeddedBroker::start(settings, stop.clone()).await.unwrap()
}

#[async_trait]
impl Fixture for Embedded {
    fn log(&self) -> &dyn EventLog {
        &self.log
    }

    async fn recreate_topic(&self, topic: &str, partitions: i32) {
        // librdkafka 2.12 crashes on what this broker answers to a fetch from a deleted topic.
        self.log.closed().await;
        let admin = self.admin();
        let options = AdminOptions::new();
        admin.delete_topics(&[topic], &options).await.unwrap().remove(0).unwrap();
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        admin.create_topics([&new], &options).await.unwrap().remove(0).unwrap();
    }

    // A group member that closes after its broker has gone never ends, and the runtime waits for it.
    async fn close(&self) {
        self.log.closed().await;
    }
}

conformance!(Some(Embedded::start().await));

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_records_and_offsets_on_another_port() {
    let folder = tempfile::tempdir().unwrap();
    let mut ports = Vec::new();
    for round in 0..3 {
        let stop = CancellationToken::new();
        let broker = start(folder.path(), None, &stop).await;
        ports.push(broker.bootstrap_servers());
        let log = KafkaLog::connect(broker.kafka_settings()).await.unwrap();
        log.ensure_topic("t", 1).await.unwrap();
        let answers = append(&log, "t", numbered(100)).await;
        assert_eq!(answers[0], (PartitionId(0), Offset(round * 100)));
        let count = 100 * (round as usize + 1);
        assert_eq!(read(reader_of(&log, "t").await.as_mut(), count).await.len(), count);
        assert!(broker.size_bytes() > 0);
        stop.cancel();
        tokio::time::timeout(PATIENCE, broker.stopped()).await.expect("the broker stopped");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_outlives_a_restart_on_the_same_port() {
    let folder = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let broker = start(folder.path(), None, &stop).await;
    let log = KafkaLog::connect(broker.kafka_settings()).await.unwrap();
    log.ensure_topic("t", 1).await.unwrap();
    append(&log, "t", numbered(10)).await;
    let mut consumer = reader_of(&log, "t").await;
    read(consumer.as_mut(), 10).await;
    let port = broker.bootstrap_servers().rsplit(':').next().unwrap().parse().unwrap();
    stop.cancel();
    broker.stopped().await;

    let stop = CancellationToken::new();
    let _broker = start(folder.path(), Some(port), &stop).await;
    let deadline = Instant::now() + PATIENCE;
    while log.append("t", numbered(1)).await[0].is_err() {
        assert!(Instant::now() < deadline, "the producer did not come back");
    }
    let mut count = 0;
    while count == 0 {
        assert!(Instant::now() < deadline, "the consumer did not come back");
        match consumer.poll(super::limit()).await {
            Ok(event_log::Poll::Records(records)) => count += records.len(),
            Ok(event_log::Poll::Assigned(_)) => panic!("assigned without a group"),
            Err(EventLogError::Unreachable(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_unreachable_soon() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let settings = KafkaSettings {
        bootstrap_servers: format!("127.0.0.1:{port}"),
        connect_timeout: Duration::from_millis(500),
        ..KafkaSettings::default()
    };
    let connect = tokio::time::timeout(PATIENCE, KafkaLog::connect(settings)).await.expect("connect returned");
    let error = connect.map(drop).unwrap_err();
    let expected = format!("event log is unreachable: no broker at 127.0.0.1:{port} answered within 500 ms");
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_went_away_is_unreachable_soon() {
    let mut embedded = Embedded::start().await;
    let settings = KafkaSettings {
        delivery_timeout: Duration::from_secs(2),
        request_timeout: Duration::from_secs(2),
        ..embedded.broker.kafka_settings()
    };
    embedded.log = KafkaLog::connect(settings).await.unwrap();
    embedded.log.ensure_topic("t", 1).await.unwrap();
    append(&embedded.log, "t", numbered(10)).await;
    embedded.stop.cancel();
    embedded.broker.stopped().await;
    let ask = async {
        let bounds = embedded.log.bounds("t", PartitionId(0)).await.map(drop).unwrap_err();
        let append = embedded.log.append("t", numbered(3)).await.into_iter().map(|answer| answer.unwrap_err());
        std::iter::once(bounds).chain(append).collect::<Vec<_>>()
    };
    let errors = tokio::time::timeout(PATIENCE, ask).await.expect("every call returned");
    assert!(errors.iter().all(|error| matches!(error, EventLogError::Unreachable(_))), "{errors:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_overload() {
    let embedded = Embedded::start().await;
    let settings = KafkaSettings { queue_records: 100, ..embedded.broker.kafka_settings() };
    let log = KafkaLog::connect(settings).await.unwrap();
    log.ensure_topic("t", 1).await.unwrap();
    let answers = log.append("t", numbered(5_000)).await;
    let stored = answers.iter().filter(|answer| answer.is_ok()).count();
    let refused = answers.iter().filter(|answer| matches!(answer, Err(EventLogError::Overloaded(_)))).count();
    assert!(stored >= 100 && refused > 0 && stored + refused == 5_000, "{stored} stored, {refused} refused");
    assert_eq!(read(reader_of(&log, "t").await.as_mut(), stored).await.len(), stored);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_topic_is_refused() {
    let embedded = Embedded::start().await;
    let new = NewTopic::new("c", 1, TopicReplication::Fixed(1)).set("cleanup.policy", "compact");
    embedded.admin().create_topics([&new], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    let error = embedded.log.ensure_topic("c", 1).await.unwrap_err();
    assert!(error.to_string().contains("compacted topic loses events"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_outlives_its_topic() {
    let embedded = Embedded::start().await;
    embedded.log.ensure_topic("t", 1).await.unwrap();
    append(&embedded.log, "t", numbered(10)).await;
    embedded.recreate_topic("t", 1).await;
    let deadline = Instant::now() + PATIENCE;
    while embedded.log.append("t", numbered(1)).await[0].is_err() {
        assert!(Instant::now() < deadline, "the producer did not come back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_storage_is_started_again() {
    let embedded = Embedded::start().await;
    embedded.log.ensure_topic("t", 1).await.unwrap();
    append(&embedded.log, "t", numbered(10)).await;
    // The broker's storage panics on this request, which would leave a listener that answers nothing.
    let mut records = rdkafka::TopicPartitionList::new();
    records.add_partition_offset("t", 0, rdkafka::Offset::Offset(5)).unwrap();
    let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(2)));
    let _ = embedded.admin().delete_records(&records, &options).await;
    let deadline = Instant::now() + PATIENCE;
    while embedded.log.append("t", numbered(1)).await[0].is_err() {
        assert!(Instant::now() < deadline, "the broker did not come back");
    }
    assert_eq!(read(reader_of(&embedded.log, "t").await.as_mut(), 11).await.len(), 11);
}

#[test]
fn properties_that_carry_the_law_are_refused() {
    for name in ["acks", "enable.idempotence", "auto.offset.reset", "isolation.level", "group.id"] {
        let properties = BTreeMap::from([(name.to_owned(), "x".to_owned())]);
        let error = KafkaSettings { properties, ..KafkaSettings::default() }.validate().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("event log cannot be used: kafka property {name} is set by twofold itself")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_property_is_refused_by_name() {
    let properties = BTreeMap::from([("no.such.property".to_owned(), "x".to_owned())]);
    let error =
        KafkaLog::connect(KafkaSettings { properties, ..KafkaSettings::default() }).await.map(drop).unwrap_err();
    assert!(matches!(&error, EventLogError::Unusable(text) if text.contains("no.such.property")), "{error}");
}

#[test]
fn passwords_stay_out_of_debug_output() {
    let properties = BTreeMap::from([("sasl.password".to_owned(), "secret".to_owned())]);
    let shown = format!("{:?}", KafkaSettings { properties, ..KafkaSettings::default() });
    assert!(shown.contains("sasl.password") && !shown.contains("secret"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let settings = EmbeddedSettings { data_dir: folder.path().to_owned(), port: Some(port) };
    let error = EmbeddedBroker::start(settings, CancellationToken::new()).await.map(drop).unwrap_err();
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_may_have_any_name() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("Jörg's 100% data?#1");
    for round in 1..3 {
        let stop = CancellationToken::new();
        let broker = start(&folder, None, &stop).await;
        let log = KafkaLog::connect(broker.kafka_settings()).await.unwrap();
        log.ensure_topic("t", 1).await.unwrap();
        append(&log, "t", numbered(10)).await;
        assert_eq!(read(reader_of(&log, "t").await.as_mut(), 10 * round).await.len(), 10 * round);
        assert!(broker.size_bytes() > 0);
        stop.cancel();
        broker.stopped().await;
        assert!(folder.join("log.db").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_end_is_told_after_the_broker_is_gone() {
    let embedded = Embedded::start().await;
    embedded.log.ensure_topic("t", 1).await.unwrap();
    append(&embedded.log, "t", numbered(10)).await;
    let mut consumer = reader_of(&embedded.log, "t").await;
    read(consumer.as_mut(), 10).await;
    let deadline = Instant::now() + PATIENCE;
    while consumer.take_ends().is_empty() {
        assert!(Instant::now() < deadline, "no end was told");
        consumer.poll(super::limit()).await.unwrap();
    }
    embedded.stop.cancel();
    embedded.broker.stopped().await;
    let gone = Instant::now();
    // Several questions long.
    for _ in 0..30 {
        // An error says the same.
        let _ = consumer.poll(super::limit()).await;
        let now = Instant::now();
        assert!(consumer.take_ends().values().all(|age| now - *age <= gone), "an end was told by nobody");
    }
}
