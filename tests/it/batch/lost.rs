//! Files of the master dataset that are gone: noticed by a look at the tables, read again from the log, or given up as
//! holes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use batch_layer::archive::ArchiveSettings;
use batch_layer::lost_rows::{carry_out, plan_rescue};
use batch_layer::recompute::{Mode, recompute};
use batch_layer::{BatchError, RecomputeSettings, look_after};
use event_log::{EventLog, PollLimit};
use lake::DataFile;
use object_store::ObjectStoreExt;
use positions::{Erased, ErasedRecord, Hole, IdSource, Offset, PartitionId};
use records::master::MasterSnapshot;

use super::recompute::check_equals_fold;
use super::world::World;
use crate::support::seeds::seeds;

impl World {
    /// Deletes the first file of the newest version that holds several rows.
    async fn lose_a_file(&self) -> DataFile {
        let snapshot = self.snapshot().await.snapshot;
        let lost = snapshot.files().iter().find(|file| file.rows > 1).unwrap_or(&snapshot.files()[0]).clone();
        let path = self.lake.path(&format!("{}/{}", snapshot.table().folder(), lost.path));
        self.lake.store().delete(&path).await.unwrap();
        lost
    }

    fn shared_log(&self) -> Arc<dyn EventLog> {
        Arc::new(self.log.clone())
    }
}

/// Partition, offset and item of every row.
async fn places(master: &MasterSnapshot) -> BTreeSet<(i32, i64, i32)> {
    use arrow::array::AsArray;
    use arrow::datatypes::{Int32Type, Int64Type};
    let files = master.snapshot.files();
    let batches = master.snapshot.read(files, Some(&["_partition", "_offset", "_item"])).await.unwrap();
    let rows = batches.iter().flat_map(|batch| {
        let (partitions, offsets) =
            (batch.column(0).as_primitive::<Int32Type>(), batch.column(1).as_primitive::<Int64Type>());
        let items = batch.column(2).as_primitive::<Int32Type>();
        (0..batch.num_rows())
            .map(|row| (partitions.value(row), offsets.value(row), items.value(row)))
            .collect::<Vec<_>>()
    });
    rows.collect()
}

#[tokio::test]
async fn rows_of_a_lost_file_are_read_from_the_log_again() {
    for seed in seeds(10) {
        let mut world = World::new(seed).await;
        for _ in 0..3 {
            world.send(20).await;
            world.archive().await;
        }
        world.recompute(Mode::Full).await;
        let before = world.snapshot().await;
        let was = places(&before).await;
        let lost = world.lose_a_file().await;
        assert_eq!(before.snapshot.missing_files().await.unwrap(), vec![lost.clone()], "TWOFOLD_SEED={seed}");
        let rescue =
            plan_rescue(world.shared_log(), &world.source(), before.clone(), vec![lost.clone()], &Erased::default())
                .await
                .unwrap();
        assert_eq!((rescue.rows_gone(), rescue.rows_read() as u64, rescue.lost.len()), (lost.rows, lost.rows, 0));
        let mended = carry_out(&world.master(), &rescue, world.ids.next_id()).await.unwrap();
        assert_eq!(mended.facts, before.facts, "TWOFOLD_SEED={seed}");
        mended.check_ledger().unwrap();
        assert!(world.snapshot().await.snapshot.missing_files().await.unwrap().is_empty());
        assert_eq!(places(&mended).await, was, "TWOFOLD_SEED={seed}");
        let again = carry_out(&world.master(), &rescue, world.ids.next_id()).await.unwrap_err();
        assert!(matches!(again, BatchError::Records(_)), "{again}");
        // Both go on from it.
        world.send(10).await;
        world.archive().await;
        world.recompute(Mode::Full).await;
        check_equals_fold(&world).await;
    }
}

