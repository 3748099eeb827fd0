//! The speed layer: records of a log to runs in a realtime store, three views, copies removed; from memory to a Redis
//! of its own, and as a whole on parts of both kinds.

use std::sync::Arc;
use std::time::Duration;

use event_log::EventLog;
use event_log::memory::MemoryLog;
use object_store::memory::InMemory;
use positions::{DefinitionNumber, PartitionId};
use serving_layer::redis::{RedisSettings, RedisStore};
use serving_layer::{BatchViewStore, PartitionKey, RealtimeStore};
use speed_layer::{Keeping, SpeedComponents, SpeedSettings, SpeedView};
use tests::redis::RedisServer;
use tokio_util::sync::CancellationToken;
use views::Pipeline;

use crate::data::{RandomIds, SystemClock, Traffic, pipeline, source};
use crate::log::fill;
use crate::parts::{BenchParts, KINDS, events_for};
use crate::report::{Report, rate, rate_async};

const EVENTS: usize = 1_000_000;

/// Events per second from the log into the store.
pub async fn measure(report: &mut Report) {
    let source = source();
    let log = Arc::new(MemoryLog::new(Arc::new(SystemClock)));
    fill(log.as_ref(), &source, EVENTS).await;
    let server = RedisServer::start().await;
    let store = RedisStore::connect(RedisSettings { url: server.url(), ..RedisSettings::default() }).await.unwrap();
    let lake = lake::Lake::new(Arc::new(InMemory::new()), object_store::path::Path::default());
    let ours = take_in_all(components(log, Arc::new(store), &lake, &pipeline()), EVENTS).await;
    let records = Traffic::new(EVENTS).next_records(PartitionId(0), 0, EVENTS / 4);
    let limit = rate(EVENTS / 4, || {
        for batch in records.chunks(8_192) {
            std::hint::black_box(records::decode::decode(&source, batch).unwrap());
        }
    });
    report.add(
        "speed layer, log in memory to Redis, three views",
        ours,
        "events/s",
        ("decoding alone, one core", limit),
    );
    for kind in KINDS {
        let Some(parts) = BenchParts::of(kind).await else { continue };
        let events = events_for(kind);
        fill(parts.log().as_ref(), &parts.source(), events).await;
        let components = components(parts.log(), parts.store(), parts.lake(), parts.pipeline());
        let ours = take_in_all(components, events).await;
        report.on_parts("speed layer, from the log to the realtime store, three views", kind, ours, "events/s");
    }
}

fn components(
    log: Arc<dyn EventLog>,
    store: Arc<dyn RealtimeStore>,
    lake: &lake::Lake,
    pipeline: &Pipeline,
) -> SpeedComponents {
    let source = pipeline.sources[0].clone();
    let speed_view = |view: &views::PlannedView| SpeedView {
        definition: view.clone(),
        published: BatchViewStore::new(lake, view.clone()),
        keeping: Keeping::Present,
    };
    SpeedComponents {
        log,
        store,
        master: records::master::MasterDataset::new(lake, source.clone()),
        source,
        registry: None,
        views: pipeline.views.iter().map(speed_view).collect(),
        definitions: Arc::new(DefinitionNumber(1)),
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds),
    }
}

/// Runs a worker until the heads cover `events` events; how many a second.
async fn take_in_all(components: SpeedComponents, events: usize) -> f64 {
    let (store, source) = (components.store.clone(), components.source.clone());
    let shutdown = CancellationToken::new();
    rate_async(events, async {
        let worker = speed_layer::run::run(components, SpeedSettings::default(), shutdown.clone());
        let watch = async {
            until_head(store.as_ref(), &source, events as i64).await;
            shutdown.cancel();
        };
        let (ended, ()) = tokio::join!(worker, watch);
        ended.unwrap();
    })
    .await
}

async fn until_head(store: &dyn RealtimeStore, source: &views::SourceDefinition, events: i64) {
    loop {
        let mut read = 0;
        for partition in 0..source.partitions_at_creation() {
            let key = PartitionKey::new(&source.name, PartitionId(partition));
            read += store.read_index(&key).await.unwrap().map_or(0, |index| index.head.offset.0);
        }
        if read >= events {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
