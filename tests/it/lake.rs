//! Tables: what is committed is there, once, with its facts; what is broken is reported by name.
//! The races are in `lake_races.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array,
    ListArray, MapArray, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Fields, Int64Type, Schema, SchemaRef, TimeUnit};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::scalar::ScalarValue;
use lake::{Change, DataFile, Lake, LakeError, LakeSettings, Snapshot, Table, Version, WrittenFile};
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tests::services::Services;

/// A lake in memory, with checkpoints as often as asked.
pub(crate) fn memory_lake(checkpoint_interval: u32) -> Lake {
    lake_in(Arc::new(InMemory::new()), checkpoint_interval)
}

/// A lake in a store.
pub(crate) fn lake_in(store: Arc<dyn ObjectStore>, checkpoint_interval: u32) -> Lake {
    let settings = LakeSettings { checkpoint_interval, ..LakeSettings::default() };
    Lake::with_settings(store, Path::from("lake"), settings)
}

/// A lake in a folder that goes away with the guard.
pub(crate) fn local_lake(checkpoint_interval: u32) -> (Lake, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
    (lake_in(Arc::new(store), checkpoint_interval), folder)
}

/// A lake on each store that there is: memory, a folder that lives as long as the second value, S3 where it runs.
pub(crate) fn all_lakes(checkpoint_interval: u32) -> (Vec<Lake>, tempfile::TempDir) {
    let (local, folder) = local_lake(checkpoint_interval);
    let mut lakes = vec![memory_lake(checkpoint_interval), local];
    lakes.extend(Services::find().map(|services| {
        let builder = AmazonS3Builder::new().with_endpoint(&services.s3).with_bucket_name(&services.s3_bucket);
        let builder =
            builder.with_access_key_id(&services.s3_access_key).with_secret_access_key(&services.s3_secret_key);
        let builder = builder.with_allow_http(true).with_conditional_put(S3ConditionalPut::ETagMatch);
        let settings = LakeSettings { checkpoint_interval, ..LakeSettings::default() };
        Lake::with_settings(Arc::new(builder.build().unwrap()), Path::from(services.name.as_str()), settings)
    }));
    (lakes, folder)
}

/// Columns `writer` VARCHAR, `number` BIGINT NOT NULL.
pub(crate) fn numbers_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("writer", DataType::Utf8, true),
        Field::new("number", DataType::Int64, false),
    ]))
}

/// One batch of [`numbers_schema`].
pub(crate) fn numbers(writer: &str, numbers: impl IntoIterator<Item = i64>) -> RecordBatch {
    let numbers = Int64Array::from_iter_values(numbers);
    let writers = StringArray::from_iter_values(std::iter::repeat_n(writer, numbers.len()));
    RecordBatch::try_new(numbers_schema(), vec![Arc::new(writers), Arc::new(numbers)]).unwrap()
}

/// Writes one file and commits it on exactly `on`.
pub(crate) async fn append(
    table: &Table,
    on: &Snapshot,
    batch: RecordBatch,
    nonce: u128,
) -> Result<Snapshot, LakeError> {
    let file = on.write_file(&format!("{nonce:032x}"), &[batch]).await?;
    let change = Change { add: vec![file], remove: vec![], changes_data: true };
    table.commit(on, change, &BTreeMap::from([("nonce", nonce.to_string())]), nonce).await
}

/// The facts that [`append`] gave to a version.
pub(crate) fn nonce_of(snapshot: &Snapshot) -> Option<u128> {
    let facts: Option<BTreeMap<String, String>> = snapshot.facts().unwrap();
    facts.map(|facts| facts["nonce"].parse().unwrap())
}

/// All numbers of a version, sorted.
pub(crate) async fn numbers_in(snapshot: &Snapshot) -> Vec<i64> {
    let batches = snapshot.read(snapshot.files(), Some(&["number"])).await.unwrap();
    let mut numbers: Vec<i64> = batches
        .iter()
        .flat_map(|batch| arrow::array::AsArray::as_primitive::<Int64Type>(batch.column(0)).values().to_vec())
        .collect();
    numbers.sort_unstable();
    numbers
}

