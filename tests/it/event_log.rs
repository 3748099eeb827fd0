//! The contract of an event log, asked of every implementation: one suite, run on memory, on the embedded log, on
//! Apache Kafka and on librdkafka's mock of a Kafka cluster.

/// Tests by name: properties of the suite on a fixture, or on none where it cannot be had here.
macro_rules! properties {
    ($start:expr; $($property:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $property() {
                let Some(fixture) = $start else { return };
                suite::$property(&fixture).await;
                fixture.close().await;
            }
        )*
    };
}

/// What also librdkafka's mock of a cluster can do.
macro_rules! reading_and_appending {
    ($start:expr) => {
        properties!(
            $start;
            records_come_back_in_order,
            seek_decides_where_reading_goes_on,
            of_many_places_taken_at_once_the_last_is_read,
            nothing_comes_before_seek,
            an_empty_poll_waits_no_longer_than_told,
            a_waiting_poll_sees_new_records,
            an_end_is_told_once_everything_before_it_was_delivered,
            no_end_is_told_of_another_place,
            keys_meet_in_one_partition,
            payloads_pass_unchanged,
            clock_shifts_stay_with_their_records,
            twenty_thousand_records_in_and_out,
            consumers_do_not_disturb_each_other,
            poll_keeps_its_limits,
            bounds_follow_the_records,
            new_members_start_where_they_are_told,
            fingerprints_agree_while_the_topic_lives,
        );
    };
}

/// The whole suite.
macro_rules! conformance {
    ($start:expr) => {
        reading_and_appending!($start);
        properties!(
            $start;
            a_huge_record_is_refused_alone,
            topics_are_made_once_and_checked,
            added_partitions_are_read_from_their_start,
            a_group_shares_the_partitions,
            a_topic_made_again_is_found_out,
        );
    };
}

mod client;
mod cloud_events;
mod damage;
mod disk;
mod embedded;
mod erase;
mod kafka;
mod kill;
mod life;
mod memory;
mod mock;
mod suite;
mod torn;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ::event_log::{EventLog, LogConsumer, NewRecord, Poll, PollLimit, Record};
use bytes::Bytes;
use positions::{Clock, Offset, PartitionId, TimestampMicros};
use tokio::time::Instant;

use crate::support::seams::ManualClock;

/// Where a test gives up waiting for a condition.
const PATIENCE: Duration = Duration::from_secs(60);
/// 2026-01-01T00:00:00Z.
const EPOCH: i64 = 1_767_225_600_000_000;

fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::at(EPOCH))
}

fn limit() -> PollLimit {
    PollLimit { records: 10_000, bytes: 16 << 20, wait: Duration::from_millis(200) }
}

fn record(key: Option<&str>, payload: impl Into<Bytes>, number: i64) -> NewRecord {
    NewRecord {
        key: key.map(|key| Bytes::copy_from_slice(key.as_bytes())),
        payload: payload.into(),
        timestamp: TimestampMicros(EPOCH + number * 1_000),
        clock_shift: None,
    }
}

/// `count` records without keys, payload `event N`, a millisecond apart.
fn numbered(count: i64) -> Vec<NewRecord> {
    (0..count).map(|number| record(None, format!("event {number}"), number)).collect()
}

/// Appends, and expects every record to be acknowledged.
async fn append(log: &dyn EventLog, topic: &str, records: Vec<NewRecord>) -> Vec<(PartitionId, Offset)> {
    log.append(topic, records).await.into_iter().map(|answer| answer.unwrap()).collect()
}

fn starts(partitions: &BTreeSet<PartitionId>) -> BTreeMap<PartitionId, Offset> {
    partitions.iter().map(|partition| (*partition, Offset(0))).collect()
}

async fn reader_of(log: &dyn EventLog, topic: &str) -> Box<dyn LogConsumer> {
    let mut consumer = log.consumer(topic, None).await.unwrap();
    consumer.seek(&starts(&log.partitions(topic).await.unwrap())).await.unwrap();
    consumer
}

/// Polls until `count` records have come, or fails.
async fn read(consumer: &mut dyn LogConsumer, count: usize) -> Vec<Record> {
    let deadline = Instant::now() + PATIENCE;
    let mut records = Vec::new();
    while records.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} records came", records.len());
        match consumer.poll(limit()).await.unwrap() {
            Poll::Records(more) => records.extend(more),
            Poll::Assigned(partitions) => panic!("assigned {partitions:?} while reading"),
        }
    }
    records
}

/// Polls until the group has given exactly `expected`, seeking to the start of whatever it gives.
async fn read_until_assigned(
    consumer: &mut dyn LogConsumer,
    mut is_expected: impl FnMut(&BTreeSet<PartitionId>) -> bool,
) -> BTreeSet<PartitionId> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "the group gave nothing");
        if let Poll::Assigned(partitions) = consumer.poll(limit()).await.unwrap() {
            consumer.seek(&starts(&partitions)).await.unwrap();
            if is_expected(&partitions) {
                return partitions;
            }
        }
    }
}
