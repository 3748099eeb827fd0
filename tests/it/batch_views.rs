//! Batch views: a publication replaces exactly its buckets, in one commit, by one publisher, and never goes back.

mod parts;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use lake::{Lake, LakeError, Version};
use positions::{Cut, Hole, Incarnation, Offset, PartitionId, Position, RecomputeId, TimestampMicros};
use rand::Rng;
use rand::rngs::StdRng;
use serving_layer::{BatchFacts, BatchVersion, BatchViewSettings, BatchViewStore, Folded, Publisher, ServingError};
use tokio::task::JoinSet;
use views::{Pipeline, ViewDefinition};

use crate::lake::memory_lake;
use crate::support::seeds::for_each_seed;

const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE edits (time TIMESTAMP NOT NULL, channel VARCHAR, added BIGINT)
STORED AS JSON LOCATION 'kafka://edits' OPTIONS (event_time 'time');
CREATE MATERIALIZED VIEW edits_by_channel AS
SELECT channel, count(*) AS edits, sum(added) AS added FROM edits GROUP BY channel;";

/// Rows of a view: bucket and channel to the number in all state columns.
type Model = BTreeMap<(i64, String), i64>;

fn view() -> Arc<ViewDefinition> {
    let pipeline = Pipeline::read(PIPELINE, &BTreeMap::new()).unwrap();
    Arc::clone(&pipeline.views[0].definition)
}

fn small_files() -> BatchViewSettings {
    BatchViewSettings { max_file_rows: 7, small_file_rows: 3, ..BatchViewSettings::default() }
}

fn store(lake: &Lake) -> BatchViewStore {
    BatchViewStore::with_settings(lake, view(), small_files())
}

/// State rows in batches of at most three rows.
fn stream(store: &BatchViewStore, rows: &Model) -> SendableRecordBatchStream {
    let schema = store.schema();
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.values().copied()));
    let columns = schema.fields().iter().enumerate().map(|(at, field)| -> ArrayRef {
        match (at, field.data_type()) {
            (0, _) => {
                let buckets = TimestampMicrosecondArray::from_iter_values(rows.keys().map(|(bucket, _)| *bucket));
                Arc::new(buckets.with_timezone("UTC"))
            }
            (_, DataType::Utf8) => Arc::new(StringArray::from_iter_values(rows.keys().map(|(_, channel)| channel))),
            (_, other) => arrow::compute::cast(&numbers, other).unwrap(),
        }
    });
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap();
    let starts = (0..batch.num_rows()).step_by(3);
    let batches: Vec<_> = starts.map(|at| Ok(batch.slice(at, 3.min(batch.num_rows() - at)))).collect();
    Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter(batches)))
}

fn facts(offset: i64) -> BatchFacts {
    let position = Position { offset: Offset(offset), ..Position::start(Incarnation(0)) };
    BatchFacts {
        definition: view().hash,
        cut: Cut([(PartitionId(0), position)].into()),
        master_version: Version(offset),
        recompute: RecomputeId(1),
        published_at: TimestampMicros(offset),
        is_full: false,
        counters: BTreeMap::new(),
        holes: vec![Hole { partition: PartitionId(0), from: Offset(3), to: Offset(5) }],
        erased: 0,
        publisher: None,
        folded: Folded::default(),
    }
}

/// As earlier versions stored them: a hole is a list.
#[test]
fn facts_of_earlier_versions_are_read() {
    let facts = facts(7);
    let mut stored = serde_json::to_value(&facts).unwrap();
    assert_eq!(serde_json::from_value::<BatchFacts>(stored.clone()).unwrap(), facts);
    stored["holes"] = serde_json::json!([[0, 3, 5]]);
    assert_eq!(serde_json::from_str::<BatchFacts>(&stored.to_string()).unwrap(), facts);
    assert_eq!(serde_json::from_value::<BatchFacts>(stored.clone()).unwrap(), facts);
    assert!(stored.get("folded").is_none(), "versions that are not folded are as they were: {stored}");
    // Whoever published it, where it was a task of a run; and how far it is folded.
    let folded = Folded { months_until: Some(TimestampMicros(7)), days_until: None };
    let publisher = Publisher { run: "r1".to_owned(), task: "publish".to_owned(), attempt: 2 };
    let by_task = BatchFacts { publisher: Some(publisher), folded, ..facts };
    let stored = serde_json::to_string(&by_task).unwrap();
    assert_eq!(serde_json::from_str::<BatchFacts>(&stored).unwrap(), by_task);
}

