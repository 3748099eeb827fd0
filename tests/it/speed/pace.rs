//! When a speed worker pauses: never while it is behind, a linger while it keeps up, and hardly awake when all is
//! still. Time is virtual: what a worker waits for is what passes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use event_log::memory::MemoryLog;
use event_log::{EventLog, EventLogError, LogConsumer, Poll, PollLimit};
use positions::{Clock, Cut, Offset, PartitionId, TimestampMicros};
use rand::SeedableRng;
use rand::rngs::StdRng;
use speed_layer::{SpeedComponents, SpeedError, SpeedSettings};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::system::{Event, PARTITIONS, System};
use crate::support::counted_store::CountedStore;
use crate::support::log_layer::{Layered, LogLayer};

const TICK: Duration = Duration::from_millis(200);
const LINGER: Duration = Duration::from_millis(50);

/// A log of which a poll returns what was fetched so far: few records, wherever the end is. It tells of its ends
/// rarely.
struct ShortLog {
    inner: MemoryLog,
    records_per_poll: usize,
    tells_ends: bool,
    polls: Arc<AtomicUsize>,
}

struct ShortConsumer {
    inner: Box<dyn LogConsumer>,
    records_per_poll: usize,
    tells_ends: bool,
    polls: Arc<AtomicUsize>,
}

#[async_trait]
impl LogLayer for ShortLog {
    fn inner(&self) -> &MemoryLog {
        &self.inner
    }

    async fn consumer(&self, topic: &str, group: Option<&str>) -> Result<Box<dyn LogConsumer>, EventLogError> {
        let inner = self.inner.consumer(topic, group).await?;
        let (records_per_poll, tells_ends) = (self.records_per_poll, self.tells_ends);
        Ok(Box::new(ShortConsumer { inner, records_per_poll, tells_ends, polls: self.polls.clone() }))
    }
}

#[async_trait]
impl LogConsumer for ShortConsumer {
    async fn seek(&mut self, starts: &BTreeMap<PartitionId, Offset>) -> Result<(), EventLogError> {
        self.inner.seek(starts).await
    }

    async fn poll(&mut self, limit: PollLimit) -> Result<Poll, EventLogError> {
        self.polls.fetch_add(1, Ordering::SeqCst);
        self.inner.poll(PollLimit { records: limit.records.min(self.records_per_poll), ..limit }).await
    }

    fn take_ends(&mut self) -> BTreeMap<PartitionId, Duration> {
        let ends = self.inner.take_ends();
        if self.tells_ends { ends } else { BTreeMap::new() }
    }

    async fn report_progress(&mut self, offsets: &BTreeMap<PartitionId, Offset>) -> Result<(), EventLogError> {
        self.inner.report_progress(offsets).await
    }
}

/// Virtual time as the worker's clock.
struct VirtualClock {
    began: Instant,
    from: i64,
}

impl Clock for VirtualClock {
    fn now(&self) -> TimestampMicros {
        TimestampMicros(self.from + i64::try_from(self.began.elapsed().as_micros()).unwrap())
    }
}

/// A worker on a system in virtual time, and what is counted of it.
struct Paced {
    system: System,
    store: Arc<CountedStore>,
    polls: Arc<AtomicUsize>,
    records_per_poll: usize,
    tells_ends: bool,
}

impl Paced {
    async fn new(records_per_poll: usize, tells_ends: bool) -> Self {
        let system = System::new(1).await;
        let store = Arc::new(CountedStore::new(system.memory.clone()));
        Self { system, store, polls: Arc::default(), records_per_poll, tells_ends }
    }

    fn start(&self) -> (JoinHandle<Result<(), SpeedError>>, CancellationToken) {
        let log = Layered(ShortLog {
            inner: self.system.log.clone(),
            records_per_poll: self.records_per_poll,
            tells_ends: self.tells_ends,
            polls: self.polls.clone(),
        });
        let components = SpeedComponents {
            log: Arc::new(log),
            store: self.store.clone(),
            clock: Arc::new(VirtualClock { began: Instant::now(), from: self.system.clock.now().0 }),
            ..self.system.components()
        };
        let settings = SpeedSettings { tick: TICK, linger: LINGER, ..SpeedSettings::default() };
        let stop = CancellationToken::new();
        (tokio::spawn(speed_layer::run::run(components, settings, stop.clone())), stop)
    }

