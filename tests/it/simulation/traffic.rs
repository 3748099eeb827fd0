//! What producers send: new events, copies, late ones, some that are none; and the truth about it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use event_log::memory::MemoryLog;
use event_log::{EventLog, NewRecord};
use rand::Rng;
use rand::rngs::StdRng;
use views::{Offset, PartitionId, TimestampMicros};

pub const TOPIC: &str = "edits";
const HORIZON: i64 = 10_000_000;
const HOUR: i64 = 3_600_000_000;

/// An event as sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    id: Option<u32>,
    time: i64,
    page: u32,
    added: i64,
}

impl Event {
    fn payload(&self) -> Bytes {
        let time = chrono::DateTime::from_timestamp_micros(self.time).unwrap();
        let time = time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        let mut json = serde_json::json!({"time": time, "page": format!("p{}", self.page), "added": self.added});
        if let Some(id) = self.id {
            json["id"] = format!("e{id}").into();
        }
        json.to_string().into()
    }
}

struct Sent {
    offset: i64,
    timestamp: i64,
    event: Option<Event>,
}

/// Everything that was sent.
#[derive(Default)]
pub struct Traffic {
    sent: BTreeMap<PartitionId, Vec<Sent>>,
    events: Vec<Event>,
}

impl Traffic {
    /// Sends one record.
    pub async fn send(&mut self, log: &MemoryLog, now: TimestampMicros, rng: &mut StdRng) {
        let event = match rng.random_range(0..20) {
            0 => None,
            1..6 if !self.events.is_empty() => {
                let newest = self.events.len().saturating_sub(12);
                Some(self.events[rng.random_range(newest..self.events.len())].clone())
            }
            late => Some(Event {
                id: rng.random_bool(0.85).then(|| rng.random_range(0..40)),
                time: now.0 - if late < 9 { rng.random_range(0..30 * HOUR) } else { rng.random_range(0..1_000) },
                page: rng.random_range(0..3),
                added: rng.random_range(-20..100),
            }),
        };
        let timestamp = (now.0 - rng.random_range(0..800) * 1_000).div_euclid(1_000) * 1_000;
        let payload = event.as_ref().map_or_else(|| Bytes::from_static(b"{\"time\": 1.5, "), Event::payload);
        let key = event.as_ref().and_then(|event| event.id).map(|id| Bytes::from(id.to_string()));
        let record = NewRecord { key, payload, timestamp: TimestampMicros(timestamp) };
        let (partition, offset) = log.append(TOPIC, vec![record]).await.remove(0).unwrap();
        self.events.extend(event.clone());
        self.sent.entry(partition).or_default().push(Sent { offset: offset.0, timestamp, event });
    }

    /// Behind the last record of each partition that has one.
    pub fn ends(&self) -> BTreeMap<PartitionId, Offset> {
        self.sent.iter().map(|(id, sent)| (*id, Offset(sent.last().map_or(0, |last| last.offset + 1)))).collect()
    }

    /// The events that count at a head above a cut: the law, word for word.
    fn counted(&self, cut: &BTreeMap<PartitionId, Offset>, head: &BTreeMap<PartitionId, Offset>) -> Vec<&Event> {
        let mut counted = Vec::new();
        let mut known = HashSet::new();
        for (partition, sent) in &self.sent {
            let cut = cut.get(partition).map_or(0, |cut| cut.0);
            for event in sent.iter().filter(|sent| sent.offset < cut).filter_map(|sent| sent.event.as_ref()) {
                if event.id.is_none() || known.insert((event.id, event.time)) {
                    counted.push(event);
                }
            }
        }
        for (partition, sent) in &self.sent {
            let (cut, head) = (cut.get(partition).map_or(0, |cut| cut.0), head.get(partition).map_or(0, |head| head.0));
            let (mut latest, mut seen) = (i64::MIN, HashMap::new());
            for Sent { offset, timestamp, event } in sent.iter().filter(|sent| sent.offset < head) {
                latest = latest.max(*timestamp);
                let Some(event) = event else { continue };
                let before = event.id.and_then(|id| seen.insert((id, event.time), latest));
                if *offset >= cut && before.is_none_or(|before| latest - before > HORIZON) {
                    counted.push(event);
                }
            }
        }
        counted
    }

