//! Recompute: every published table equals a fold over the log below its cut.

use std::collections::BTreeMap;
use std::time::Duration;

use batch_layer::recompute::{Mode, Outcome, recompute};
use batch_layer::{BatchError, RecomputeSettings};
use lake::Change;
use positions::{Hole, Offset, PartitionId};
use rand::Rng;
use records::RecordsError;

use super::oracle::{Cell, Rows, by_page, counters, distinct, finished, hits_by_day};
use super::world::{Event, GRID, HOUR, START, World};
use crate::support::seeds::seeds;
use crate::support::surroundings::foreign_plans;

fn settings(memory_bytes: usize) -> RecomputeSettings {
    RecomputeSettings { memory_bytes, target_partitions: 2, ..RecomputeSettings::default() }
}

/// All views' newest versions hold what the fold over the log says.
pub async fn check_equals_fold(world: &World) {
    for name in ["by_page", "by_day", "in_all"] {
        let view = world.view(name);
        let Some(version) = world.newest(&view).await else { continue };
        assert_eq!(version.facts.counters, counters(world, &version), "counters of {name}");
        let events = distinct(world, &version);
        let rows = finished(world, &view, &version).await;
        match name {
            "by_page" => assert_eq!(rows, by_page(&events)),
            "by_day" => {
                let hits: Vec<Cell> = rows.values().map(|row| row[0].clone()).collect();
                let exact: Vec<Cell> =
                    hits_by_day(&events).into_iter().map(|hits| Cell::Exact(hits.to_string())).collect();
                assert_eq!(hits, exact);
            }
            _ => {
                let counted = events.iter().filter(|event| event.amount.is_some_and(|bytes| bytes != 13)).count();
                assert_eq!(sum_of_first(&rows), counted as i64);
            }
        }
    }
}

fn sum_of_first(rows: &Rows) -> i64 {
    let value = |row: &Vec<Cell>| match &row[0] {
        Cell::Exact(text) => text.parse::<i64>().unwrap(),
        Cell::About(_) => panic!("a count is exact"),
    };
    rows.values().map(value).sum()
}

pub async fn all_finished(world: &World) -> BTreeMap<String, Rows> {
    let mut all = BTreeMap::new();
    for view in &world.pipeline.views {
        if let Some(version) = world.newest(view).await {
            all.insert(view.name.to_string(), finished(world, view, &version).await);
        }
    }
    all
}

#[tokio::test]
async fn full_and_incremental_give_equal_tables_and_counters() {
    for seed in seeds(12) {
        let mut world = World::new(seed).await;
        for round in 0..4 {
            if round == 2 {
                world.log.grow_topic("hits", 3).unwrap();
            }
            let count = world.rng.random_range(0..80);
            world.send(count).await;
            world.archive().await;
            if world.rng.random_bool(0.3) {
                world.clock.advance(Duration::from_secs(40));
            }
            world.recompute(Mode::Incremental).await;
            check_equals_fold(&world).await;
        }
        let incremental = all_finished(&world).await;
        world.recompute(Mode::Full).await;
        check_equals_fold(&world).await;
        assert_eq!(all_finished(&world).await, incremental);
    }
}

#[tokio::test]
async fn a_recompute_that_spills_equals_one_that_does_not() {
    let mut world = World::new(21).await;
    world.send(4000).await;
    world.clock.advance(Duration::from_secs(40));
    world.archive().await;
    world.recompute_with(Mode::Full, &settings(1 << 30)).await;
    let roomy = all_finished(&world).await;
    // Each of two streams of keys is larger than half of this.
    world.recompute_with(Mode::Full, &settings(132 << 10)).await;
    assert_eq!(all_finished(&world).await, roomy);
    check_equals_fold(&world).await;
}

