//! The suite on Apache Kafka, and what only a broker of its own can show: groups, expiry, topics that change under a
//! consumer, who is let in.

mod outages;
mod wire;

use std::collections::BTreeMap;
use std::time::Duration;

use ::event_log::kafka::{KafkaLog, KafkaSettings};
use ::event_log::{EventLog, EventLogError, LogConsumer, Poll};
use async_trait::async_trait;
use positions::{Offset, PartitionId};
use tests::services::Services;
use tokio::time::Instant;

use super::suite::{self, Fixture};
use super::{PATIENCE, append, limit, numbered, read, reader_of};

/// A client, and names of its own on the shared broker.
struct Kafka {
    log: KafkaLog,
    services: Services,
}

impl Kafka {
    async fn start() -> Option<Self> {
        let services = Services::find()?;
        let log = KafkaLog::connect(settings(&services)).await.unwrap();
        Some(Self { log, services })
    }

    /// A topic of one partition with records that count up.
    async fn with_records(&self, count: i64) -> String {
        let topic = self.name("t");
        self.make_topic(&topic, 1).await;
        append(&self.log, &topic, numbered(count)).await;
        topic
    }
}

fn settings(services: &Services) -> KafkaSettings {
    KafkaSettings {
        bootstrap_servers: services.kafka.clone(),
        fetch_wait: Duration::from_millis(50),
        // Who leaves without a word is missed soon.
        session_timeout: Duration::from_secs(3),
        ..KafkaSettings::default()
    }
}

#[async_trait]
impl Fixture for Kafka {
    fn log(&self) -> &dyn EventLog {
        &self.log
    }

    fn name(&self, name: &str) -> String {
        self.services.named(name)
    }

    async fn grow_topic(&self, topic: &str, partitions: usize) {
        self.services.admin().add_partitions(topic, partitions).await;
    }

    async fn recreate_topic(&self, topic: &str, partitions: i32) {
        self.services.admin().replace(topic, partitions).await;
    }
}

conformance!(Kafka::start().await);

const ONE: PartitionId = PartitionId(0);

async fn first_error(consumer: &mut dyn LogConsumer) -> EventLogError {
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "no error came");
        match consumer.poll(limit()).await {
            Ok(Poll::Records(records)) => assert!(records.is_empty(), "{records:?}"),
            Ok(Poll::Assigned(_)) => panic!("assigned without a group"),
            Err(error) => return error,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_offset_is_an_error_until_the_next_seek() {
    let Some(kafka) = Kafka::start().await else { return };
    let topic = kafka.with_records(100).await;
    kafka.services.admin().expire(&topic, 0, 40).await;
    let mut consumer = kafka.log.consumer(&topic, None).await.unwrap();
    consumer.seek(&BTreeMap::from([(ONE, Offset(7))])).await.unwrap();
    for _ in 0..2 {
        let error = first_error(consumer.as_mut()).await;
        assert!(matches!(error, EventLogError::Expired { asked: Offset(7), low: Offset(40), .. }), "{error}");
    }
    consumer.seek(&BTreeMap::from([(ONE, Offset(40))])).await.unwrap();
    assert_eq!(read(consumer.as_mut(), 60).await[0].offset, Offset(40));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_replaced_under_a_consumer_is_an_error() {
    let Some(kafka) = Kafka::start().await else { return };
    let topic = kafka.with_records(20).await;
    let mut consumer = reader_of(&kafka.log, &topic).await;
    read(consumer.as_mut(), 20).await;
    kafka.recreate_topic(&topic, 1).await;
    let error = first_error(consumer.as_mut()).await;
    assert!(matches!(error, EventLogError::AnotherTopic { offset: Offset(20), .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_replaced_before_anything_was_read_is_read() {
    let Some(kafka) = Kafka::start().await else { return };
    let topic = kafka.with_records(0).await;
    let mut consumer = reader_of(&kafka.log, &topic).await;
    assert_eq!(consumer.poll(limit()).await.unwrap(), Poll::Records(Vec::new()));
    kafka.recreate_topic(&topic, 1).await;
    append(&kafka.log, &topic, numbered(20)).await;
    assert_eq!(read(consumer.as_mut(), 20).await[0].offset, Offset(0));
    append(&kafka.log, &topic, numbered(20)).await;
    assert_eq!(read(consumer.as_mut(), 20).await[0].offset, Offset(20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_topic_is_refused() {
    let Some(kafka) = Kafka::start().await else { return };
    for policy in ["compact", "compact,delete"] {
        let topic = kafka.name(&policy.replace(',', "-"));
        kafka.services.admin().create(&topic, 1, &[("cleanup.policy", policy)]).await;
        let error = kafka.log.ensure_topic(&topic, 1).await.unwrap_err();
        assert!(error.to_string().contains("compacted topic loses events"), "{error}");
        assert!(error.to_string().contains("`kafka-configs.sh`"), "{error}");
    }
}

fn sasl(services: &Services, password: &str) -> KafkaSettings {
    let properties = [
        ("security.protocol", "sasl_plaintext"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", &services.kafka_user),
        ("sasl.password", password),
    ];
    let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    KafkaSettings { bootstrap_servers: services.kafka_sasl.clone(), properties, ..settings(services) }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_says_who_it_is() {
    let Some(kafka) = Kafka::start().await else { return };
    let log = KafkaLog::connect(sasl(&kafka.services, &kafka.services.kafka_password)).await.unwrap();
    let secured = Kafka { log, services: kafka.services };
    suite::records_come_back_in_order(&secured).await;
    suite::new_members_start_where_they_are_told(&Kafka { log: secured.log, services: Services::find().unwrap() })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_named_soon() {
    let Some(kafka) = Kafka::start().await else { return };
    let connect = KafkaLog::connect(sasl(&kafka.services, "wrong"));
    let error = tokio::time::timeout(PATIENCE, connect).await.expect("connect returned").map(drop).unwrap_err();
    assert!(matches!(error, EventLogError::Unusable(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains(&kafka.services.kafka_sasl) && text.contains("Authentication failed"), "{text}");
    assert!(!text.contains("wrong"), "{text}");
}
