//! A full recompute of three views from the master dataset, on a local disk and from S3: copies removed, states
//! computed, published. Beside it the same three aggregations as plain DataFusion SQL over the same files, without
//! removal of copies, states or publication.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use batch_layer::RecomputeSettings;
use batch_layer::recompute::{Mode, Outcome, RecomputeComponents, recompute};
use datafusion::prelude::{SessionConfig, SessionContext};
use positions::{Archived, Counters, IdSource, Incarnation, PartitionId};
use records::master::{ArchivedPartition, MasterDataset, MasterSnapshot};
use tests::parts::Kind;
use views::{Pipeline, SourceDefinition};

use crate::data::{RandomIds, SystemClock, Traffic, source};
use crate::parts::{BenchParts, KINDS};
use crate::report::{Report, rate_async};

const APPEND: usize = 250_000;
const PARTITIONS: usize = 2;

const PLAIN: [&str; 3] = [
    "SELECT url, date_bin(INTERVAL '1 hour', time) AS hour, count(*), approx_distinct(\"user\"), sum(bytes), max(bytes)
     FROM master GROUP BY 1, 2",
    "SELECT country, date_bin(INTERVAL '1 minute', time) AS minute, count(*), avg(duration),
            approx_percentile_cont(0.99) WITHIN GROUP (ORDER BY duration) FROM master GROUP BY 1, 2",
    "SELECT date_bin(INTERVAL '1 hour', time) AS hour, count(*), sum(bytes) FROM master GROUP BY 1",
];

/// Events recomputed per second, all three views, from files to publication.
pub async fn measure(report: &mut Report) {
    let events = std::env::var("TWOFOLD_BENCH_EVENTS").map_or(10_000_000, |events| events.parse().unwrap());
    let what = format!("full recompute, {} M events, three views, copies removed, published", events / 1_000_000);
    for kind in KINDS {
        let Some(parts) = BenchParts::of(kind).await else { continue };
        let snapshot = fill(&parts.master(), events).await;
        let limit = rate_async(events, plain_sql(&snapshot)).await;
        let ours = rate_async(events, recompute_all(&parts)).await;
        report.on_parts(&what, kind, ours, "events/s");
        if kind == Kind::Embedded {
            report.add(&what, ours, "events/s", ("plain DataFusion SQL", limit));
        } else {
            report.add(format!("{what}, from S3"), ours, "events/s", ("plain DataFusion SQL, from S3", limit));
        }
    }
}

async fn recompute_all(parts: &BenchParts) {
    recompute_in_full(parts.lake(), parts.master(), parts.pipeline()).await;
}

/// One round of this process.
pub async fn recompute_in_full(lake: &lake::Lake, master: MasterDataset, pipeline: &Pipeline) {
    let components = RecomputeComponents {
        lake: lake.clone(),
        master,
        views: pipeline.views.clone(),
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds),
    };
    let settings = RecomputeSettings { target_partitions: 2, ..RecomputeSettings::default() };
    let round = recompute(&components, Mode::Full, &settings).await;
    assert!(round.values().all(|outcome| matches!(outcome, Ok(Outcome::Published(_)))), "{round:?}");
}

/// Appends `events` decoded events to a new master dataset.
async fn fill(master: &MasterDataset, events: usize) -> MasterSnapshot {
    let snapshot = master.create().await.unwrap();
    append(master, &source(), snapshot, &mut Traffic::new(events), events).await
}

/// Appends `events` decoded events behind a version of the master dataset.
pub async fn append(
    master: &MasterDataset,
    source: &Arc<SourceDefinition>,
    mut snapshot: MasterSnapshot,
    traffic: &mut Traffic,
    events: usize,
) -> MasterSnapshot {
    for append in 0..events.div_ceil(APPEND) {
        let partition = PartitionId((append % PARTITIONS) as i32);
        let mut facts = snapshot.facts.clone();
        let known = facts.partitions.get(&partition).copied();
        let mut archived = known.map_or(Archived::start(Incarnation(0)), |known| known.archived);
        let records = traffic.next_records(partition, archived.end.offset.0, APPEND.min(events - append * APPEND));
        for record in &records {
            archived = archived.advance(&record.mark(), &source.border);
        }
        let rows: Vec<RecordBatch> =
            records.chunks(32_768).map(|batch| records::decode::decode(source, batch).unwrap()).collect();
        let counted =
            Counters { rows: records.len() as u64, ..known.map_or(Counters::default(), |known| known.counters) };
        facts.partitions.insert(partition, ArchivedPartition { archived, counters: counted });
        facts.rows += records.len() as u64;
        snapshot = master.append(&snapshot, &rows, facts, RandomIds.next_id()).await.unwrap();
    }
    snapshot
}

async fn plain_sql(snapshot: &MasterSnapshot) {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    context.register_table("master", snapshot.scan().unwrap()).unwrap();
    for sql in PLAIN {
        std::hint::black_box(context.sql(sql).await.unwrap().collect().await.unwrap());
    }
}
