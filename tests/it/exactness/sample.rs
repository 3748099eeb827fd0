//! Two definitions of a view, on the newest events and in batch versions that are stored: what differs is told by
//! group, how much is read is bounded.

use std::collections::BTreeMap;
use std::time::Duration;

use batch_layer::recompute::{Mode, RecomputeComponents, Sampled, recompute, sample};
use batch_layer::{BatchError, RecomputeSettings};
use positions::DefinitionNumber;
use serving_layer::Version;
use serving_layer::registry::DefinitionRegistry;
use twofold::stored_versions::{StoredVersion, compare_stored};
use views::{Pipeline, PlannedView};

use super::event;
use super::world::{Event, PIPELINE, SECOND, World};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The view by the hour, of events with more than ten bytes alone and with another measure.
fn newer() -> PlannedView {
    newer_pipeline().view("by_hour").unwrap().clone()
}

fn newer_pipeline() -> Pipeline {
    let narrow = "max(bytes) AS most FROM hits WHERE bytes > 10 GROUP BY hour";
    let text = PIPELINE.replace("approx_distinct(page) AS pages\nFROM hits GROUP BY hour", narrow);
    assert_ne!(text, PIPELINE);
    Pipeline::read(&text, &BTreeMap::new()).unwrap()
}

async fn sampled(world: &World, limit_bytes: u64) -> Result<Sampled, BatchError> {
    let components: RecomputeComponents = world.recompute_components();
    let settings = RecomputeSettings { target_partitions: 1, ..RecomputeSettings::default() };
    let (former, newer) = (world.view("by_hour"), newer());
    sample([(&components, &former), (&components, &newer)], limit_bytes, 10, &settings).await
}

fn now(world: &World) -> i64 {
    positions::Clock::now(world.clock.as_ref()).0
}

#[tokio::test]
async fn what_a_definition_would_change_is_told_by_group_and_copies_count_once() {
    let world = World::new(1).await;
    let of_now = |id: u32, bytes: i64, at: i64| Event { time: at, ..event(id, "/", bytes) };
    let first = now(&world);
    for (id, bytes) in [(1, 5), (2, 50), (2, 50)] {
        world.send(&of_now(id, bytes, first), "key").await;
    }
    world.clock.advance(Duration::from_secs(2 * 3600));
    world.send(&of_now(3, 7, now(&world)), "key").await;
    world.settle().await;
    let found = sampled(&world, u64::MAX).await.unwrap();
    assert_eq!((found.from, found.to, found.comparison.groups), (None, None, 2), "{found:?}");
    let hits = &found.comparison.measures[0];
    assert_eq!((hits.measure.as_str(), hits.different), ("hits", 2));
    let mut told: Vec<_> = hits.worst.iter().map(|group| (group.before.clone(), group.after.clone())).collect();
    told.sort();
    let text = |value: &str| Some(value.to_owned());
    assert_eq!(told, vec![(text("1"), None), (text("2"), text("1"))]);
    assert_eq!(
        found.comparable.left_out,
        ["measure pages is in the former definition alone", "measure most is in the newer definition alone"]
    );
}

#[tokio::test]
async fn a_sample_is_of_the_newest_whole_buckets_within_its_bytes() {
    let world = World::new(2).await;
    let nothing = sampled(&world, u64::MAX).await.unwrap_err();
    assert!(matches!(&nothing, BatchError::RangeRefused { .. }), "{nothing}");
    for day in 0..4 {
        let at = now(&world) / SECOND * SECOND;
        world.send(&Event { time: at, ..event(day, "/", i64::from(day)) }, "key").await;
        world.settle().await;
        world.clock.advance(10 * DAY);
    }
    let all = sampled(&world, u64::MAX).await.unwrap();
    assert_eq!((all.from, all.comparison.groups), (None, 4), "{all:?}");
    let some = sampled(&world, all.bytes / 2 + 1).await.unwrap();
    assert!(some.from.is_some() && some.bytes <= all.bytes / 2 + 1, "{some:?}");
    assert!((1..4).contains(&some.comparison.groups), "{some:?}");
    let newest = |found: &Sampled| {
        let groups = found.comparison.measures[0].worst.iter().map(|group| group.in_words());
        groups.max().unwrap()
    };
    assert_eq!(newest(&some), newest(&all));
    let none = sampled(&world, 1).await.unwrap_err();
    assert!(matches!(&none, BatchError::RangeRefused { .. }) && none.to_string().contains("newest bucket"), "{none}");
}

#[tokio::test]
async fn versions_of_two_definitions_are_compared_by_what_both_have() {
    let world = World::new(3).await;
    let registry = DefinitionRegistry::new(&world.lake);
    let of_former = registry.claim(&world.pipeline).await.unwrap();
    let at = now(&world);
    for (id, bytes) in [(1, 5), (2, 50), (3, 60)] {
        world.send(&Event { time: at, ..event(id, "/", bytes) }, "key").await;
    }
    world.settle().await;
    world.publish(Mode::Full).await;
    registry.claim(&newer_pipeline()).await.unwrap();
    let components = RecomputeComponents { views: vec![newer()], ..world.recompute_components() };
    let settings = RecomputeSettings { target_partitions: 1, ..RecomputeSettings::default() };
    for outcome in recompute(&components, Mode::Full, &settings).await.into_values() {
        outcome.unwrap();
    }
    let number = world.newest("by_hour").await.number();
    let former = StoredVersion::find(&world.lake, "by_hour", of_former, number).await.unwrap();
    let newest = StoredVersion::newest(&world.lake, &newer()).await.unwrap().unwrap();
    assert_eq!((former.records(), newest.records()), (3, 3));
    let compared = compare_stored(&world.lake, [&former, &newest], 1 << 28, 10).await.unwrap();
    assert_eq!((compared.by.as_slice(), compared.groups, compared.is_same()), (&["hour".to_owned()][..], 1, false));
    let hits = &compared.measures[0];
    let worst = (hits.worst[0].before.as_deref(), hits.worst[0].after.as_deref());
    assert_eq!((hits.measure.as_str(), hits.different, worst), ("hits", 1, (Some("3"), Some("2"))));
    let mut text = String::new();
    compared.describe(&mut text, 2);
    assert!(text.contains("not compared: measure pages is in the former definition alone"), "{text}");
    for (set, version, told) in [(of_former, 99, "has no version 99"), (DefinitionNumber(77), 1, "it keeps")] {
        let error = StoredVersion::find(&world.lake, "by_hour", set, Version(version)).await.unwrap_err();
        assert!(error.to_string().contains(told), "{error:#}");
    }
}
