//! Races for a table: exactly one of those who commit on the same version wins, the others are told, and no row is
//! there twice; in memory, on a local disk, on S3. Also: stores that break their promises.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures::StreamExt;
use lake::{Change, Lake, LakeError, Snapshot, Table, Version};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, PutResult, Result as StoreResult};
use tokio::task::JoinSet;

use crate::lake::{all_lakes, append, lake_in, memory_lake, nonce_of, numbers, numbers_in, numbers_schema};
use crate::support::object_layer::{Layer, Layered};

/// What a [`Faulty`] store does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It overwrites where it should refuse.
    IgnoresCondition,
    /// It does the put of a commit, and then says that it failed.
    LosesReplies,
    /// It does the put of a commit, repeats it as a client would, and reports the refusal of the second.
    RepeatsPuts,
    /// It has no room for another commit.
    IsFull,
    /// Another writer comes first at each commit.
    IsOvertaken,
    /// Before each put another process runs its whole probe.
    IsProbedByOthers,
}

/// A store in memory with one fault.
#[derive(Debug)]
struct Faulty {
    inner: Arc<InMemory>,
    fault: Fault,
}

fn generic(error: std::io::Error) -> object_store::Error {
    object_store::Error::Generic { store: "Faulty", source: Box::new(error) }
}

impl Layer for Faulty {
    type Inner = InMemory;

    fn inner(&self) -> &InMemory {
        &self.inner
    }

    async fn put(&self, path: &Path, payload: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        let is_commit = path.as_ref().ends_with(".json") && path.as_ref().contains("_delta_log/");
        let is_first = path.as_ref().ends_with("00000.json");
        match self.fault {
            Fault::IgnoresCondition => {
                self.inner.put_opts(path, payload, PutOptions { mode: PutMode::Overwrite, ..options }).await
            }
            Fault::IsProbedByOthers => {
                lake_in(Arc::clone(&self.inner) as Arc<dyn ObjectStore>, 10).probe_conditional_put(2).await.unwrap();
                self.inner.put_opts(path, payload, options).await
            }
            _ if !is_commit || is_first => self.inner.put_opts(path, payload, options).await,
            Fault::LosesReplies => {
                self.inner.put_opts(path, payload, options).await?;
                Err(generic(std::io::Error::from(std::io::ErrorKind::TimedOut)))
            }
            Fault::RepeatsPuts => {
                self.inner.put_opts(path, payload.clone(), options.clone()).await?;
                self.inner.put_opts(path, payload, options).await
            }
            Fault::IsFull => Err(generic(std::io::Error::from(std::io::ErrorKind::StorageFull))),
            Fault::IsOvertaken => {
                let other = r#"{"txn":{"appId":"twofold","version":1}}"#;
                self.inner.put_opts(path, other.into(), options.clone()).await?;
                self.inner.put_opts(path, payload, options).await
            }
        }
    }
}

fn faulty(fault: Fault) -> Lake {
    lake_in(Arc::new(Layered::new(Faulty { inner: Arc::new(InMemory::new()), fault })), 10)
}

