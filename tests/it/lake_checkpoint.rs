//! Checkpoints: what a log says and what its checkpoint says are the same, to our reader and to `deltalake-core`.

use std::path::Path as File;

use lake::{Change, Lake, Snapshot, Table, Version};
use object_store::local::LocalFileSystem;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use crate::lake::{append, every_type, lake_in, local_lake, numbers, numbers_in, numbers_schema};
use crate::support::seeds;

const TABLE: &str = "raw/wikipedia edits";
const INTERVAL: u32 = 4;

/// All that an independent reader finds in a version.
#[derive(Debug, PartialEq)]
struct View {
    protocol: Value,
    metadata: Value,
    schema: Value,
    /// Of our application: it names the facts.
    transaction: Option<i64>,
    /// Path, size, modification time, rows, statistics.
    files: Vec<(String, i64, i64, Option<usize>, Value)>,
}

/// What `deltalake-core` finds in a version.
async fn foreign_view(root: &File, version: Version) -> View {
    let url = url::Url::from_directory_path(root.join("lake").join(TABLE)).unwrap();
    let table = deltalake_core::open_table_with_version(url, version.0.try_into().unwrap()).await.unwrap();
    let state = table.snapshot().unwrap();
    let statistics = |text: Option<String>| serde_json::from_str(&text.unwrap()).unwrap();
    let mut files: Vec<_> = state
        .log_data()
        .iter()
        .map(|file| {
            let stats = statistics(file.stats());
            (file.path().into_owned(), file.size(), file.modification_time(), file.num_records(), stats)
        })
        .collect();
    files.sort_by(|one, other| one.0.cmp(&other.0));
    View {
        protocol: serde_json::to_value(state.protocol()).unwrap(),
        metadata: serde_json::to_value(state.metadata()).unwrap(),
        schema: serde_json::to_value(state.schema()).unwrap(),
        transaction: state.transaction_version(table.log_store().as_ref(), "twofold").await.unwrap(),
        files,
    }
}

fn lake_at(root: &File) -> Lake {
    lake_in(std::sync::Arc::new(LocalFileSystem::new_with_prefix(root).unwrap()), INTERVAL)
}

/// What our reader finds in a version; the facts stand for the transaction.
async fn our_view(root: &File, version: Version) -> Snapshot {
    lake_at(root).table(TABLE).open_at(version).await.unwrap().unwrap()
}

fn assert_same(one: &Snapshot, other: &Snapshot) {
    let facts = |snapshot: &Snapshot| snapshot.facts::<Value>().unwrap();
    assert_eq!((one.version(), one.schema(), facts(one)), (other.version(), other.schema(), facts(other)));
    assert_eq!(one.files(), other.files());
}

/// A copy of a lake without some objects of the table's log.
fn copy_without(root: &File, is_left_out: impl Fn(&str) -> bool) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let target = copy.path().join(path.strip_prefix(root).unwrap());
            if path.is_dir() {
                std::fs::create_dir_all(target).unwrap();
                folders.push(path);
            } else if !path.to_str().unwrap().contains("_delta_log/")
                || !is_left_out(path.file_name().unwrap().to_str().unwrap())
            {
                std::fs::copy(path, target).unwrap();
            }
        }
    }
    copy
}

fn is_checkpoint(name: &str) -> bool {
    name.contains("checkpoint")
}

/// Whether this is the commit of a version at or below `version`, or a checkpoint below it.
fn is_below(name: &str, version: Version) -> bool {
    let number = name.split('.').next().unwrap().parse::<i64>();
    number.is_ok_and(|number| number < version.0 || number == version.0 && !is_checkpoint(name))
}

/// A random change: files are added, removed or replaced, some with rows that stay the same.
async fn change(table: &Table, on: &Snapshot, rng: &mut StdRng) -> Snapshot {
    let count = if on.version().0 == 0 { 1 } else { rng.random_range(0..=3) };
    let mut add = Vec::new();
    for file in 0..count {
        let rows = (0..rng.random_range(1..20)).map(|_| rng.random());
        let writer = ["a", "ü \"quoted\"", "\\ \n \u{1F600}"].choose(rng).unwrap();
        add.push(on.write_file(&format!("f{file}"), &[numbers(writer, rows)]).await.unwrap());
    }
    let live = on.files().iter().map(|file| file.path.clone());
    let remove: Vec<String> = live.filter(|_| rng.random_bool(0.3)).collect();
    let change = Change { add, remove, changes_data: rng.random_bool(0.5) };
    table.commit(on, change, &rng.random::<u32>(), rng.random()).await.unwrap()
}

#[test]
fn a_checkpoint_of_a_random_table_says_what_its_commits_say() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for seed in seeds::seeds(4) {
        eprintln!("repeat with TWOFOLD_SEED={seed}");
        runtime.block_on(check_random_table(StdRng::seed_from_u64(seed)));
    }
}

