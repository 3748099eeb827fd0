//! Made-up visits to a web site: a few pages get most of them, some arrive late, out of order, twice or broken.
//!
//! In: a seed, shares, and the present instant of each batch. Out: JSON lines, each with what it is.

use std::collections::VecDeque;

use chrono::{DateTime, SecondsFormat, Utc};
use positions::TimestampMicros;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, LogNormal, Zipf};
use serde::Serialize;

/// The source that the traffic is of.
pub const SOURCE: &str = "visits";

/// What the traffic is like.
#[derive(Clone, Debug, PartialEq)]
pub struct TrafficSettings {
    /// Equal seeds and instants make equal traffic.
    pub seed: u64,
    /// Pages of the site; visited by Zipf's law.
    pub pages: u32,
    /// Visitors of the site.
    pub users: u32,
    /// Share of visits whose event time lies minutes or hours back.
    pub late_share: f64,
    /// Share of lines that repeat an earlier visit.
    pub copy_share: f64,
    /// Share of lines that are not valid events.
    pub malformed_share: f64,
}

impl Default for TrafficSettings {
    fn default() -> Self {
        Self { seed: 1, pages: 200, users: 5_000, late_share: 0.02, copy_share: 0.02, malformed_share: 0.005 }
    }
}

/// One visit, as it is sent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Visit {
    /// Never used twice.
    pub id: String,
    /// RFC 3339, UTC, microseconds.
    pub time: String,
    /// The path.
    pub page: String,
    /// Who.
    pub user: String,
    /// A stretch of half an hour of one user.
    pub session: String,
    /// The HTTP status.
    pub status: u16,
    /// Bytes sent; null where nothing was.
    pub bytes: Option<i64>,
}

/// What a line is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A new visit.
    Fresh(Visit),
    /// A new visit whose event time lies far back.
    Late(Visit),
    /// A visit that was sent before, word for word.
    Copy(Visit),
    /// Nothing that the source can decode.
    Malformed,
}

/// One line to send.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// JSON without a line break.
    pub text: String,
    /// What it is.
    pub kind: Kind,
}

/// The generator.
#[derive(Debug)]
pub struct Traffic {
    settings: TrafficSettings,
    rng: StdRng,
    pages: Zipf<f64>,
    bytes: LogNormal<f64>,
    next_id: u64,
    // Copies are drawn from the last few thousand visits, so that they fall within the source's horizon.
    recent: VecDeque<Visit>,
}

const REMEMBERED: usize = 4_000;
const SECOND: i64 = 1_000_000;
const HALF_HOUR: i64 = 1_800 * SECOND;

impl Traffic {
    /// A generator at its start.
    pub fn new(settings: TrafficSettings) -> Self {
        let rng = StdRng::seed_from_u64(settings.seed);
        let pages = Zipf::new(f64::from(settings.pages.max(1)), 1.1).expect("at least one page, a positive exponent");
        let bytes = LogNormal::new(8.5, 1.2).expect("finite parameters");
        Self { settings, rng, pages, bytes, next_id: 0, recent: VecDeque::with_capacity(REMEMBERED) }
    }

    /// The next lines, as of `now`.
    pub fn next_lines(&mut self, now: TimestampMicros, count: usize) -> Vec<Line> {
        (0..count).map(|_| self.next_line(now)).collect()
    }

    fn next_line(&mut self, now: TimestampMicros) -> Line {
        let chance: f64 = self.rng.random();
        let (malformed, copy, late) =
            (self.settings.malformed_share, self.settings.copy_share, self.settings.late_share);
        if chance < malformed {
            return Line { text: self.malformed(now), kind: Kind::Malformed };
        }
        if chance < malformed + copy && !self.recent.is_empty() {
            let visit = self.recent[self.rng.random_range(0..self.recent.len())].clone();
            return Line { text: line_of(&visit), kind: Kind::Copy(visit) };
        }
        let is_late = chance < malformed + copy + late;
        let visit = self.visit(now, is_late);
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(visit.clone());
        Line { text: line_of(&visit), kind: if is_late { Kind::Late(visit) } else { Kind::Fresh(visit) } }
    }

    fn visit(&mut self, now: TimestampMicros, is_late: bool) -> Visit {
        // Up to two seconds of disorder is ordinary; late visits lie up to three hours back, in other buckets.
        let age = if is_late {
            self.rng.random_range(120 * SECOND..3 * 3_600 * SECOND)
        } else {
            self.rng.random_range(0..2 * SECOND)
        };
        let at = now.0 - age;
        let user = self.rng.random_range(0..self.settings.users.max(1));
        let status = [200, 200, 200, 200, 200, 200, 304, 404, 500][self.rng.random_range(0..9)];
        let bytes = self.bytes.sample(&mut self.rng).min(1e9) as i64;
        self.next_id += 1;
        Visit {
            id: format!("{:x}-{}", self.settings.seed, self.next_id),
            time: format_instant(at),
            page: format!("/page/{}", self.pages.sample(&mut self.rng) as u64),
            user: format!("user-{user}"),
            session: format!("user-{user}-{}", at.div_euclid(HALF_HOUR)),
            status,
            bytes: (status != 304).then_some(bytes),
        }
    }

    /// Each of these breaks another rule of decoding.
    fn malformed(&mut self, now: TimestampMicros) -> String {
        let visit = self.visit(now, false);
        let mut event = serde_json::to_value(&visit).expect("plain fields always serialise");
        match self.rng.random_range(0..4) {
            0 => return format!("{{\"id\":\"{}\",\"time\":", visit.id),
            1 => event["status"] = "many".into(),
            2 => event["page"] = serde_json::Value::Null,
            _ => event["time"] = "yesterday".into(),
        }
        event.to_string()
    }
}

fn line_of(visit: &Visit) -> String {
    serde_json::to_string(visit).expect("plain fields always serialise")
}

fn format_instant(micros: i64) -> String {
    let instant = DateTime::<Utc>::from_timestamp_micros(micros).unwrap_or(DateTime::<Utc>::MIN_UTC);
    instant.to_rfc3339_opts(SecondsFormat::Micros, true)
}