fn refused(result: Result<impl Sized, LakeError>, words: &str) {
    let error = result.err().expect("it must be refused").to_string();
    assert!(error.contains(words), "{error:?} does not say {words:?}");
}

/// What a journal keeps of a file says nothing of events.
#[tokio::test]
async fn a_file_is_told_without_its_values_and_found_with_its_bounds() {
    let lake = memory_lake(10);
    for rows in [numbers("somebody", [3, 1, 2]), every_type()] {
        let created = lake.table(&format!("views/{}", rows.num_columns())).create(rows.schema()).await.unwrap();
        let file = created.write_file("part", &[rows]).await.unwrap();
        let told = serde_json::to_string(&WrittenFile::from(&file)).unwrap();
        assert!(!told.contains("somebody"), "{told}");
        let told: WrittenFile = serde_json::from_str(&told).unwrap();
        assert_eq!(created.data_file(&told).await.unwrap(), file);
        let other = WrittenFile { rows: told.rows + 1, ..told.clone() };
        refused(created.data_file(&other).await, "rows are told of");
        let gone = WrittenFile { path: "00000000000000000001-gone.parquet".to_owned(), ..told };
        refused(created.data_file(&gone).await, "missing");
    }
}

#[tokio::test]
async fn versions_hold_what_was_committed_with_their_facts() {
    let (local, _folder) = local_lake(3);
    for lake in [memory_lake(3), local] {
        lake.probe_conditional_put(1).await.unwrap();
        let table = lake.table("raw/edits");
        assert!(table.open().await.unwrap().is_none());
        let created = table.create(numbers_schema()).await.unwrap();
        assert_eq!((created.version(), nonce_of(&created), created.files().len()), (Version(0), None, 0));

        let mut snapshot = created.clone();
        for version in 1..=10 {
            snapshot = append(&table, &snapshot, numbers("a", [version]), version as u128).await.unwrap();
        }
        assert_eq!(numbers_in(&snapshot).await, (1..=10).collect::<Vec<_>>());
        for version in 0..=10 {
            let old = table.open_at(Version(version)).await.unwrap().unwrap();
            assert_eq!(old.version(), Version(version));
            assert_eq!(nonce_of(&old), (version > 0).then_some(version as u128));
            assert_eq!(numbers_in(&old).await, (1..=version).collect::<Vec<_>>());
        }
        assert!(table.open_at(Version(11)).await.unwrap().is_none());

        // The three ways to the newest version agree, statistics and all.
        let opened = table.open().await.unwrap().unwrap();
        let refreshed = table.refresh(&created).await.unwrap();
        for other in [&opened, &refreshed, &table.create(numbers_schema()).await.unwrap()] {
            assert_eq!((other.version(), other.files()), (snapshot.version(), snapshot.files()));
            assert_eq!(other.schema(), numbers_schema());
            assert_eq!(nonce_of(other), Some(10));
        }
        assert_eq!(table.newer(&created).await.unwrap().len(), 10);
        assert_eq!(table.newer(&opened).await.unwrap().len(), 0);
        assert_eq!(lake.folders("raw").await.unwrap(), ["edits"]);
    }
}

#[tokio::test]
async fn a_file_without_a_commit_is_invisible() {
    let lake = memory_lake(10);
    let table = lake.table("t");
    let created = table.create(numbers_schema()).await.unwrap();
    created.write_file("orphan", &[numbers("a", [1])]).await.unwrap();
    let opened = table.open().await.unwrap().unwrap();
    assert_eq!(opened.files(), created.files());
    assert_eq!(numbers_in(&opened).await, [] as [i64; 0]);
}

