//! Rows of another reading are read again for good: once, counted as they are read, by the newest definition alone,
//! whoever appends, races or is killed meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int32Type, Int64Type};
use batch_layer::archive::Pending;
use batch_layer::compact::{choose_merges, replace};
use batch_layer::recompute::Mode;
use batch_layer::{BatchContext, CompactSettings};
use event_log::Record;
use object_store::local::LocalFileSystem;
use positions::{Clock, Counters, IdSource, Offset, PartitionId, TimestampMicros};
use records::RecordsError;
use records::decode::{classes, decode, master_schema, reading_of};
use records::master::{Compaction, MasterDataset, MasterSnapshot, Recount};
use serving_layer::always;
use serving_layer::registry::DefinitionRegistry;
use views::{Pipeline, SourceDefinition};

use super::archive::{check_holds_all, poll_at_most};
use super::compaction::{
    OFTEN, archive_singly, check_sorted_and_apart, compact_with, engine, file, prepare, world_of_small_files,
};
use super::reading::forget_what_was_read;
use super::recompute::check_equals_fold;
use super::world::{SECOND, START, World};
use crate::support::house::compact;
use crate::support::seeds::seeds;
use crate::support::surroundings::Surroundings;

/// The facts count every row as it is stored.
async fn check_counts(snapshot: &MasterSnapshot) {
    snapshot.check_ledger().unwrap();
    let mut stored: BTreeMap<PartitionId, Counters> = BTreeMap::new();
    for batch in snapshot.snapshot.read(snapshot.snapshot.files(), None).await.unwrap() {
        let partitions = batch.column_by_name("_partition").unwrap().as_primitive::<Int32Type>().values().to_vec();
        for (partition, class) in partitions.into_iter().zip(classes(&batch).unwrap()) {
            *stored.entry(PartitionId(partition)).or_default() += class.counters();
        }
    }
    let counted = snapshot.facts.partitions.iter().filter(|(_, known)| known.counters.rows > 0);
    let counted = counted.map(|(partition, known)| (*partition, Counters { copies: 0, holes: 0, ..known.counters }));
    assert_eq!(counted.collect::<BTreeMap<_, _>>(), stored);
}

#[tokio::test]
async fn rows_of_another_reading_are_rewritten_once_and_count_as_they_are_read() {
    for seed in seeds(6) {
        let mut world = world_of_small_files(seed, 60).await;
        forget_what_was_read(&world).await;
        world.recompute(Mode::Incremental).await;
        check_equals_fold(&world).await;
        let before = world.snapshot().await;
        assert!(before.has_rows_read_again());
        assert!(before.snapshot.files().iter().all(|file| file.bounds["time"].0.is_null()), "nothing can be pruned");

        assert!(compact_with(&world, &engine()).await > 0);
        while compact_with(&world, &engine()).await > 0 {}
        let after = world.snapshot().await;
        assert!(!after.has_rows_read_again());
        check_holds_all(&world, &after).await;
        check_counts(&after).await;
        // Scans of some buckets skip files again.
        check_sorted_and_apart(&after).await;
        assert!(after.snapshot.files().iter().all(|file| !file.bounds["time"].0.is_null()));
        let merges = choose_merges(after.snapshot.files(), Some(reading_of(&world.source())), &OFTEN);
        assert_eq!(merges, [], "a second round rewrites nothing");
        // Whoever reads the version before finds what was there.
        let kept = world.master().open_at(before.snapshot.version()).await.unwrap();
        assert_eq!((&kept.facts, kept.snapshot.files()), (&before.facts, before.snapshot.files()));
        check_counts(&kept).await;

        check_equals_fold(&world).await;
        world.send(40).await;
        world.archive().await;
        for mode in [Mode::Incremental, Mode::Full] {
            world.recompute(mode).await;
            check_equals_fold(&world).await;
        }
    }
}

#[tokio::test]
async fn a_rewriting_killed_at_any_await_leaves_every_row_once_and_counted() {
    let mut world = world_of_small_files(7, 12).await;
    let mut times = 1;
    loop {
        forget_what_was_read(&world).await;
        let context = world.batch_context();
        let ended = poll_at_most(times, compact(&context, &world.source(), &OFTEN, &engine())).await;
        check_counts(&world.snapshot().await).await;
        if let Some(done) = ended {
            assert!(done.unwrap() > 0 && times > 20, "{times} polls: nothing was tested");
            break;
        }
        times += 1 + times / 16;
        world.send(4).await;
        archive_singly(&mut world, Duration::from_millis(1)).await;
    }
    let snapshot = world.snapshot().await;
    assert!(!snapshot.has_rows_read_again());
    check_holds_all(&world, &snapshot).await;
}

