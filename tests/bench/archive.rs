//! The archive: records of a log in memory to committed files of the master dataset on disk.

use std::sync::Arc;
use std::time::Duration;

use batch_layer::archive::{ArchiveComponents, ArchiveSettings};
use batch_layer::run::run_archive;
use event_log::master::MasterDataset;
use event_log::memory::MemoryLog;
use event_log::{EventLog, NewRecord};
use object_store::local::LocalFileSystem;
use tokio_util::sync::CancellationToken;

use crate::data::{RandomIds, SystemClock, Traffic, source};
use crate::report::{Report, rate, rate_async};

const EVENTS: usize = 1_000_000;

/// Events archived per second, and per second decoded alone as the limit.
pub async fn measure(report: &mut Report) {
    let source = source();
    let log = Arc::new(filled_log(EVENTS).await);
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap());
    let lake = lake::Lake::new(store, object_store::path::Path::default());
    let master = MasterDataset::new(&lake, source.clone());
    let components = ArchiveComponents {
        log,
        master: master.clone(),
        source: source.clone(),
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds),
        status: tokio::sync::watch::Sender::default(),
    };
    let settings = ArchiveSettings { commit_interval: Duration::from_secs(5), ..ArchiveSettings::default() };
    let shutdown = CancellationToken::new();
    let ours = rate_async(EVENTS, async {
        let archive = run_archive(components, settings, shutdown.clone());
        let watch = async {
            until_archived(&master, EVENTS as u64).await;
            shutdown.cancel();
        };
        let (ended, ()) = tokio::join!(archive, watch);
        ended.unwrap();
    })
    .await;
    let records = Traffic::new(EVENTS).next_records(views::PartitionId(0), 0, EVENTS / 4);
    let limit = rate(EVENTS / 4, || {
        for batch in records.chunks(8_192) {
            std::hint::black_box(event_log::decode::decode(&source, batch).unwrap());
        }
    });
    report.add("archive, log in memory to committed files", ours, "events/s", ("decoding alone, one core", limit));
}

/// A log in memory that holds `events` events.
pub async fn filled_log(events: usize) -> MemoryLog {
    let source = source();
    let log = MemoryLog::new(Arc::new(SystemClock));
    log.ensure_topic(&source.topic, source.partitions).await.unwrap();
    let mut traffic = Traffic::new(events);
    for _ in 0..events.div_ceil(10_000) {
        let records = (0..10_000.min(events))
            .map(|_| {
                let (payload, timestamp) = traffic.next_payload();
                NewRecord { key: None, payload: payload.into(), timestamp }
            })
            .collect();
        for stored in log.append(&source.topic, records).await {
            stored.unwrap();
        }
    }
    log
}

async fn until_archived(master: &MasterDataset, events: u64) {
    loop {
        if master.open().await.unwrap().is_some_and(|snapshot| snapshot.facts.rows >= events) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