#[tokio::test]
async fn copies_that_fill_more_than_the_memory_count_once() {
    let mut world = World::new(29).await;
    // Two events sent again and again: either is one shard above the limit, which no further bits of its key divide.
    let event = |number: usize, time| Event {
        time,
        id: Some(number as u32),
        page: Some("/a".into()),
        amount: Some(number as i64),
        ..Event::default()
    };
    for round in 0..3_000 {
        for hot in [0, 0, 1, 1] {
            world.send_one(Some(event(hot, START))).await;
        }
        world.send_one(Some(event(round, START - HOUR))).await;
        if round == 2_000 {
            world.clock.advance(Duration::from_secs(40));
            world.archive().await;
            world.recompute_with(Mode::Full, &settings(120 << 10)).await;
            check_equals_fold(&world).await;
        }
    }
    world.clock.advance(Duration::from_secs(40));
    world.archive().await;
    // Copies below the cut before and above it, in the counters of an incremental version.
    world.recompute_with(Mode::Incremental, &settings(120 << 10)).await;
    check_equals_fold(&world).await;
    let spilled = all_finished(&world).await;
    world.recompute_with(Mode::Full, &settings(1 << 30)).await;
    check_equals_fold(&world).await;
    assert_eq!(all_finished(&world).await, spilled);
}

#[tokio::test]
async fn a_cut_lies_on_the_grid_until_the_log_is_silent() {
    let mut world = World::new(22).await;
    world.send(43).await;
    world.archive().await;
    world.recompute(Mode::Incremental).await;
    let version = world.newest(&world.view("by_page")).await.unwrap();
    for (partition, end) in world.ends().await {
        assert_eq!(version.facts.cut.offset(partition), Offset(end.0 / GRID * GRID));
    }
    world.clock.advance(Duration::from_secs(31));
    world.recompute(Mode::Incremental).await;
    let version = world.newest(&world.view("by_page")).await.unwrap();
    for (partition, end) in world.ends().await {
        assert_eq!(version.facts.cut.offset(partition), end);
    }
    check_equals_fold(&world).await;
}

#[tokio::test]
async fn why_nothing_is_published_is_told() {
    let mut world = World::new(23).await;
    let all = async |world: &World, mode: Mode, is_it: fn(&Outcome) -> bool| {
        let outcomes = world.recompute(mode).await;
        assert!(outcomes.values().all(is_it), "{outcomes:?}");
    };
    all(&world, Mode::Incremental, |outcome| matches!(outcome, Outcome::NoData)).await;
    all(&world, Mode::Full, |outcome| matches!(outcome, Outcome::NoData)).await;
    // Nothing lies behind it, and the grid is further.
    world.send_one(Some(Event { time: START, ..Event::default() })).await;
    world.archive().await;
    all(&world, Mode::Incremental, |outcome| matches!(outcome, Outcome::AwaitsSilence { records: 1 })).await;
    all(&world, Mode::Full, |outcome| matches!(outcome, Outcome::AwaitsSilence { records: 1 })).await;
    world.clock.advance(Duration::from_secs(31));
    all(&world, Mode::Incremental, |outcome| matches!(outcome, Outcome::Published(_))).await;
    all(&world, Mode::Incremental, |outcome| matches!(outcome, Outcome::NothingNew)).await;
    all(&world, Mode::Full, |outcome| matches!(outcome, Outcome::Published(_))).await;
}

#[tokio::test]
async fn copies_in_other_partitions_and_versions_count_once() {
    let mut world = World::new(24).await;
    let event = Event { time: START, id: Some(1), page: Some("/a".into()), amount: Some(1), ..Event::default() };
    for round in 0..3 {
        for _ in 0..2 * GRID {
            world.send_one(Some(event.clone())).await;
        }
        world.archive().await;
        world.recompute(Mode::Incremental).await;
        let version = world.newest(&world.view("by_page")).await.unwrap();
        let copies: u64 = version.facts.counters.values().map(|counters| counters.copies).sum();
        assert_eq!(copies as i64, 2 * GRID * (round + 1) - 1);
        check_equals_fold(&world).await;
    }
}

