//! What is right: a fold over the topic itself, read back from Kafka, for every offset of every partition.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use serde_json::Value;
use tests::services::Services;

use super::{PAGES, PARTITIONS, SOURCE};
use crate::support::process::DEADLINE;

/// What is counted below an offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events and the sum of their amounts, by page.
    pub pages: [(i64, i64); PAGES],
    /// Records that were left out because a partition held their event already.
    pub copies: i64,
    /// Records that are not events.
    pub rejected: i64,
}

impl Totals {
    fn add(&mut self, other: &Self) {
        for (page, other) in self.pages.iter_mut().zip(other.pages) {
            *page = (page.0 + other.0, page.1 + other.1);
        }
        self.copies += other.copies;
        self.rejected += other.rejected;
    }

    /// Over all pages.
    pub fn whole(&self) -> (i64, i64) {
        self.pages.iter().fold((0, 0), |whole, page| (whole.0 + page.0, whole.1 + page.1))
    }
}

/// One partition as far as it was read.
struct Partition {
    seen: HashSet<(String, String)>,
    // `below[offset]`; the first one is empty.
    below: Vec<Totals>,
}

/// The topic as far as it was read.
pub struct Oracle {
    consumer: BaseConsumer,
    topic: String,
    partitions: BTreeMap<i32, Partition>,
}

impl Oracle {
    pub fn new(services: &Services) -> Self {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &services.kafka)
            .set("group.id", services.named("oracle"))
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "error")
            .set("fetch.wait.max.ms", "20")
            .create()
            .unwrap();
        let topic = services.named(SOURCE);
        let mut assigned = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            assigned.add_partition_offset(&topic, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&assigned).unwrap();
        let empty = || Partition { seen: HashSet::new(), below: vec![Totals::default()] };
        let partitions = (0..PARTITIONS).map(|partition| (partition, empty())).collect();
        Self { consumer, topic, partitions }
    }

    /// Reads to the end that the topic has now.
    pub fn catch_up(&mut self) {
        let deadline = Instant::now() + DEADLINE;
        for partition in 0..PARTITIONS {
            let end = loop {
                match self.consumer.fetch_watermarks(&self.topic, partition, Duration::from_secs(5)) {
                    Ok((_, end)) => break end,
                    Err(error) => assert!(Instant::now() < deadline, "Kafka does not tell its end: {error}"),
                }
            };
            while self.head(partition) < end {
                self.poll();
                assert!(Instant::now() < deadline, "partition {partition}: {end} was never read");
            }
        }
    }

    fn poll(&mut self) {
        // Errors are of brokers that are on their way; the deadline is the caller's.
        let Some(Ok(record)) = self.consumer.poll(Duration::from_millis(100)) else { return };
        let (partition, offset) = (record.partition(), record.offset());
        let event = decode(record.payload().unwrap_or_default());
        let partition = self.partitions.get_mut(&partition).unwrap();
        assert_eq!(offset as usize, partition.below.len() - 1, "records follow one another");
        let mut totals = partition.below.last().unwrap().clone();
        match event {
            None => totals.rejected += 1,
            Some(event) if partition.seen.contains(&event.identity) => totals.copies += 1,
            Some(event) => {
                let page = &mut totals.pages[event.page];
                *page = (page.0 + 1, page.1 + event.amount);
                partition.seen.insert(event.identity);
            }
        }
        partition.below.push(totals);
    }

    fn head(&self, partition: i32) -> i64 {
        self.partitions[&partition].below.len() as i64 - 1
    }

    /// How far the topic was read.
    pub fn heads(&self) -> BTreeMap<i32, i64> {
        (0..PARTITIONS).map(|partition| (partition, self.head(partition))).collect()
    }

    /// What an answer must say that claims to reach `heads`; `None` where this one did not read that far.
    pub fn below(&self, heads: &BTreeMap<i32, i64>) -> Option<Totals> {
        let mut totals = Totals::default();
        for (partition, head) in heads {
            totals.add(self.partitions[partition].below.get(usize::try_from(*head).unwrap())?);
        }
        Some(totals)
    }

    /// The events of the topic.
    pub fn events(&self) -> usize {
        let all: HashSet<_> = self.partitions.values().flat_map(|partition| &partition.seen).collect();
        all.len()
    }
}

struct Event {
    identity: (String, String),
    page: usize,
    amount: i64,
}

/// A record as the pipeline file declares it; `None` for one that must be rejected.
fn decode(payload: &[u8]) -> Option<Event> {
    let value: Value = serde_json::from_slice(payload).ok()?;
    let time = value["time"].as_str()?;
    chrono::DateTime::parse_from_rfc3339(time).ok()?;
    Some(Event {
        identity: (value["id"].as_str()?.to_owned(), time.to_owned()),
        page: value["page"].as_str()?.strip_prefix('p')?.parse().ok()?,
        amount: value["amount"].as_i64()?,
    })
}
