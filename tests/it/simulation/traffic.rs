//! What producers send: new events, copies, late ones, records that are not events; and the truth about it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use event_log::memory::MemoryLog;
use event_log::{EventLog, NewRecord};
use positions::{Life, Offset, PartitionId, TimestampMicros};
use rand::Rng;
use rand::rngs::StdRng;
use records::master::Hole;

use crate::support::event::Event;

pub const TOPIC: &str = "edits";
const HORIZON: i64 = 10_000_000;
const HOUR: i64 = 3_600_000_000;

#[derive(Clone)]
struct Sent {
    offset: i64,
    timestamp: i64,
    event: Option<Event>,
}

/// What the readers of one life of the topic can be answered from: its records, and what is left of former lives.
#[derive(Default)]
struct Told {
    life: Life,
    sent: BTreeMap<PartitionId, Vec<Sent>>,
}

/// Everything that was sent.
#[derive(Default)]
pub struct Traffic {
    /// Those lives that ended, in their order: a reader may still be answered from one of them.
    former: Vec<Told>,
    present: Told,
    events: Vec<Event>,
    is_replaced: bool,
    /// What another topic holds that took the name, by its own offsets, until its life begins.
    unborn: BTreeMap<PartitionId, Vec<Sent>>,
}

/// Offsets by partition.
type Offsets = BTreeMap<PartitionId, Offset>;
/// Measures by group.
type Rows = BTreeMap<String, Vec<i64>>;

/// What of the holes was read before it expired: by partition and start of a hole, up to where.
#[derive(Clone, Default)]
struct Read(BTreeMap<(PartitionId, Offset), Offset>);

impl Read {
    /// How many offsets of `[from, to)` in a hole were not read.
    fn unread(&self, hole: &Hole, (from, to): (Offset, Offset)) -> u64 {
        let end = self.0.get(&(hole.partition, hole.from)).copied().unwrap_or_default();
        u64::try_from(hole.to.min(to).0 - hole.from.max(from).max(end).0).unwrap_or(0)
    }

    fn is_lost(&self, holes: &[Hole], partition: PartitionId, offset: i64) -> bool {
        let within = |hole: &&Hole| hole.partition == partition && hole.from.0 <= offset && offset < hole.to.0;
        let hole = holes.iter().find(within);
        hole.is_some_and(|hole| self.0.get(&(partition, hole.from)).is_none_or(|end| offset >= end.0))
    }
}

/// As JSON, the amount also where only the second pipeline looks. Instead of none, some have one that its column cannot
/// take: not drawn, so that a seed keeps its history.
fn payload_of(event: &Event) -> Bytes {
    let mut json: serde_json::Value = serde_json::from_slice(&event.payload("added")).unwrap();
    json["more"] = serde_json::json!({"added": event.amount});
    if event.amount.is_none() && event.id.is_some_and(|id| id.is_multiple_of(2)) {
        json["added"] = "none".into();
    }
    json.to_string().into()
}

