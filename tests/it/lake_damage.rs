//! Tables whose log was damaged: a version is read as the log has it now, or the broken object is named; nothing
//! panics, and reading twice says the same.

use std::sync::Arc;

use futures::TryStreamExt;
use lake::{Lake, LakeError, Snapshot, Version};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::lake::{append, lake_in, numbers, numbers_in, numbers_schema};
use crate::support::damage::damage;
use crate::support::seeds::seeds;

const TABLE: &str = "raw/edits";
/// A checkpoint at version 4, and commits behind it.
const INTERVAL: u32 = 4;
const NEWEST: i64 = 6;

/// The objects of a whole table.
type Objects = Vec<(Path, Vec<u8>)>;

async fn objects() -> Objects {
    let store = Arc::new(InMemory::new());
    let table = lake_in(store.clone(), INTERVAL).table(TABLE);
    let mut snapshot = table.create(numbers_schema()).await.unwrap();
    for version in 1..=NEWEST {
        snapshot = append(&table, &snapshot, numbers("a", [version]), version as u128).await.unwrap();
    }
    let mut objects = Vec::new();
    for object in store.list(None).try_collect::<Vec<_>>().await.unwrap() {
        let bytes = store.get(&object.location).await.unwrap().bytes().await.unwrap();
        objects.push((object.location, bytes.to_vec()));
    }
    objects
}

async fn lake_of(objects: &Objects) -> Lake {
    let store = Arc::new(InMemory::new());
    for (path, bytes) in objects {
        store.put(path, bytes.clone().into()).await.unwrap();
    }
    lake_in(store, INTERVAL)
}

/// What readers learn of a table.
fn shown(opened: &Result<Option<Snapshot>, LakeError>) -> String {
    match opened {
        Ok(Some(snapshot)) => {
            let facts = snapshot.facts::<serde_json::Value>().map_err(|error| error.to_string());
            format!("{} {:?} {:?} {facts:?}", snapshot.version(), snapshot.schema(), snapshot.files())
        }
        Ok(None) => "no table".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// Opens what is left, in each way, twice.
async fn check(objects: &Objects, damaged: &Path, context: &str) {
    let lake = lake_of(objects).await;
    let table = lake.table(TABLE);
    for version in [None, Some(Version(2)), Some(Version(NEWEST))] {
        let open = async || match version {
            None => table.open().await,
            Some(version) => table.open_at(version).await,
        };
        let opened = open().await;
        assert_eq!(shown(&opened), shown(&open().await), "{context}");
        match opened {
            Ok(snapshot) => {
                assert!(snapshot.is_none_or(|snapshot| snapshot.version() <= Version(NEWEST)), "{context}");
            }
            Err(LakeError::Corrupt { object, reason }) => {
                assert!(object.contains(TABLE) && !reason.is_empty(), "{damaged}: {object}: {reason}\n{context}");
            }
            // Of a commit that lost the name of who made it.
            Err(LakeError::Foreign { table, change }) => assert!(table == TABLE && !change.is_empty(), "{context}"),
            Err(error) => panic!("{damaged}: {error:?}\n{context}"),
        }
    }
}

#[tokio::test]
async fn a_table_with_a_damaged_log_is_read_or_its_broken_object_named() {
    let whole = objects().await;
    let is_of_log = |path: &Path| ["_delta_log", "_twofold"].iter().any(|folder| path.as_ref().contains(folder));
    let of_log: Vec<usize> = (0..whole.len()).filter(|at| is_of_log(&whole[*at].0)).collect();
    assert!(of_log.iter().any(|at| whole[*at].0.as_ref().ends_with(".checkpoint.parquet")));
    for seed in seeds(400) {
        let mut random = StdRng::seed_from_u64(seed);
        let at = of_log[random.random_range(0..of_log.len())];
        let other = &whole[of_log[random.random_range(0..of_log.len())]].1;
        let mut objects = whole.clone();
        damage(&mut objects[at].1, other, &mut random);
        check(&objects, &whole[at].0, &format!("TWOFOLD_SEED={seed}")).await;
    }
    // The harness itself takes nothing away.
    let lake = lake_of(&whole).await;
    let opened = lake.table(TABLE).open().await.unwrap().unwrap();
    assert_eq!(numbers_in(&opened).await, (1..=NEWEST).collect::<Vec<_>>());
}

/// An object that is gone is as good as one that is broken.
#[tokio::test]
async fn a_table_that_lacks_an_object_of_its_log_is_read_or_the_object_named() {
    let whole = objects().await;
    for at in 0..whole.len() {
        let mut objects = whole.clone();
        let (path, _) = objects.remove(at);
        check(&objects, &path, "an object is gone").await;
    }
}
