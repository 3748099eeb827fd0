//! A worker of a generation: its runs are the fold of the whole log by `fresh`, whatever is killed, lost or expired,
//! and no border divides them.

use std::collections::BTreeMap;
use std::time::Duration;

use positions::{Cut, Offset, PartitionId};
use rand::Rng;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serving_layer::{RealtimeStore, named_blobs};
use speed_layer::SpeedSettings;

use super::for_each;
use super::system::{PARTITIONS, System};
use crate::support::surroundings::foreign_plans;

/// Holds the answer of the view against the law: `finish(state(V, fresh(L[0, H))))`.
async fn check(system: &System) {
    let (nothing, mut heads) = (Cut::default(), BTreeMap::new());
    for partition in PARTITIONS {
        heads.insert(partition, system.index(partition).await.unwrap().head.offset);
    }
    let mut pages: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for event in system.fresh(&nothing, &heads) {
        let page = pages.entry(event.page().to_owned()).or_default();
        *page = (page.0 + 1, page.1 + event.amount());
    }
    assert_eq!(system.answer(0, &nothing).await, pages, "at {heads:?}");
}

#[tokio::test]
async fn runs_hold_the_whole_log_by_the_law_of_the_mode_whoever_is_killed() {
    for_each(15, async |seed, mut rng| {
        let mut system = System::in_kappa(seed).await;
        system.store.fail(30);
        for _ in 0..rng.random_range(1..8) {
            let count = rng.random_range(0..60);
            system.send(&mut rng, count).await;
            let (settings, polls) = (System::settings(&mut rng), rng.random_range(0..200));
            system.run_and_kill(settings, polls).await;
        }
        system.store.fail(0);
        system.run_to_end(System::settings(&mut rng)).await;
        assert!(system.is_at_end().await);
        check(&system).await;
    })
    .await;
}

#[tokio::test]
async fn a_wiped_store_is_filled_from_the_master_dataset_and_the_log_behind_it() {
    for_each(8, async |seed, mut rng| {
        let mut system = System::in_kappa(seed).await;
        system.send(&mut rng, 150).await;
        let archived = system.grid_cut(0.8);
        system.archive(&archived, &[]).await;
        system.run_to_end(System::settings(&mut rng)).await;
        check(&system).await;
        for partition in PARTITIONS {
            system.log.expire_below("edits", partition, archived.offset(partition)).unwrap();
        }
        system.memory.wipe();
        system.send(&mut rng, 30).await;
        system.run_to_end(System::settings(&mut rng)).await;
        check(&system).await;
    })
    .await;
}

#[tokio::test]
async fn runs_merge_without_borders() {
    for_each(4, async |seed, mut rng| {
        let mut system = System::in_kappa(seed).await;
        system.send(&mut rng, 300).await;
        let settings = SpeedSettings { max_records: 2, merge_fan_in: 3, ..System::settings(&mut rng) };
        let (worker, stop) = system.spawn(settings);
        let is_done = async || system.is_at_end().await && system.is_merged(3).await;
        system.until("nothing is left to merge", is_done).await;
        stop.cancel();
        worker.await.unwrap().unwrap();
        for partition in PARTITIONS {
            let runs = system.index(partition).await.unwrap().runs;
            let divided = runs.iter().filter(|run| run.starts_at_border && run.from.offset != Offset(0));
            assert_eq!(divided.count(), 0, "{runs:?}");
        }
        check(&system).await;
    })
    .await;
}

/// No batch version would heal the gap that leaving it out makes.
#[tokio::test]
async fn a_view_that_cannot_be_run_stands_still_instead_of_being_left_out() {
    let mut rng = StdRng::seed_from_u64(12);
    let mut system = System::in_kappa(12).await;
    let plans = std::mem::replace(&mut system.views[0].plans, foreign_plans());
    system.send(&mut rng, 100).await;
    let (worker, stop) = system.spawn(System::settings(&mut rng));
    for _ in 0..200 {
        system.clock.advance(Duration::from_millis(5));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for partition in PARTITIONS {
        let index = system.index(partition).await;
        assert!(index.is_none_or(|index| index.runs.is_empty() && index.head.offset == Offset(0)));
    }
    stop.cancel();
    worker.await.unwrap().unwrap();

    system.views[0].plans = plans;
    system.run_to_end(System::settings(&mut rng)).await;
    check(&system).await;
}

#[tokio::test]
async fn a_generation_is_no_business_of_the_place_above_batch_views() {
    let mut rng = StdRng::seed_from_u64(3);
    let mut system = System::in_kappa(3).await;
    system.send(&mut rng, 50).await;
    system.run_to_end(System::settings(&mut rng)).await;
    for partition in PARTITIONS {
        let above = serving_layer::PartitionKey::new(&system.source.name, partition);
        assert_eq!(system.memory.read_index(&above).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_lost_blob_of_a_quiet_partition_is_noticed_though_another_worker_marks_the_index() {
    let mut rng = StdRng::seed_from_u64(5);
    let mut system = System::in_kappa(5).await;
    system.send(&mut rng, 100).await;
    system.run_to_end(System::settings(&mut rng)).await;
    let index = system.index(PartitionId(0)).await.unwrap();
    let lost = named_blobs(&index).pop_first().unwrap();
    system.store.lose_blob(lost);
    system.store.mark_before_looks(system.ids.clone());
    let (worker, stop) = system.spawn(System::settings(&mut rng));
    system.until_started_again(lost).await;
    stop.cancel();
    worker.await.unwrap().unwrap();
    check(&system).await;
}