#[tokio::test]
async fn a_rewrite_replaces_rows_once() {
    let table = memory_lake(2).table("t");
    let created = table.create(numbers_schema()).await.unwrap();
    let one = append(&table, &created, numbers("a", [1, 2]), 1).await.unwrap();
    let two = append(&table, &one, numbers("a", [3]), 2).await.unwrap();
    let file = two.write_file("merged", &[numbers("a", [1, 2, 3])]).await.unwrap();
    let remove: Vec<String> = two.files().iter().map(|file| file.path.clone()).collect();
    let change = Change { add: vec![file.clone()], remove: remove.clone(), changes_data: false };
    let three = table.commit(&two, change.clone(), &"compaction", 3).await.unwrap();
    assert_eq!(numbers_in(&three).await, [1, 2, 3]);
    assert_eq!(table.open().await.unwrap().unwrap().files(), three.files());
    assert_eq!(three.facts::<String>().unwrap().unwrap(), "compaction");

    // What is not live cannot be removed, what is live cannot be added again.
    let gone = table.commit(&three, change, &"again", 4).await;
    assert!(
        matches!(&gone, Err(LakeError::NotLive { version: Version(3), path, .. }) if *path == remove[0]),
        "{gone:?}"
    );
    let doubly = Change { remove: vec![file.path.clone(), file.path.clone()], ..Change::default() };
    refused(table.commit(&three, doubly, &"again", 4).await, "removed twice");
    let twice = Change { add: vec![file], ..Change::default() };
    refused(table.commit(&three, twice, &"again", 5).await, "already");
    assert_eq!(table.open().await.unwrap().unwrap().version(), Version(3));
}

fn labels() -> MapArray {
    let parts: Fields =
        vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Int64, true)].into();
    let keys: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "a"]));
    let entries = StructArray::new(parts, vec![keys, Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]))], None);
    let field = Arc::new(Field::new("key_value", entries.data_type().clone(), false));
    let offsets = arrow::buffer::OffsetBuffer::from_lengths([2, 0, 1]);
    MapArray::new(field, offsets, entries, Some(vec![true, false, true].into()), false)
}

/// One batch with a column of every type that views and sources use.
pub(crate) fn every_type() -> RecordBatch {
    let item = Arc::new(Field::new("element", DataType::Int64, true));
    let fields: Fields = vec![Field::new("x", DataType::Int64, false), Field::new("y", DataType::Utf8, true)].into();
    let inner = StructArray::new(
        fields,
        vec![
            Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef,
            Arc::new(StringArray::from(vec![Some("a"), None, Some("c")])),
        ],
        Some(vec![true, false, true].into()),
    );
    let lists = ListArray::new(
        Arc::clone(&item),
        arrow::buffer::OffsetBuffer::from_lengths([2, 0, 1]),
        Arc::new(Int64Array::from(vec![Some(1), None, Some(3)])),
        Some(vec![true, false, true].into()),
    );
    let nested_lists = ListArray::new(
        Arc::new(Field::new("element", inner.data_type().clone(), true)),
        arrow::buffer::OffsetBuffer::from_lengths([1, 1, 1]),
        Arc::new(inner.clone()),
        None,
    );
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("flag", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])), true),
        ("int", Arc::new(Int32Array::from(vec![Some(-1), None, Some(i32::MAX)])), true),
        ("bigint", Arc::new(Int64Array::from(vec![i64::MIN, 0, i64::MAX])), false),
        ("double", Arc::new(Float64Array::from(vec![Some(f64::NAN), Some(-0.0), None])), true),
        (
            "decimal",
            Arc::new(
                Decimal128Array::from(vec![Some(-12345), None, Some(99)]).with_precision_and_scale(20, 4).unwrap(),
            ),
            true,
        ),
        ("text", Arc::new(StringArray::from(vec![Some("".to_owned()), None, Some("ü".repeat(100))])), true),
        ("empty", Arc::new(StringArray::from(vec![None::<&str>, None, None])), true),
        ("bytes", Arc::new(BinaryArray::from_opt_vec(vec![Some(b"\x00\xff"), None, Some(b"")])), true),
        ("day", Arc::new(Date32Array::from(vec![Some(-1), Some(20_000), None])), true),
        (
            "time",
            Arc::new(
                TimestampMicrosecondArray::from(vec![Some(-1), Some(1_700_000_000_123_456), None]).with_timezone("UTC"),
            ),
            true,
        ),
        ("struct", Arc::new(inner), true),
        ("list", Arc::new(lists), true),
        ("structs", Arc::new(nested_lists), true),
        ("labels", Arc::new(labels()), true),
    ];
    let fields: Vec<Field> =
        columns.iter().map(|(name, array, null)| Field::new(*name, array.data_type().clone(), *null)).collect();
    let arrays = columns.into_iter().map(|(_, array, _)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

#[tokio::test]
async fn every_type_comes_back_as_it_was_given() {
    let batch = every_type();
    let lake = memory_lake(1);
    let table = lake.table("types");
    let created = table.create(batch.schema()).await.unwrap();
    assert_eq!(created.schema(), batch.schema());
    let snapshot = append(&table, &created, batch.clone(), 1).await.unwrap();
    let reopened = table.open().await.unwrap().unwrap();
    assert_eq!(reopened.files(), snapshot.files(), "bounds survive log and checkpoint");
    let checkpoint = lake.path(&format!("types/_delta_log/{:020}.checkpoint.parquet", 1));
    assert!(lake.store().head(&checkpoint).await.is_ok());
    let read = reopened.read(reopened.files(), None).await.unwrap();
    assert_eq!(read, vec![batch.clone()]);

    let bounds = &reopened.files()[0].bounds;
    let micros = |micros| ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into()));
    assert_eq!(bounds["time"], (micros(-1), micros(1_700_000_000_123_456), 1));
    assert_eq!(bounds["bigint"], (ScalarValue::Int64(Some(i64::MIN)), ScalarValue::Int64(Some(i64::MAX)), 0));
    assert_eq!(bounds["empty"], (ScalarValue::Utf8(None), ScalarValue::Utf8(None), 3));
    assert!(bounds["text"].1 >= ScalarValue::Utf8(Some("ü".repeat(100))), "a long maximum is rounded up");
    assert!(!bounds.contains_key("double") && !bounds.contains_key("decimal"));

    // Through the query engine, too.
    let context = SessionContext::new();
    context.register_table("t", reopened.scan(reopened.files()).unwrap()).unwrap();
    let scanned = context.sql("SELECT * FROM t").await.unwrap();
    let columns: Vec<_> = scanned.schema().fields().iter().map(|field| field.data_type().clone()).collect();
    assert_eq!(columns, batch.schema().fields().iter().map(|field| field.data_type().clone()).collect::<Vec<_>>());
    assert_eq!(scanned.collect().await.unwrap()[0].columns(), batch.columns());
    let large = context.sql("SELECT labels['a'] AS a FROM t WHERE labels['a'] > 1").await.unwrap();
    assert_eq!(large.collect().await.unwrap().iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
}