#[tokio::test]
async fn a_rewriting_that_lost_its_race_counts_only_the_difference_behind_the_winner() {
    let mut world = world_of_small_files(11, 30).await;
    forget_what_was_read(&world).await;
    let on = world.snapshot().await;
    let (one, other) = (prepare(&world, &on).await, prepare(&world, &on).await);
    assert!(one.recount.is_some());
    world.send(20).await;
    archive_singly(&mut world, Duration::from_millis(1)).await;
    let next = replace(&world.master(), &on, &one, world.ids.as_ref(), &always).await.unwrap().unwrap();
    assert_eq!(next.facts.rows, 50);
    check_counts(&next).await;
    check_holds_all(&world, &next).await;
    let again = replace(&world.master(), &on, &other, world.ids.as_ref(), &always).await.unwrap();
    assert!(again.is_none(), "the same rows are counted anew once");
}

/// What becomes of a rewriting whose counts or files were changed by `change`.
async fn refusal(
    world: &World,
    on: &MasterSnapshot,
    change: impl FnOnce(&mut Compaction, &mut Recount),
) -> RecordsError {
    let mut compaction = prepare(world, on).await;
    let mut recount = compaction.recount.take().unwrap();
    change(&mut compaction, &mut recount);
    compaction.recount = Some(recount);
    world.master().compact(on, &compaction, world.ids.next_id()).await.unwrap_err()
}

#[tokio::test]
async fn a_rewriting_that_miscounts_is_refused() {
    let world = world_of_small_files(12, 20).await;
    forget_what_was_read(&world).await;
    let on = world.snapshot().await;
    for error in [
        refusal(&world, &on, |_, recount| recount.read.rows += 1).await,
        refusal(&world, &on, |_, recount| recount.stored.rows -= 1).await,
        refusal(&world, &on, |compaction, _| drop(compaction.new.pop())).await,
    ] {
        assert!(matches!(error, RecordsError::LedgerMismatch { .. }), "{error}");
    }
    let more = refusal(&world, &on, |_, recount| {
        recount.stored.partitions.values_mut().for_each(|counters| counters.late += 1);
    });
    let error = more.await;
    assert!(matches!(error, RecordsError::CountsDiffer { .. }), "{error}");
    let unread = refusal(&world, &on, |compaction, recount| {
        compaction.new = compaction.old.clone();
        recount.read = recount.stored.clone();
    });
    let error = unread.await;
    assert!(matches!(&error, RecordsError::RowsDiffer { column, .. } if column == "_schema"), "{error}");
    let newest = world.snapshot().await;
    assert_eq!((newest.snapshot.version(), &newest.facts), (on.snapshot.version(), &on.facts));
}

/// One compaction by a process of these definitions.
async fn round(world: &World, pipeline: &Arc<Pipeline>) -> usize {
    let context = BatchContext { pipeline: Arc::clone(pipeline), ..world.batch_context() };
    compact(&context, &pipeline.sources[0], &OFTEN, &engine()).await.unwrap()
}

#[tokio::test]
async fn of_two_definitions_the_newest_rewrites_and_both_come_to_rest() {
    let mut world = world_of_small_files(13, 40).await;
    let text = world.pipeline.text.replace("late_after '1 minute'", "late_after '1 second'");
    let (old, new) = (Arc::clone(&world.pipeline), Arc::new(Pipeline::read(&text, &BTreeMap::new()).unwrap()));
    let by_new = MasterDataset::new(&world.lake, Arc::clone(&new.sources[0]));
    let registry = DefinitionRegistry::new(&world.lake);
    registry.claim(&old).await.unwrap();
    while round(&world, &old).await > 0 {}
    let before = world.snapshot().await.snapshot.version();
    assert_eq!(round(&world, &new).await, 0, "it was not claimed");
    assert_eq!(world.snapshot().await.snapshot.version(), before);

    registry.claim(&new).await.unwrap();
    assert!(round(&world, &new).await > 0);
    while round(&world, &new).await > 0 {}
    let rewritten = by_new.open().await.unwrap().unwrap();
    assert!(!rewritten.has_rows_read_again());
    check_counts(&rewritten).await;
    // The old process is still there, and goes on archiving.
    assert_eq!(round(&world, &old).await, 0, "what is newer is left alone");
    world.send(30).await;
    archive_singly(&mut world, Duration::from_millis(1)).await;
    assert!(by_new.open().await.unwrap().unwrap().has_rows_read_again());
    for _ in 0..8 {
        round(&world, &old).await;
        check_counts(&world.snapshot().await).await;
        round(&world, &new).await;
    }
    assert!(!by_new.open().await.unwrap().unwrap().has_rows_read_again());
    assert_eq!((round(&world, &old).await, round(&world, &new).await), (0, 0));
    // And reads every record as it defines the source.
    world.recompute(Mode::Full).await;
    check_equals_fold(&world).await;
    check_holds_all(&world, &world.snapshot().await).await;
}