/// What a version holds, read through its files; checks their bounds and order on the way.
async fn rows_of(version: &BatchVersion) -> Model {
    let mut rows = Model::new();
    for file in version.snapshot.files() {
        assert!(file.rows > 0 && file.rows <= small_files().max_file_rows, "{} rows", file.rows);
        let mut last = None;
        for batch in version.snapshot.read(std::slice::from_ref(file), None).await.unwrap() {
            let buckets: ArrayRef = arrow::compute::cast(batch.column(0), &DataType::Int64).unwrap();
            for row in 0..batch.num_rows() {
                let bucket = buckets.as_primitive::<Int64Type>().value(row);
                let channel = batch.column(1).as_string::<i32>().value(row).to_owned();
                let number = arrow::compute::cast(batch.column(2), &DataType::Int64).unwrap();
                let key = (bucket, channel);
                assert!(last.as_ref() < Some(&key), "{key:?} after {last:?}");
                last = Some(key.clone());
                let twice = rows.insert(key, number.as_primitive::<Int64Type>().value(row));
                assert_eq!(twice, None, "a row is there twice");
            }
        }
    }
    rows
}

fn model(rows: &[(i64, &str, i64)]) -> Model {
    rows.iter().map(|(bucket, channel, number)| ((*bucket, (*channel).to_owned()), *number)).collect()
}

fn is_conflict<T>(result: &Result<T, ServingError>) -> bool {
    matches!(result, Err(ServingError::Conflict { .. }))
}

#[tokio::test]
async fn publications_replace_their_buckets_and_keep_the_others() {
    let store = store(&memory_lake(3));
    assert!(store.newest().await.unwrap().is_none());
    assert!(store.newest_versions(3, &[]).await.unwrap().is_empty());
    let all = model(&[(0, "a", 1), (0, "b", 2), (60, "a", 3)]);
    let one = store.publish(None, None, stream(&store, &all), facts(10), 1).await.unwrap();
    assert_eq!(rows_of(&one).await, all);

    let changed = model(&[(60, "a", 4), (60, "c", 5), (120, "a", 6)]);
    let replaced = [TimestampMicros(60), TimestampMicros(120)];
    let two = store.publish(Some(&one), Some(&replaced), stream(&store, &changed), facts(20), 2).await.unwrap();
    let expected = model(&[(0, "a", 1), (0, "b", 2), (60, "a", 4), (60, "c", 5), (120, "a", 6)]);
    assert_eq!(rows_of(&two).await, expected);
    assert_eq!(rows_of(&one).await, all, "an older version stays as it was");

    // A bucket that has no rows any more; and a publication that only moves the cut.
    let gone = store.publish(Some(&two), Some(&replaced[..1]), stream(&store, &Model::new()), facts(30), 3).await;
    let gone = gone.unwrap();
    assert_eq!(rows_of(&gone).await, model(&[(0, "a", 1), (0, "b", 2), (120, "a", 6)]));
    let moved = store.publish(Some(&gone), Some(&[]), stream(&store, &Model::new()), facts(40), 4).await.unwrap();
    assert_eq!(moved.snapshot.files(), gone.snapshot.files());
    assert_eq!(*store.newest().await.unwrap().unwrap().facts, facts(40));
    assert_eq!(*store.version(Version(2)).await.unwrap().unwrap().facts, facts(20));
    for unpublished in [0, 5] {
        assert!(store.version(Version(unpublished)).await.unwrap().is_none(), "{unpublished}");
    }
}

/// One random history against a map.
async fn check_history(mut random: StdRng) {
    let store = store(&memory_lake(4));
    let mut expected = Model::new();
    let mut at: Option<BatchVersion> = None;
    let mut history = Vec::new();
    for step in 1..=12_i64 {
        let is_full = at.is_none() || random.random_bool(0.1);
        let buckets: BTreeSet<i64> = if is_full {
            (0..8).map(|bucket| bucket * 60).collect()
        } else {
            (0..random.random_range(0..4)).map(|_| random.random_range(0..10_i64 + step) * 60).collect()
        };
        let mut new = Model::new();
        for bucket in &buckets {
            for channel in 0..random.random_range(0..12) {
                new.insert((*bucket, format!("c{channel:02}")), step);
            }
        }
        if is_full {
            expected.clear();
        }
        expected.retain(|(bucket, _), _| !buckets.contains(bucket));
        expected.extend(new.clone());
        let replaced: Vec<TimestampMicros> = buckets.into_iter().map(TimestampMicros).collect();
        let replaced = (!is_full).then_some(replaced.as_slice());
        let published = store.publish(at.as_ref(), replaced, stream(&store, &new), facts(step), step as u128).await;
        let published = published.unwrap();
        assert_eq!(rows_of(&published).await, expected, "step {step}");
        let loaded = store.load(&published, usize::MAX).await.unwrap();
        assert!(loaded.iter().all(|batch| batch.schema() == view().states));
        assert_eq!(loaded.iter().map(RecordBatch::num_rows).sum::<usize>(), expected.len());
        history.push(expected.clone());
        at = Some(published);
    }
    let newest = store.newest_versions(4, &[]).await.unwrap();
    for (version, expected) in newest.iter().zip(history.iter().rev()) {
        assert_eq!(&rows_of(version).await, expected);
    }
    assert_eq!(newest.len(), 4);
}

