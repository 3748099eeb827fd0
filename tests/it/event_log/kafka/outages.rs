//! A broker that goes away, restarts, or loses its topic under a client that is at work: the client says so in bounded
//! time, then goes on, and what was acknowledged is in the log once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::event_log::kafka::{KafkaLog, KafkaSettings};
use ::event_log::{EventLog, EventLogError, LogConsumer, NewRecord, Poll, Record};
use positions::{Offset, PartitionId};
use tests::own_services::OwnServices;
use tokio::time::{Instant, timeout};

use super::super::suite::Fixture;
use super::super::{PATIENCE, append, limit, numbered, read, reader_of, record};
use super::wire::{State, Wire};
use super::{Kafka, ONE, settings};

/// Records of one append.
const CHUNK: i64 = 50;

type Answer = Result<(PartitionId, Offset), EventLogError>;

/// A client that reaches the broker over a wire, and one that reaches it whatever becomes of the wire.
struct Wired {
    kafka: Kafka,
    wire: Wire,
    log: KafkaLog,
    topic: String,
}

impl Wired {
    /// On an empty topic of one partition.
    async fn start(change: impl FnOnce(KafkaSettings) -> KafkaSettings) -> Option<Self> {
        let kafka = Kafka::start().await?;
        let wire = Wire::start(&kafka.services.kafka).await;
        let settings = KafkaSettings { bootstrap_servers: wire.address.clone(), ..settings(&kafka.services) };
        let log = KafkaLog::connect(change(settings)).await.unwrap();
        let topic = kafka.with_records(0).await;
        Some(Self { kafka, wire, log, topic })
    }

    /// The end of the log, past the wire.
    async fn end(&self) -> i64 {
        self.kafka.log.bounds(&self.topic, ONE).await.unwrap().high.0
    }
}

/// Gives up on a broker soon.
fn impatient(settings: KafkaSettings) -> KafkaSettings {
    KafkaSettings {
        delivery_timeout: Duration::from_secs(2),
        request_timeout: Duration::from_secs(2),
        connect_timeout: Duration::from_secs(30),
        ..settings
    }
}

/// Gives up on a broker later than any test does.
fn patient(settings: KafkaSettings) -> KafkaSettings {
    KafkaSettings { delivery_timeout: 2 * PATIENCE, ..settings }
}

fn numbers(range: std::ops::Range<i64>) -> Vec<NewRecord> {
    range.map(|number| record(None, format!("event {number}"), number)).collect()
}

/// What a client has been told of its records, by their payloads.
#[derive(Default)]
struct Told {
    acknowledged: BTreeMap<String, Offset>,
    failed: BTreeMap<String, EventLogError>,
}

impl Told {
    /// Appends, and notes what was told.
    async fn append(&mut self, log: &KafkaLog, topic: &str, range: std::ops::Range<i64>) {
        let answers =
            timeout(PATIENCE, log.append(topic, numbers(range.clone()))).await.expect("every record is told of");
        for (number, answer) in range.zip(answers) {
            self.note(number, answer);
        }
    }

    fn note(&mut self, number: i64, answer: Answer) {
        let payload = format!("event {number}");
        match answer {
            Ok((_, offset)) => {
                self.acknowledged.insert(payload, offset);
            }
            Err(error) => {
                self.failed.insert(payload, error);
            }
        }
    }

    /// Every acknowledged record is in the log once, at its place, or below it where its acknowledgement came late and
    /// without one; a record that failed may be there, but not twice.
    fn check(&self, records: &[Record]) {
        let mut places: BTreeMap<&str, Vec<Offset>> = BTreeMap::new();
        for record in records {
            places.entry(std::str::from_utf8(&record.payload).unwrap()).or_default().push(record.offset);
        }
        for (payload, offset) in &self.acknowledged {
            let found = places.remove(payload.as_str()).unwrap_or_default();
            assert!(found.len() == 1 && found[0] <= *offset, "{payload}, acknowledged at {offset}, is at {found:?}");
        }
        for (payload, offsets) in places {
            assert!(self.failed.contains_key(payload) && offsets.len() == 1, "{payload} at {offsets:?}");
        }
    }