#[tokio::test]
async fn an_incremental_recompute_leaves_other_buckets_alone() {
    let mut world = World::new(25).await;
    world.clock.advance(Duration::from_secs(5 * 3600));
    for hour in 0..5 {
        for _ in 0..2 * GRID {
            let time = START + hour * HOUR;
            world.send_one(Some(Event { time, page: Some("/a".into()), amount: Some(hour), ..Event::default() })).await;
        }
    }
    world.archive().await;
    world.recompute(Mode::Incremental).await;
    let before = world.newest(&world.view("by_page")).await.unwrap();
    for _ in 0..2 * GRID {
        world.send_one(Some(Event { time: START, page: Some("/b".into()), ..Event::default() })).await;
    }
    world.archive().await;
    world.recompute(Mode::Incremental).await;
    let after = world.newest(&world.view("by_page")).await.unwrap();
    assert!(!after.facts.is_full && before.facts.is_full);
    check_equals_fold(&world).await;
}

#[tokio::test]
async fn holes_below_the_cut_are_part_of_the_version() {
    let mut world = World::new(26).await;
    world.send(80).await;
    world.log.expire_below("hits", PartitionId(0), Offset(10)).unwrap();
    world.sent.retain(|sent| sent.partition != 0 || sent.offset >= 10);
    world.archive().await;
    world.recompute(Mode::Incremental).await;
    let version = world.newest(&world.view("by_page")).await.unwrap();
    assert_eq!(version.facts.holes, vec![Hole { partition: PartitionId(0), from: Offset(0), to: Offset(10) }]);
    assert_eq!(version.facts.counters[&PartitionId(0)].holes, 10);
    let events = distinct(&world, &version);
    assert_eq!(finished(&world, &world.view("by_page"), &version).await, by_page(&events));
}

#[tokio::test]
async fn a_ledger_mismatch_stops_publication() {
    let mut world = World::new(27).await;
    world.send(40).await;
    world.archive().await;
    // A defect that no commit rule can see: the rows of one file once more, under the same facts.
    let snapshot = world.snapshot().await;
    let table = world.lake.table("raw/hits");
    let rows = snapshot.snapshot.read(&snapshot.snapshot.files()[..1], None).await.unwrap();
    let doubled = snapshot.snapshot.write_file("doubled", &rows).await.unwrap();
    let change = Change { add: vec![doubled], remove: vec![], changes_data: true };
    table.commit(&snapshot.snapshot, change, &snapshot.facts, 1).await.unwrap();
    let round = recompute(&world.recompute_components(), Mode::Incremental, &settings(1 << 30)).await;
    for (view, outcome) in round {
        let error = outcome.unwrap_err();
        assert!(matches!(*error, BatchError::Records(RecordsError::LedgerMismatch { .. })), "{view}: {error}");
    }
    assert!(world.newest(&world.view("by_page")).await.is_none());
}

/// A view that was planned over other columns than its source has: what fails when the recompute plans its states.
#[tokio::test]
async fn a_view_that_cannot_be_run_leaves_its_siblings_published() {
    let mut world = World::new(30).await;
    world.send(60).await;
    world.archive().await;
    let mut components = world.recompute_components();
    let broken = components.views.iter_mut().find(|view| view.name.as_str() == "by_day").unwrap();
    broken.plans = foreign_plans();
    let round = recompute(&components, Mode::Incremental, &settings(1 << 30)).await;
    assert_eq!(round.len(), 3);
    for (view, outcome) in &round {
        assert_eq!(matches!(outcome, Ok(Outcome::Published(_))), view.as_str() != "by_day", "{view}: {outcome:?}");
    }
    assert!(world.newest(&world.view("by_day")).await.is_none());
    check_equals_fold(&world).await;
    // Mended, it is built at once.
    world.recompute(Mode::Incremental).await;
    assert!(world.newest(&world.view("by_day")).await.is_some());
    check_equals_fold(&world).await;
}

#[tokio::test]
async fn of_two_publishers_one_wins() {
    for seed in seeds(5) {
        let mut world = World::new(seed).await;
        world.send(60).await;
        world.archive().await;
        let (one, other) = tokio::join!(world.recompute(Mode::Full), world.recompute(Mode::Full));
        for view in one.keys() {
            let published = [&one[view], &other[view]].map(|outcome| matches!(outcome, Outcome::Published(_)));
            assert!(published.contains(&true), "nobody published {view}");
        }
        check_equals_fold(&world).await;
    }
}