#[test]
fn any_history_equals_a_map() {
    for_each_seed(12, |random| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check_history(random));
    });
}

#[tokio::test]
async fn only_files_with_a_replaced_bucket_are_rewritten_and_tiny_ones_grow() {
    let store = store(&memory_lake(10));
    let all: Model = (0..6).flat_map(|bucket| (0..7).map(move |row| ((bucket * 60, format!("c{row}")), 1))).collect();
    let one = store.publish(None, None, stream(&store, &all), facts(1), 1).await.unwrap();
    assert_eq!(one.snapshot.files().len(), 6, "one file per bucket of seven rows");
    let paths = |version: &BatchVersion| -> BTreeSet<String> {
        version.snapshot.files().iter().map(|file| file.path.clone()).collect()
    };
    let new = model(&[(120, "c0", 2)]);
    let replaced = [TimestampMicros(120)];
    let two = store.publish(Some(&one), Some(&replaced), stream(&store, &new), facts(2), 2).await.unwrap();
    assert_eq!(paths(&one).intersection(&paths(&two)).count(), 5);

    // New buckets of one row each: tiny files join those before them instead of piling up.
    let mut at = two;
    for bucket in 10..40_i64 {
        let new = model(&[(bucket * 60, "a", 1)]);
        let replaced = [TimestampMicros(bucket * 60)];
        let nonce = bucket as u128;
        at = store.publish(Some(&at), Some(&replaced), stream(&store, &new), facts(bucket), nonce).await.unwrap();
    }
    assert!(at.snapshot.files().len() <= 6 + 30 / 3 + 1, "{} files", at.snapshot.files().len());
    assert_eq!(rows_of(&at).await.len(), 35 + 1 + 30);
}

#[tokio::test]
async fn a_publication_on_an_old_version_or_with_an_older_cut_is_refused() {
    let store = store(&memory_lake(10));
    let rows = model(&[(0, "a", 1)]);
    let one = store.publish(None, None, stream(&store, &rows), facts(10), 1).await.unwrap();
    assert!(is_conflict(&store.publish(None, None, stream(&store, &rows), facts(20), 2).await));
    let two = store.publish(Some(&one), None, stream(&store, &rows), facts(20), 3).await.unwrap();
    assert!(is_conflict(&store.publish(Some(&one), None, stream(&store, &rows), facts(30), 4).await));
    assert!(is_conflict(&store.publish(Some(&two), None, stream(&store, &rows), facts(19), 5).await));
    let other = BatchFacts { definition: positions::DefinitionHash(1), ..facts(30) };
    let refused = store.publish(Some(&two), None, stream(&store, &rows), other, 6).await;
    assert!(matches!(refused, Err(ServingError::Lake(LakeError::Refused { .. }))));
    assert_eq!(store.newest().await.unwrap().unwrap().snapshot.version(), two.snapshot.version());
}