    /// The right answer of a view.
    pub fn fold(
        &self,
        view: View,
        cut: &BTreeMap<PartitionId, Offset>,
        head: &BTreeMap<PartitionId, Offset>,
    ) -> BTreeMap<String, Vec<i64>> {
        let mut rows: BTreeMap<String, Vec<&Event>> = BTreeMap::new();
        for event in self.counted(cut, head).into_iter().filter(|event| view.counts(event)) {
            rows.entry(view.group(event)).or_default().push(event);
        }
        rows.into_iter().map(|(group, events)| (group, view.measures(&events))).collect()
    }
}

/// The views of the simulated pipelines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum View {
    Page,
    Size,
    /// `by_page` with other words.
    ChangedPage,
}

impl View {
    pub fn name(self) -> &'static str {
        if self == Self::Size { "by_size" } else { "by_page" }
    }

    pub fn measure_names(self) -> &'static [&'static str] {
        if self == Self::Size { &["edits", "pages"] } else { &["edits", "added", "most"] }
    }

    fn counts(self, event: &Event) -> bool {
        match self {
            Self::Page => true,
            Self::Size => event.added > 10,
            Self::ChangedPage => event.added >= 0,
        }
    }

    fn group(self, event: &Event) -> String {
        if self == Self::Size { (event.added % 3).to_string() } else { format!("p{}", event.page) }
    }

    fn measures(self, events: &[&Event]) -> Vec<i64> {
        let count = events.len() as i64;
        if self == Self::Size {
            let pages: BTreeSet<u32> = events.iter().map(|event| event.page).collect();
            return vec![count, pages.len() as i64];
        }
        let added = events.iter().map(|event| event.added);
        vec![count, added.clone().sum(), added.max().unwrap()]
    }
}

/// The first pipeline, and the one that follows it.
pub const PIPELINES: [&str; 2] = [
    r"
CREATE UNBOUNDED EXTERNAL TABLE edits (id VARCHAR, time TIMESTAMP NOT NULL, page VARCHAR, added BIGINT)
STORED AS JSON LOCATION 'kafka://edits'
OPTIONS (event_time 'time', event_id 'id', horizon '10s', gap '3s', grid '8', partitions '2', late_after '1 minute');

CREATE MATERIALIZED VIEW by_page AS
SELECT page, count(*) AS edits, sum(added) AS added, max(added) AS most FROM edits GROUP BY page;

CREATE MATERIALIZED VIEW by_size WITH (bucket = 'none') AS
SELECT added % 3 AS size, count(*) AS edits, count(DISTINCT page) AS pages FROM edits WHERE added > 10 GROUP BY added % 3;
",
    r"
CREATE UNBOUNDED EXTERNAL TABLE edits (id VARCHAR, time TIMESTAMP NOT NULL, page VARCHAR, added BIGINT)
STORED AS JSON LOCATION 'kafka://edits'
OPTIONS (event_time 'time', event_id 'id', horizon '10s', gap '3s', grid '8', partitions '2', late_after '1 minute');

CREATE MATERIALIZED VIEW by_page AS
SELECT page, count(*) AS edits, sum(added) AS added, max(added) AS most FROM edits WHERE added >= 0 GROUP BY page;

CREATE MATERIALIZED VIEW by_size WITH (bucket = 'none') AS
SELECT added % 3 AS size, count(*) AS edits, count(DISTINCT page) AS pages FROM edits WHERE added > 10 GROUP BY added % 3;
",
];

/// The views of a pipeline.
pub const VIEWS: [[View; 2]; 2] = [[View::Page, View::Size], [View::ChangedPage, View::Size]];
