//! The suite on the embedded log, and what is special there: restarts, retention, group commit, one process at a time.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::event_log::embedded::{EmbeddedLog, EmbeddedSettings};
use ::event_log::{EventLog, EventLogError};
use async_trait::async_trait;
use positions::{Clock, IdSource, Offset, PartitionId};
use tempfile::TempDir;
use tokio::time::Instant;

use super::suite::{self, Fixture};
use super::{EPOCH, PATIENCE, append, numbered, read, reader_of, record};
use crate::support::seams::{ManualClock, SeededIds};

/// A log in a folder of its own.
struct Embedded {
    log: EmbeddedLog,
    clock: Arc<ManualClock>,
    folder: TempDir,
}

impl Embedded {
    async fn start() -> Self {
        Self::start_with(|settings| settings).await
    }

    async fn start_with(change: impl FnOnce(EmbeddedSettings) -> EmbeddedSettings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(EPOCH));
        let settings = change(EmbeddedSettings::new(folder.path()));
        let log = EmbeddedLog::open(settings, clock.clone() as Arc<dyn Clock>, ids()).await.unwrap();
        Self { log, clock, folder }
    }
}

pub(super) fn ids() -> Arc<dyn IdSource> {
    Arc::new(SeededIds::new(7))
}

pub(super) async fn open(folder: &Path) -> Result<EmbeddedLog, EventLogError> {
    EmbeddedLog::open(EmbeddedSettings::new(folder), super::clock(), ids()).await
}

#[async_trait]
impl Fixture for Embedded {
    fn log(&self) -> &dyn EventLog {
        &self.log
    }

    async fn grow_topic(&self, topic: &str, partitions: usize) {
        self.log.grow_topic(topic, partitions).await.unwrap();
    }

    async fn recreate_topic(&self, topic: &str, _partitions: i32) {
        self.log.recreate_topic(topic).await.unwrap();
    }

    async fn close(&self) {
        self.log.close().await;
    }
}

conformance!(Some(Embedded::start().await));