#[tokio::test]
async fn what_the_log_does_not_hold_either_is_a_hole() {
    let mut world = World::new(7).await;
    world.send(30).await;
    world.archive().await;
    let before = world.snapshot().await;
    let was = places(&before).await;
    let lost: Vec<DataFile> = before.snapshot.files().to_vec();
    for file in &lost {
        let path = world.lake.path(&format!("{}/{}", before.snapshot.table().folder(), file.path));
        world.lake.store().delete(&path).await.unwrap();
    }
    world.log.expire_below("hits", PartitionId(0), Offset(5)).unwrap();
    let rescue =
        plan_rescue(world.shared_log(), &world.source(), before.clone(), lost, &Erased::default()).await.unwrap();
    let gone = Hole { partition: PartitionId(0), from: Offset(0), to: Offset(5) };
    assert_eq!(rescue.lost, [gone]);
    let mended = carry_out(&world.master(), &rescue, world.ids.next_id()).await.unwrap();
    mended.check_ledger().unwrap();
    let left: BTreeSet<_> =
        was.iter().filter(|(partition, offset, _)| *partition != 0 || *offset >= 5).copied().collect();
    assert_eq!(places(&mended).await, left);
    assert_eq!(mended.facts.holes, [gone]);
    let (then, now) = (before.facts.partitions[&PartitionId(0)], mended.facts.partitions[&PartitionId(0)]);
    assert_eq!((now.archived, now.counters.holes), (then.archived, 5));
    let rows = was.len() - left.len();
    assert_eq!((then.counters.rows - now.counters.rows) as usize, rows);
    // Nothing is told to be gone any more, and nothing of the hole is lost again.
    assert!(mended.snapshot.missing_files().await.unwrap().is_empty());
    assert!(mended.offsets_lost(&[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_was_erased_is_not_brought_back() {
    let mut world = World::new(8).await;
    world.send(30).await;
    world.archive().await;
    let before = world.snapshot().await;
    let was = places(&before).await;
    let lost = world.lose_a_file().await;
    let mut erased = Erased::default();
    for (partition, offset, _) in &was {
        erased.add(ErasedRecord::whole(PartitionId(*partition), Offset(*offset)));
    }
    let rescue =
        plan_rescue(world.shared_log(), &world.source(), before.clone(), vec![lost.clone()], &erased).await.unwrap();
    let mended = carry_out(&world.master(), &rescue, world.ids.next_id()).await.unwrap();
    let rejected = |master: &MasterSnapshot| -> u64 {
        master.facts.partitions.values().map(|known| known.counters.rejected).sum()
    };
    assert!(rejected(&mended) > rejected(&before), "what is left of an event is a rejected row");
    assert!(rescue.rows_read() > 0 && rescue.rows_read() as u64 <= lost.rows);
}

#[tokio::test]
async fn a_look_at_the_tables_tells_of_lost_files_and_of_how_many_there_are() {
    let mut world = World::new(3).await;
    world.send(20).await;
    world.archive().await;
    let files = world.snapshot().await.snapshot.files().len();
    let whole = look_after(&world.batch_context()).await;
    assert!(whole.missing.is_empty(), "{whole:?}");
    assert_eq!(whole.master_files, [(world.source().name.clone(), files)].into());
    let lost = world.lose_a_file().await;
    let found = look_after(&world.batch_context()).await;
    assert_eq!(found.missing.len(), 1, "{found:?}");
    assert!(found.missing["raw/hits"].contains(&lost.path), "{found:?}");
}

#[tokio::test]
async fn a_look_puts_our_files_back_after_a_compaction_by_another_tool() {
    let mut world = World::new(4).await;
    world.send(20).await;
    world.archive().await;
    let before = world.snapshot().await.snapshot;
    let removes = before.files().iter().map(|file| {
        serde_json::json!({"remove": {"path": file.path, "deletionTimestamp": 1, "dataChange": false}}).to_string()
    });
    let text = removes.collect::<Vec<_>>().join("\n");
    let path = format!("{}/_delta_log/{:020}.json", before.table().folder(), before.version().0 + 1);
    world.lake.store().put(&world.lake.path(&path), text.into()).await.unwrap();
    assert!(world.snapshot().await.snapshot.is_beside_others());
    look_after(&world.batch_context()).await;
    let after = world.snapshot().await.snapshot;
    assert!(!after.is_beside_others());
    assert_eq!(places(&world.snapshot().await).await.len() as u64, world.snapshot().await.facts.rows);
    // An archive goes on behind it.
    world.send(5).await;
    world.archive().await;
    world.snapshot().await.check_ledger().unwrap();
}

#[tokio::test]
async fn a_view_whose_master_dataset_was_begun_anew_says_so_instead_of_losing_races() {
    let mut world = World::new(5).await;
    for _ in 0..8 {
        world.send(6).await;
        world.archive().await;
    }
    world.recompute(Mode::Full).await;
    for object in world.lake.objects(&world.lake.path("raw/hits")).await.unwrap() {
        world.lake.store().delete(&object.location).await.unwrap();
    }
    // All of it in a few commits.
    let poll = PollLimit { records: 10_000, bytes: 1 << 20, wait: Duration::from_millis(2) };
    let settings = ArchiveSettings { poll, ..world.archive_settings() };
    world.archive_with(settings).await;
    let round = recompute(&world.recompute_components(), Mode::Incremental, &RecomputeSettings::default()).await;
    for (view, outcome) in round {
        let error = outcome.unwrap_err().to_string();
        let folder = format!("views/{view}-");
        assert!(error.contains(&folder) && error.contains("computed again from what there is"), "{error}");
    }
}