#[tokio::test]
async fn what_a_delta_table_does_not_hold_is_refused_by_name() {
    let table = memory_lake(10).table("t");
    for (field, words) in [
        (Field::new("total", DataType::UInt64, true), "column total has type UInt64"),
        (Field::new("at", DataType::Timestamp(TimeUnit::Nanosecond, None), true), "column at has type Timestamp"),
        (Field::new("day", DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())), true), "column day"),
        (Field::new_list("set", Field::new("item", DataType::Int64, true), true), "must be named element"),
        (
            Field::new_map(
                "labels",
                "entries",
                Field::new("keys", DataType::Utf8, false),
                Field::new("values", DataType::Int64, true),
                false,
                true,
            ),
            "map labels must have entries key_value",
        ),
        (Field::new_struct("s", vec![Field::new("u", DataType::UInt8, true)], true), "column s.u has type UInt8"),
    ] {
        refused(table.create(Arc::new(Schema::new(vec![field]))).await, words);
    }
    let twice = Schema::new(vec![Field::new("a", DataType::Int64, true), Field::new("A", DataType::Int64, true)]);
    refused(table.create(Arc::new(twice)).await, "appears twice");
    assert!(table.open().await.unwrap().is_none());
    let created = table.create(numbers_schema()).await.unwrap();
    refused(created.write_file("../escape", &[numbers("a", [1])]).await, "other letters");
    refused(created.write_file("mixed", &[numbers("a", [1]), every_type()]).await, "another schema");
}

/// The files that a scan with a filter would read, as the plan says.
async fn plan_of(snapshot: &Snapshot, sql: &str) -> (String, String) {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    context.register_table("t", snapshot.scan(snapshot.files()).unwrap()).unwrap();
    let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    let text = datafusion::physical_plan::displayable(plan.as_ref()).indent(true).to_string();
    let rows = context.sql(sql).await.unwrap().collect().await.unwrap();
    (text, arrow::util::pretty::pretty_format_batches(&rows).unwrap().to_string())
}