const ONE: PartitionId = PartitionId(0);

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_topics_records_and_offsets() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("Jörg's 100% data?#1");
    for round in 0..3 {
        let log = open(&folder).await.unwrap();
        log.ensure_topic("t", 1).await.unwrap();
        let answers = append(&log, "t", numbered(100)).await;
        assert_eq!(answers[0], (ONE, Offset(round * 100)));
        let count = 100 * (round as usize + 1);
        let records = read(reader_of(&log, "t").await.as_mut(), count).await;
        assert!(records.iter().enumerate().all(|(at, record)| record.offset == Offset(at as i64)));
        assert!(log.size_bytes() > Some(0));
        log.close().await;
        assert_eq!(log.size_bytes(), None, "nobody knows the size of a log that is closed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_dropped_gives_its_folder_free() {
    let folder = tempfile::tempdir().unwrap();
    for round in 1..4 {
        let log = open(folder.path()).await.unwrap();
        log.ensure_topic("t", 1).await.unwrap();
        append(&log, "t", numbered(10)).await;
        assert_eq!(log.bounds("t", ONE).await.unwrap().high, Offset(10 * round));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_held_by_one_log_at_a_time() {
    let first = Embedded::start().await;
    let error = open(first.folder.path()).await.map(drop).unwrap_err();
    assert!(matches!(&error, EventLogError::Unusable(text) if text.contains("held by another process")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_an_older_version_is_refused_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("log.db");
    std::fs::write(&old, "SQLite format 3\0").unwrap();
    let error = open(folder.path()).await.map(drop).unwrap_err().to_string();
    for part in [old.to_str().unwrap(), "everything is archived", "move the folder", "--data-dir"] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(std::fs::read(&old).unwrap(), b"SQLite format 3\0", "it was changed");
    // The way out works.
    std::fs::remove_file(&old).unwrap();
    open(folder.path()).await.unwrap().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_log_says_so_to_everybody() {
    let embedded = Embedded::start().await;
    embedded.log.ensure_topic("t", 1).await.unwrap();
    append(&embedded.log, "t", numbered(10)).await;
    let mut consumer = reader_of(&embedded.log, "t").await;
    read(consumer.as_mut(), 10).await;
    embedded.log.close().await;
    let gone = Instant::now();
    for error in [
        embedded.log.append("t", numbered(1)).await.remove(0).map(drop).unwrap_err(),
        embedded.log.bounds("t", ONE).await.map(drop).unwrap_err(),
        consumer.poll(super::limit()).await.map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, EventLogError::Unreachable(_)), "{error:?}");
    }
    let now = Instant::now();
    assert!(consumer.take_ends().values().all(|age| now - *age <= gone), "an end was told by nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_overload() {
    let embedded = Embedded::start_with(|settings| EmbeddedSettings { queue_records: 100, ..settings }).await;
    embedded.log.ensure_topic("t", 1).await.unwrap();
    let answers = embedded.log.append("t", numbered(5_000)).await;
    let stored = answers.iter().filter(|answer| answer.is_ok()).count();
    let refused = answers.iter().filter(|answer| matches!(answer, Err(EventLogError::Overloaded(_)))).count();
    assert!(stored >= 100 && refused > 0 && stored + refused == 5_000, "{stored} stored, {refused} refused");
    assert_eq!(read(reader_of(&embedded.log, "t").await.as_mut(), stored).await.len(), stored);
    // The queue is free again.
    append(&embedded.log, "t", numbered(100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_come_together_get_offsets_of_their_own() {
    let embedded = Embedded::start().await;
    embedded.log.ensure_topic("t", 3).await.unwrap();
    let requests = (0..300).map(|number| {
        let log = embedded.log.clone();
        async move { append(&log, "t", vec![record(None, format!("event {number}"), number)]).await[0] }
    });
    let mut places = futures::future::join_all(requests).await;
    places.sort();
    let counted = places.len();
    places.dedup();
    assert_eq!((places.len(), counted), (300, 300));
    let records = read(reader_of(&embedded.log, "t").await.as_mut(), 300).await;
    let mut found: Vec<_> = records.iter().map(|record| (record.partition, record.offset)).collect();
    found.sort();
    assert_eq!(found, places);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_grows_and_keeps_its_records() {
    let embedded = Embedded::start().await;
    let log = &embedded.log;
    log.ensure_topic("t", 1).await.unwrap();
    append(log, "t", numbered(10)).await;
    let mut member = log.consumer("t", Some("g")).await.unwrap();
    super::read_until_assigned(member.as_mut(), |given| given.len() == 1).await;
    log.grow_topic("t", 3).await.unwrap();
    super::read_until_assigned(member.as_mut(), |given| given.len() == 3).await;
    log.ensure_topic("t", 3).await.unwrap();
    append(log, "t", numbered(20)).await;
    assert_eq!(read(reader_of(log, "t").await.as_mut(), 30).await.len(), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_added_partitions_also_those_without_a_record() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).await.unwrap();
    log.ensure_topic("t", 1).await.unwrap();
    append(&log, "t", numbered(10)).await;
    log.grow_topic("t", 3).await.unwrap();
    log.close().await;
    let log = open(folder.path()).await.unwrap();
    // As a start with an older pipeline file asks.
    log.ensure_topic("t", 1).await.unwrap();
    log.grow_topic("t", 1).await.unwrap();
    assert_eq!(log.partitions("t").await.unwrap().len(), 3);
    let ends = [0, 1, 2].map(|partition| log.bounds("t", PartitionId(partition)));
    let ends: Vec<i64> = futures::future::join_all(ends).await.into_iter().map(|end| end.unwrap().high.0).collect();
    assert_eq!(ends, [10, 0, 0]);
    let places = append(&log, "t", numbered(3)).await;
    assert!([1, 2].iter().all(|added| places.contains(&(PartitionId(*added), Offset(0)))), "{places:?}");
    assert_eq!(read(reader_of(&log, "t").await.as_mut(), 13).await.len(), 13);
}

/// Waits until a partition starts at `low`; appends nothing, so that time alone makes it so.
async fn wait_for_low(log: &EmbeddedLog, clock: &ManualClock, low: Offset) {
    let deadline = Instant::now() + PATIENCE;
    while log.bounds("t", ONE).await.unwrap().low != low {
        assert!(Instant::now() < deadline, "{:?}", log.bounds("t", ONE).await.unwrap());
        clock.advance(Duration::from_secs(2));
        // Woken by whatever it does.
        log.ensure_topic("t", 1).await.unwrap();
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn age_removes_what_was_released_and_nothing_else() {
    let hour = Duration::from_secs(3_600);
    let embedded = Embedded::start_with(|settings| EmbeddedSettings { retention: hour, ..settings }).await;
    let (log, clock) = (&embedded.log, &embedded.clock);
    log.ensure_topic("t", 1).await.unwrap();
    for _ in 0..10 {
        append(log, "t", numbered(10)).await;
    }
    clock.advance(2 * hour);
    log.ensure_topic("t", 1).await.unwrap();
    assert_eq!(log.bounds("t", ONE).await.unwrap().low, Offset(0), "nothing was released");
    // In the middle of a chunk: that one stays.
    log.release("t", &BTreeMap::from([(ONE, Offset(35))]));
    wait_for_low(log, clock, Offset(30)).await;
    let mut consumer = reader_of(log, "t").await;
    let error = consumer.poll(super::limit()).await.unwrap_err();
    assert_eq!(error.to_string(), "topic t partition 0: offset 0 has expired, the log starts at 30");
    consumer.seek(&BTreeMap::from([(ONE, Offset(30))])).await.unwrap();
    assert_eq!(read(consumer.as_mut(), 70).await[0].offset, Offset(30));
    log.release("t", &BTreeMap::from([(ONE, Offset(100))]));
    wait_for_low(log, clock, Offset(100)).await;
    log.close().await;
    // An empty partition knows where it goes on.
    let log = open(embedded.folder.path()).await.unwrap();
    let bounds = log.bounds("t", ONE).await.unwrap();
    assert_eq!((bounds.low, bounds.high), (Offset(100), Offset(100)));
    assert_eq!(append(&log, "t", numbered(1)).await, [(ONE, Offset(100))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn size_removes_the_oldest_that_was_released() {
    let embedded = Embedded::start_with(|settings| EmbeddedSettings { max_bytes: 1_000_000, ..settings }).await;
    let (log, clock) = (&embedded.log, &embedded.clock);
    log.ensure_topic("t", 1).await.unwrap();
    for number in 0..40 {
        append(log, "t", vec![record(None, vec![b'x'; 100_000], number)]).await;
    }
    log.release("t", &BTreeMap::from([(ONE, Offset(20))]));
    // More is too much, and not released.
    wait_for_low(log, clock, Offset(20)).await;
    log.release("t", &BTreeMap::from([(ONE, Offset(40))]));
    // A chunk is its payload and a few bytes, so that nine of ten fit.
    wait_for_low(log, clock, Offset(31)).await;
    assert_eq!(read_from(log, 31).await, 9);
}

async fn read_from(log: &EmbeddedLog, offset: i64) -> usize {
    let mut consumer = log.consumer("t", None).await.unwrap();
    consumer.seek(&BTreeMap::from([(ONE, Offset(offset))])).await.unwrap();
    let count = log.bounds("t", ONE).await.unwrap().high.0 - offset;
    read(consumer.as_mut(), count as usize).await.len()
}
