//! The event log: records appended and acknowledged, and read back by one consumer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use batch_layer::archive::ArchiveSettings;
use event_log::embedded::{EmbeddedLog, EmbeddedSettings};
use event_log::{EventLog, NewRecord, Poll, Record};
use positions::{Clock, Offset, PartitionId};
use twofold::environment::{RandomIds, SystemClock};
use views::SourceDefinition;

use crate::data::Traffic;
use crate::parts::{BenchParts, KINDS, events_for};
use crate::report::{Report, rate_async};

/// Records of one append: the brokers' client fills its batches from it.
const APPEND: usize = 50_000;

/// Events appended and read per second.
pub async fn measure(report: &mut Report) {
    for kind in KINDS {
        let Some(parts) = BenchParts::of(kind).await else { continue };
        let (log, source, events) = (parts.log(), parts.source(), events_for(kind));
        let appending = fill(log.as_ref(), &source, events).await;
        report.on_parts("log, appended and acknowledged", kind, appending, "events/s");
        let reading = rate_async(events, async {
            std::hint::black_box(read(log.as_ref(), &source, events).await);
        });
        report.on_parts("log, read by one consumer", kind, reading.await, "events/s");
    }
    for is_synced in [true, false] {
        measure_embedded(is_synced).await;
    }
}

/// Events of the requests of a thousand, and of the requests of one.
const IN_THOUSANDS: usize = 1_000_000;
const ALONE: usize = 50_000;
/// Requests of a thousand that are under way at one time, and requests of one.
const CALLERS: [usize; 2] = [4, 64];

/// The embedded log by itself: requests of a thousand, requests of one, the worst append, one reader.
async fn measure_embedded(is_synced: bool) {
    let folder = tempfile::tempdir().unwrap();
    let settings = EmbeddedSettings { is_synced, ..EmbeddedSettings::new(folder.path()) };
    let log = EmbeddedLog::open(settings, Arc::new(SystemClock), Arc::new(RandomIds)).await.unwrap();
    log.ensure_topic("t", 4).await.unwrap();
    let payload = bytes::Bytes::from(vec![b'x'; 194]);
    let records = |count: usize| -> Vec<NewRecord> {
        let record = NewRecord { key: None, payload: payload.clone(), timestamp: SystemClock.now(), clock_shift: None };
        vec![record; count]
    };
    let (thousands, worst) = append_all(&log, &records(1_000), IN_THOUSANDS, CALLERS[0]).await;
    let (alone, _) = append_all(&log, &records(1), ALONE, CALLERS[1]).await;
    let reading = rate_async(IN_THOUSANDS, async {
        let mut consumer = log.consumer("t", None).await.unwrap();
        consumer.seek(&(0..4).map(|partition| (PartitionId(partition), Offset(0))).collect()).await.unwrap();
        let mut count = 0;
        while count < IN_THOUSANDS {
            let Poll::Records(some) = consumer.poll(ArchiveSettings::default().poll).await.unwrap() else { continue };
            count += some.len();
        }
    });
    println!(
        "embedded log, synced {is_synced}: {thousands:.0} events/s in requests of 1,000 by {} callers (worst {} ms), \
         {alone:.0} single events/s by {}, {:.0} events/s read by one consumer",
        CALLERS[0],
        worst.as_millis(),
        CALLERS[1],
        reading.await
    );
    log.close().await;
}

/// Appends `events` events, `request` again and again, by so many callers at a time: how many a second, and the longest
/// that one request took.
async fn append_all(log: &EmbeddedLog, request: &[NewRecord], events: usize, callers: usize) -> (f64, Duration) {
    let caller = || async {
        let mut worst = Duration::ZERO;
        for _ in 0..events / request.len() / callers {
            let start = std::time::Instant::now();
            assert!(log.append("t", request.to_vec()).await.iter().all(Result::is_ok));
            worst = worst.max(start.elapsed());
        }
        worst
    };
    let mut worst = Vec::new();
    let rate = rate_async(events, async {
        worst = futures::future::join_all((0..callers).map(|_| caller())).await;
    });
    let rate = rate.await;
    (rate, worst.into_iter().max().unwrap_or_default())
}

/// Appends `events` events of one day, made before the clock starts; how many a second.
pub async fn fill(log: &dyn EventLog, source: &SourceDefinition, events: usize) -> f64 {
    log.ensure_topic(&source.topic, source.partitions_at_creation()).await.unwrap();
    let mut traffic = Traffic::new(events);
    let mut appends: Vec<Vec<NewRecord>> = Vec::new();
    for first in (0..events).step_by(APPEND) {
        let new = (first..events.min(first + APPEND)).map(|_| {
            let (payload, timestamp) = traffic.next_payload();
            NewRecord { key: None, payload: payload.into(), timestamp, clock_shift: None }
        });
        appends.push(new.collect());
    }
    rate_async(events, async {
        for records in appends {
            for stored in log.append(&source.topic, records).await {
                stored.unwrap();
            }
        }
    })
    .await
}

/// The first `events` records, as the archive polls them.
pub async fn read(log: &dyn EventLog, source: &SourceDefinition, events: usize) -> Vec<Record> {
    let mut records = Vec::with_capacity(events);
    let mut consumer = log.consumer(&source.topic, None).await.unwrap();
    let partitions = (0..source.partitions_at_creation()).map(PartitionId);
    let starts: BTreeMap<_, _> = partitions.map(|partition| (partition, Offset(0))).collect();
    consumer.seek(&starts).await.unwrap();
    while records.len() < events {
        let Poll::Records(some) = consumer.poll(ArchiveSettings::default().poll).await.unwrap() else { continue };
        records.extend(some);
    }
    records
}