#[tokio::test]
async fn a_scan_skips_files_by_their_bounds_and_counts_without_reading() {
    let table = memory_lake(10).table("t");
    let mut snapshot = table.create(numbers_schema()).await.unwrap();
    for file in 0..5_i64 {
        let batch = numbers(&format!("w{file}"), file * 100..file * 100 + 100);
        snapshot = append(&table, &snapshot, batch, file as u128 + 1).await.unwrap();
    }
    let (plan, rows) = plan_of(&snapshot, "SELECT count(*) c FROM t").await;
    assert!(!plan.contains("DataSourceExec: file_groups"), "{plan}");
    assert!(rows.contains("500"), "{rows}");

    let (plan, rows) = plan_of(&snapshot, "SELECT number FROM t WHERE number >= 250 AND number < 253").await;
    assert_eq!(plan.matches(".parquet").count(), 1, "{plan}");
    assert!(plan.contains("pruning_predicate") && plan.contains("projection=[number]"), "{plan}");
    assert!(rows.contains("250") && rows.contains("252") && !rows.contains("253"), "{rows}");

    let (plan, rows) = plan_of(&snapshot, "SELECT count(number) c FROM t WHERE writer = 'w3'").await;
    assert_eq!(plan.matches(".parquet").count(), 1, "{plan}");
    assert!(rows.contains("100"), "{rows}");

    // Exactly the files asked for, whatever else is live.
    let some = &snapshot.files()[1..3];
    assert_eq!(snapshot.read(some, None).await.unwrap().iter().map(RecordBatch::num_rows).sum::<usize>(), 200);
    let foreign = DataFile { path: "foreign.parquet".to_owned(), ..some[0].clone() };
    refused(snapshot.scan(std::slice::from_ref(&foreign)), "does not hold file foreign.parquet");
}

#[test]
fn the_newest_versions_are_counted_with_the_newest_itself() {
    for (newest, count, oldest) in [(10, 1, 10), (10, 3, 8), (10, 0, 10), (10, 11, 0), (10, usize::MAX, 0), (0, 2, 0)] {
        assert_eq!(Version(newest).oldest_of_newest(count), Version(oldest), "{count} of {newest}");
    }
}

#[tokio::test]
async fn vacuum_deletes_only_what_no_retained_version_names_and_only_when_old() {
    let lake = memory_lake(4);
    let table = lake.table("t");
    let mut snapshot = table.create(numbers_schema()).await.unwrap();
    // Each version replaces the one file of the version before it. One writer lost the race for version 10.
    let mut orphan = Path::default();
    for version in 1..=10_i64 {
        let lost = snapshot.write_file("orphan", &[numbers("a", [0])]).await.unwrap();
        orphan = lake.path(&format!("t/{}", lost.path));
        if version < 10 {
            lake.store().delete(&orphan).await.unwrap();
        }
        let file = snapshot.write_file(&format!("f{version}"), &[numbers("a", [version])]).await.unwrap();
        let remove = snapshot.files().iter().map(|file| file.path.clone()).collect();
        let change = Change { add: vec![file], remove, changes_data: true };
        snapshot = table.commit(&snapshot, change, &version, version as u128).await.unwrap();
    }
    let (grace, now) = (Duration::from_secs(3600), SystemTime::now());
    let later = now + 2 * grace;

    // Young objects stay, whatever names them.
    assert_eq!(table.vacuum(Version(8), grace, now).await.unwrap(), lake::Vacuumed::default());
    assert!(lake.store().head(&orphan).await.is_ok());

    let deleted = table.vacuum(Version(8), grace, later).await.unwrap();
    assert_eq!(deleted.objects, 7 + 7 + 1, "files and facts of versions 1 to 7, and the orphan");
    assert!(lake.store().head(&orphan).await.is_err());
    for version in 8..=10 {
        let kept = table.open_at(Version(version)).await.unwrap().unwrap();
        assert_eq!(numbers_in(&kept).await, [version]);
        assert_eq!(kept.facts::<i64>().unwrap(), Some(version));
    }
    // The log is cut below the checkpoint that version 8 is opened from.
    assert_eq!(deleted.log_objects, 8 + 1, "commits 0 to 7 and checkpoint 4");
    assert!(table.open_at(Version(7)).await.unwrap().is_none());
    refused(table.vacuum(Version(11), grace, later).await, "version 11 does not exist");
    assert_eq!(table.vacuum(Version(3), grace, later).await.unwrap(), lake::Vacuumed::default());
    assert_eq!(table.vacuum(Version(8), grace, later).await.unwrap(), lake::Vacuumed::default());
    assert_eq!(numbers_in(&table.refresh(&snapshot).await.unwrap()).await, [10]);
}

