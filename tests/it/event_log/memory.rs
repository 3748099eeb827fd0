//! The suite on memory, and what only memory can be made to do: expiry, gaps, unreachability.

use std::collections::BTreeMap;
use std::time::Duration;

use ::event_log::check_fingerprint;
use ::event_log::memory::MemoryLog;
use ::event_log::{EventLog, EventLogError, LogBounds, Poll};
use async_trait::async_trait;
use positions::{Offset, PartitionId};

use super::suite::{self, Fixture, positions};
use super::{append, clock, limit, numbered, read, reader_of};
use crate::support::log_layer::{Layered, LogLayer};

struct InMemory(MemoryLog);

#[async_trait]
impl Fixture for InMemory {
    fn log(&self) -> &dyn EventLog {
        &self.0
    }

    async fn grow_topic(&self, topic: &str, partitions: usize) {
        self.0.grow_topic(topic, partitions).unwrap();
    }

    async fn recreate_topic(&self, topic: &str, _partitions: i32) {
        self.0.recreate_topic(topic).unwrap();
    }
}

conformance!(Some(InMemory(MemoryLog::new(clock()))));

const ONE: PartitionId = PartitionId(0);

async fn log_with(count: i64) -> MemoryLog {
    let log = MemoryLog::new(clock());
    log.ensure_topic("t", 1).await.unwrap();
    append(&log, "t", numbered(count)).await;
    log
}

#[tokio::test]
async fn an_expired_offset_is_an_error_until_the_next_seek() {
    let log = log_with(100).await;
    let mut consumer = reader_of(&log, "t").await;
    log.expire_below("t", ONE, Offset(30)).unwrap();
    for _ in 0..2 {
        let error = consumer.poll(limit()).await.unwrap_err();
        let text = "topic t partition 0: offset 0 has expired, the log starts at 30";
        assert_eq!(error.to_string(), text);
    }
    consumer.seek(&BTreeMap::from([(ONE, Offset(30))])).await.unwrap();
    assert_eq!(read(consumer.as_mut(), 70).await[0].offset, Offset(30));
    assert_eq!(log.bounds("t", ONE).await.unwrap().low, Offset(30));
}

#[tokio::test]
async fn offsets_may_have_gaps() {
    let log = log_with(2).await;
    log.skip_offsets("t", ONE, 3).unwrap();
    append(&log, "t", numbered(2)).await;
    let records = read(reader_of(&log, "t").await.as_mut(), 4).await;
    assert_eq!(records.iter().map(|record| record.offset.0).collect::<Vec<_>>(), [0, 1, 5, 6]);
}

#[tokio::test(start_paused = true)]
async fn a_fingerprint_is_found_across_a_gap() {
    let log = log_with(2).await;
    let before = positions(&read(reader_of(&log, "t").await.as_mut(), 2).await)[2];
    log.skip_offsets("t", ONE, 300).unwrap();
    // The same place in the records, named by the last offset that no record lies before.
    check_fingerprint(&log, "t", ONE, &before.at_offset(Offset(302))).await.unwrap();
    append(&log, "t", numbered(2)).await;
    check_fingerprint(&log, "t", ONE, &before.at_offset(Offset(302))).await.unwrap();
    let error = check_fingerprint(&log, "t", ONE, &before.at_offset(Offset(303))).await.unwrap_err();
    assert!(matches!(error, EventLogError::AnotherTopic { .. }), "{error:?}");
}

#[tokio::test]
async fn an_expired_fingerprint_is_not_compared() {
    let log = log_with(20).await;
    let at_ten = positions(&read(reader_of(&log, "t").await.as_mut(), 20).await)[10];
    log.expire_below("t", ONE, Offset(10)).unwrap();
    check_fingerprint(&log, "t", ONE, &at_ten).await.unwrap();
}

#[tokio::test]
async fn an_unreachable_log_says_so_and_recovers() {
    let log = log_with(10).await;
    let mut consumer = reader_of(&log, "t").await;
    log.set_reachable(false);
    for error in [
        log.ensure_topic("t", 1).await.unwrap_err(),
        log.partitions("t").await.map(drop).unwrap_err(),
        log.bounds("t", ONE).await.map(drop).unwrap_err(),
        log.append("t", numbered(1)).await.remove(0).map(drop).unwrap_err(),
        log.consumer("t", None).await.map(drop).unwrap_err(),
        consumer.poll(limit()).await.map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, EventLogError::Unreachable(_)), "{error:?}");
    }
    log.set_reachable(true);
    assert_eq!(read(consumer.as_mut(), 10).await.len(), 10);
}

#[tokio::test]
async fn retention_drops_what_is_old() {
    let log = log_with(100).await;
    // Record N is N ms younger than the clock's now.
    log.apply_retention("t", Duration::ZERO).unwrap();
    assert_eq!(log.bounds("t", ONE).await.unwrap().low, Offset(0));
    let old = vec![super::record(None, "old", -10_000)];
    append(&log, "t", old).await;
    log.apply_retention("t", Duration::from_secs(5)).unwrap();
    assert_eq!(log.bounds("t", ONE).await.unwrap().low, Offset(0));
}

#[tokio::test]
async fn a_new_partition_reaches_the_group() {
    let log = log_with(1).await;
    let mut member = log.consumer("t", Some("g")).await.unwrap();
    assert_eq!(member.poll(limit()).await.unwrap(), Poll::Assigned([ONE].into()));
    log.grow_topic("t", 2).unwrap();
    assert_eq!(member.poll(limit()).await.unwrap(), Poll::Assigned([ONE, PartitionId(1)].into()));
}

#[tokio::test(start_paused = true)]
async fn a_log_that_does_not_answer_agrees_with_no_fingerprint() {
    let log = log_with(20).await;
    let at_ten = positions(&read(reader_of(&log, "t").await.as_mut(), 20).await)[10];
    log.set_silent(true);
    let error = check_fingerprint(&log, "t", ONE, &at_ten).await.unwrap_err();
    assert!(matches!(error, EventLogError::Unreachable(_)), "{error:?}");
    log.set_silent(false);
    check_fingerprint(&log, "t", ONE, &at_ten).await.unwrap();
}

/// A log that tells wrong ends of its partitions, as a broker may.
struct Imprecise {
    log: MemoryLog,
    high: Offset,
}

#[async_trait]
impl LogLayer for Imprecise {
    fn inner(&self) -> &MemoryLog {
        &self.log
    }

    async fn bounds(&self, topic: &str, partition: PartitionId) -> Result<LogBounds, EventLogError> {
        Ok(LogBounds { high: self.high, ..self.log.bounds(topic, partition).await? })
    }
}

#[tokio::test(start_paused = true)]
async fn fingerprints_do_not_depend_on_the_end_that_the_log_names() {
    for high in [0, 1, 10, 19, 20, 21, 5_000, i64::MAX] {
        let log = log_with(20).await;
        let positions = positions(&read(reader_of(&log, "t").await.as_mut(), 20).await);
        let imprecise = Layered(Imprecise { log: log.clone(), high: Offset(high) });
        for position in &positions {
            check_fingerprint(&imprecise, "t", ONE, position).await.unwrap();
        }
        log.recreate_topic("t").unwrap();
        for others in [0, 5, 15] {
            append(
                &log,
                "t",
                (0..others).map(|number| super::record(None, format!("other {number}"), number)).collect(),
            )
            .await;
            let error = check_fingerprint(&imprecise, "t", ONE, &positions[10]).await.unwrap_err();
            assert!(matches!(error, EventLogError::AnotherTopic { offset: Offset(10), .. }), "{high}: {error:?}");
        }
    }
}