#[test]
fn files_of_another_reading_come_first_whatever_their_size_and_not_all_in_one_round() {
    let settings = CompactSettings { is_on: true, file_bytes: 64 << 10, min_files: 2 };
    let small: Vec<_> = (0..40).map(|number| file(number, 10, 20 << 10, false)).collect();
    let large = file(50, 10, 200 << 10, false);
    // No file says what it was read by: all of them are of another reading than any.
    let merges = choose_merges(&small, Some(1), &settings);
    let sizes: Vec<usize> = merges.iter().map(|merge| merge.files.len()).collect();
    assert_eq!(sizes, [3, 3], "one round has the bytes of two files of the wished size");
    assert!(merges.iter().all(|merge| merge.is_read_again));
    let merges = choose_merges(&[large.clone(), file(51, 10, 1 << 10, true)], Some(1), &settings);
    assert_eq!(merges.len(), 1, "a large file fills a round");
    assert_eq!(merges[0].files, std::slice::from_ref(&large));
    assert_eq!(choose_merges(&[large], None, &settings), [], "in its own reading it stays");
    assert!(choose_merges(&small, None, &settings).iter().all(|merge| !merge.is_read_again));
}

fn definition(columns: &str, options: &str) -> Arc<Pipeline> {
    let sql = format!(
        "CREATE UNBOUNDED EXTERNAL TABLE hits (time TIMESTAMP NOT NULL, uid BIGINT, {columns})
         STORED AS JSON LOCATION 'kafka://hits' OPTIONS (event_time 'time', partitions '1', {options});
         CREATE MATERIALIZED VIEW by_uid AS SELECT uid, count(*) AS hits FROM hits GROUP BY uid;"
    );
    Arc::new(Pipeline::read(&sql, &BTreeMap::new()).unwrap())
}

/// Records of one event time, each a second later than the one before.
fn record(offset: i64, payload: &'static str) -> Record {
    Record {
        partition: PartitionId(0),
        offset: Offset(offset),
        timestamp: TimestampMicros(START + offset * SECOND),
        payload: payload.into(),
        event_id: None,
        clock_shift: None,
    }
}

async fn append(world: &Surroundings, source: &Arc<SourceDefinition>, records: &[Record]) -> MasterSnapshot {
    let master = MasterDataset::new(&world.lake, Arc::clone(source));
    let on = master.create().await.unwrap();
    let mut pending = Pending::new(&on.facts, source.border);
    pending.take(records, decode(source, records).unwrap(), world.clock.now()).unwrap();
    master.append(&on, pending.batches(), pending.facts().clone(), world.ids.next_id()).await.unwrap()
}

/// Every record is read as this source decodes it.
async fn check_reads(snapshot: &MasterSnapshot, source: &Arc<SourceDefinition>, records: &[Record]) {
    let read = snapshot.read_range(PartitionId(0), Offset(0), Offset(100)).await.unwrap();
    let read = concat_batches(&master_schema(source), &read).unwrap();
    assert_eq!(read.columns(), decode(source, records).unwrap().columns());
}

/// A text column as it is stored, in the order of offsets.
async fn stored_texts(snapshot: &MasterSnapshot, name: &str) -> Vec<Option<String>> {
    let files = snapshot.snapshot.files();
    let batches = snapshot.snapshot.read(files, Some(&["_offset", name])).await.unwrap();
    let text = |batch: &RecordBatch, row: usize| {
        let texts = batch.column(1).as_string::<i32>();
        texts.is_valid(row).then(|| texts.value(row).to_owned())
    };
    let rows = batches.iter().flat_map(|batch| {
        let offsets = batch.column(0).as_primitive::<Int64Type>().values();
        offsets.iter().enumerate().map(move |(row, offset)| (*offset, text(batch, row)))
    });
    rows.collect::<BTreeMap<_, _>>().into_values().collect()
}