fn is_conflict(result: &Result<Snapshot, LakeError>) -> bool {
    matches!(result, Err(LakeError::Conflict { .. }))
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_refused_by_the_probe() {
    let error = faulty(Fault::IgnoresCondition).probe_conditional_put(1).await.unwrap_err();
    assert!(matches!(error, LakeError::Unusable { .. }), "{error}");
    let (lakes, _folder) = all_lakes(10);
    for lake in lakes {
        lake.probe_conditional_put(1).await.unwrap();
        lake.probe_conditional_put(1).await.unwrap();
    }
}

/// Roles that start together probe the same store.
#[tokio::test]
async fn a_probe_is_not_disturbed_by_others() {
    faulty(Fault::IsProbedByOthers).probe_conditional_put(1).await.unwrap();
}

#[tokio::test]
async fn a_lost_or_repeated_reply_is_a_success() {
    for fault in [Fault::LosesReplies, Fault::RepeatsPuts] {
        let table = faulty(fault).table("t");
        let mut snapshot = table.create(numbers_schema()).await.unwrap();
        for number in 1..=3 {
            snapshot = append(&table, &snapshot, numbers("a", [number]), number as u128).await.unwrap();
        }
        assert_eq!(numbers_in(&table.open().await.unwrap().unwrap()).await, [1, 2, 3], "{fault:?}");
    }
}

#[tokio::test]
async fn a_full_disk_and_an_overtaken_commit_are_told_apart() {
    let table = faulty(Fault::IsFull).table("t");
    let created = table.create(numbers_schema()).await.unwrap();
    let error = append(&table, &created, numbers("a", [1]), 1).await.unwrap_err();
    assert!(matches!(error, LakeError::Full { .. }), "{error}");
    assert_eq!(table.open().await.unwrap().unwrap().version(), Version(0));

    let table = faulty(Fault::IsOvertaken).table("t");
    let created = table.create(numbers_schema()).await.unwrap();
    assert!(is_conflict(&append(&table, &created, numbers("a", [1]), 7).await));
}

#[tokio::test]
async fn two_creators_make_one_table() {
    let (lakes, _folder) = all_lakes(10);
    for lake in lakes {
        let mut creators = JoinSet::new();
        for creator in 0..6_i64 {
            let table = lake.table("t");
            creators.spawn(async move {
                let created = table.create(numbers_schema()).await.unwrap();
                append(&table, &created, numbers("a", [creator]), creator as u128).await
            });
        }
        let results = creators.join_all().await;
        // Each opened version 0, or the version of who was first; every success must be there, once.
        let won = results.iter().filter(|result| result.is_ok()).count();
        assert!(won >= 1 && results.iter().all(|result| result.is_ok() || is_conflict(result)), "{results:?}");
        let newest = lake.table("t").open().await.unwrap().unwrap();
        assert_eq!(newest.version(), Version(won as i64));
        assert_eq!(numbers_in(&newest).await.len(), won);
    }
}

#[tokio::test]
async fn a_stale_appender_is_told_and_leaves_nothing() {
    let table = memory_lake(10).table("t");
    let created = table.create(numbers_schema()).await.unwrap();
    let first = append(&table, &created, numbers("a", [1]), 1).await.unwrap();
    assert!(is_conflict(&append(&table, &created, numbers("b", [1]), 2).await));
    assert_eq!(numbers_in(&table.refresh(&first).await.unwrap()).await, [1]);
}

/// Replaces all files of `on` by one.
async fn replace_all(table: &Table, on: &Snapshot, nonce: u128) -> Result<Snapshot, LakeError> {
    let file = on.write_file(&format!("r{nonce}"), &[numbers("r", numbers_in(on).await)]).await?;
    let remove = on.files().iter().map(|file| file.path.clone()).collect();
    table.commit(on, Change { add: vec![file], remove, changes_data: false }, &nonce.to_string(), nonce).await
}

#[tokio::test]
async fn of_two_rewriters_one_wins_and_rows_stay_single() {
    let (lakes, _folder) = all_lakes(10);
    for lake in lakes {
        let table = lake.table("t");
        let created = table.create(numbers_schema()).await.unwrap();
        let one = append(&table, &created, numbers("a", [1, 2]), 1).await.unwrap();
        let two = append(&table, &one, numbers("a", [3]), 2).await.unwrap();
        let (left, right) = tokio::join!(replace_all(&table, &two, 10), replace_all(&table, &two, 11));
        assert_eq!([&left, &right].iter().filter(|result| result.is_ok()).count(), 1);
        assert_eq!([&left, &right].iter().filter(|result| is_conflict(result)).count(), 1);
        assert_eq!(numbers_in(&table.open().await.unwrap().unwrap()).await, [1, 2, 3]);
        // A stale replacer, and an appender that did not see the rewrite.
        assert!(is_conflict(&replace_all(&table, &one, 12).await));
        assert!(is_conflict(&append(&table, &two, numbers("a", [4]), 13).await));
        assert_eq!(numbers_in(&table.open().await.unwrap().unwrap()).await, [1, 2, 3]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_committers_in_a_loop_each_count_once() {
    const WRITERS: usize = 8;
    const EACH: i64 = 10;
    let (lakes, _folder) = all_lakes(7);
    for lake in lakes {
        let created = lake.table("t").create(numbers_schema()).await.unwrap();
        let next = Arc::new(AtomicI64::new(1));
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let (table, mut at, next) = (lake.table("t"), created.clone(), Arc::clone(&next));
            writers.spawn(async move {
                let (mut won, mut attempts) = (Vec::new(), 0);
                while won.len() < EACH as usize {
                    attempts += 1;
                    assert!(attempts < 10_000, "no progress");
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    match append(&table, &at, numbers(&writer.to_string(), [number]), number as u128).await {
                        Ok(snapshot) => {
                            won.push((snapshot.version(), number));
                            at = snapshot;
                        }
                        Err(LakeError::Conflict { .. }) => at = table.refresh(&at).await.unwrap(),
                        Err(error) => panic!("{error}"),
                    }
                }
                won
            });
        }
        let mut won: Vec<(Version, i64)> = writers.join_all().await.into_iter().flatten().collect();
        won.sort_unstable();
        let total = WRITERS as i64 * EACH;
        assert_eq!(won.iter().map(|(version, _)| version.0).collect::<Vec<_>>(), (1..=total).collect::<Vec<_>>());
        let mut expected: Vec<i64> = won.iter().map(|(_, number)| *number).collect();
        expected.sort_unstable();

        // A fresh reader, over checkpoints, sees every success once, and each version its own facts.
        let newest = lake.table("t").open().await.unwrap().unwrap();
        assert_eq!(newest.version(), Version(total));
        assert_eq!(numbers_in(&newest).await, expected);
        let followed = lake.table("t").newer(&created).await.unwrap();
        assert_eq!(followed.len(), won.len());
        for (snapshot, (version, number)) in followed.iter().zip(&won) {
            assert_eq!((snapshot.version(), nonce_of(snapshot)), (*version, Some(*number as u128)));
        }
        for version in (7..=total).step_by(7) {
            let checkpoint = lake.path(&format!("t/_delta_log/{version:020}.checkpoint.parquet"));
            assert!(lake.store().head(&checkpoint).await.is_ok(), "{checkpoint}");
        }
        let middle = lake.table("t").open_at(Version(66)).await.unwrap().unwrap();
        assert_eq!(middle.files(), followed[65].files());
    }
}

#[tokio::test]
async fn a_writer_that_slept_through_a_cut_log_is_told() {
    let lake = memory_lake(2);
    let table = lake.table("t");
    let created = table.create(numbers_schema()).await.unwrap();
    let slept = append(&table, &created, numbers("a", [1]), 1).await.unwrap();
    let mut snapshot = slept.clone();
    for number in 2..=9 {
        snapshot = append(&table, &snapshot, numbers("a", [number]), number as u128).await.unwrap();
    }
    let grace = std::time::Duration::from_secs(60);
    let later = std::time::SystemTime::now() + 2 * grace;
    assert!(table.vacuum(Version(8), grace, later).await.unwrap().log_objects > 0);
    // Version 2 no longer exists, so its name is free; the commit must not be taken for a success.
    assert!(is_conflict(&append(&table, &slept, numbers("a", [99]), 99).await));
    assert_eq!(table.refresh(&slept).await.unwrap().version(), Version(9));
    assert_eq!(numbers_in(&table.open().await.unwrap().unwrap()).await, (1..=9).collect::<Vec<_>>());
}

/// A store on which everything that may be deleted is deleted, without any grace, before each put.
#[derive(Debug)]
struct Vacuumed {
    inner: Arc<InMemory>,
}

/// Deletes whatever no version names, as if all of it were old.
async fn vacuum_all(store: &Arc<InMemory>) {
    let table = lake_in(Arc::clone(store) as Arc<dyn ObjectStore>, 2).table("t");
    let Some(newest) = table.open().await.unwrap() else { return };
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(3_600);
    table.vacuum(newest.version(), std::time::Duration::ZERO, later).await.unwrap();
}

impl Layer for Vacuumed {
    type Inner = InMemory;

    fn inner(&self) -> &InMemory {
        &self.inner
    }

    async fn put(&self, path: &Path, payload: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        vacuum_all(&self.inner).await;
        self.inner.put_opts(path, payload, options).await
    }
}

#[tokio::test]
async fn a_commit_never_names_what_a_vacuum_deleted_meanwhile() {
    let inner = Arc::new(InMemory::new());
    let table = lake_in(Arc::new(Layered::new(Vacuumed { inner: Arc::clone(&inner) })), 2).table("t");
    let mut snapshot = table.create(numbers_schema()).await.unwrap();
    for version in 1..=6_i64 {
        // Slower than any grace: all that can go is deleted between the files, before the facts and before the commit.
        let late = snapshot.write_file("late", &[numbers("a", [100 + version])]).await.unwrap();
        let file = snapshot.write_file("file", &[numbers("a", [version])]).await.unwrap();
        vacuum_all(&inner).await;
        let lost = snapshot.clone();
        let change = Change { add: vec![file.clone(), late], remove: vec![], changes_data: true };
        snapshot = table.commit(&snapshot, change, &version.to_string(), version as u128).await.unwrap();
        // One that was slower still is refused, and its files go.
        let change = Change { add: vec![file], remove: vec![], changes_data: true };
        assert!(is_conflict(&table.commit(&lost, change, &"lost", 77).await));
        vacuum_all(&inner).await;
        let read = lake_in(Arc::clone(&inner) as Arc<dyn ObjectStore>, 2).table("t").open().await.unwrap().unwrap();
        assert_eq!(read.version(), Version(version));
        assert_eq!(numbers_in(&read).await, (1..=version).chain(101..=100 + version).collect::<Vec<_>>());
        assert_eq!(read.facts::<String>().unwrap(), Some(version.to_string()));
    }
    let left = inner.list(Some(&Path::from("t/_twofold"))).count().await;
    assert!(left <= 3, "{left} facts objects for at most three versions in the log");
}

/// One file for `on` and any later version up to `last`, that holds all its rows.
async fn merged_until(on: &Snapshot, last: Version) -> Change {
    let mut file = on.file_writer_until(last, "merged", numbers_schema()).unwrap();
    file.write(&numbers("m", numbers_in(on).await)).await.unwrap();
    let remove = on.files().iter().map(|file| file.path.clone()).collect();
    Change { add: vec![file.finish().await.unwrap()], remove, changes_data: false }
}

#[tokio::test]
async fn a_rewrite_is_committed_behind_appends_up_to_its_last_version_and_never_twice() {
    let (lakes, _folder) = all_lakes(10);
    for lake in lakes {
        let table = lake.table("t");
        let created = table.create(numbers_schema()).await.unwrap();
        let one = append(&table, &created, numbers("a", [1]), 1).await.unwrap();
        let two = append(&table, &one, numbers("a", [2]), 2).await.unwrap();
        let change = merged_until(&two, Version(4)).await;
        let too_late = merged_until(&two, Version(3)).await;
        let three = append(&table, &two, numbers("a", [3]), 3).await.unwrap();
        // On its own predecessor it lost; on the new one the same rule holds again.
        assert!(is_conflict(&table.commit(&two, change.clone(), &"", 4).await));
        let error = table.commit(&three, too_late, &"", 5).await.unwrap_err();
        assert!(error.to_string().contains("was not written for the version after 3"), "{error}");
        let four = table.commit(&three, change.clone(), &"", 6).await.unwrap();
        assert_eq!(numbers_in(&four).await, [1, 2, 3]);
        let again = table.commit(&four, change, &"", 7).await;
        assert!(matches!(again, Err(LakeError::NotLive { .. })), "{again:?}");
        assert_eq!(numbers_in(&table.open().await.unwrap().unwrap()).await, [1, 2, 3]);
    }
}

#[tokio::test]
async fn a_rewrite_that_waits_for_its_turn_keeps_its_files_and_loses_them_when_it_never_comes() {
    let inner = Arc::new(InMemory::new());
    let table = lake_in(Arc::new(Layered::new(Vacuumed { inner: Arc::clone(&inner) })), 2).table("t");
    let mut snapshot = table.create(numbers_schema()).await.unwrap();
    for version in 1..=3_i64 {
        snapshot = append(&table, &snapshot, numbers("a", [version]), version as u128).await.unwrap();
    }
    let base = snapshot.clone();
    let (change, lost) =
        (merged_until(&base, Version(8)).await, base.file_writer_until(Version(9), "lost", numbers_schema()));
    let mut lost = lost.unwrap();
    lost.write(&numbers("x", [0])).await.unwrap();
    let lost = Path::from(format!("lake/t/{}", lost.finish().await.unwrap().path));
    for version in 4..=7_i64 {
        snapshot = append(&table, &snapshot, numbers("a", [version]), version as u128).await.unwrap();
        vacuum_all(&inner).await;
    }
    snapshot = table.commit(&snapshot, change, &BTreeMap::from([("nonce", "8")]), 8).await.unwrap();
    vacuum_all(&inner).await;
    assert_eq!(numbers_in(&snapshot).await, [1, 2, 3, 4, 5, 6, 7]);
    assert!(inner.head(&lost).await.is_ok(), "version 9 may still name it");
    append(&table, &snapshot, numbers("a", [9]), 9).await.unwrap();
    vacuum_all(&inner).await;
    assert!(inner.head(&lost).await.is_err(), "version 9 did not name it, and there is no other");
}

#[tokio::test]
async fn a_file_is_committed_as_the_version_it_was_written_for_or_never() {
    let table = memory_lake(10).table("t");
    let created = table.create(numbers_schema()).await.unwrap();
    let file = created.write_file("slow", &[numbers("a", [1])]).await.unwrap();
    let first = append(&table, &created, numbers("a", [2]), 1).await.unwrap();
    let change = Change { add: vec![file], remove: vec![], changes_data: true };
    let error = table.commit(&first, change, &"", 2).await.unwrap_err();
    assert!(error.to_string().contains("was not written for the version after 1"), "{error}");
}
