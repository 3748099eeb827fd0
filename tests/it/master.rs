//! The master dataset: one history per source, that counts itself, and is read back by offset.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema};
use datafusion::prelude::SessionContext;
use event_log::Record;
use lake::{Change, LakeError, Version};
use positions::{Archived, Counters, Incarnation, Offset, PartitionId};
use rand::Rng;
use rand::seq::SliceRandom;
use records::RecordsError;
use records::decode::{decode, master_schema};
use records::master::{ArchivedPartition, Compaction, Hole, MasterDataset, MasterFacts, MasterSnapshot};
use views::SourceDefinition;

use crate::decode::{clicks, record, source_with};
use crate::lake::memory_lake;
use crate::support::seeds::for_each_seed;

/// A record on time, one that is late, and one that is rejected, by turns.
fn click(partition: i32, offset: i64) -> Record {
    let payload = match offset % 5 {
        3 => format!(r#"{{"time":"2026-01-31T10:00:00Z","page":"late","bytes":{offset}}}"#),
        4 => "no json".to_owned(),
        _ => format!(r#"{{"time":"2026-01-31T12:00:00Z","page":"p","bytes":{offset}}}"#),
    };
    Record { partition: PartitionId(partition), ..record(offset, payload) }
}

/// The facts after more records, as an archive computes them.
fn facts_after(source: &SourceDefinition, before: &MasterFacts, records: &[Record]) -> MasterFacts {
    let mut facts = before.clone();
    for record in records {
        let start = ArchivedPartition { archived: Archived::start(Incarnation(0)), counters: Counters::default() };
        let partition = facts.partitions.entry(record.partition).or_insert(start);
        partition.archived = partition.archived.advance(&record.mark(), &source.border);
        partition.counters.rows += 1;
        facts.rows += 1;
    }
    facts
}

/// Appends clicks `[from, to)` of one partition.
async fn append(
    dataset: &MasterDataset,
    on: &MasterSnapshot,
    partition: i32,
    range: std::ops::Range<i64>,
    nonce: u128,
) -> Result<MasterSnapshot, RecordsError> {
    let records: Vec<Record> = range.map(|offset| click(partition, offset)).collect();
    let rows = decode(&clicks(), &records).unwrap();
    dataset.append(on, &[rows], facts_after(&clicks(), &on.facts, &records), nonce).await
}

fn offsets(batches: &[RecordBatch]) -> Vec<i64> {
    let column =
        |batch: &RecordBatch| batch.column_by_name("_offset").unwrap().as_primitive::<Int64Type>().values().to_vec();
    batches.iter().flat_map(column).collect()
}

#[tokio::test]
async fn appended_rows_are_read_back_whole() {
    let lake = memory_lake(3);
    let dataset = MasterDataset::new(&lake, Arc::new(clicks()));
    assert!(dataset.open().await.unwrap().is_none());
    let created = dataset.create().await.unwrap();
    assert_eq!(created.facts, MasterFacts::default());
    created.check_ledger().unwrap();

    let one = append(&dataset, &created, 0, 0..10, 1).await.unwrap();
    let two = append(&dataset, &one, 1, 0..3, 2).await.unwrap();
    let paths: Vec<&str> = two.snapshot.files().iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths.len(), 3, "on time and late, then on time only: {paths:?}");
    assert_eq!(two.snapshot.schema().fields(), master_schema(&clicks()).fields());

    for version in [&dataset.open().await.unwrap().unwrap(), &dataset.refresh(&created).await.unwrap(), &two] {
        version.check_ledger().unwrap();
        assert_eq!((version.facts.rows, version.facts.partitions.len()), (13, 2));
        assert_eq!(version.facts, two.facts);
        let context = SessionContext::new();
        context.register_table("master", version.scan().unwrap()).unwrap();
        let sql =
            "SELECT count(*) AS all_rows, count(_error) AS rejected, count(*) FILTER (WHERE _late) AS late FROM master";
        let counts = context.sql(sql).await.unwrap().collect().await.unwrap();
        let drawn = arrow::util::pretty::pretty_format_batches(&counts).unwrap().to_string();
        assert!(drawn.contains("| 13       | 2        | 2    |"), "\n{drawn}");
    }

    // What was decoded is what is stored, to the last column.
    let stored = two.read_range(PartitionId(0), Offset(0), Offset(10)).await.unwrap();
    let records: Vec<Record> = (0..10).map(|offset| click(0, offset)).collect();
    let stored = arrow::compute::concat_batches(&stored[0].schema(), &stored).unwrap();
    assert_eq!(stored.columns(), decode(&clicks(), &records).unwrap().columns());
}

#[test]
fn a_range_is_read_in_offset_order_from_any_files() {
    for_each_seed(20, |mut random| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dataset = MasterDataset::new(&memory_lake(4), Arc::new(clicks()));
            let mut at = dataset.create().await.unwrap();
            let mut ends = [0_i64; 3];
            for nonce in 1..=6 {
                let mut records = Vec::new();
                for (partition, end) in ends.iter_mut().enumerate() {
                    let next = *end + random.random_range(0..8);
                    records.extend((*end..next).map(|offset| click(partition as i32, offset)));
                    *end = next;
                }
                let facts = facts_after(&clicks(), &at.facts, &records);
                // An archive may hand over its partitions interleaved.
                records.shuffle(&mut random);
                let rows = decode(&clicks(), &records).unwrap();
                let cut = rows.num_rows() / 2;
                let rows = [rows.slice(0, cut), rows.slice(cut, rows.num_rows() - cut)];
                at = dataset.append(&at, &rows, facts, nonce).await.unwrap();
            }
            at.check_ledger().unwrap();
            for (partition, end) in ends.into_iter().enumerate() {
                let from = random.random_range(0..=end);
                let to = random.random_range(from..=end);
                let batches = at.read_range(PartitionId(partition as i32), Offset(from), Offset(to)).await.unwrap();
                assert_eq!(offsets(&batches), (from..to).collect::<Vec<_>>());
                let partitions = batches.iter().flat_map(|batch| {
                    batch.column_by_name("_partition").unwrap().as_primitive::<Int32Type>().values().to_vec()
                });
                assert!(partitions.into_iter().all(|other| other == partition as i32));
            }
            assert!(at.read_range(PartitionId(9), Offset(0), Offset(100)).await.unwrap().is_empty());
        });
    });
}