    /// Until the client is answered again.
    async fn append_until_acknowledged(&mut self, log: &KafkaLog, topic: &str, first: i64) {
        let deadline = Instant::now() + PATIENCE;
        let before = self.acknowledged.len();
        for number in first.. {
            self.append(log, topic, number..number + 1).await;
            if self.acknowledged.len() > before {
                return;
            }
            assert!(Instant::now() < deadline, "the producer did not come back: {:?}", self.failed.last_key_value());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Polls once; that nobody answers brings nothing, and is all that may go wrong.
async fn poll(consumer: &mut dyn LogConsumer) -> Vec<Record> {
    match timeout(PATIENCE, consumer.poll(limit())).await.expect("the poll returned") {
        Ok(Poll::Records(records)) => records,
        Ok(Poll::Assigned(_)) => panic!("assigned without a group"),
        Err(EventLogError::Unreachable(_)) => Vec::new(),
        Err(error) => panic!("{error}"),
    }
}

/// Reads on from `next` up to `end`; no offset is passed over or comes again.
async fn read_on(consumer: &mut dyn LogConsumer, next: i64, end: i64) -> Vec<Record> {
    let deadline = Instant::now() + PATIENCE;
    let mut records = Vec::new();
    while records.len() < usize::try_from(end - next).unwrap() {
        assert!(Instant::now() < deadline, "{} records of [{next}, {end}) came", records.len());
        records.extend(poll(consumer).await);
    }
    let expected: Vec<Offset> = (next..end).map(Offset).collect();
    assert_eq!(records.iter().map(|record| record.offset).collect::<Vec<_>>(), expected);
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_went_away_is_unreachable_soon_and_served_when_it_is_back() {
    let Some(Wired { kafka, wire, log, topic }) = Wired::start(impatient).await else { return };
    let mut told = Told::default();
    told.append(&log, &topic, 0..10).await;
    let mut consumer = reader_of(&log, &topic).await;
    let mut records = read(consumer.as_mut(), 10).await;

    wire.set(State::Cut).await;
    told.append(&log, &topic, 10..13).await;
    let questions = async {
        let bounds = log.bounds(&topic, ONE).await.map(drop).unwrap_err();
        let partitions = log.partitions(&topic).await.map(drop).unwrap_err();
        [bounds, partitions, log.consumer(&topic, None).await.map(drop).unwrap_err()]
    };
    let errors = timeout(PATIENCE, questions).await.expect("every question returned");
    let mut errors = errors.iter().chain(told.failed.values());
    assert!(errors.all(|error| matches!(error, EventLogError::Unreachable(_))), "{:?}", told.failed);
    assert_eq!(told.failed.len(), 3, "nobody was there");
    assert!(poll(consumer.as_mut()).await.is_empty());

    wire.set(State::Whole).await;
    told.append_until_acknowledged(&log, &topic, 13).await;
    let end = kafka.log.bounds(&topic, ONE).await.unwrap().high.0;
    records.extend(read_on(consumer.as_mut(), 10, end).await);
    told.check(&records);
}

/// Cut while records flow both ways, and with acknowledgements lost on their way: the producer repeats what was stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_wire_that_is_cut_while_records_flow_loses_and_doubles_none() {
    let Some(wired) = Wired::start(patient).await else { return };
    let Wired { wire, log, topic, .. } = &wired;
    let mut consumer = reader_of(log, topic).await;
    let (sent, acknowledged, delivered) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let is_over = tokio_util::sync::CancellationToken::new();
    let producing = async {
        let mut told = Told::default();
        for first in (0..).step_by(CHUNK as usize) {
            if is_over.is_cancelled() {
                break;
            }
            sent.store((first + CHUNK) as usize, Ordering::SeqCst);
            told.append(log, topic, first..first + CHUNK).await;
            acknowledged.store(told.acknowledged.len(), Ordering::SeqCst);
        }
        told
    };
    let consuming = async {
        let mut records = Vec::new();
        while !is_over.is_cancelled() || records.len() < sent.load(Ordering::SeqCst) {
            records.extend(poll(consumer.as_mut()).await);
            delivered.store(records.len(), Ordering::SeqCst);
        }
        records
    };
    let cutting = async {
        for state in [State::Deaf, State::Cut, State::Deaf, State::Cut] {
            let before = delivered.load(Ordering::SeqCst);
            until("records flow", async || delivered.load(Ordering::SeqCst) > before).await;
            wire.set(state).await;
            if state == State::Deaf {
                // Stored, and its sender does not know.
                let is_stored =
                    async || wire.lost() > 0 && wired.end().await > acknowledged.load(Ordering::SeqCst) as i64;
                until("a record is stored", is_stored).await;
            } else {
                until("the client comes back in vain", async || wire.lost() > 3).await;
            }
            wire.set(State::Whole).await;
        }
        is_over.cancel();
    };
    let all = async { tokio::join!(producing, consuming, cutting) };
    let (told, records, ()) = timeout(4 * PATIENCE, all).await.expect("producer and consumer came back");
    assert!(told.failed.is_empty(), "{:?}", told.failed.first_key_value());
    assert_eq!(wired.end().await as usize, told.acknowledged.len(), "a record is in the log twice");
    let expected: Vec<Offset> = (0..records.len() as i64).map(Offset).collect();
    assert_eq!(records.iter().map(|record| record.offset).collect::<Vec<_>>(), expected);
    told.check(&records);
}

async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_end_is_told_while_the_broker_is_not_heard() {
    let Some(Wired { kafka: _kafka, wire, log, topic }) = Wired::start(impatient).await else { return };
    append(&log, &topic, numbered(10)).await;
    let mut consumer = reader_of(&log, &topic).await;
    read(consumer.as_mut(), 10).await;
    for state in [State::Cut, State::Deaf] {
        let deadline = Instant::now() + PATIENCE;
        while consumer.take_ends().is_empty() {
            assert!(Instant::now() < deadline, "no end was told");
            poll(consumer.as_mut()).await;
        }
        wire.set(state).await;
        let gone = Instant::now();
        // Several questions long.
        for _ in 0..20 {
            poll(consumer.as_mut()).await;
            let now = Instant::now();
            assert!(consumer.take_ends().values().all(|age| now - *age <= gone), "an end was told by nobody");
        }
        wire.set(State::Whole).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_outlives_a_restart_of_its_broker() {
    let Some(own) = OwnServices::start().await else { return };
    let log = KafkaLog::connect(impatient(settings(&own.services))).await.unwrap();
    log.ensure_topic("t", 1).await.unwrap();
    let mut told = Told::default();
    told.append(&log, "t", 0..10).await;
    let mut consumer = reader_of(&log, "t").await;
    let mut records = read(consumer.as_mut(), 10).await;
    for (first, end) in [(1_000_000, "stop"), (2_000_000, "kill")] {
        own.run(&[end, "kafka"]).await;
        let failed = told.failed.len();
        told.append(&log, "t", first..first + 3).await;
        assert_eq!(told.failed.len(), failed + 3, "nobody was there");
        assert!(poll(consumer.as_mut()).await.is_empty());
        own.run(&["start", "kafka"]).await;
        told.append_until_acknowledged(&log, "t", first + 3).await;
        told.append(&log, "t", first + 500_000..first + 500_010).await;
        let (next, end) = (records.len() as i64, log.bounds("t", ONE).await.unwrap().high.0);
        records.extend(read_on(consumer.as_mut(), next, end).await);
    }
    assert!(told.failed.values().all(|error| matches!(error, EventLogError::Unreachable(_))), "{:?}", told.failed);
    told.check(&records);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_outlives_its_topic() {
    let Some(kafka) = Kafka::start().await else { return };
    let topic = kafka.with_records(10).await;
    kafka.recreate_topic(&topic, 1).await;
    let mut told = Told::default();
    told.append_until_acknowledged(&kafka.log, &topic, 1_000).await;
    let failed = told.failed.len();
    told.append(&kafka.log, &topic, 1_000_000..1_000_050).await;
    assert_eq!(told.failed.len(), failed, "it came back for one record alone: {:?}", told.failed.last_key_value());
    // Of the topic that is there now.
    let end = kafka.log.bounds(&topic, ONE).await.unwrap().high.0;
    let mut consumer = reader_of(&kafka.log, &topic).await;
    told.check(&read_on(consumer.as_mut(), 0, end).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_overload_and_holds_what_it_took() {
    let Some(kafka) = Kafka::start().await else { return };
    let topic = kafka.with_records(0).await;
    // Nothing leaves the queue before all have knocked.
    let narrow = KafkaSettings { queue_records: 100, linger: Duration::from_millis(500), ..settings(&kafka.services) };
    let log = KafkaLog::connect(narrow).await.unwrap();
    let mut told = Told::default();
    told.append(&log, &topic, 0..1_000).await;
    let is_overload = |error: &EventLogError| matches!(error, EventLogError::Overloaded(_));
    assert!(told.failed.values().all(is_overload), "{:?}", told.failed.first_key_value());
    let (stored, refused) = (told.acknowledged.len(), told.failed.len());
    assert!(stored >= 100 && refused > 0 && stored + refused == 1_000, "{stored} stored, {refused} refused");
    // What was refused was not stored; and there is room again.
    assert_eq!(kafka.log.bounds(&topic, ONE).await.unwrap().high, Offset(stored as i64));
    told.append(&log, &topic, 1_000..1_050).await;
    assert_eq!(told.failed.len(), refused, "{:?}", told.failed.last_key_value());
    let mut consumer = reader_of(&log, &topic).await;
    told.check(&read_on(consumer.as_mut(), 0, (stored + 50) as i64).await);
}
