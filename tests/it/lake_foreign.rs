//! What other tools commit to our tables, written as they write it: a rewriting of the same rows is passed over and put
//! back, everything else is named and left out by a repair; our readers and others then see the same again. Also: what
//! else a repair mends, and what it names.

use std::sync::Arc;

use bytes::Bytes;
use lake::{Lake, LakeError, Snapshot, Table, Version};
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use serde_json::{Value, json};

use crate::lake::{all_lakes, append, lake_in, local_lake, memory_lake, nonce_of, numbers, numbers_in, numbers_schema};

const TABLE: &str = "raw/hits";

/// The object of a version's commit.
fn commit_of(table: &Table, version: i64) -> Path {
    table.lake().path(&format!("{}/_delta_log/{version:020}.json", table.folder()))
}

/// Commits as another tool does: under the next number, without a transaction of ours.
async fn commit_foreign(table: &Table, version: i64, operation: &str, actions: &[Value]) {
    let info = json!({"commitInfo": {"timestamp": 1, "operation": operation, "engineInfo": "delta-rs:py-1.2.0"}});
    let lines: Vec<String> = std::iter::once(&info).chain(actions).map(Value::to_string).collect();
    table.lake().store().put(&commit_of(table, version), lines.join("\n").into()).await.unwrap();
}

fn add(path: &str, changes_data: bool) -> Value {
    json!({"add": {
        "path": path, "partitionValues": {}, "size": 1, "modificationTime": 1, "dataChange": changes_data,
        // Too narrow on purpose: nobody may believe them.
        "stats": r#"{"numRecords":3,"minValues":{"number":2},"maxValues":{"number":2},"nullCount":{"number":0}}"#,
    }})
}

fn remove(path: &str, changes_data: bool) -> Value {
    json!({"remove": {"path": path, "deletionTimestamp": 1, "dataChange": changes_data}})
}

/// A table with the numbers 1 to 3, each in a file of its own: version 3.
async fn three(lake: &Lake) -> Snapshot {
    let table = lake.table(TABLE);
    let mut snapshot = table.create(numbers_schema()).await.unwrap();
    for version in 1..=3 {
        snapshot = append(&table, &snapshot, numbers("a", [version]), version as u128).await.unwrap();
    }
    snapshot
}

/// Replaces all files of a version by one with the same rows, as another tool's compaction does.
async fn compact_foreign(on: &Snapshot) {
    let path = format!("part-00000-{}.snappy.parquet", on.version());
    let removes = on.files().iter().map(|file| remove(&file.path, false));
    let actions: Vec<Value> = removes.chain([add(&path, false)]).collect();
    commit_foreign(on.table(), on.version().0 + 1, "OPTIMIZE", &actions).await;
}

async fn open(table: &Table) -> Snapshot {
    table.open().await.unwrap().unwrap()
}

#[tokio::test]
async fn a_compaction_by_another_tool_changes_nothing_and_is_put_back_by_the_next_commit() {
    let (local, folder) = local_lake(100);
    let table = local.table(TABLE);
    let before = three(&local).await;
    compact_foreign(&before).await;
    for seen in [open(&table).await, table.refresh(&before).await.unwrap()] {
        assert_eq!((seen.version(), nonce_of(&seen)), (Version(4), Some(3)));
        assert_eq!((seen.files(), seen.is_beside_others()), (before.files(), true));
        assert_eq!(numbers_in(&seen).await, [1, 2, 3]);
    }
    let stale = append(&table, &before, numbers("a", [9]), 9).await;
    assert!(matches!(stale, Err(LakeError::Conflict { .. })), "{stale:?}");
    let next = append(&table, &open(&table).await, numbers("a", [4]), 4).await.unwrap();
    for seen in [next.clone(), open(&table).await, table.refresh(&before).await.unwrap()] {
        assert_eq!((seen.version(), seen.files()), (Version(5), next.files()));
        assert_eq!((numbers_in(&seen).await, seen.is_beside_others()), (vec![1, 2, 3, 4], false));
    }
    // Other readers see our files, too, and theirs no more.
    let url = url::Url::from_directory_path(folder.path().join("lake").join(TABLE)).unwrap();
    let others = deltalake_core::open_table_with_version(url, 5).await.unwrap();
    let mut paths: Vec<String> =
        others.get_files_by_partitions(&[]).await.unwrap().iter().map(ToString::to_string).collect();
    paths.sort();
    assert_eq!(paths, next.files().iter().map(|file| file.path.clone()).collect::<Vec<_>>());
}