/// Replaces all files of a version by one.
async fn merge_all(table: &Table, on: &Snapshot, nonce: u128) -> Snapshot {
    let file = on.write_file(&format!("merged{nonce}"), &[numbers("m", numbers_in(on).await)]).await.unwrap();
    let remove = on.files().iter().map(|file| file.path.clone()).collect();
    let change = Change { add: vec![file], remove, changes_data: false };
    table.commit(on, change, &BTreeMap::from([("nonce", nonce.to_string())]), nonce).await.unwrap()
}

/// The version that a slow reader holds may be the last of an idle year: what counts is since when another is newer.
#[tokio::test]
async fn files_that_were_replaced_within_the_grace_stay_for_whoever_reads_them() {
    let lake = memory_lake(2);
    let table = lake.table("t");
    let mut snapshot = table.create(numbers_schema()).await.unwrap();
    for version in 1..=3_i64 {
        snapshot = append(&table, &snapshot, numbers("a", [version]), version as u128).await.unwrap();
    }
    let reader = snapshot.clone();
    snapshot = merge_all(&table, &reader, 4).await;
    for version in 5..=8_i64 {
        snapshot = append(&table, &snapshot, numbers("a", [version]), version as u128).await.unwrap();
    }
    // Everything before the compaction is older than the grace, the compaction is not; the next checkpoint is its own.
    let grace = Duration::from_secs(3600);
    let compaction = lake.store().head(&lake.path(&format!("t/_delta_log/{:020}.json", 4))).await.unwrap();
    let now = SystemTime::from(compaction.last_modified) + grace;
    table.vacuum(snapshot.version(), grace, now).await.unwrap();
    assert_eq!(numbers_in(&reader).await, [1, 2, 3]);
    assert_eq!(numbers_in(&table.open_at(Version(3)).await.unwrap().unwrap()).await, [1, 2, 3]);

    // Out of use for the whole grace, they go, and with them the version.
    table.vacuum(snapshot.version(), grace, now + 2 * grace).await.unwrap();
    assert!(reader.read(reader.files(), None).await.is_err());
    assert!(table.open_at(Version(3)).await.unwrap().is_none());
    assert_eq!(numbers_in(&table.open().await.unwrap().unwrap()).await, [1, 2, 3, 5, 6, 7, 8]);
}

