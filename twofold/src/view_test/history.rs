//! How the records of a test come to the layers: in which order and bursts, with which copies, in how many partitions,
//! and where batch publishes between them.
//!
//! Guarantee: pure; a function of the records and the seed. No history changes what the law makes of the events: copies
//! stay well within the horizon and in the partition of what they copy, what comes later has no copy that it could
//! overtake, and rejected records stay where they are.

use std::time::Duration;

use batch_layer::recompute::Mode;
use positions::{TimestampMicros, micros};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;

use super::arrivals::{Arrival, Arrivals};

/// Share of the records that come later than they might.
const LATER: f64 = 0.15;
/// Share of the records that are sent again.
const AGAIN: f64 = 0.2;
/// A copy comes at most so many records behind.
const COPY_REACH: usize = 20;
/// The most partitions.
const MAX_PARTITIONS: i32 = 4;
/// Runs in all partitions, about, at most: each ends at a multiple of the grid.
const MAX_RUNS: usize = 200;

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "history", rename_all = "lowercase")]
pub enum Kind {
    /// Events as they are written; batch alone answers.
    Batch,
    /// The same; realtime alone answers.
    Realtime,
    /// Both layers answer, after a history of this seed.
    Mixed {
        /// The seed.
        seed: u64,
    },
}

/// One record on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sending {
    /// Its place among the records.
    pub record: usize,
    /// When it arrives.
    pub at: TimestampMicros,
}

/// What happens next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// These records come at once.
    Send(Vec<Sending>),
    /// Batch publishes what is archived.
    Publish(Mode),
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// Of the topic.
    pub partitions: i32,
    /// In place of the grid of the source.
    pub grid: i64,
    /// Records of a micro-batch, at most.
    pub max_records: usize,
    /// How many runs become one.
    pub merge_fan_in: usize,
    /// What keys begin with: it decides which of them meet.
    pub salt: u64,
    /// How many events were added as copies.
    pub copies: u64,
    /// In this order.
    pub steps: Vec<Step>,
}

impl History {
    /// The history of a kind.
    pub fn of(arrivals: &Arrivals, kind: Kind, horizon: Duration) -> Self {
        match kind {
            Kind::Batch => Self::written(arrivals, &[Step::Publish(Mode::Full)]),
            Kind::Realtime => Self::written(arrivals, &[]),
            Kind::Mixed { seed } => Self::mixed(arrivals, seed, horizon),
        }
    }

    /// Everything as it is written, in one partition; the end is a multiple of the grid.
    fn written(arrivals: &Arrivals, then: &[Step]) -> Self {
        let all = in_order(arrivals);
        let grid = all.len().max(1) as i64;
        let steps = std::iter::once(Step::Send(all)).chain(then.iter().cloned()).collect();
        Self { partitions: 1, grid, max_records: 1_000, merge_fan_in: 8, salt: 0, copies: 0, steps }
    }

    fn mixed(arrivals: &Arrivals, seed: u64, horizon: Duration) -> Self {
        let random = &mut StdRng::seed_from_u64(seed);
        let order = if arrivals.is_free { with_later(arrivals, random) } else { in_order(arrivals) };
        let (order, copies) = if arrivals.takes_copies && !horizon.is_zero() {
            with_copies(&order, &arrivals.records, horizon, random)
        } else {
            (order, 0)
        };
        let stretch = 1 + order.len() / MAX_RUNS;
        Self {
            partitions: if arrivals.is_free { random.random_range(1..=MAX_PARTITIONS) } else { 1 },
            grid: (random.random_range(1..=8_usize) * stretch) as i64,
            max_records: random.random_range(1..=8_usize) * stretch,
            merge_fan_in: random.random_range(2..=5),
            salt: random.random(),
            copies,
            steps: steps(&order, random),
        }
    }
}

fn in_order(arrivals: &Arrivals) -> Vec<Sending> {
    let sending = |(record, arrival): (usize, &Arrival)| Sending { record, at: arrival.at };
    arrivals.records.iter().enumerate().map(sending).collect()
}

/// Some of the records come behind others that arrive later.
fn with_later(arrivals: &Arrivals, random: &mut StdRng) -> Vec<Sending> {
    let count = arrivals.records.len();
    let mut order: Vec<(usize, usize)> = Vec::with_capacity(count);
    for (record, arrival) in arrivals.records.iter().enumerate() {
        let is_later = arrival.is_alone && random.random_bool(LATER);
        order.push((if is_later { random.random_range(record..count) } else { record }, record));
    }
    // Stable: whoever stays where it is comes before whoever came there.
    order.sort_by_key(|(place, record)| (*place, place != record));
    let mut last = TimestampMicros::MIN;
    let sending = |(_, record): (usize, usize)| {
        last = last.max(arrivals.records[record].at);
        Sending { record, at: last }
    };
    order.into_iter().map(sending).collect()
}

/// Some of the records come twice; and how many events came twice so.
fn with_copies(order: &[Sending], records: &[Arrival], horizon: Duration, random: &mut StdRng) -> (Vec<Sending>, u64) {
    let mut behind: Vec<Vec<Sending>> = vec![Vec::new(); order.len()];
    let mut copies = 0;
    for (place, sending) in order.iter().enumerate() {
        let record = &records[sending.record];
        if !record.is_recognised || !random.random_bool(AGAIN) {
            continue;
        }
        let mut at = random.random_range(place..order.len().min(place + COPY_REACH));
        while order[at].at.micros_since(sending.at) > micros(horizon) / 2 {
            at -= 1;
        }
        behind[at].push(Sending { record: sending.record, at: order[at].at });
        copies += record.events;
    }
    let all = order.iter().zip(behind).flat_map(|(sending, copies)| std::iter::once(*sending).chain(copies));
    (all.collect(), copies)
}

/// Bursts, with publications between some of them and after some of the last.
fn steps(order: &[Sending], random: &mut StdRng) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = order;
    while !rest.is_empty() {
        let (burst, later) = rest.split_at(random.random_range(1..=rest.len().min(1 + order.len() / 3)));
        steps.push(Step::Send(burst.to_vec()));
        if random.random_bool(0.5) {
            steps.push(Step::Publish(if random.random_bool(0.2) { Mode::Full } else { Mode::Incremental }));
        }
        rest = later;
    }
    steps
}