/// By how much a device's clock is said to be off: of every third record, and of a copy otherwise than of its original.
/// Not drawn, so that a seed keeps its history. Never so far ahead that the record would be rejected.
fn clock_shift(number: usize) -> Option<i64> {
    let minutes = (number % 90) as i64 - 60;
    number.is_multiple_of(3).then_some(minutes * 60_000_000)
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
                page: Some(format!("p{}", rng.random_range(0..3_u32))),
                // Without one it is an event only where the second pipeline looks.
                amount: Some(rng.random_range(-20..100)).filter(|amount| amount % 9 != 4),
                ..Event::default()
            }),
        };
        let timestamp = (now.0 - rng.random_range(0..800) * 1_000).div_euclid(1_000) * 1_000;
        let payload = event.as_ref();
        let payload = payload.map_or(Bytes::from_static(b"{\"time\": 1.5, "), payload_of);
        let key = event.as_ref().and_then(Event::key);
        let clock_shift = clock_shift(self.events.len());
        let record = NewRecord { key, payload, timestamp: TimestampMicros(timestamp), clock_shift };
        let (partition, offset) = log.append(TOPIC, vec![record]).await.remove(0).unwrap();
        self.events.extend(event.clone());
        let (told, offset) = match self.is_replaced {
            true => (&mut self.unborn, offset),
            false => (&mut self.present.sent, self.present.life.offset(partition, offset)),
        };
        told.entry(partition).or_default().push(Sent { offset: offset.0, timestamp, event });
    }

    /// Draws the lines of a file. Its events are there from now on, in a partition of their own: no cut covers them
    /// before they are in.
    pub fn import(&mut self, count: u32, now: TimestampMicros, rng: &mut StdRng) -> Vec<Vec<u8>> {
        let mut payloads = Vec::new();
        for _ in 0..count {
            let event = match rng.random_range(0..4) {
                0 if !self.events.is_empty() => self.events[rng.random_range(0..self.events.len())].clone(),
                _ => Event {
                    id: rng.random_bool(0.85).then(|| rng.random_range(0..40)),
                    time: now.0 - rng.random_range(0..300 * HOUR),
                    page: Some(format!("p{}", rng.random_range(0..3_u32))),
                    amount: Some(rng.random_range(-20..100)).filter(|amount| amount % 9 != 4),
                    ..Event::default()
                },
            };
            payloads.push(payload_of(&event).to_vec());
            self.events.push(event.clone());
            let sent = self.present.sent.entry(PartitionId::FIRST_IMPORTED).or_default();
            let offset = sent.len() as i64;
            sent.push(Sent { offset, timestamp: event.time, event: Some(event) });
        }
        payloads
    }

    /// The life of the other topic begins: it takes the place of what was never archived of the one before.
    pub fn begin_life(&mut self, life: Life) {
        let mut sent = self.present.sent.clone();
        for (partition, records) in &mut sent {
            let start = life.start(*partition).offset.0;
            records.retain(|record| partition.is_imported() || record.offset < start);
        }
        for (partition, records) in std::mem::take(&mut self.unborn) {
            let place = |record: Sent| Sent { offset: life.offset(partition, Offset(record.offset)).0, ..record };
            sent.entry(partition).or_default().extend(records.into_iter().map(place));
        }
        self.former.push(std::mem::replace(&mut self.present, Told { life, sent }));
        self.is_replaced = false;
    }

    /// The life of the topic that answers should come to be of.
    pub fn life(&self) -> &Life {
        &self.present.life
    }

    /// Another topic bears the name from now on: what is sent to it must not be in any answer.
    pub fn replace(&mut self) {
        self.is_replaced = true;
    }

    /// Whether another topic bears the name.
    pub fn is_replaced(&self) -> bool {
        self.is_replaced
    }

    /// Whether another topic has ever taken the name.
    pub fn was_replaced(&self) -> bool {
        self.is_replaced || !self.former.is_empty()
    }

    /// Draws the place up to which a partition loses its records from `archived` on. None of them has a copy behind
    /// that place, nor will have one: the verdict on it would depend on whether somebody had read the lost one.
    pub fn lose(&mut self, partition: PartitionId, archived: Offset, rng: &mut StdRng) -> Option<Offset> {
        let sent = self.present.sent.get(&partition).filter(|_| !self.is_replaced)?;
        let identities = |from: i64, to: i64| -> HashSet<(u32, i64)> {
            let within = sent.iter().filter(|sent| (from..to).contains(&sent.offset));
            within.filter_map(|sent| sent.event.as_ref()).filter_map(|event| Some((event.id?, event.time))).collect()
        };
        let is_apart = |low: &i64| identities(archived.0, *low).is_disjoint(&identities(*low, i64::MAX));
        let places: Vec<i64> = sent.iter().map(|sent| sent.offset + 1).filter(|low| *low > archived.0).collect();
        let places: Vec<i64> = places.into_iter().filter(is_apart).collect();
        let low = *places.get(rng.random_range(0..places.len().max(1)))?;
        let lost = identities(archived.0, low);
        self.events.retain(|event| event.id.is_none_or(|id| !lost.contains(&(id, event.time))));
        Some(Offset(low))
    }

    /// Behind the last record of each partition that has one, or where it begins in the present life.
    pub fn ends(&self) -> BTreeMap<PartitionId, Offset> {
        let end = |(id, sent): (&PartitionId, &Vec<Sent>)| {
            let start = self.present.life.start(*id).offset;
            (*id, sent.last().map_or(start, |last| start.max(Offset(last.offset + 1))))
        };
        self.present.sent.iter().map(end).collect()
    }

    /// The right answers of a view, by the present life of the topic, and by those before it: readers are answered from
    /// one until a later one is published; and how many offsets each passes over.
    pub fn folds(&self, view: View, cut: &Offsets, head: &Offsets, holes: &[Hole]) -> Vec<(Rows, u64)> {
        let lives = self.former.iter().chain([&self.present]);
        lives.flat_map(|told| told.folds(view, cut, head, holes)).collect()
    }
}