#[tokio::test]
async fn garbage_is_reported_with_the_name_of_the_object() {
    let lake = memory_lake(2);
    let table = lake.table("t");
    let mut snapshot = table.create(numbers_schema()).await.unwrap();
    for version in 1..=3 {
        snapshot = append(&table, &snapshot, numbers("a", [version]), version as u128).await.unwrap();
    }
    let commit = |version: u8| lake.path(&format!("t/_delta_log/{version:020}.json"));
    let put = |path: Path, text: &'static str| {
        let lake = lake.clone();
        async move { lake.store().put(&path, text.into()).await.unwrap() }
    };
    let fails = |words: &'static str, object: Path| {
        let table = table.clone();
        async move {
            let error = table.open().await.unwrap_err();
            assert!(matches!(&error, LakeError::Corrupt { .. }), "{error}");
            let text = error.to_string();
            assert!(text.contains(object.as_ref()) && text.contains(words), "{text}");
        }
    };
    let add =
        r#"{"add":{"path":"x.parquet","size":1,"modificationTime":1,"dataChange":true,"stats":"{\"numRecords\":1}"}}"#;
    put(commit(4), "{\"commitInfo\":{}}\nnot json").await;
    fails("line 2", commit(4)).await;
    assert!(table.refresh(&snapshot).await.is_err());
    let is_foreign = async |words: &str| {
        let error = table.open().await.unwrap_err();
        assert!(matches!(&error, LakeError::Foreign { .. }), "{error}");
        assert!(error.to_string().contains("version 4") && error.to_string().contains(words), "{error}");
    };
    put(commit(4), "\n").await;
    fails("it is empty", commit(4)).await;
    put(commit(4), add).await;
    is_foreign("adds file x.parquet").await;
    put(
        commit(4),
        r#"{"txn":{"appId":"twofold","version":1}}
{"remove":{"path":"x.parquet","dataChange":true}}"#,
    )
    .await;
    fails("removes x.parquet, which is not live", commit(4)).await;
    put(commit(4), r#"{"protocol":{"minReaderVersion":3,"minWriterVersion":7}}"#).await;
    is_foreign("asks for a newer protocol").await;
    lake.store().delete(&commit(4)).await.unwrap();

    // A gap, a missing facts object, a broken checkpoint, a broken data file.
    put(commit(5), r#"{"txn":{"appId":"twofold","version":1}}"#).await;
    fails("missing", commit(4)).await;
    lake.store().delete(&commit(5)).await.unwrap();
    // The number of version 3 and nonce 3.
    let facts = lake.path(&format!("t/_twofold/{:016x}.json", 3_i64 << 47 | 3));
    let kept = lake.store().get(&facts).await.unwrap().bytes().await.unwrap();
    lake.store().delete(&facts).await.unwrap();
    fails("facts of a commit are missing", facts.clone()).await;
    lake.store().put(&facts, kept.into()).await.unwrap();
    let data = lake.path(&format!("t/{}", snapshot.files()[0].path));
    put(data, "PAR1 no more").await;
    let opened = table.open().await.unwrap().unwrap();
    assert!(matches!(opened.read(opened.files(), None).await, Err(LakeError::Corrupt { .. })));
    let checkpoint = lake.path(&format!("t/_delta_log/{:020}.checkpoint.parquet", 2));
    put(checkpoint.clone(), "garbage").await;
    // The commits say the same.
    assert_eq!(table.open().await.unwrap().unwrap().files(), snapshot.files());
    lake.store().delete(&commit(0)).await.unwrap();
    fails("", checkpoint).await;
}

#[tokio::test]
async fn another_reader_of_delta_sees_the_same_table() {
    let (lake, folder) = local_lake(4);
    let table = lake.table("raw/wikipedia edits");
    let mut snapshot = table.create(every_type().schema()).await.unwrap();
    for version in 1..=6 {
        snapshot = append(&table, &snapshot, every_type(), version).await.unwrap();
    }
    let first = snapshot.files()[0].path.clone();
    let change = Change { remove: vec![first], changes_data: true, ..Change::default() };
    snapshot = table.commit(&snapshot, change, &"removed", 7).await.unwrap();
    // A compaction, the checkpoint right behind it, and one more version on top.
    let files = snapshot.files()[..3].to_vec();
    let rows = snapshot.read(&files, None).await.unwrap();
    let merged = snapshot.write_file("merged", &rows).await.unwrap();
    let remove = files.iter().map(|file| file.path.clone()).collect();
    let change = Change { add: vec![merged], remove, changes_data: false };
    snapshot = table.commit(&snapshot, change, &"compacted", 8).await.unwrap();
    append(&table, &snapshot, every_type(), 9).await.unwrap();
    // Readers that follow changes must see that no row changed.
    let log = folder.path().join(format!("lake/raw/wikipedia edits/_delta_log/{:020}.json", 8));
    let log = std::fs::read_to_string(log).unwrap();
    let actions: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let changes = actions.iter().flat_map(|action| [&action["add"], &action["remove"]]).filter(|one| one.is_object());
    let changes: Vec<_> = changes.map(|one| one["dataChange"].clone()).collect();
    assert_eq!(changes, vec![serde_json::json!(false); 4], "{log}");

    let url = url::Url::from_directory_path(folder.path().join("lake/raw/wikipedia edits")).unwrap();
    for version in [9, 8, 7, 5, 4, 3] {
        let delta = deltalake_core::open_table_with_version(url.clone(), version).await.unwrap();
        let ours = table.open_at(Version(version.try_into().unwrap())).await.unwrap().unwrap();
        let mut paths: Vec<String> =
            delta.get_files_by_partitions(&[]).await.unwrap().iter().map(|path| path.to_string()).collect();
        paths.sort();
        assert_eq!(paths, ours.files().iter().map(|file| file.path.clone()).collect::<Vec<_>>());
        let state = delta.snapshot().unwrap();
        let rows: usize = state.log_data().iter().map(|file| file.num_records().unwrap()).sum();
        assert_eq!(rows, ours.files().iter().map(|file| file.rows as usize).sum::<usize>());
        let names: Vec<String> = state.schema().fields().map(|field| field.name().clone()).collect();
        assert_eq!(names, ours.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>());
    }
    assert!(folder.path().join(format!("lake/raw/wikipedia edits/_delta_log/{:020}.checkpoint.parquet", 8)).exists());
}

#[tokio::test]
async fn columns_are_added_behind_the_others_and_rows_before_them_are_null() {
    let (lakes, _folder) = all_lakes(3);
    for lake in lakes {
        let table = lake.table("raw/grown");
        let created = table.create(numbers_schema()).await.unwrap();
        let before = append(&table, &created, numbers("a", 0..3), 1).await.unwrap();
        let place = Field::new("place", DataType::Utf8, true);
        let wanted = Schema::new(vec![place.clone(), Field::new("number", DataType::Int64, false)]);
        let grown = table.add_columns(&before, &wanted, &BTreeMap::from([("nonce", "2")]), 2).await.unwrap();
        let fields: Vec<_> = numbers_schema().fields().iter().cloned().chain([Arc::new(place)]).collect();
        assert_eq!(grown.schema().fields().to_vec(), fields);
        assert_eq!((grown.files(), nonce_of(&grown)), (before.files(), Some(2)));
        let late = append(&table, &before, numbers("late", 9..10), 3).await;
        assert!(matches!(late, Err(LakeError::Conflict { .. })), "{late:?}");

        // New files have the columns of their writer, in whatever order.
        let places: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None]));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![3, 4]));
        let rows = RecordBatch::try_from_iter([("place", places), ("number", numbers)]).unwrap();
        let mut newest = append(&table, &grown, rows, 4).await.unwrap();
        for version in 5..9 {
            newest = append(&table, &newest, one_number(version), u128::from(version)).await.unwrap();
        }
        for snapshot in [table.open().await.unwrap().unwrap(), table.refresh(&before).await.unwrap(), newest] {
            assert_eq!(snapshot.schema().fields().to_vec(), fields);
            let rows = snapshot.read(snapshot.files(), Some(&["number", "place"])).await.unwrap();
            let rows = concat_batches(&rows[0].schema(), &rows).unwrap();
            let places = arrow::array::AsArray::as_string::<i32>(rows.column(1)).clone();
            let number = arrow::array::AsArray::as_primitive::<Int64Type>(rows.column(0)).clone();
            let named: Vec<i64> =
                (0..rows.num_rows()).filter(|row| places.is_valid(*row)).map(|row| number.value(row)).collect();
            assert_eq!((rows.num_rows(), named), (9, vec![3]));
        }
        let again = table.open().await.unwrap().unwrap();
        let other = Schema::new(vec![Field::new("Place", DataType::Utf8, true)]);
        refused(table.add_columns(&again, &other, &(), 20).await, "column Place is there already, as place Utf8");
        let other = Schema::new(vec![Field::new("number", DataType::Utf8, true)]);
        refused(table.add_columns(&again, &other, &(), 21).await, "column number is there already, as number Int64");
        let other = Schema::new(vec![Field::new("new", DataType::Utf8, false)]);
        refused(table.add_columns(&again, &other, &(), 22).await, "column new is new and NOT NULL");
    }
}

fn one_number(number: u32) -> RecordBatch {
    numbers("b", [i64::from(number)])
}
