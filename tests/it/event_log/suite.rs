//! What every event log must hold.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ::event_log::check_fingerprint;
use ::event_log::{EventLog, EventLogError, NewRecord, Poll, PollLimit, Record};
use async_trait::async_trait;
use bytes::Bytes;
use positions::{Incarnation, Offset, PartitionId, Position};
use tokio::time::Instant;

use super::{append, limit, numbered, read, read_until_assigned, reader_of, record, starts};

/// An implementation under test.
#[async_trait]
pub trait Fixture: Send + Sync {
    fn log(&self) -> &dyn EventLog;

    /// What a topic or group is called here, where others may be at work in the same place.
    fn name(&self, name: &str) -> String {
        name.to_owned()
    }

    async fn make_topic(&self, topic: &str, partitions: i32) {
        self.log().ensure_topic(topic, partitions).await.unwrap();
    }

    /// Gives a topic more partitions, as an operator does.
    async fn grow_topic(&self, topic: &str, partitions: usize);

    /// Deletes a topic and creates it again with as many partitions.
    async fn recreate_topic(&self, topic: &str, partitions: i32);

    /// Ends what the fixture began.
    async fn close(&self) {}
}

const ONE: PartitionId = PartitionId(0);

pub async fn records_come_back_in_order(fixture: &dyn Fixture) {
    let topic = &fixture.name("t");
    let log = fixture.log();
    fixture.make_topic(topic, 1).await;
    let answers = append(log, topic, numbered(100)).await;
    let expected: Vec<_> = (0..100).map(|offset| (ONE, Offset(offset))).collect();
    assert_eq!(answers, expected);
    let records = read(reader_of(log, topic).await.as_mut(), 100).await;
    for (number, (read, sent)) in records.iter().zip(numbered(100)).enumerate() {
        assert_eq!((read.partition, read.offset), (ONE, Offset(number as i64)));
        assert_eq!((&read.payload, read.timestamp), (&sent.payload, sent.timestamp));
        assert_eq!((&read.event_id, read.clock_shift), (&None, None));
    }
}

pub async fn seek_decides_where_reading_goes_on(fixture: &dyn Fixture) {
    let topic = &fixture.name("t");
    let log = fixture.log();
    fixture.make_topic(topic, 1).await;
    append(log, topic, numbered(2_000)).await;
    let mut consumer = log.consumer(topic, None).await.unwrap();
    // Back and forth, mostly while more records are already on their way from the last place.
    for start in [1_500, 3, 700, 1_999, 0, 1_000, 1, 600] {
        consumer.seek(&BTreeMap::from([(ONE, Offset(start))])).await.unwrap();
        let few = PollLimit { records: 7, ..limit() };
        let deadline = Instant::now() + super::PATIENCE;
        let records = loop {
            assert!(Instant::now() < deadline);
            match consumer.poll(few).await.unwrap() {
                Poll::Records(records) if records.is_empty() => {}
                Poll::Records(records) => break records,
                Poll::Assigned(_) => panic!("assigned without a group"),
            }
        };
        assert!(records.len() <= 7);
        let expected: Vec<Offset> = (start..).take(records.len()).map(Offset).collect();
        assert_eq!(records.iter().map(|record| record.offset).collect::<Vec<_>>(), expected);
    }
}

pub async fn of_many_places_taken_at_once_the_last_is_read(fixture: &dyn Fixture) {
    let topic = &fixture.name("t");
    let log = fixture.log();
    fixture.make_topic(topic, 2).await;
    append(log, topic, numbered(100)).await;
    let all = starts(&log.partitions(topic).await.unwrap());
    let one = BTreeMap::from([(ONE, Offset(0))]);
    let mut consumer = log.consumer(topic, None).await.unwrap();
    // As a worker does that is told of a rebalance just after a seek. librdkafka ended the process here.
    for _ in 0..100 {
        consumer.seek(&all).await.unwrap();
        consumer.seek(&one).await.unwrap();
    }
    consumer.seek(&all).await.unwrap();
    assert_eq!(read(consumer.as_mut(), 100).await.len(), 100);
}

pub async fn nothing_comes_before_seek(fixture: &dyn Fixture) {
    let topic = &fixture.name("t");
    let log = fixture.log();
    fixture.make_topic(topic, 2).await;
    append(log, topic, numbered(50)).await;
    let mut alone = log.consumer(topic, None).await.unwrap();
    assert_eq!(alone.poll(limit()).await.unwrap(), Poll::Records(Vec::new()));
    let mut member = log.consumer(topic, Some(&fixture.name("g"))).await.unwrap();
    let deadline = Instant::now() + super::PATIENCE;
    while member.poll(limit()).await.unwrap() == Poll::Records(Vec::new()) {
        assert!(Instant::now() < deadline, "the group gave nothing");
    }
    assert_eq!(member.poll(limit()).await.unwrap(), Poll::Records(Vec::new()));
}

