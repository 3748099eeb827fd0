//! Rejected records in a topic of their own, where the setting asks for it: beside everything else, on every log.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use event_log::{EventLog, Poll, PollLimit, Record};
use positions::Offset;

use super::{DEADLINE, EVENTS, Kind, PIPELINE, World, expected_rows, publish_all, send};

/// The records of a topic, once it has some.
async fn records_of(log: &dyn EventLog, topic: &str) -> Vec<Record> {
    let partitions = log.partitions(topic).await.unwrap();
    let mut consumer = log.consumer(topic, None).await.unwrap();
    let starts: BTreeMap<_, _> = partitions.into_iter().map(|partition| (partition, Offset(0))).collect();
    consumer.seek(&starts).await.unwrap();
    let limit = PollLimit { records: 100, bytes: 1 << 20, wait: Duration::from_millis(200) };
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Poll::Records(records) = consumer.poll(limit).await.unwrap()
            && !records.is_empty()
        {
            return records;
        }
        assert!(Instant::now() < deadline, "topic {topic} stays empty");
    }
}

pub async fn rejected_records_are_in_a_topic_of_their_own_where_the_setting_says_so(kind: Kind) {
    let Some(world) = World::new(kind, PIPELINE).await else { return };
    let mut config = world.config();
    config.archive.dead_topics = true;
    let (system, client) = world.start_with(config).await;
    let receipt = send(&client, &EVENTS).await;
    assert_eq!((receipt.accepted, receipt.rejected), (4, 1));
    assert_eq!(publish_all(&system, &client, &receipt.token).await["rows"], expected_rows());

    // What is archived is in the topic.
    let topic = world.parts.services.as_ref().map_or_else(|| "hits".to_owned(), |services| services.named("hits"));
    let log = system.log().expect("a whole system has a log").clone();
    let records = records_of(log.as_ref(), &format!("{topic}.dead")).await;
    let payloads: Vec<&[u8]> = records.iter().map(|record| record.payload.as_ref()).collect();
    assert_eq!(payloads, [EVENTS[4].as_bytes()]);
    drop(log);
    system.stop().await.unwrap();
}
