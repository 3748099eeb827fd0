//! The archive: records of a log to committed files of the master dataset; from memory to disk stage by stage, and as a
//! whole on parts of both kinds.

use std::sync::Arc;
use std::time::Duration;

use batch_layer::archive::{ArchiveComponents, ArchiveSettings, ArchiveStatus, run_archive};
use event_log::EventLog;
use event_log::memory::MemoryLog;
use object_store::local::LocalFileSystem;
use positions::{Archived, IdSource, Incarnation};
use records::decode::decode;
use records::master::{MasterDataset, MasterFacts};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use views::SourceDefinition;

use crate::data::{RandomIds, SystemClock, source};
use crate::log::{fill, read};
use crate::parts::{BenchParts, KINDS, events_for};
use crate::report::{Report, rate, rate_async};

const EVENTS: usize = 1_000_000;

/// Events archived per second, and per second decoded alone as the limit.
pub async fn measure(report: &mut Report) {
    let source = source();
    let log = Arc::new(MemoryLog::new(Arc::new(SystemClock)));
    fill(log.as_ref(), &source, EVENTS).await;
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap());
    let lake = lake::Lake::new(store, object_store::path::Path::default());
    let ours = archive_all(log.clone(), MasterDataset::new(&lake, source.clone()), &source, EVENTS).await;
    let limit = measure_stages(report, log.as_ref(), &source).await;
    report.add("archive, log in memory to committed files", ours, "events/s", ("decoding alone, one core", limit));
    for kind in KINDS {
        let Some(parts) = BenchParts::of(kind).await else { continue };
        let (source, events) = (parts.source(), events_for(kind));
        fill(parts.log().as_ref(), &source, events).await;
        let ours = archive_all(parts.log(), parts.master(), &source, events).await;
        report.on_parts("archive, from the log to committed files", kind, ours, "events/s");
    }
}

/// Archives `events` events that the log holds; how many a second.
pub async fn archive_all(
    log: Arc<dyn EventLog>,
    master: MasterDataset,
    source: &Arc<SourceDefinition>,
    events: usize,
) -> f64 {
    let components = ArchiveComponents {
        log,
        master: master.clone(),
        source: source.clone(),
        registry: None,
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds),
        status: watch::Sender::default(),
    };
    let settings = ArchiveSettings { commit_interval: Duration::from_secs(5), ..ArchiveSettings::default() };
    let shutdown = CancellationToken::new();
    let told = components.status.subscribe();
    let ours = rate_async(events, async {
        let archive = tokio::spawn(run_archive(components, settings, shutdown.clone()));
        until_read(told, events as u64).await;
        // The last commit is part of the figure, the wait until it is due by its age is not.
        shutdown.cancel();
        archive.await.unwrap().unwrap();
    })
    .await;
    let archived = master.open().await.unwrap().unwrap();
    assert_eq!(archived.facts.rows, events as u64);
    ours
}

/// What the archive does with each event, stage by stage, one core each; answers the rate of decoding.
async fn measure_stages(report: &mut Report, log: &dyn EventLog, source: &Arc<SourceDefinition>) -> f64 {
    let mut records = Vec::new();
    let reading = rate_async(EVENTS, async { records = read(log, source, EVENTS).await }).await;
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

async fn until_read(mut told: watch::Receiver<ArchiveStatus>, events: u64) {
    told.wait_for(|status| status.facts.rows + status.pending_rows >= events).await.unwrap();
}