pub async fn an_empty_poll_waits_no_longer_than_told(fixture: &dyn Fixture) {
    let topic = &fixture.name("t");
    let log = fixture.log();
    fixture.make_topic(topic, 1).await;
    let mut consumer = reader_of(log, topic).await;
    let poll = consumer.poll(PollLimit { wait: Duration::from_millis(50), ..limit() });
    let answer = tokio::time::timeout(super::PATIENCE, poll).await.expect("the poll returned");
    assert_eq!(answer.unwrap(), Poll::Records(Vec::new()));
}

pub async fn a_waiting_poll_sees_new_records(fixture: &dyn Fixture) {
    let topic = &fixture.name("t");
    let log = fixture.log();
    fixture.make_topic(topic, 1).await;
    let mut consumer = reader_of(log, topic).await;
    let wait = PollLimit { wait: super::PATIENCE, ..limit() };
    let (answer, _) = tokio::join!(consumer.poll(wait), append(log, topic, numbered(1)));
    let Poll::Records(records) = answer.unwrap() else { panic!("assigned without a group") };
    assert_eq!(records.len(), 1);
}

pub async fn an_end_is_told_once_everything_before_it_was_delivered(fixture: &dyn Fixture) {
    let topic = &fixture.name("t");
    let log = fixture.log();
    fixture.make_topic(topic, 2).await;
    let mut sent: BTreeMap<PartitionId, i64> = BTreeMap::from([(ONE, 0), (PartitionId(1), 0)]);
    let mut consumer = reader_of(log, topic).await;
    let mut delivered = sent.clone();
    for more in [0, 300, 1] {
        for (partition, offset) in append(log, topic, numbered(more)).await {
            sent.insert(partition, offset.0 + 1);
        }
        let appended = Instant::now();
        let mut ended = BTreeSet::new();
        while ended.len() < 2 {
            assert!(appended.elapsed() < super::PATIENCE, "{ended:?} of 2 partitions ended");
            let few = PollLimit { records: 7, ..limit() };
            let Poll::Records(records) = consumer.poll(few).await.unwrap() else { panic!("assigned without a group") };
            for record in records {
                delivered.insert(record.partition, record.offset.0 + 1);
            }
            let now = Instant::now();
            for (partition, age) in consumer.take_ends() {
                // What is older than the append says nothing about it.
                if now - age >= appended {
                    assert_eq!(delivered[&partition], sent[&partition], "an end of {partition} in the middle");
                    ended.insert(partition);
                }
            }
        }
    }
}

pub async fn no_end_is_told_of_another_place(fixture: &dyn Fixture) {
    let topic = &fixture.name("t");
    let log = fixture.log();
    fixture.make_topic(topic, 1).await;
    append(log, topic, numbered(500)).await;
    let mut consumer = reader_of(log, topic).await;
    let few = PollLimit { records: 5, ..limit() };
    for _ in 0..3 {
        let deadline = Instant::now() + super::PATIENCE;
        while consumer.take_ends().is_empty() {
            assert!(Instant::now() < deadline, "no end was told");
            consumer.poll(limit()).await.unwrap();
        }
        consumer.seek(&BTreeMap::from([(ONE, Offset(0))])).await.unwrap();
        assert!(consumer.take_ends().is_empty());
        for _ in 0..3 {
            consumer.poll(few).await.unwrap();
            assert!(consumer.take_ends().is_empty(), "an end was told far before it");
        }
    }
}

pub async fn keys_meet_in_one_partition(fixture: &dyn Fixture) {
    let topic = &fixture.name("t");
    let log = fixture.log();
    fixture.make_topic(topic, 4).await;
    let keys: Vec<String> = (0..400).map(|number| format!("key {}", number % 20)).collect();
    let records = keys.iter().enumerate().map(|(number, key)| record(Some(key), "x", number as i64)).collect();
    let answers = append(log, topic, records).await;
    let mut by_key: BTreeMap<&str, BTreeSet<PartitionId>> = BTreeMap::new();
    for (key, (partition, _)) in keys.iter().zip(&answers) {
        by_key.entry(key).or_default().insert(*partition);
    }
    assert!(by_key.values().all(|partitions| partitions.len() == 1), "{by_key:?}");
    let used: BTreeSet<&PartitionId> = by_key.values().flatten().collect();
    assert!(used.len() > 1, "20 keys use one partition of 4");
}