#[tokio::test]
async fn of_two_archivers_on_one_version_one_is_told() {
    let dataset = MasterDataset::new(&memory_lake(10), Arc::new(clicks()));
    let (one, other) = tokio::join!(dataset.create(), dataset.create());
    let (one, other) = (one.unwrap(), other.unwrap());
    let (left, right) = tokio::join!(append(&dataset, &one, 0, 0..5, 1), append(&dataset, &other, 0, 0..5, 2));
    let results = [left, right];
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(results.iter().any(|result| matches!(result, Err(RecordsError::Conflict { .. }))));
    let newest = dataset.open().await.unwrap().unwrap();
    newest.check_ledger().unwrap();
    assert_eq!(offsets(&newest.read_range(PartitionId(0), Offset(0), Offset(9)).await.unwrap()), [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn facts_that_do_not_fit_are_refused() {
    let dataset = MasterDataset::new(&memory_lake(10), Arc::new(clicks()));
    let created = dataset.create().await.unwrap();
    let one = append(&dataset, &created, 0, 0..5, 1).await.unwrap();
    let miscounted = MasterFacts { rows: 7, ..one.facts.clone() };
    let rows = decode(&clicks(), &[click(0, 5)]).unwrap();
    let result = dataset.append(&one, std::slice::from_ref(&rows), miscounted, 2).await;
    assert!(matches!(result, Err(RecordsError::LedgerMismatch { files: 6, commits: 7, .. })), "{result:?}");
    let moved_back = MasterFacts { rows: 6, ..MasterFacts::default() };
    let error = dataset.append(&one, &[rows], moved_back, 3).await.unwrap_err().to_string();
    assert!(error.contains("would move partition 0 back below 5"), "{error}");

    // A hole changes facts without rows.
    let hole = Hole { partition: PartitionId(0), from: Offset(5), to: Offset(9) };
    let with_hole = MasterFacts { holes: vec![hole], ..one.facts.clone() };
    let two = dataset.append(&one, &[], with_hole, 4).await.unwrap();
    assert_eq!(dataset.refresh(&one).await.unwrap().facts.holes, [hole]);
    two.check_ledger().unwrap();
}

#[tokio::test]
async fn the_ledger_catches_a_lost_and_a_doubled_file() {
    let lake = memory_lake(10);
    let dataset = MasterDataset::new(&lake, Arc::new(clicks()));
    let created = dataset.create().await.unwrap();
    let one = append(&dataset, &created, 0, 0..5, 1).await.unwrap();
    let table = lake.table("raw/clicks");
    let lost = Change { remove: vec![one.snapshot.files()[0].path.clone()], ..Change::default() };
    let snapshot = table.commit(&one.snapshot, lost, &one.facts, 2).await.unwrap();
    assert!(matches!(
        dataset.refresh(&one).await.unwrap().check_ledger(),
        Err(RecordsError::LedgerMismatch { files: 4, commits: 5, .. })
    ));
    let rows = decode(&clicks(), &(0..10).map(|offset| click(0, offset)).collect::<Vec<_>>()).unwrap();
    let doubled = Change { add: vec![snapshot.write_file("doubled", &[rows]).await.unwrap()], ..Change::default() };
    table.commit(&snapshot, doubled, &one.facts, 3).await.unwrap();
    let error = dataset.open().await.unwrap().unwrap().check_ledger().unwrap_err();
    assert_eq!(error.to_string(), "ledger of raw/clicks: files hold 14 rows, commits say 5");
}

/// All files of a version as one, with rows added or left out by `change`.
async fn merged(on: &MasterSnapshot, name: &str, change: impl FnOnce(RecordBatch) -> RecordBatch) -> Compaction {
    let snapshot = &on.snapshot;
    let rows = snapshot.read(snapshot.files(), None).await.unwrap();
    let rows = change(arrow::compute::concat_batches(&snapshot.schema(), &rows).unwrap());
    let last = Version(snapshot.version().0 + 10);
    let mut file = snapshot.file_writer_until(last, name, snapshot.schema()).unwrap();
    file.write(&rows).await.unwrap();
    Compaction { old: snapshot.files().to_vec(), new: vec![file.finish().await.unwrap()], last, recount: None }
}

#[tokio::test]
async fn a_compaction_keeps_rows_facts_and_ledger() {
    let dataset = MasterDataset::new(&memory_lake(10), Arc::new(clicks()));
    let created = dataset.create().await.unwrap();
    let one = append(&dataset, &created, 0, 0..10, 1).await.unwrap();
    let two = append(&dataset, &one, 1, 0..5, 2).await.unwrap();
    let compaction = merged(&two, "merged", |rows| rows).await;
    // An append came first: the same files are replaced behind it, and its facts stay.
    let three = append(&dataset, &two, 0, 10..20, 3).await.unwrap();
    let conflict = dataset.compact(&two, &compaction, 4).await;
    assert!(matches!(conflict, Err(RecordsError::Conflict { .. })), "{conflict:?}");
    let four = dataset.compact(&three, &compaction, 5).await.unwrap();
    assert_eq!(four.facts, three.facts);
    assert_eq!(dataset.open().await.unwrap().unwrap().facts, three.facts);
    four.check_ledger().unwrap();
    assert!(four.snapshot.files().len() < three.snapshot.files().len());
    for (partition, end) in [(0, 20), (1, 5)] {
        let read = four.read_range(PartitionId(partition), Offset(0), Offset(99)).await.unwrap();
        assert_eq!(offsets(&read), (0..end).collect::<Vec<_>>());
    }
    let again = dataset.compact(&four, &compaction, 6).await;
    assert!(matches!(again, Err(RecordsError::Lake(LakeError::NotLive { .. }))), "{again:?}");
    // Older versions are read as they were; those that never were are an error with words.
    assert_eq!(dataset.open_at(Version(2)).await.unwrap().facts, two.facts);
    let gone = dataset.open_at(Version(9)).await.unwrap_err();
    assert_eq!(
        gone.to_string(),
        "master dataset of raw/clicks: version 9 is gone, or was never there; the newest is 4"
    );
}

#[tokio::test]
async fn a_compaction_that_would_change_rows_is_refused() {
    let dataset = MasterDataset::new(&memory_lake(10), Arc::new(clicks()));
    let created = dataset.create().await.unwrap();
    let one = append(&dataset, &created, 0, 0..10, 1).await.unwrap();
    let short = merged(&one, "short", |rows| rows.slice(0, 9)).await;
    let result = dataset.compact(&one, &short, 2).await;
    assert!(matches!(result, Err(RecordsError::LedgerMismatch { files: 9, commits: 10, .. })), "{result:?}");
    // As many rows, but not the same: the last one is there twice, the first one is not.
    let moved = merged(&one, "moved", |rows| {
        let at: Vec<usize> = (0..10).collect();
        let by_offset = |row: &usize| rows.column_by_name("_offset").unwrap().as_primitive::<Int64Type>().value(*row);
        let (mut at, first) = (at.clone(), *at.iter().min_by_key(|row| by_offset(row)).unwrap());
        at[first] = *at.iter().max_by_key(|row| by_offset(row)).unwrap();
        let rows_at = arrow::array::UInt32Array::from_iter_values(at.iter().map(|row| *row as u32));
        arrow::compute::take_record_batch(&rows, &rows_at).unwrap()
    })
    .await;
    let result = dataset.compact(&one, &moved, 3).await;
    assert!(matches!(result, Err(RecordsError::RowsDiffer { .. })), "{result:?}");
    let newest = dataset.open().await.unwrap().unwrap();
    assert_eq!((newest.snapshot.version(), &newest.facts), (one.snapshot.version(), &one.facts));
    newest.check_ledger().unwrap();

    // Whatever already went wrong is not covered up.
    let lost = Change { remove: vec![one.snapshot.files()[0].path.clone()], ..Change::default() };
    one.snapshot.table().commit(&one.snapshot, lost, &one.facts, 4).await.unwrap();
    let broken = dataset.refresh(&one).await.unwrap();
    let rest = merged(&broken, "rest", |rows| rows).await;
    let result = dataset.compact(&broken, &rest, 5).await;
    assert!(matches!(result, Err(RecordsError::LedgerMismatch { .. })), "{result:?}");
}

#[tokio::test]
async fn a_table_that_is_no_master_dataset_is_refused_by_name() {
    let lake = memory_lake(10);
    let other = Schema::new(vec![Field::new("_offset", DataType::Utf8, true)]);
    lake.table("raw/clicks").create(Arc::new(other)).await.unwrap();
    let dataset = MasterDataset::new(&lake, Arc::new(clicks()));
    for error in [dataset.create().await.unwrap_err(), dataset.open().await.unwrap_err()] {
        assert!(matches!(error, RecordsError::Unusable(_)));
        assert!(error.to_string().contains("column _offset is BIGINT, and VARCHAR there; move it away"), "{error}");
    }
}

#[tokio::test]
async fn a_source_may_gain_lose_exchange_and_retype_columns_and_reads_what_is_there_in_its_own() {
    let lake = memory_lake(3);
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    let sources = [
        vec![field("page", DataType::Utf8), field("bytes", DataType::Int64)],
        vec![field("more", DataType::Int64), field("bytes", DataType::Int64), field("page", DataType::Utf8)],
        vec![field("more", DataType::Int64)],
        // Other types, letters, and a name that another column would be stored under.
        vec![field("bytes", DataType::Utf8), field("PAGE", DataType::Utf8), field("more", DataType::Float64)],
        vec![field("bytes__2", DataType::Int64), field("bytes", DataType::Float64), field("page", DataType::Int64)],
        vec![field("page", DataType::Utf8), field("bytes", DataType::Int64)],
    ]
    .map(|columns| Arc::new(source_with(columns)));
    let record = |offset: i64| {
        let payload = format!(
            r#"{{"time":"2026-01-31T12:00:00Z","page":"p{offset}","bytes":{offset},"more":{},"bytes__2":{offset}}}"#,
            offset * 2
        );
        record(offset, payload)
    };
    let mut end = 0;
    for (nonce, source) in (1..).zip(&sources) {
        let dataset = MasterDataset::new(&lake, source.clone());
        let on = dataset.create().await.unwrap();
        let records: Vec<Record> = (end..end + 5).map(record).collect();
        end += 5;
        let facts = facts_after(source, &on.facts, &records);
        dataset.append(&on, &[decode(source, &records).unwrap()], facts, nonce).await.unwrap();
        // Whoever reads, reads every record as it decodes records itself.
        for reader in &sources {
            let snapshot = MasterDataset::new(&lake, reader.clone()).open().await.unwrap().unwrap();
            snapshot.check_ledger().unwrap();
            let read = snapshot.read_range(PartitionId(0), Offset(0), Offset(end)).await.unwrap();
            let read = arrow::compute::concat_batches(&master_schema(reader), &read).unwrap();
            let all: Vec<Record> = (0..end).map(record).collect();
            assert_eq!(read.columns(), decode(reader, &all).unwrap().columns());
        }
    }
}
