//! The event log: records appended and acknowledged, and read back by one consumer.

use std::collections::BTreeMap;

use batch_layer::archive::ArchiveSettings;
use event_log::{EventLog, NewRecord, Poll, Record};
use positions::{Offset, PartitionId};
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
}

/// Appends `events` events of one day, made before the clock starts; how many a second.
pub async fn fill(log: &dyn EventLog, source: &SourceDefinition, events: usize) -> f64 {
    log.ensure_topic(&source.topic, source.partitions).await.unwrap();
    let mut traffic = Traffic::new(events);
    let mut appends: Vec<Vec<NewRecord>> = Vec::new();
    for first in (0..events).step_by(APPEND) {
        let new = (first..events.min(first + APPEND)).map(|_| {
            let (payload, timestamp) = traffic.next_payload();
            NewRecord { key: None, payload: payload.into(), timestamp }
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
    let starts: BTreeMap<_, _> = (0..source.partitions).map(|partition| (PartitionId(partition), Offset(0))).collect();
    consumer.seek(&starts).await.unwrap();
    while records.len() < events {
        let Poll::Records(some) = consumer.poll(ArchiveSettings::default().poll).await.unwrap() else { continue };
        records.extend(some);
    }
    records
}
