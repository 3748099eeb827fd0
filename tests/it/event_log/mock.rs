//! The suite on librdkafka's mock of a Kafka cluster: what needs no real one, above
//! all offsets that have expired and answers that a broker gives seldom.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::Duration;

use ::event_log::kafka::{Compression, KafkaLog, KafkaSettings};
use ::event_log::{EventLog, EventLogError, Poll};
use async_trait::async_trait;
use bytes::Bytes;
use positions::{Offset, PartitionId};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::future_producer::Delivery;
use rdkafka::producer::{DefaultProducerContext, FutureProducer, FutureRecord};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tokio::time::Instant;

use super::suite::{self, Fixture};
use super::{PATIENCE, append, limit, read, record};

/// A mock cluster on a thread of its own, because it stays where it was made; and a client.
struct Mock {
    log: KafkaLog,
    address: String,
    orders: mpsc::SyncSender<Order>,
}

/// What the thread of the cluster is told to do.
enum Order {
    MakeTopic(String, i32),
    /// The next questions for offsets are answered with an error.
    FailOffsets(usize),
}

impl Mock {
    async fn start() -> Self {
        Self::start_with(KafkaSettings::default(), |_| {}).await
    }

    /// Starts a cluster that `prepare` has told what to do.
    async fn start_with(settings: KafkaSettings, prepare: fn(&MockCluster<'_, DefaultProducerContext>)) -> Self {
        let (orders, wanted) = mpsc::sync_channel::<Order>(0);
        let (tell, told) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let cluster = MockCluster::new(1).unwrap();
            prepare(&cluster);
            tell.send(cluster.bootstrap_servers()).unwrap();
            for order in wanted {
                match order {
                    Order::MakeTopic(topic, partitions) => cluster.create_topic(&topic, partitions, 1).unwrap(),
                    Order::FailOffsets(count) => {
                        let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN;
                        cluster.request_errors(RDKafkaApiKey::ListOffsets, &vec![error; count]);
                    }
                }
            }
        });
        let address = told.await.unwrap();
        let settings = KafkaSettings {
            bootstrap_servers: address.clone(),
            fetch_wait: Duration::from_millis(20),
            compression: Compression::None,
            ..settings
        };
        Self { log: KafkaLog::connect(settings).await.unwrap(), address, orders }
    }

    /// The payload of a message with these headers and this value, as a producer of somebody else sends it.
    async fn payload_of(&self, headers: &[(&str, &[u8])], value: &[u8]) -> Bytes {
        let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", &self.address).create().unwrap();
        let headers = headers
            .iter()
            .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(*value) }));
        let message = FutureRecord::<[u8], [u8]>::to("t").payload(value).headers(headers);
        let Delivery { offset, .. } = producer.send(message, PATIENCE).await.unwrap();
        let mut consumer = self.log.consumer("t", None).await.unwrap();
        consumer.seek(&BTreeMap::from([(ONE, Offset(offset))])).await.unwrap();
        read(consumer.as_mut(), 1).await.remove(0).payload
    }
}

#[async_trait]
impl Fixture for Mock {
    fn log(&self) -> &dyn EventLog {
        &self.log
    }

    async fn make_topic(&self, topic: &str, partitions: i32) {
        self.orders.send(Order::MakeTopic(topic.to_owned(), partitions)).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while self.log.partitions(topic).await.is_err() {
            assert!(Instant::now() < deadline, "the topic was not made");
        }
    }

    async fn grow_topic(&self, _topic: &str, _partitions: usize) {
        unimplemented!("the mock raises no topics");
    }

    async fn recreate_topic(&self, _topic: &str, _partitions: i32) {
        unimplemented!("the mock deletes no topics");
    }
}

reading_and_appending!(Some(Mock::start().await));

/// A header of a message: its name and its value.
type NamedBytes<'a> = (&'a str, &'a [u8]);