pub async fn payloads_pass_unchanged(fixture: &dyn Fixture) {
    let topic = &fixture.name("t");
    let log = fixture.log();
    fixture.make_topic(topic, 1).await;
    let payloads: Vec<Bytes> = vec![
        Bytes::from_static(b"\0"),
        Bytes::from((0..=255).collect::<Vec<u8>>()),
        Bytes::from_static(b"\xff\xfe\0\0not text"),
        Bytes::new(),
        Bytes::from_static(b"{\"a\": \"\\u0000\"}"),
        Bytes::from(vec![0; 100_000]),
    ];
    let records = payloads.iter().map(|payload| record(Some("\0key\0"), payload.clone(), 0)).collect();
    append(log, topic, records).await;
    let read = read(reader_of(log, topic).await.as_mut(), payloads.len()).await;
    assert_eq!(read.into_iter().map(|record| record.payload).collect::<Vec<_>>(), payloads);
}

pub async fn clock_shifts_stay_with_their_records(fixture: &dyn Fixture) {
    let topic = &fixture.name("t");
    let log = fixture.log();
    fixture.make_topic(topic, 1).await;
    let shifts = [None, Some(1_000), None, Some(-172_800_000_000), Some(0), Some(i64::MAX), Some(i64::MIN)];
    // With and without a key, one behind the other: none is taken for its neighbour.
    let keys = [None, Some("key")];
    let cases: Vec<_> = shifts.into_iter().flat_map(|shift| keys.map(|key| (shift, key))).collect();
    let records = cases.iter().enumerate().map(|(number, (clock_shift, key))| NewRecord {
        clock_shift: *clock_shift,
        ..record(*key, format!("event {number}"), number as i64)
    });
    append(log, topic, records.collect()).await;
    let read = read(reader_of(log, topic).await.as_mut(), cases.len()).await;
    for (number, (record, (clock_shift, _))) in read.iter().zip(&cases).enumerate() {
        assert_eq!((&record.payload, record.clock_shift), (&Bytes::from(format!("event {number}")), *clock_shift));
    }
}

pub async fn twenty_thousand_records_in_and_out(fixture: &dyn Fixture) {
    let topic = &fixture.name("t");
    let log = fixture.log();
    fixture.make_topic(topic, 4).await;
    let sent: Vec<_> = (0..20_000)
        .map(|number| record(Some(&format!("k{}", number % 997)), format!("event {number}"), number))
        .collect();
    let mut expected = BTreeMap::new();
    for chunk in sent.chunks(5_000) {
        for (place, record) in append(log, topic, chunk.to_vec()).await.into_iter().zip(chunk) {
            assert!(expected.insert(place, record.payload.clone()).is_none(), "{place:?} acknowledged twice");
        }
    }
    let records = read(reader_of(log, topic).await.as_mut(), sent.len()).await;
    assert_in_order(&records);
    let found: BTreeMap<_, _> =
        records.into_iter().map(|record| ((record.partition, record.offset), record.payload)).collect();
    assert!(found == expected, "what was read differs from what was acknowledged");
}

fn assert_in_order(records: &[Record]) {
    let mut next: BTreeMap<PartitionId, Offset> = BTreeMap::new();
    for record in records {
        let next = next.entry(record.partition).or_default();
        assert!(record.offset >= *next, "{:?} after {next:?}", record.offset);
        *next = record.offset.next();
    }
}

pub async fn consumers_do_not_disturb_each_other(fixture: &dyn Fixture) {
    let topic = &fixture.name("t");
    let log = fixture.log();
    fixture.make_topic(topic, 2).await;
    append(log, topic, numbered(1_000)).await;
    let (mut first, mut second) = (reader_of(log, topic).await, reader_of(log, topic).await);
    let (first, second) = tokio::join!(read(first.as_mut(), 1_000), read(second.as_mut(), 1_000));
    assert_eq!((first.len(), second.len()), (1_000, 1_000));
}

pub async fn poll_keeps_its_limits(fixture: &dyn Fixture) {
    let topic = &fixture.name("t");
    let log = fixture.log();
    fixture.make_topic(topic, 1).await;
    append(log, topic, (0..100).map(|number| record(None, vec![b'x'; 1_000], number)).collect()).await;
    let mut consumer = reader_of(log, topic).await;
    let narrow = PollLimit { bytes: 3_500, ..limit() };
    let mut count = 0;
    while count < 100 {
        let Poll::Records(records) = consumer.poll(narrow).await.unwrap() else { panic!("assigned without a group") };
        // It stops after the record that reaches the limit.
        assert!(records.len() <= 4, "{} KB in one poll", records.len());
        count += records.len();
    }
    assert_eq!(count, 100);
}