#[tokio::test]
async fn two_compactions_by_another_tool_and_a_checkpoint_of_its_own_are_passed_over() {
    let (local, folder) = local_lake(100);
    let table = local.table(TABLE);
    let before = three(&local).await;
    compact_foreign(&before).await;
    let again = [remove("part-00000-3.snappy.parquet", false), add("part-00000-4.snappy.parquet", false)];
    commit_foreign(&table, 5, "OPTIMIZE", &again).await;
    // One that sums up what the tool itself did.
    let url = url::Url::from_directory_path(folder.path().join("lake").join(TABLE)).unwrap();
    let others = deltalake_core::open_table_with_version(url, 5).await.unwrap();
    deltalake_core::checkpoints::create_checkpoint(&others, None).await.unwrap();
    let checkpoint = local.path(&format!("{TABLE}/_delta_log/{:020}.checkpoint.parquet", 5));
    assert!(local.store().head(&checkpoint).await.is_ok());
    let seen = open(&table).await;
    assert_eq!((seen.version(), seen.files()), (Version(5), before.files()));
    let put_back = table.put_back(&seen, 77).await.unwrap();
    assert_eq!((put_back.version(), nonce_of(&put_back)), (Version(6), Some(3)));
    assert!(!open(&table).await.is_beside_others());
    assert_eq!(numbers_in(&open(&table).await).await, [1, 2, 3]);
}

#[tokio::test]
async fn commits_that_touch_no_file_are_taken_in() {
    let lake = memory_lake(2);
    let table = lake.table(TABLE);
    let mut snapshot = three(&lake).await;
    let settings = json!({"txn": {"appId": "spark-stream", "version": 7}});
    let domain = json!({"domainMetadata": {"domain": "x", "configuration": "{}", "removed": false}});
    for (operation, actions) in [("VACUUM END", vec![]), ("STREAMING UPDATE", vec![settings]), ("OTHER", vec![domain])]
    {
        let version = snapshot.version().0 + 1;
        commit_foreign(&table, version, operation, &actions).await;
        let seen = open(&table).await;
        assert_eq!((seen.version().0, seen.is_beside_others()), (version, false), "{operation}");
        snapshot = append(&table, &seen, numbers("b", [version]), version as u128).await.unwrap();
        assert_eq!(snapshot.version().0, version + 1);
    }
    assert_eq!(numbers_in(&open(&table).await).await, [1, 2, 3, 4, 6, 8]);
}

/// What another tool may do that is not harmless, and a word by which it is named.
fn harms(on: &Snapshot) -> Vec<(&'static str, Vec<Value>, &'static str)> {
    let mine = on.files()[0].path.as_str();
    let schema = r#"{"type":"struct","fields":[{"name":"number","type":"long","nullable":true,"metadata":{}}]}"#;
    let reshaped = json!({"metaData": {
        "id": "x", "format": {"provider": "parquet", "options": {}}, "schemaString": schema, "partitionColumns": [],
        "configuration": {},
    }});
    let upgraded = json!({"protocol": {"minReaderVersion": 2, "minWriterVersion": 5}});
    vec![
        ("WRITE", vec![add("part-1.parquet", true)], "adds file part-1.parquet"),
        ("DELETE", vec![remove(mine, true)], "removes file"),
        ("UPDATE", vec![remove(mine, true), add("part-2.parquet", true)], "adds file part-2.parquet, removes file"),
        ("ADD COLUMNS", vec![reshaped], "changes columns or partitions"),
        ("SET TBLPROPERTIES", vec![upgraded], "asks for a newer protocol"),
    ]
}