#[tokio::test]
async fn rows_that_do_not_belong_refuse_the_publication() {
    let store = store(&memory_lake(10));
    let one = store.publish(None, None, stream(&store, &model(&[(0, "a", 1)])), facts(1), 1).await.unwrap();
    let stray =
        store.publish(Some(&one), Some(&[TimestampMicros(60)]), stream(&store, &model(&[(0, "a", 2)])), facts(2), 2);
    assert!(stray.await.unwrap_err().to_string().contains("bucket 0 has rows, but is not to be replaced"));

    let unsorted = [model(&[(60, "a", 1)]), model(&[(0, "a", 1)])].map(|rows| stream(&store, &rows));
    let unsorted = futures::StreamExt::flatten(futures::stream::iter(unsorted));
    let unsorted = Box::pin(RecordBatchStreamAdapter::new(store.schema(), unsorted));
    let error = store.publish(Some(&one), None, unsorted, facts(2), 3).await.unwrap_err();
    assert!(error.to_string().contains("not sorted by _bucket"), "{error}");

    let failing = futures::stream::iter([Err(DataFusionError::Execution("too large a state".to_owned()))]);
    let failing = Box::pin(RecordBatchStreamAdapter::new(store.schema(), failing));
    let error = store.publish(Some(&one), None, failing, facts(2), 4).await.unwrap_err();
    assert!(matches!(error, ServingError::Engine(_)) && error.to_string().contains("too large a state"), "{error}");
    assert_eq!(store.newest().await.unwrap().unwrap().snapshot.version(), one.snapshot.version());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_publishers_one_wins_each_time() {
    let lake = memory_lake(5);
    let mut publishers = JoinSet::new();
    for publisher in 0..6_u128 {
        let store = store(&lake);
        publishers.spawn(async move {
            let mut won = 0;
            for round in 0..8_u128 {
                let on = store.newest().await.unwrap();
                let next = on.as_ref().map_or(1, |on| on.facts.master_version.next().0);
                let rows = model(&[(0, "a", next), (60, "a", next)]);
                let nonce = publisher * 1_000 + round;
                match store.publish(on.as_ref(), None, stream(&store, &rows), facts(next), nonce).await {
                    Ok(version) => {
                        assert_eq!(version.snapshot.version().0, next);
                        won += 1;
                    }
                    Err(ServingError::Conflict { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            won
        });
    }
    let won: i64 = publishers.join_all().await.into_iter().sum();
    let newest = store(&lake).newest().await.unwrap().unwrap();
    assert_eq!((newest.snapshot.version(), newest.facts.master_version), (Version(won), Version(won)));
    assert_eq!(rows_of(&newest).await, model(&[(0, "a", won), (60, "a", won)]));
}

#[tokio::test]
async fn versions_are_followed_and_expired() {
    let store = store(&memory_lake(3));
    let mut at = None;
    let mut known = Vec::new();
    for step in 1..=10_i64 {
        let rows = model(&[(0, "a", step)]);
        at = Some(store.publish(at.as_ref(), None, stream(&store, &rows), facts(step), step as u128).await.unwrap());
        if step % 3 == 1 {
            known = store.newest_versions(3, &known).await.unwrap();
            let numbers: Vec<i64> = known.iter().map(|version| version.snapshot.version().0).collect();
            let least = (step - 2).max(1);
            assert_eq!(numbers, (least..=step).rev().collect::<Vec<_>>());
        }
    }
    let numbers = |versions: Vec<BatchVersion>| -> Vec<i64> {
        versions.iter().map(|version| version.snapshot.version().0).collect()
    };
    assert_eq!(numbers(store.newest_versions(3, &known).await.unwrap()), [10, 9, 8]);
    assert_eq!(numbers(store.newest_versions(3, &[]).await.unwrap()), [10, 9, 8]);

    let (grace, now) = (Duration::from_secs(3_600), TimestampMicros(chrono::Utc::now().timestamp_micros()));
    assert_eq!(store.expire(3, grace, now).await.unwrap().objects, 0, "all is young");
    let later = TimestampMicros(now.0 + 7_200_000_000);
    assert_eq!(
        store.expire(3, grace, later).await.unwrap().objects,
        2 * 5,
        "facts and files before version 6, whose checkpoint opens version 8"
    );
    for version in store.newest_versions(10, &[]).await.unwrap() {
        let step = version.facts.master_version.0;
        assert_eq!(rows_of(&version).await, model(&[(0, "a", step)]));
    }
    // A gateway that slept meanwhile, and one that asks for more than is kept.
    assert_eq!(numbers(store.newest_versions(3, &known[2..]).await.unwrap())[0], 10);
    assert_eq!(numbers(store.newest_versions(10, &[]).await.unwrap()), [10, 9, 8, 7, 6]);
    assert_eq!(store.expire(3, grace, later).await.unwrap().objects, 0);
}

#[tokio::test]
async fn a_version_too_large_for_memory_is_refused_by_size() {
    let store = store(&memory_lake(10));
    let rows: Model = (0..500).map(|row| ((0, format!("channel {row}")), 1)).collect();
    let one = store.publish(None, None, stream(&store, &rows), facts(1), 1).await.unwrap();
    let error = store.load(&one, 1_000).await.unwrap_err();
    assert!(matches!(error, ServingError::TooLarge { limit_bytes: 1_000, .. }), "{error}");
    assert!(error.to_string().ends_with(" bytes in memory, the limit is 1000 bytes"), "{error}");
    assert_eq!(store.load(&one, 10_000_000).await.unwrap().iter().map(RecordBatch::num_rows).sum::<usize>(), 500);
}