pub async fn a_huge_record_is_refused_alone(fixture: &dyn Fixture) {
    let topic = &fixture.name("t");
    let log = fixture.log();
    fixture.make_topic(topic, 1).await;
    let records = vec![record(None, "before", 0), record(None, vec![b'x'; 1_000_001], 1), record(None, "after", 2)];
    let answers = log.append(topic, records).await;
    assert!(answers[0].is_ok() && answers[2].is_ok(), "{answers:?}");
    let Err(EventLogError::TooLarge { bytes: 1_000_001, limit_bytes: 1_000_000 }) = answers[1] else {
        panic!("{answers:?}")
    };
    // The largest that is allowed is also readable.
    append(log, topic, vec![record(None, vec![b'y'; 1_000_000], 3)]).await;
    let read = read(reader_of(log, topic).await.as_mut(), 3).await;
    assert_eq!(read.iter().map(|record| record.payload.len()).collect::<Vec<_>>(), [6, 5, 1_000_000]);
}

pub async fn topics_are_made_once_and_checked(fixture: &dyn Fixture) {
    let topic = &fixture.name("t");
    let log = fixture.log();
    log.ensure_topic(topic, 3).await.unwrap();
    log.ensure_topic(topic, 3).await.unwrap();
    log.ensure_topic(topic, 2).await.unwrap();
    log.ensure_topic(topic, 4).await.unwrap();
    let partitions = log.partitions(topic).await.unwrap();
    assert_eq!(partitions, BTreeSet::from([0, 1, 2].map(PartitionId)), "one that is there keeps its partitions");
    let other = &fixture.name("u");
    let refused = log.ensure_topic(other, 0).await.unwrap_err();
    let expected = format!("event log cannot be used: topic {other}: 0 partitions asked for, at least 1 is needed");
    assert_eq!(refused.to_string(), expected);
    for error in [
        log.partitions("missing").await.map(drop).unwrap_err(),
        log.consumer("missing", None).await.map(drop).unwrap_err(),
        log.append("missing", numbered(1)).await.remove(0).map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, EventLogError::Unusable(_)), "{error:?}");
    }
}