#[tokio::test]
async fn a_change_of_rows_by_another_tool_is_named_and_left_out_by_a_repair() {
    let count = harms(&three(&memory_lake(100)).await).len();
    for at in 0..count {
        let lake = memory_lake(3);
        let table = lake.table(TABLE);
        let before = three(&lake).await;
        let (operation, actions, words) = harms(&before).swap_remove(at);
        commit_foreign(&table, 4, operation, &actions).await;
        let error = table.open().await.unwrap_err().to_string();
        let tool = format!("version 4 of delta-rs:py-1.2.0 ({operation})");
        for part in [tool.as_str(), words, "`twofold lake repair --table raw/hits`"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(matches!(table.refresh(&before).await, Err(LakeError::Foreign { .. })), "{operation}");
        // Nobody of us goes on from it, whoever held the version before.
        let stale = append(&table, &before, numbers("a", [9]), 9).await;
        assert!(matches!(stale, Err(LakeError::Conflict { .. })), "{stale:?}");
        let held = table.open_at(Version(4)).await.unwrap().unwrap();
        let on_it = append(&table, &held, numbers("a", [9]), 10).await;
        assert!(matches!(on_it, Err(LakeError::Foreign { .. })), "{on_it:?}");

        let examined = table.examine().await.unwrap().unwrap();
        assert!(examined.foreign.as_ref().is_some_and(|change| change.contains(words)), "{examined:?}");
        assert!(!examined.is_whole() && examined.missing.is_empty() && examined.unreadable.is_empty());
        let repaired = table.repair(&examined, 50).await.unwrap();
        assert_eq!((repaired.version(), nonce_of(&repaired)), (Version(5), Some(3)));
        let lost_race = table.repair(&examined, 51).await;
        assert!(matches!(lost_race, Err(LakeError::Conflict { .. })), "{lost_race:?}");
        assert!(table.examine().await.unwrap().unwrap().is_whole(), "{operation}");
        for seen in [open(&table).await, table.refresh(&before).await.unwrap()] {
            assert_eq!((seen.files(), seen.schema()), (before.files(), before.schema()), "{operation}");
            assert_eq!(numbers_in(&seen).await, [1, 2, 3]);
        }
        // The version in between is none of ours.
        let newer = table.newer(&before).await.unwrap();
        assert_eq!(newer.iter().map(Snapshot::version).collect::<Vec<_>>(), [Version(5)], "{operation}");
        let next = append(&table, &repaired, numbers("a", [4]), 4).await.unwrap();
        assert_eq!(numbers_in(&next).await, [1, 2, 3, 4]);
        assert_eq!(open(&table).await.files(), next.files());
    }
}

#[tokio::test]
async fn rows_marked_as_deleted_by_another_tool_are_beyond_repair_and_said_to_be() {
    let lake = memory_lake(100);
    let table = lake.table(TABLE);
    let before = three(&lake).await;
    let mine = before.files()[0].path.as_str();
    let mut marked = add(mine, true);
    marked["add"]["deletionVector"] =
        json!({"storageType": "u", "pathOrInlineDv": "x", "sizeInBytes": 1, "cardinality": 1});
    commit_foreign(&table, 4, "DELETE", &[remove(mine, true), marked]).await;
    let error = table.open().await.unwrap_err().to_string();
    assert!(error.contains("marks rows as deleted"), "{error}");
    let examined = table.examine().await.unwrap().unwrap();
    let refused = table.repair(&examined, 5).await.unwrap_err().to_string();
    assert!(refused.contains("no commit of ours takes that back; move its folder away"), "{refused}");
}

/// What becomes of the bytes of a commit.
type Damage = fn(&[u8]) -> Vec<u8>;

#[tokio::test]
async fn versions_that_cannot_be_read_give_way_to_the_last_one_that_can() {
    // What became of the commits of the versions 3 and 4.
    let torn = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
    let emptied = |_: &[u8]| Vec::<u8>::new();
    let lost_its_end = |bytes: &[u8]| {
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        lines[..lines.len() - 1].concat()
    };
    let damages: [(&str, Damage); 3] = [("torn", torn), ("emptied", emptied), ("without its last line", lost_its_end)];
    for (name, damage) in damages {
        let store = Arc::new(InMemory::new());
        let lake = lake_in(store.clone(), 100);
        let table = lake.table(TABLE);
        let three = three(&lake).await;
        let four = append(&table, &three, numbers("a", [4]), 4).await.unwrap();
        for version in [3, 4] {
            let path = commit_of(&table, version);
            let whole = store.get(&path).await.unwrap().bytes().await.unwrap();
            store.put(&path, damage(&whole).into()).await.unwrap();
        }
        let error = table.open().await.unwrap_err();
        assert!(matches!(&error, LakeError::Corrupt { .. }), "{name}: {error}");
        let examined = table.examine().await.unwrap().unwrap();
        let unreadable: Vec<Version> = examined.unreadable.iter().map(|broken| broken.version).collect();
        assert_eq!((examined.snapshot.version(), unreadable), (Version(2), vec![Version(4), Version(3)]), "{name}");
        let repaired = table.repair(&examined, 60).await.unwrap();
        assert_eq!((repaired.version(), nonce_of(&repaired)), (Version(5), Some(2)), "{name}");
        assert!(table.examine().await.unwrap().unwrap().is_whole(), "{name}");
        // Whoever holds a version that is gone goes on from what is there.
        for seen in [open(&table).await, table.refresh(&four).await.unwrap(), table.refresh(&three).await.unwrap()] {
            assert_eq!((seen.version(), numbers_in(&seen).await), (Version(5), vec![1, 2]), "{name}");
        }
        let late = append(&table, &four, numbers("late", [5]), 70).await;
        assert!(matches!(late, Err(LakeError::Conflict { .. })), "{name}: {late:?}");
    }
}

/// Three versions with a row each, of which the second cannot be read, and what it was.
async fn torn(lake: &Lake) -> (Table, Snapshot, Bytes) {
    let (table, three) = (lake.table(TABLE), three(lake).await);
    let path = commit_of(&table, 2);
    let whole = lake.get(&path).await.unwrap().unwrap();
    lake.put(&path, whole.slice(..whole.len() / 2)).await.unwrap();
    (table, three, whole)
}

#[tokio::test]
async fn a_commit_that_is_not_any_more_what_was_examined_is_not_written_over() {
    let (lakes, _folder) = all_lakes(100);
    for lake in lakes {
        let (table, _, whole) = torn(&lake).await;
        let examined = table.examine().await.unwrap().unwrap();
        // Restored from a copy meanwhile.
        lake.put(&commit_of(&table, 2), whole.clone()).await.unwrap();
        let refused = table.repair(&examined, 60).await;
        assert!(matches!(refused, Err(LakeError::Conflict { .. })), "{refused:?}");
        assert_eq!(lake.get(&commit_of(&table, 2)).await.unwrap(), Some(whole));
        assert_eq!(numbers_in(&open(&table).await).await, [1, 2, 3]);
    }
}

#[tokio::test]
async fn of_two_repairs_of_one_damage_one_is_done() {
    let lake = memory_lake(100);
    let (table, ..) = torn(&lake).await;
    let examined = table.examine().await.unwrap().unwrap();
    let repaired = table.repair(&examined, 60).await.unwrap();
    let second = table.repair(&examined, 61).await;
    assert!(matches!(second, Err(LakeError::Conflict { .. })), "{second:?}");
    let seen = open(&table).await;
    assert_eq!((seen.version(), numbers_in(&seen).await), (repaired.version(), vec![1]));
}

/// Else what it commits would stand for everything below it, and the rows between were gone without a word.
#[tokio::test]
async fn a_writer_that_goes_on_beside_a_repair_makes_no_version_that_lacks_rows() {
    let lake = memory_lake(100);
    let (table, three, _) = torn(&lake).await;
    let examined = table.examine().await.unwrap().unwrap();
    let four = append(&table, &three, numbers("a", [4]), 4).await.unwrap();
    let lost_race = table.repair(&examined, 60).await;
    assert!(matches!(lost_race, Err(LakeError::Conflict { .. })), "{lost_race:?}");
    let opened = table.open().await;
    assert!(matches!(opened, Err(LakeError::Corrupt { .. })), "{opened:?}");
    let examined = table.examine().await.unwrap().unwrap();
    let unreadable: Vec<Version> = examined.unreadable.iter().map(|broken| broken.version).collect();
    assert_eq!(unreadable, [Version(4), Version(3), Version(2)]);
    let repaired = table.repair(&examined, 61).await.unwrap();
    assert_eq!((repaired.version(), numbers_in(&repaired).await), (Version(5), vec![1]));
    assert_eq!(numbers_in(&open(&table).await).await, [1]);
    let late = append(&table, &four, numbers("a", [5]), 5).await;
    assert!(matches!(late, Err(LakeError::Conflict { .. })), "{late:?}");
}

#[tokio::test]
async fn a_table_that_leads_back_to_no_version_is_named() {
    let lake = memory_lake(2);
    let table = lake.table(TABLE);
    three(&lake).await;
    lake.store().delete(&commit_of(&table, 0)).await.unwrap();
    let checkpoint = lake.path(&format!("{TABLE}/_delta_log/{:020}.checkpoint.parquet", 2));
    lake.store().delete(&checkpoint).await.unwrap();
    let error = table.examine().await.unwrap_err();
    assert!(matches!(&error, LakeError::Corrupt { object, .. } if object == TABLE), "{error}");
}

#[tokio::test]
async fn a_file_that_is_gone_or_short_is_found_by_a_listing() {
    let lake = memory_lake(100);
    let snapshot = three(&lake).await;
    assert!(snapshot.missing_files().await.unwrap().is_empty());
    let path = |at: usize| lake.path(&format!("{TABLE}/{}", snapshot.files()[at].path));
    lake.store().delete(&path(0)).await.unwrap();
    lake.store().put(&path(2), "PAR1".into()).await.unwrap();
    let expected = vec![snapshot.files()[0].clone(), snapshot.files()[2].clone()];
    assert_eq!(snapshot.missing_files().await.unwrap(), expected);
    let examined = lake.table(TABLE).examine().await.unwrap().unwrap();
    assert!(!examined.is_whole() && !examined.has_to_be_put_back());
    assert_eq!(examined.missing, expected);
}

#[tokio::test]
async fn a_table_whose_folder_was_renamed_is_found() {
    let store = Arc::new(InMemory::new());
    let lake = lake_in(store.clone(), 2);
    three(&lake).await;
    lake.table("raw/other").create(numbers_schema()).await.unwrap();
    assert_eq!(lake.table("raw/none").moved_to().await.unwrap(), None);
    for object in lake.objects(&lake.path(TABLE)).await.unwrap() {
        let moved = Path::from(object.location.as_ref().replace("raw/hits", "raw/hits-before"));
        store.rename(&object.location, &moved).await.unwrap();
    }
    assert!(lake.table(TABLE).open().await.unwrap().is_none());
    assert_eq!(lake.table(TABLE).moved_to().await.unwrap(), Some("raw/hits-before".to_owned()));
}
