//! The speed layer: records of a log in memory to runs in a real Redis.

use std::sync::Arc;
use std::time::Duration;

use event_log::master::MasterDataset;
use object_store::memory::InMemory;
use serving_layer::redis::{RedisSettings, RedisStore};
use serving_layer::{BatchViewStore, PartitionKey, RealtimeStore};
use speed_layer::{SpeedComponents, SpeedSettings, SpeedView};
use tests::redis::RedisServer;
use tokio_util::sync::CancellationToken;
use views::{DefinitionNumber, PartitionId};

use crate::archive::filled_log;
use crate::data::{RandomIds, SystemClock, Traffic, pipeline, source};
use crate::report::{Report, rate, rate_async};

const EVENTS: usize = 1_000_000;

/// Events per second from the log into Redis, three views, copies removed.
pub async fn measure(report: &mut Report) {
    let (source, pipeline) = (source(), pipeline());
    let log = Arc::new(filled_log(EVENTS).await);
    let server = RedisServer::start().await;
    let store =
        Arc::new(RedisStore::connect(RedisSettings { url: server.url(), ..RedisSettings::default() }).await.unwrap());
    let lake = lake::Lake::new(Arc::new(InMemory::new()), object_store::path::Path::default());
    let speed_view = |view: &Arc<views::ViewDefinition>| SpeedView {
        definition: view.clone(),
        published: BatchViewStore::new(&lake, view.clone()),
    };
    let components = SpeedComponents {
        log,
        store: store.clone(),
        master: MasterDataset::new(&lake, source.clone()),
        source: source.clone(),
        views: pipeline.views.iter().map(speed_view).collect(),
        definitions: DefinitionNumber(1),
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds),
    };
    let shutdown = CancellationToken::new();
    let ours = rate_async(EVENTS, async {
        let worker = speed_layer::run::run(components, SpeedSettings::default(), shutdown.clone());
        let watch = async {
            until_head(store.as_ref(), &source).await;
            shutdown.cancel();
        };
        let (ended, ()) = tokio::join!(worker, watch);
        ended.unwrap();
    })
    .await;
    let records = Traffic::new(EVENTS).next_records(PartitionId(0), 0, EVENTS / 4);
    let limit = rate(EVENTS / 4, || {
        for batch in records.chunks(8_192) {
            std::hint::black_box(event_log::decode::decode(&source, batch).unwrap());
        }
    });
    report.add(
        "speed layer, log in memory to Redis, three views",
        ours,
        "events/s",
        ("decoding alone, one core", limit),
    );
}

async fn until_head(store: &RedisStore, source: &views::SourceDefinition) {
    loop {
        let mut read = 0;
        for partition in 0..source.partitions {
            let key = PartitionKey { source: source.name.clone(), partition: PartitionId(partition) };
            read += store.read_index(&key).await.unwrap().map_or(0, |index| index.head.offset.0);
        }
        if read >= EVENTS as i64 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