const ONE: PartitionId = PartitionId(0);
const JSON: (&str, &[u8]) = ("content-type", b"application/json");
const ORDER: &[u8] = br#"{"amount": 1.50}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_event_in_binary_mode_is_read_in_the_structured_form() {
    let mock = Mock::start().await;
    mock.make_topic("t", 1).await;
    let (version, id): (NamedBytes<'_>, NamedBytes<'_>) = (("ce_specversion", b"1.0"), ("ce_id", b"7"));
    // Values are text as it is, not percent-encoded as over HTTP; other headers are none of the event's.
    let subject: (&str, &[u8]) = ("ce_subject", "100%20 ü".as_bytes());
    let headers: [(&str, &[u8]); 5] = [version, ("traceparent", b"\xff"), subject, JSON, id];
    let whole = r#"{"datacontenttype":"application/json","id":"7","specversion":"1.0","subject":"100%20 ü","data":{"amount": 1.50}}"#;
    assert_eq!(mock.payload_of(&headers, ORDER).await, whole.as_bytes());
    let without_data = r#"{"id":"7","specversion":"1.0"}"#;
    assert_eq!(mock.payload_of(&[version, id], b"").await, without_data.as_bytes());
    // The decoder rejects what a column reads that is given twice, and keeps both.
    let doubled = r#"{"id":"7","id":"8","specversion":"1.0"}"#;
    assert_eq!(mock.payload_of(&[version, id, ("ce_id", b"8")], b"").await, doubled.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn any_other_message_keeps_its_bytes() {
    let mock = Mock::start().await;
    mock.make_topic("t", 1).await;
    let version: (&str, &[u8]) = ("ce_specversion", b"1.0");
    let structured: (&str, &[u8]) = ("content-type", b"application/cloudevents+json; charset=utf-8");
    let cases: [(&[NamedBytes<'_>], &[u8]); 6] = [
        (&[JSON], ORDER),
        (&[("ce_id", b"7")], ORDER),
        (&[version, structured], ORDER),
        // Data that no object can hold, and attributes that no text can.
        (&[version, JSON], b"{\"amount\": }"),
        (&[version, ("ce_id", b"\xff")], ORDER),
        (&[version, ("content-type", b"\xff")], ORDER),
    ];
    for (headers, value) in cases {
        assert_eq!(mock.payload_of(headers, value).await, value, "{headers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_offset_is_an_error_until_the_next_seek() {
    let mock = Mock::start().await;
    mock.make_topic("t", 1).await;
    // The mock keeps 5 MB of a partition.
    for number in 0..20 {
        append(&mock.log, "t", vec![record(None, vec![b'x'; 500_000], number)]).await;
    }
    let low = mock.log.bounds("t", ONE).await.unwrap().low;
    assert!(low > Offset(0));
    let mut consumer = mock.log.consumer("t", None).await.unwrap();
    consumer.seek(&BTreeMap::from([(ONE, Offset(0))])).await.unwrap();
    for _ in 0..2 {
        match first_error(consumer.as_mut()).await {
            EventLogError::Expired { asked: Offset(0), low: found, .. } => assert_eq!(found, low),
            error => panic!("{error}"),
        }
    }
    consumer.seek(&BTreeMap::from([(ONE, low)])).await.unwrap();
    assert_eq!(read(consumer.as_mut(), 1).await[0].offset, low);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_offset_is_found_out_also_where_the_bounds_fail_at_first() {
    let mock = Mock::start().await;
    mock.make_topic("t", 1).await;
    for number in 0..20 {
        append(&mock.log, "t", vec![record(None, vec![b'x'; 500_000], number)]).await;
    }
    let mut consumer = mock.log.consumer("t", None).await.unwrap();
    mock.orders.send(Order::FailOffsets(6)).unwrap();
    consumer.seek(&BTreeMap::from([(ONE, Offset(0))])).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut has_failed = false;
    loop {
        assert!(Instant::now() < deadline, "the lost offset was forgotten");
        match first_error(consumer.as_mut()).await {
            EventLogError::Expired { .. } => break,
            _ => has_failed = true,
        }
    }
    assert!(has_failed, "the bounds were answered at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_beyond_the_end_is_another_topic() {
    let mock = Mock::start().await;
    mock.make_topic("t", 1).await;
    append(&mock.log, "t", vec![record(None, "only", 0)]).await;
    let mut consumer = mock.log.consumer("t", None).await.unwrap();
    consumer.seek(&BTreeMap::from([(ONE, Offset(7))])).await.unwrap();
    let error = first_error(consumer.as_mut()).await;
    assert!(matches!(error, EventLogError::AnotherTopic { offset: Offset(7), .. }), "{error}");
}

async fn first_error(consumer: &mut dyn ::event_log::LogConsumer) -> EventLogError {
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
async fn a_refused_batch_costs_only_the_record_that_is_to_blame() {
    // Brokers refuse a batch as a whole, also where its records are small enough one by one.
    let mock = Mock::start_with(KafkaSettings::default(), |cluster| {
        let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
        let taken = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
        // The batch of three, then the three records alone.
        cluster.request_errors(RDKafkaApiKey::Produce, &[refused, taken, refused, taken]);
    })
    .await;
    mock.make_topic("t", 1).await;
    let records = ["one", "two", "three"].map(|payload| record(None, payload, 0));
    let answers = mock.log.append("t", records.to_vec()).await;
    let outcomes: Vec<bool> = answers.iter().map(|answer| matches!(answer, Err(EventLogError::Refused(_)))).collect();
    assert_eq!(outcomes, [false, true, false], "{answers:?}");
    assert!(answers[0].is_ok() && answers[2].is_ok(), "{answers:?}");
    let mut reader = mock.log.consumer("t", None).await.unwrap();
    reader.seek(&BTreeMap::from([(ONE, Offset(0))])).await.unwrap();
    let stored: Vec<_> = read(reader.as_mut(), 2).await.into_iter().map(|record| record.payload).collect();
    assert_eq!(stored, ["one", "three"]);
    // Nothing of it lasts.
    append(&mock.log, "t", vec![record(None, "four", 0)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_missing_is_told_by_its_name() {
    let mock = Mock::start_with(KafkaSettings::default(), |cluster| {
        let topic = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
        cluster.request_errors(RDKafkaApiKey::Produce, &[topic; 10]);
        let group = RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
        cluster.request_errors(RDKafkaApiKey::OffsetFetch, &[group; 10]);
    })
    .await;
    mock.make_topic("t", 1).await;
    let answers = mock.log.append("t", vec![record(None, "one", 0)]).await;
    let error = answers[0].as_ref().unwrap_err();
    assert!(matches!(error, EventLogError::Unusable(_)), "{error}");
    assert!(error.to_string().contains("do not allow Write on topic t"), "{error}");
    assert!(error.to_string().contains("--operation Write --topic t"), "{error}");
    let error = mock.log.check_topic("t", 1, Some("g")).await.unwrap_err();
    assert!(error.to_string().contains("do not allow Read on group g"), "{error}");
}
