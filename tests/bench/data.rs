//! Generated web traffic: the same for every run, as records of a log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use event_log::Record;
use positions::{Clock, IdSource, Offset, PartitionId, TimestampMicros};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Zipf};
use views::{Pipeline, SourceDefinition};

/// One source with event ids and three views, as in the targets.
pub const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (
  event_id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, \"user\" BIGINT, url VARCHAR, country VARCHAR, bytes BIGINT,
  duration DOUBLE
) STORED AS JSON LOCATION 'kafka://hits'
  OPTIONS (event_time 'time', event_id 'event_id', partitions '2', grid '65536', horizon '10 seconds');

CREATE MATERIALIZED VIEW hits_by_url AS
SELECT url, date_bin(INTERVAL '1 hour', time) AS hour,
       count(*) AS hits, approx_distinct(\"user\") AS users, sum(bytes) AS bytes, max(bytes) AS largest
FROM hits GROUP BY url, hour;

CREATE MATERIALIZED VIEW hits_by_country AS
SELECT country, date_bin(INTERVAL '1 minute', time) AS minute,
       count(*) AS hits, avg(duration) AS duration, approx_percentile_cont(0.99) WITHIN GROUP (ORDER BY duration) AS p99
FROM hits GROUP BY country, minute;

CREATE MATERIALIZED VIEW hits_by_hour AS
SELECT date_bin(INTERVAL '1 hour', time) AS hour, count(*) AS hits, sum(bytes) AS bytes FROM hits GROUP BY hour;
";

/// The day that the traffic falls on.
const DAY: i64 = 1_767_571_200_000_000;
/// Microseconds in a day.
const DAY_MICROS: i64 = 86_400_000_000;

/// The parsed pipeline.
pub fn pipeline() -> Pipeline {
    Pipeline::read(PIPELINE, &BTreeMap::new()).unwrap()
}

/// The source of the pipeline.
pub fn source() -> Arc<SourceDefinition> {
    pipeline().sources[0].clone()
}

/// Makes payloads in time order with some disorder.
pub struct Traffic {
    rng: StdRng,
    urls: Zipf<f64>,
    start: i64,
    per_day: usize,
    first: usize,
    made: usize,
}

impl Traffic {
    /// A day with `total` events.
    pub fn new(total: usize) -> Self {
        Self::starting(Duration::ZERO, total, 0)
    }

    /// So many events `per_day`, beginning `later` than [`Self::new`] does, with ids from `first` on.
    pub fn starting(later: Duration, per_day: usize, first: usize) -> Self {
        let (rng, urls) = (StdRng::seed_from_u64(1), Zipf::new(20_000.0, 1.1).unwrap());
        let start = DAY + i64::try_from(later.as_micros()).unwrap();
        Self { rng, urls, start, per_day, first, made: 0 }
    }

    /// The next event as JSON, and its time.
    pub fn next_payload(&mut self) -> (String, TimestampMicros) {
        let at =
            self.start + (self.made as i64 * (DAY_MICROS / self.per_day as i64)) - self.rng.random_range(0..2_000_000);
        let time = chrono::DateTime::from_timestamp_micros(at).unwrap().format("%Y-%m-%dT%H:%M:%S%.6fZ");
        let url = self.urls.sample(&mut self.rng) as u32;
        let (user, country) = (self.rng.random_range(0..1_000_000u32), self.rng.random_range(0..50u8));
        let (bytes, duration) = (self.rng.random_range(100..100_000u32), self.rng.random_range(0.1..900.0f64));
        let id = self.first + self.made;
        self.made += 1;
        let payload = format!(
            r#"{{"event_id":"e{id:012}","time":"{time}","user":{user},"url":"/page/{url}","country":"c{country:02}","bytes":{bytes},"duration":{duration:.3}}}"#
        );
        (payload, TimestampMicros(at))
    }

    /// The next `count` events as records of one partition that starts at `offset`.
    pub fn next_records(&mut self, partition: PartitionId, offset: i64, count: usize) -> Vec<Record> {
        (offset..offset + count as i64)
            .map(|offset| {
                let (payload, timestamp) = self.next_payload();
                let payload = Bytes::from(payload);
                Record { partition, offset: Offset(offset), timestamp, payload, event_id: None, clock_shift: None }
            })
            .collect()
    }
}

/// The system's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> TimestampMicros {
        TimestampMicros(chrono::Utc::now().timestamp_micros())
    }
}

/// Ids of this process.
pub struct RandomIds;

impl IdSource for RandomIds {
    fn next_id(&self) -> u128 {
        rand::rng().random()
    }
}
