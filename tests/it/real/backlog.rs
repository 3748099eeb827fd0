//! Readers that are a million events behind: they catch up, what they hold meanwhile is bounded by their settings and
//! not by the backlog, and every event counts once.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ::event_log::kafka::{KafkaLog, KafkaSettings};
use ::event_log::{EventLog, NewRecord};
use positions::{Offset, PositionToken, SourceName, TimestampMicros};
use serde_json::json;

use super::{VIEW, World, event};
use crate::support::process::{Running, memory_peak};

const EVENTS: i64 = 1_000_000;
/// Every so many events the one before comes once more.
const COPY_EVERY: i64 = 1_000;
/// Records of one append.
const APPEND: i64 = 50_000;
/// The day after the events, as no record is older than its event.
const FIRST_TIMESTAMP: i64 = 1_767_657_600_000_000;
/// What `up` may need beyond its memory at the start, however long the backlog: with the settings below some 300 MiB,
/// which it reaches within the first tenth. Held whole, records and decoded rows of two readers would be 700 MiB.
const MAX_BYTES: u64 = 512 << 20;

/// Fills the topic past the collector; covers what is in it.
async fn fill(world: &World) -> PositionToken {
    let settings = KafkaSettings { bootstrap_servers: world.services.kafka.clone(), ..KafkaSettings::default() };
    let log = KafkaLog::connect(settings).await.unwrap();
    let topic = world.topic();
    log.ensure_topic(&topic, 4).await.unwrap();
    let (mut token, source) = (PositionToken::default(), SourceName::new("hits"));
    for first in (0..EVENTS).step_by(APPEND as usize) {
        let numbers = first..first + APPEND;
        let copies = numbers.clone().filter(|number| number % COPY_EVERY == 0);
        let records = numbers.clone().chain(copies).map(|number| NewRecord {
            key: Some(format!("e{number}").into()),
            payload: event(number).into(),
            timestamp: TimestampMicros(FIRST_TIMESTAMP + number * 1_000),
            clock_shift: None,
        });
        for stored in log.append(&topic, records.collect()).await {
            let (partition, offset) = stored.unwrap();
            token.cover(&source, partition, Offset(offset.0 + 1));
        }
    }
    token
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_events_behind_is_caught_up_exactly_in_bounded_memory() {
    let Some(world) = World::new() else { return };
    let world = world
        // Copies come within 50 seconds of log time.
        .with_option("grid '64'", "grid '4096', horizon '60 seconds'")
        .with("BATCH__INTERVAL", "1d")
        .with("ARCHIVE__COMMIT_INTERVAL", "5s")
        .with("ARCHIVE__COMMIT_SIZE", "2MiB")
        .with("LOG__PREFETCH_SIZE", "4MiB")
        .with("SPEED__MAX_RECORDS", "20000");
    let token = fill(&world).await;
    world.sent.store(EVENTS, Ordering::SeqCst);
    *world.newest_token.lock().unwrap() = token.encode();
    let running = Running::start(&world.setup).await;
    let at_start = memory_peak(running.process_id());
    running.wait_until_archived(EVENTS + EVENTS / COPY_EVERY).await;
    let deadline = tokio::time::Instant::now() + crate::support::process::DEADLINE;
    while running.try_rows(VIEW, &[("by", ""), ("after", &token.encode()), ("timeout", "30s")]).await.0 != 200 {
        assert!(tokio::time::Instant::now() < deadline, "the speed layer does not come to the end\n{}", running.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let answer = world.check_exact(&running).await;
    assert_eq!(answer["envelope"]["copies"], json!(EVENTS / COPY_EVERY), "{}", answer["envelope"]);
    let grown = memory_peak(running.process_id()) - at_start;
    eprintln!("a million events behind: {} MiB at the start, {} MiB more at most", at_start >> 20, grown >> 20);
    assert!(grown <= MAX_BYTES, "it held {} MiB, {} MiB is the most", grown >> 20, MAX_BYTES >> 20);

    let batch = running.run_batch(&[]).await;
    assert!(batch.status.success(), "{}", String::from_utf8_lossy(&batch.stderr));
    let answer = world.check_batch(&running).await;
    assert_eq!(answer["envelope"]["copies"], json!(EVENTS / COPY_EVERY), "{}", answer["envelope"]);
}