/// What `deltalake-core` finds in a version: paths of files, rows, names of columns.
async fn foreign_view(folder: &std::path::Path, version: i64) -> (Vec<String>, usize, Vec<String>) {
    let url = url::Url::from_directory_path(folder.join("lake/raw/hits")).unwrap();
    let table = deltalake_core::open_table_with_version(url, version.try_into().unwrap()).await.unwrap();
    let files = table.get_files_by_partitions(&[]).await.unwrap();
    let mut files: Vec<String> = files.iter().map(|path| path.to_string()).collect();
    files.sort();
    let state = table.snapshot().unwrap();
    let rows = state.log_data().iter().map(|file| file.num_records().unwrap()).sum();
    (files, rows, state.schema().fields().map(|field| field.name().clone()).collect())
}

/// Another reader of Delta tables finds the same.
async fn check_foreign(folder: &std::path::Path, snapshot: &MasterSnapshot) {
    let (files, rows, columns) = foreign_view(folder, snapshot.snapshot.version().0).await;
    assert_eq!(files, snapshot.snapshot.files().iter().map(|file| file.path.clone()).collect::<Vec<_>>());
    assert_eq!(rows as u64, snapshot.facts.rows);
    let schema = snapshot.snapshot.schema();
    assert_eq!(columns, schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>());
}

/// What the commit of a version says of its changes.
fn data_changes(folder: &std::path::Path, version: i64) -> Vec<bool> {
    let log = std::fs::read_to_string(folder.join(format!("lake/raw/hits/_delta_log/{version:020}.json"))).unwrap();
    let actions: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let changes = actions.iter().flat_map(|action| [&action["add"], &action["remove"]]);
    changes.filter(|change| change.is_object()).map(|change| change["dataChange"].as_bool().unwrap()).collect()
}

#[tokio::test]
async fn a_changed_source_is_in_the_table_itself_and_columns_that_it_dropped_stay() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap());
    let first = definition("gone VARCHAR", "late_after '1 hour', strict 'true'");
    let second = definition("more VARCHAR", "late_after '1 second', event_id 'more'");
    let world = Surroundings::on(store, &first.text, START, 1);
    let event = r#"{"time":"2023-11-14T22:13:20Z","uid":7,"gone":"a","more":"x"}"#;
    let unreadable = r#"{"time":"2023-11-14T22:13:20Z","uid":"","gone":"a","more":"x"}"#;
    let payloads = [event, event, event, unreadable, "no json"];
    let records: Vec<Record> = (0..).zip(payloads).map(|(offset, payload)| record(offset, payload)).collect();
    let before = append(&world, &first.sources[0], &records).await;
    let counters = |snapshot: &MasterSnapshot| snapshot.facts.partitions[&PartitionId(0)].counters;
    assert_eq!((counters(&before).rejected, counters(&before).late), (2, 0));

    let context = BatchContext { pipeline: Arc::clone(&second), ..world.batch_context() };
    assert_eq!(compact(&context, &second.sources[0], &OFTEN, &engine()).await.unwrap(), 1);
    let by_second = MasterDataset::new(&world.lake, Arc::clone(&second.sources[0]));
    let after = by_second.open().await.unwrap().unwrap();
    assert!(!after.has_rows_read_again());
    let counted = counters(&after);
    assert_eq!((counted.rows, counted.rejected, counted.late), (5, 1, 2));
    check_counts(&after).await;
    check_sorted_and_apart(&after).await;
    let texts = |texts: [Option<&str>; 5]| texts.map(|text| text.map(str::to_owned)).to_vec();
    let (a, x) = (Some("a"), Some("x"));
    assert_eq!(stored_texts(&after, "more").await, texts([x, x, x, x, None]));
    assert_eq!(stored_texts(&after, "gone").await, texts([a, a, a, None, None]), "as it was stored");

    // Every reader reads by its own definition, in every version that is kept: also who knows of no identity.
    check_reads(&after, &second.sources[0], &records).await;
    for (pipeline, version) in [(&first, &after), (&first, &before), (&second, &before)] {
        let source = &pipeline.sources[0];
        let snapshot = MasterDataset::new(&world.lake, Arc::clone(source));
        let snapshot = snapshot.open_at(version.snapshot.version()).await.unwrap();
        check_reads(&snapshot, source, &records).await;
    }
    // Others see a change of data, and a table that they can read.
    check_foreign(folder.path(), &after).await;
    check_foreign(folder.path(), &before).await;
    assert_eq!(data_changes(folder.path(), after.snapshot.version().0), [true; 3], "one file by one of each kind");

    assert_eq!(compact(&context, &second.sources[0], &OFTEN, &engine()).await.unwrap(), 0);
    assert_eq!(by_second.refresh(&after).await.unwrap().snapshot.version(), after.snapshot.version());
}
