//! The archive: records of a log in memory to committed files of the master dataset on disk.

use std::sync::Arc;
use std::time::Duration;

use batch_layer::archive::{ArchiveComponents, ArchiveSettings, ArchiveStatus};
use batch_layer::run::run_archive;
use event_log::decode::decode;
use event_log::master::{MasterDataset, MasterFacts};
use event_log::memory::MemoryLog;
use event_log::{EventLog, NewRecord, Poll};
use object_store::local::LocalFileSystem;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use views::{Archived, IdSource, Incarnation, Offset, PartitionId, SourceDefinition};

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
        log: log.clone(),
        master: master.clone(),
        source: source.clone(),
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds),
        status: tokio::sync::watch::Sender::default(),
    };
    let settings = ArchiveSettings { commit_interval: Duration::from_secs(5), ..ArchiveSettings::default() };
    let shutdown = CancellationToken::new();
    let told = components.status.subscribe();
    let ours = rate_async(EVENTS, async {
        let archive = tokio::spawn(run_archive(components, settings, shutdown.clone()));
        until_read(told, EVENTS as u64).await;
        // The last commit is part of the figure, the wait until it is due by its age is not.
        shutdown.cancel();
        archive.await.unwrap().unwrap();
    })
    .await;
    let archived = master.open().await.unwrap().unwrap();
    assert_eq!(archived.facts.rows, EVENTS as u64);
    let limit = measure_stages(report, log.as_ref(), &source).await;
    report.add("archive, log in memory to committed files", ours, "events/s", ("decoding alone, one core", limit));
}

/// What the archive does with each event, stage by stage, one core each; answers the rate of decoding.
async fn measure_stages(report: &mut Report, log: &MemoryLog, source: &Arc<SourceDefinition>) -> f64 {
    let mut records = Vec::with_capacity(EVENTS);
    let mut consumer = log.consumer(&source.topic, None).await.unwrap();
    let starts = (0..source.partitions).map(|partition| (PartitionId(partition), Offset(0))).collect();
    consumer.seek(&starts).await.unwrap();
    let reading = rate_async(EVENTS, async {
        while records.len() < EVENTS {
            let Poll::Records(some) = consumer.poll(ArchiveSettings::default().poll).await.unwrap() else { continue };
            records.extend(some);
        }
    })
    .await;
    report.note("archive, reading the log in memory alone, one core", reading, "events/s");
    let mut rows = Vec::new();
    let decoding = rate(EVENTS, || rows.extend(records.chunks(10_000).map(|batch| decode(source, batch).unwrap())));
    let mut archived = Archived::start(Incarnation(0));
    let marking =
        rate(EVENTS, || records.iter().for_each(|record| archived = archived.advance(&record.mark(), &source.border)));
    std::hint::black_box(archived);
    report.note("archive, positions and fingerprints alone, one core", marking, "events/s");
    drop(records);
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap());
    let lake = lake::Lake::new(store, object_store::path::Path::default());
    let master = MasterDataset::new(&lake, source.clone());
    let created = master.create().await.unwrap();
    let facts = MasterFacts { rows: EVENTS as u64, ..MasterFacts::default() };
    let writing = rate_async(EVENTS, async {
        master.append(&created, &rows, facts, RandomIds.next_id()).await.unwrap();
    })
    .await;
    report.note("archive, encoding and putting files alone, one core", writing, "events/s");
    decoding
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

async fn until_read(mut told: watch::Receiver<ArchiveStatus>, events: u64) {
    told.wait_for(|status| status.facts.rows + status.pending_rows >= events).await.unwrap();
}