impl Told {
    /// The events that count at a head above a cut: the law, word for word, over what is left.
    fn counted(&self, cut: &Offsets, head: &Offsets, holes: &[Hole], read: &Read) -> Vec<&Event> {
        let nothing = Read::default();
        let mut counted = Vec::new();
        let mut known = HashSet::new();
        for (partition, sent) in &self.sent {
            let cut = cut.get(partition).map_or(0, |cut| cut.0);
            let below =
                sent.iter().filter(|sent| sent.offset < cut && !nothing.is_lost(holes, *partition, sent.offset));
            for event in below.filter_map(|sent| sent.event.as_ref()) {
                if event.id.is_none() || known.insert((event.id, event.time)) {
                    counted.push(event);
                }
            }
        }
        for (partition, sent) in &self.sent {
            let (cut, head) = (cut.get(partition).map_or(0, |cut| cut.0), head.get(partition).map_or(0, |head| head.0));
            let (mut latest, mut seen) = (i64::MIN, HashMap::new());
            // Nothing of former lives is remembered.
            let within = self.life.start(*partition).offset.0..head;
            let left = |sent: &&Sent| !read.is_lost(holes, *partition, sent.offset);
            let below = sent.iter().filter(|sent| within.contains(&sent.offset)).filter(left);
            for Sent { offset, timestamp, event } in below {
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

    /// The right answers of a view, and how many offsets each passes over: one, or, where records above the cut are
    /// lost, one for each place up to which realtime may have read them before they expired.
    fn folds(&self, view: View, cut: &Offsets, head: &Offsets, holes: &[Hole]) -> Vec<(Rows, u64)> {
        let at = |offsets: &Offsets, hole: &Hole| offsets.get(&hole.partition).copied().unwrap_or_default();
        let mut reads = vec![Read::default()];
        for hole in holes {
            let (from, to) = (hole.from.max(at(cut, hole)), hole.to.min(at(head, hole)));
            if from < to {
                let read_to = |read: &Read, end: i64| {
                    let mut read = read.clone();
                    read.0.insert((hole.partition, hole.from), Offset(end));
                    read
                };
                reads = reads.iter().flat_map(|read| (from.0..=to.0).map(|end| read_to(read, end))).collect();
            }
        }
        let below = |hole: &Hole| Read::default().unread(hole, (Offset(0), at(cut, hole)));
        let above = |hole: &Hole, read: &Read| read.unread(hole, (at(cut, hole), at(head, hole)));
        let lost = |read: &Read| holes.iter().map(|hole| below(hole) + above(hole, read)).sum();
        reads.iter().map(|read| (Self::rows(view, self.counted(cut, head, holes, read)), lost(read))).collect()
    }

    fn rows(view: View, counted: Vec<&Event>) -> Rows {
        let mut rows: BTreeMap<String, Vec<&Event>> = BTreeMap::new();
        for event in counted.into_iter().filter(|event| view.counts(event)) {
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
    /// `by_page` of what adds something, over the source as it was.
    PositivePage,
    /// `by_size` with a measure less.
    PlainSize,
}

impl View {
    pub fn name(self) -> &'static str {
        if self.is_size() { "by_size" } else { "by_page" }
    }

    fn is_size(self) -> bool {
        matches!(self, Self::Size | Self::PlainSize)
    }

    pub fn measure_names(self) -> &'static [&'static str] {
        match self {
            Self::Size => &["edits", "pages"],
            Self::PlainSize => &["edits"],
            Self::Page | Self::ChangedPage | Self::PositivePage => &["edits", "added", "most"],
        }
    }

    fn counts(self, event: &Event) -> bool {
        match self {
            Self::Page => event.amount.is_some(),
            Self::Size | Self::PlainSize => event.amount() > 10,
            Self::ChangedPage => event.amount() >= 0,
            Self::PositivePage => event.amount.is_some_and(|amount| amount >= 0),
        }
    }

    fn group(self, event: &Event) -> String {
        if self.is_size() { (event.amount() % 3).to_string() } else { event.page().to_owned() }
    }

    fn measures(self, events: &[&Event]) -> Vec<i64> {
        let count = events.len() as i64;
        if self == Self::PlainSize {
            return vec![count];
        }
        if self == Self::Size {
            let pages: BTreeSet<&str> = events.iter().map(|event| event.page()).collect();
            return vec![count, pages.len() as i64];
        }
        let added = events.iter().filter_map(|event| event.amount);
        // Nothing to sum up is NULL, which readers take for 0.
        vec![count, added.clone().sum(), added.max().unwrap_or_default()]
    }
}

/// The first pipeline, and the one that follows it, where `by_page` counts only some events: by a column that the
/// source has not got before. `added` need not be there any more: what was rejected without it, or with one that is no
/// number, counts then.
pub fn pipelines() -> [String; 2] {
    let second = (", more STRUCT<added BIGINT>", "WHERE more['added'] >= 0 OR more['added'] IS NULL");
    [(" NOT NULL", ""), second].map(|(column, filter)| {
        format!(
            "CREATE UNBOUNDED EXTERNAL TABLE edits (id VARCHAR, time TIMESTAMP NOT NULL, page VARCHAR, added BIGINT{column})
            STORED AS JSON LOCATION 'kafka://edits'
            OPTIONS (event_time 'time', event_id 'id', horizon '10s', gap '3s', grid '8', partitions '2',
                     late_after '1 minute');

            CREATE MATERIALIZED VIEW by_page AS
            SELECT page, count(*) AS edits, sum(added) AS added, max(added) AS most FROM edits {filter} GROUP BY page;

            CREATE MATERIALIZED VIEW by_size WITH (bucket = 'none') AS
            SELECT added % 3 AS size, count(*) AS edits, count(DISTINCT page) AS pages FROM edits
            WHERE added > 10 GROUP BY added % 3;"
        )
    })
}

/// The same with a source in kappa mode, which knows no buckets.
pub fn kappa_pipelines() -> [String; 2] {
    pipelines()
        .map(|sql| sql.replace("partitions '2'", "partitions '2', mode 'kappa'").replace(" WITH (bucket = 'none')", ""))
}

/// The views of a pipeline.
pub const VIEWS: [[View; 2]; 2] = [[View::Page, View::Size], [View::ChangedPage, View::Size]];