async fn check_random_table(mut rng: StdRng) {
    let (lake, folder) = local_lake(INTERVAL);
    let table = lake.table(TABLE);
    let mut snapshot = table.create(numbers_schema()).await.unwrap();
    let mut versions = vec![snapshot.clone()];
    for _ in 0..rng.random_range(9..=15) {
        snapshot = change(&table, &snapshot, &mut rng).await;
        versions.push(snapshot.clone());
    }
    let commits_alone = copy_without(folder.path(), is_checkpoint);
    let newest = snapshot.version();
    for checkpoint in (4..=newest.0).step_by(4).map(Version) {
        let checkpoint_alone = copy_without(folder.path(), |name| is_below(name, checkpoint));
        for version in (checkpoint.0..=newest.0).map(Version) {
            let replayed = foreign_view(commits_alone.path(), version).await;
            assert_eq!(foreign_view(checkpoint_alone.path(), version).await, replayed, "version {version}");
            let held = &versions[usize::try_from(version.0).unwrap()];
            assert_same(&our_view(checkpoint_alone.path(), version).await, held);
            assert_same(&our_view(commits_alone.path(), version).await, held);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_reader_opens_a_table_whose_commits_were_cut_away() {
    let (lake, folder) = local_lake(INTERVAL);
    let table = lake.table(TABLE);
    let mut snapshot = table.create(every_type().schema()).await.unwrap();
    for version in 1..=10 {
        snapshot = append(&table, &snapshot, every_type(), version).await.unwrap();
        if version == 6 {
            let remove = vec![snapshot.files()[0].path.clone()];
            let change = Change { remove, changes_data: true, ..Change::default() };
            let facts = std::collections::BTreeMap::from([("nonce", "100")]);
            snapshot = table.commit(&snapshot, change, &facts, 100).await.unwrap();
        }
    }
    let before = foreign_view(folder.path(), snapshot.version()).await;
    let grace = std::time::Duration::from_secs(60);
    let later = std::time::SystemTime::now() + 2 * grace;
    let cut = table.vacuum(Version(8), grace, later).await.unwrap();
    assert_eq!(cut.log_objects, 8 + 1, "commits 0 to 7 and checkpoint 4");

    let view = foreign_view(folder.path(), snapshot.version()).await;
    assert_eq!(view, before);
    // The last 16 bits of the version before the nonce: what our writer puts down.
    assert_eq!(view.transaction, Some(11 << 47 | 10));
    assert_eq!(view.protocol["minReaderVersion"], 1);
    assert_eq!(view.metadata["configuration"]["delta.checkpointInterval"], INTERVAL.to_string());
    let ours = our_view(folder.path(), snapshot.version()).await;
    assert_same(&ours, &snapshot);
    let files: Vec<_> = view.files.iter().map(|(path, size, _, rows, _)| (path.clone(), *size, *rows)).collect();
    let held: Vec<_> =
        ours.files().iter().map(|file| (file.path.clone(), file.size_bytes as i64, Some(file.rows as usize))).collect();
    assert_eq!(files, held);
    let names: Vec<&Value> = view.schema["fields"].as_array().unwrap().iter().map(|field| &field["name"]).collect();
    assert_eq!(names, every_type().schema().fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_last_checkpoint_is_named_and_an_older_one_does_not_take_its_place() {
    let (lake, folder) = local_lake(2);
    let table = lake.table("t");
    let mut snapshot = table.create(numbers_schema()).await.unwrap();
    let last = folder.path().join("lake/t/_delta_log/_last_checkpoint");
    let read = || serde_json::from_slice::<Value>(&std::fs::read(&last).unwrap()).unwrap();
    for version in 1..=4 {
        snapshot = append(&table, &snapshot, numbers("a", [version]), version as u128).await.unwrap();
    }
    let checkpoint = folder.path().join(format!("lake/t/_delta_log/{:020}.checkpoint.parquet", 4));
    let size = std::fs::metadata(checkpoint).unwrap().len();
    // Protocol, metadata, transaction, four files.
    assert_eq!(read(), serde_json::json!({"version": 4, "size": 7, "sizeInBytes": size, "numOfAddFiles": 4}));

    // As if another process had come further.
    std::fs::write(&last, r#"{"version":8,"size":1}"#).unwrap();
    for version in 5..=6 {
        snapshot = append(&table, &snapshot, numbers("a", [version]), version as u128).await.unwrap();
    }
    assert_eq!(read()["version"], 8);
    assert_eq!(numbers_in(&table.open().await.unwrap().unwrap()).await, (1..=6).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_checkpoint_that_disagrees_with_the_version_in_memory_is_not_written() {
    let (lake, folder) = local_lake(4);
    let table = lake.table("t");
    let mut snapshot = table.create(numbers_schema()).await.unwrap();
    for version in 1..=4 {
        if version == 4 {
            // Somebody edited the log behind our back.
            let commit = folder.path().join(format!("lake/t/_delta_log/{:020}.json", 2));
            let text = std::fs::read_to_string(&commit).unwrap();
            std::fs::write(&commit, text.replace(r#"\"numRecords\":1"#, r#"\"numRecords\":2"#)).unwrap();
        }
        snapshot = append(&table, &snapshot, numbers("a", [version]), version as u128).await.unwrap();
    }
    assert_eq!(snapshot.version(), Version(4), "the commit itself stands");
    let log = folder.path().join("lake/t/_delta_log");
    let names = std::fs::read_dir(log).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| is_checkpoint(name)).count(), 0);
}