pub async fn added_partitions_are_read_from_their_start(fixture: &dyn Fixture) {
    let topic = &fixture.name("t");
    let log = fixture.log();
    fixture.make_topic(topic, 1).await;
    let mut sent: BTreeSet<(PartitionId, Offset)> = append(log, topic, numbered(20)).await.into_iter().collect();
    fixture.grow_topic(topic, 3).await;
    let deadline = Instant::now() + super::PATIENCE;
    while log.partitions(topic).await.unwrap().len() < 3 {
        assert!(Instant::now() < deadline, "the topic was not raised");
    }
    // Those who append learn of it within a while.
    let first_places = [1, 2].map(|added| (PartitionId(added), Offset(0)));
    for round in 0.. {
        let keys = (0..40).map(|key| record(Some(&format!("key {key}")), format!("event {round}"), round));
        let answers = append(log, topic, keys.collect()).await;
        assert!(answers.into_iter().all(|place| sent.insert(place)), "a place was given twice");
        if first_places.iter().all(|place| sent.contains(place)) {
            break;
        }
        assert!(Instant::now() < deadline, "nothing came into the new partitions");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let records = read(reader_of(log, topic).await.as_mut(), sent.len()).await;
    assert_in_order(&records);
    let found: BTreeSet<_> = records.iter().map(|record| (record.partition, record.offset)).collect();
    assert_eq!(found, sent);
    log.ensure_topic(topic, 1).await.unwrap();
    assert_eq!(log.partitions(topic).await.unwrap().len(), 3, "nothing takes partitions away");
}

pub async fn bounds_follow_the_records(fixture: &dyn Fixture) {
    let topic = &fixture.name("t");
    let log = fixture.log();
    fixture.make_topic(topic, 1).await;
    let mut sent = 0;
    for more in [0, 1, 10, 500] {
        append(log, topic, numbered(more)).await;
        sent += more;
        let bounds = log.bounds(topic, ONE).await.unwrap();
        assert_eq!((bounds.low, bounds.high), (Offset(0), Offset(sent)));
    }
}

pub async fn a_group_shares_the_partitions(fixture: &dyn Fixture) {
    let topic = &fixture.name("t");
    let log = fixture.log();
    fixture.make_topic(topic, 4).await;
    append(log, topic, (0..400).map(|n| record(Some(&n.to_string()), "x", n)).collect()).await;
    let all = log.partitions(topic).await.unwrap();
    let mut first = log.consumer(topic, Some(&fixture.name("g"))).await.unwrap();
    read_until_assigned(first.as_mut(), |given| *given == all).await;
    read(first.as_mut(), 400).await;

    let mut second = log.consumer(topic, Some(&fixture.name("g"))).await.unwrap();
    let (one, two) = tokio::join!(
        read_until_assigned(first.as_mut(), |given| given.len() == 2),
        read_until_assigned(second.as_mut(), |given| given.len() == 2),
    );
    assert_eq!(&one | &two, all);
    let (one, two) = tokio::join!(read_some(first.as_mut()), read_some(second.as_mut()));
    assert!(one.is_disjoint(&two), "{one:?} and {two:?}");

    drop(first);
    read_until_assigned(second.as_mut(), |given| *given == all).await;
    assert_eq!(read(second.as_mut(), 400).await.len(), 400);
    let progress = all.iter().map(|partition| (*partition, Offset(1))).collect();
    second.report_progress(&progress).await.unwrap();
}

/// The partitions that records come from, all those assigned having some.
async fn read_some(consumer: &mut dyn event_log::LogConsumer) -> BTreeSet<PartitionId> {
    let mut seen = BTreeSet::new();
    while seen.len() < 2 {
        let Poll::Records(records) = consumer.poll(limit()).await.unwrap() else { panic!("rebalanced again") };
        seen.extend(records.iter().map(|record| record.partition));
    }
    seen
}

pub async fn fingerprints_agree_while_the_topic_lives(fixture: &dyn Fixture) {
    let topic = &fixture.name("t");
    let log = fixture.log();
    fixture.make_topic(topic, 1).await;
    append(log, topic, numbered(20)).await;
    let positions = positions(&read(reader_of(log, topic).await.as_mut(), 20).await);
    for position in [0, 1, 10, 20].map(|at: usize| positions[at]) {
        check_fingerprint(log, topic, ONE, &position).await.unwrap();
    }
}

pub async fn a_topic_made_again_is_found_out(fixture: &dyn Fixture) {
    let topic = &fixture.name("t");
    let log = fixture.log();
    fixture.make_topic(topic, 1).await;
    append(log, topic, numbered(20)).await;
    let positions = positions(&read(reader_of(log, topic).await.as_mut(), 20).await);
    fixture.recreate_topic(topic, 1).await;
    // Empty: every stored position lies beyond the end.
    expect_another_topic(log, topic, &positions[10]).await;
    // As long as before, with other records.
    append(log, topic, (0..20).map(|number| record(None, format!("other {number}"), number)).collect()).await;
    expect_another_topic(log, topic, &positions[10]).await;
    expect_another_topic(log, topic, &positions[20]).await;
    check_fingerprint(log, topic, ONE, &positions[0]).await.unwrap();
}

async fn expect_another_topic(log: &dyn EventLog, topic: &str, position: &Position) {
    let error = check_fingerprint(log, topic, ONE, position).await.unwrap_err();
    assert!(
        matches!(&error, EventLogError::AnotherTopic { offset, .. } if *offset == position.offset),
        "{position:?}: {error:?}"
    );
}

/// The positions before, between and after the records.
pub fn positions(records: &[Record]) -> Vec<Position> {
    let mut positions = vec![Position::start(Incarnation(0))];
    for record in records {
        let last = positions[positions.len() - 1];
        positions.push(last.advance(record.offset, record.timestamp, record.fingerprint()));
    }
    positions
}

pub async fn new_members_start_where_they_are_told(fixture: &dyn Fixture) {
    let topic = &fixture.name("t");
    let log = fixture.log();
    fixture.make_topic(topic, 1).await;
    append(log, topic, numbered(100)).await;
    let mut member = log.consumer(topic, Some(&fixture.name("g"))).await.unwrap();
    let given = read_until_assigned(member.as_mut(), |given| !given.is_empty()).await;
    assert_eq!(starts(&given), BTreeMap::from([(ONE, Offset(0))]));
    member.report_progress(&BTreeMap::from([(ONE, Offset(90))])).await.unwrap();
    member.seek(&BTreeMap::from([(ONE, Offset(42))])).await.unwrap();
    assert_eq!(read(member.as_mut(), 58).await[0].offset, Offset(42));
}