    /// Waits until all that was sent can be read; how long that took.
    async fn until_visible(&self) -> Duration {
        let began = Instant::now();
        while !self.system.is_at_end().await {
            assert!(began.elapsed() < Duration::from_secs(60), "not in time");
            sleep(Duration::from_millis(1)).await;
        }
        began.elapsed()
    }

    async fn send(&mut self, id: u32) {
        let at = self.system.clock.now().0;
        let event =
            Event { id: Some(id), time: at, page: Some("page".to_owned()), amount: Some(1), ..Event::default() };
        self.system.send_one(Some(event), at).await;
    }

    fn calls(&self) -> usize {
        self.store.calls()
    }

    fn polls(&self) -> usize {
        self.polls.load(Ordering::SeqCst)
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_behind_does_not_pause_after_a_short_poll() {
    let mut paced = Paced::new(3, false).await;
    paced.system.send(&mut StdRng::seed_from_u64(1), 300).await;
    let (worker, stop) = paced.start();
    let took = paced.until_visible().await;
    assert!(paced.polls() >= 100, "{} polls were enough", paced.polls());
    assert!(took < LINGER, "{took:?} passed: the worker paused while it was behind");
    stop.cancel();
    worker.await.unwrap().unwrap();
    paced.system.check(&Cut::default()).await;
}

#[tokio::test(start_paused = true)]
async fn a_lone_event_is_taken_at_once_and_its_followers_within_a_linger() {
    let mut paced = Paced::new(1_000, true).await;
    let (worker, stop) = paced.start();
    sleep(10 * TICK + TICK / 3).await;
    paced.send(1).await;
    let lone = paced.until_visible().await;
    assert!(lone < LINGER / 2, "a lone event was visible after {lone:?}");
    paced.send(2).await;
    paced.send(3).await;
    let followers = paced.until_visible().await;
    assert!(followers <= LINGER + LINGER / 2, "events behind it were visible after {followers:?}");
    stop.cancel();
    worker.await.unwrap().unwrap();
    paced.system.check(&Cut::default()).await;
}

#[tokio::test(start_paused = true)]
async fn a_trickle_makes_at_most_one_run_per_linger() {
    let mut paced = Paced::new(1_000, true).await;
    let (worker, stop) = paced.start();
    sleep(10 * TICK).await;
    let (polls, began) = (paced.polls(), Instant::now());
    for id in 0..1_000 {
        paced.send(id).await;
        sleep(Duration::from_millis(1)).await;
    }
    let turns = paced.polls() - polls;
    let most = began.elapsed().div_duration_f64(LINGER) as usize + 2;
    assert!(turns <= most, "{turns} turns in {:?}", began.elapsed());
    paced.until_visible().await;
    stop.cancel();
    worker.await.unwrap().unwrap();
    paced.system.check(&Cut::default()).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_wakes_once_a_tick_and_touches_each_index_once_a_second() {
    for tells_ends in [true, false] {
        let mut paced = Paced::new(1_000, tells_ends).await;
        paced.send(1).await;
        let (worker, stop) = paced.start();
        paced.until_visible().await;
        sleep(Duration::from_secs(1)).await;
        let (calls, polls, as_of) = (paced.calls(), paced.polls(), oldest_as_of(&paced.system).await);
        let minute = Duration::from_secs(60);
        sleep(minute).await;
        let polled = paced.polls() - polls;
        let most = minute.div_duration_f64(TICK) as usize + 2;
        assert!(polled <= most, "{polled} polls a minute (ends told: {tells_ends})");
        let called = paced.calls() - calls;
        let most = if tells_ends { 61 * PARTITIONS.len() } else { 0 };
        assert!(called <= most, "{called} calls of the store a minute (ends told: {tells_ends})");
        let moved = oldest_as_of(&paced.system).await - as_of;
        assert_eq!(moved >= 55_000_000, tells_ends, "the as-of moved by {moved} us (ends told: {tells_ends})");
        stop.cancel();
        worker.await.unwrap().unwrap();
    }
}

/// The oldest as-of of all partitions.
async fn oldest_as_of(system: &System) -> i64 {
    let mut oldest = i64::MAX;
    for partition in PARTITIONS {
        oldest = oldest.min(system.index(partition).await.unwrap().as_of.0);
    }
    oldest
}
