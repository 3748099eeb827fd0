//! Events without end through the collector: a tenth of them sent twice, some late, some malformed, some that panic the
//! decoder.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use positions::PositionToken;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{PAGES, SOURCE, World};
use crate::support::post::post_lines;
use crate::support::process::{DEADLINE, DECODER_PANIC};

const EVENTS_PER_REQUEST: u64 = 40;
/// How many of the last events one may be sent again from.
const REMEMBERED: usize = 2_000;
const PAUSE: Duration = Duration::from_millis(30);

/// How much is asked of a system.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between two requests with events.
    pub sending: Duration,
    /// Between two questions.
    pub asking: Duration,
    /// A late event is older than this, and up to twice as old: how many buckets each recompute meets.
    pub late_hours: i64,
}

impl Pace {
    /// As much as one sender and one reader can do.
    pub const FULL: Self = Self { sending: PAUSE, asking: Duration::ZERO, late_hours: 24 };
    /// Little enough that every role comes to each of its writes often.
    pub const SMALL: Self =
        Self { sending: Duration::from_millis(200), asking: Duration::from_millis(50), late_hours: 1 };
}

/// Offsets by partition, and when it was known that everything below is stored.
type Moment = (DateTime<Utc>, BTreeMap<i32, i64>);

/// What the collector has acknowledged, for those who judge answers.
#[derive(Default)]
pub struct Acknowledged(Mutex<Vec<Moment>>);

impl Acknowledged {
    fn note(&self, token: &str) {
        let token = PositionToken::decode(token).unwrap();
        let mut all = self.0.lock().unwrap();
        let mut reached = all.last().map(|(_, reached)| reached.clone()).unwrap_or_default();
        for (partition, offset) in token.sources.values().flatten() {
            let at = reached.entry(partition.0).or_insert(0);
            *at = offset.0.max(*at);
        }
        all.push((Utc::now(), reached));
    }

    /// The offsets that were acknowledged until `instant`.
    pub fn until(&self, instant: DateTime<Utc>) -> BTreeMap<i32, i64> {
        let all = self.0.lock().unwrap();
        let count = all.partition_point(|(at, _)| *at <= instant);
        count.checked_sub(1).map(|last| all[last].1.clone()).unwrap_or_default()
    }
}

/// The events of one seed.
pub struct Load {
    rng: StdRng,
    /// Good events so far, each of its own id: `e0`, `e1`...
    pub events: u64,
    recent: Vec<String>,
    /// How fast it is sent.
    pub pace: Pace,
}

impl Load {
    pub fn new(seed: u64, pace: Pace) -> Self {
        Self { rng: StdRng::seed_from_u64(seed ^ 0x10ad), events: 0, recent: Vec::new(), pace }
    }

    /// Sends request after request until `stop`; each one until it is stored, which its ids make safe.
    pub async fn run(&mut self, world: &World, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            self.send_some(world, 1).await;
            tokio::time::sleep(self.pace.sending).await;
        }
    }

    /// Sends this many requests.
    pub async fn send_some(&mut self, world: &World, requests: usize) {
        for _ in 0..requests {
            let (lines, good) = self.draw_request();
            send(world, &lines.join("\n"), good).await;
        }
    }

    /// The lines of a request, and how many of them are good.
    fn draw_request(&mut self) -> (Vec<String>, usize) {
        let mut lines = Vec::new();
        for _ in 0..EVENTS_PER_REQUEST {
            let event = self.draw_event();
            lines.push(event.clone());
            self.recent.push(event);
            if self.rng.random_bool(0.1) {
                lines.push(self.recent[self.rng.random_range(0..self.recent.len())].clone());
            }
        }
        self.recent.drain(..self.recent.len().saturating_sub(REMEMBERED));
        let good = lines.len();
        lines.push(self.draw_malformed());
        (lines, good)
    }

    fn draw_event(&mut self) -> String {
        let late = if self.rng.random_bool(0.05) {
            self.rng.random_range(self.pace.late_hours..2 * self.pace.late_hours)
        } else {
            0
        };
        let time = (Utc::now() - TimeDelta::hours(late)).to_rfc3339_opts(SecondsFormat::Micros, true);
        let (page, amount) = (self.rng.random_range(0..PAGES), self.rng.random_range(-1_000..1_000));
        let id = self.events;
        self.events += 1;
        format!(r#"{{"id":"e{id}","time":"{time}","page":"p{page}","amount":{amount}}}"#)
    }

    fn draw_malformed(&mut self) -> String {
        let good = self.draw_event();
        // It will not be an event: the next good one has its id.
        self.events -= 1;
        match self.rng.random_range(0..100) {
            // Seldom: each panic writes a page into the logs. The oracle has no such page either.
            0 => good.replace("\"page\":\"p", &format!("\"page\":\"{DECODER_PANIC}")),
            1..34 => good.replace("\"amount\":", "\"amount\":\"many\",\"was\":"),
            34..67 => good.replace("\"page\":", "\"side\":"),
            _ => good.replace("\"time\":\"", "\"time\":\"yesterday "),
        }
    }
}

async fn send(world: &World, body: &str, good: usize) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match try_send(world, body).await {
            Ok((200, answer)) => {
                assert_eq!(answer["accepted"], good, "the collector refuses good events: {answer}");
                world.acknowledged.note(answer["token"].as_str().unwrap());
                return;
            }
            Ok((429 | 503, _)) | Err(_) if Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
            answer => panic!("events are not taken: {answer:?}"),
        }
    }
}

async fn try_send(world: &World, body: &str) -> Result<(u16, Value), String> {
    let Some(address) = world.collector.lock().unwrap().clone() else { return Err("no collector runs".to_owned()) };
    post_lines(&world.client, &address, SOURCE, body).await
}
