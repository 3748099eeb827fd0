//! Groups in parts: how they are divided, and that what is published of parts is what is published of the whole.

use std::time::Duration;

use batch_layer::recompute::{GroupOutput, GroupPart, GroupProgress, Mode, Outcome, RecomputePlan};
use batch_layer::{BatchError, RecomputeSettings};
use serving_layer::always;

use super::recompute::check_equals_fold;
use super::steps::{carried, choose_one, compute_one, facts_of, open, settings};
use super::world::{Event, HOUR, START, World};

const DAY: i64 = 24 * HOUR;
/// The start of the day that `START` lies in.
const TODAY: i64 = START - START % DAY;

/// A plan of one group of many days, one of them much larger than the others.
async fn one_large_group(seed: u64) -> (World, RecomputePlan) {
    let mut world = World::new(seed).await;
    for number in 0..240_i64 {
        let day = if number % 2 == 0 { 7 } else { number % 20 };
        let time = TODAY - day * DAY + number * HOUR / 48;
        let page = Some(format!("/{}", number % 50));
        world.send_one(Some(Event { time, page, amount: Some(number), ..Event::default() })).await;
        if number % 40 == 39 {
            world.archive().await;
        }
    }
    world.clock.advance(Duration::from_secs(40));
    world.archive().await;
    let plan = choose_one(&world, &["by_day"], Mode::Full, u64::MAX).await;
    assert_eq!(plan.groups.len(), 1);
    (world, plan)
}

#[tokio::test]
async fn halves_of_a_part_cover_it_once_down_to_single_buckets() {
    let (world, plan) = one_large_group(54).await;
    let whole = open(&world, &plan).await.part(0).unwrap();
    assert_eq!((whole.from, whole.to, whole.bytes), (plan.groups[0].from, plan.groups[0].to, plan.groups[0].bytes));
    let (mut open_parts, mut single) = (vec![whole.clone()], Vec::new());
    while let Some(part) = open_parts.pop() {
        assert_eq!(carried(&part), part);
        let Some([first, second]) = part.halves() else {
            single.push(part);
            continue;
        };
        assert_eq!((first.from, first.to, second.to), (part.from, second.from, part.to));
        assert!(first.from < first.to && second.from < second.to, "{first:?} {second:?}");
        assert!((first.bytes + second.bytes).abs_diff(part.bytes) <= 8, "{first:?} {second:?} of {part:?}");
        assert!((first.rows + second.rows).abs_diff(part.rows) <= 8, "{first:?} {second:?} of {part:?}");
        open_parts.extend([second, first]);
    }
    // What lies between the days that have events is divided, too.
    assert!(single.len() >= 10, "{} parts", single.len());
    assert!(single.windows(2).all(|two| two[0].to == two[1].from), "{single:?}");
    let is_whole_day = |part: &&GroupPart| part.from.0 % DAY == 0 && part.to.0 - part.from.0 == DAY;
    assert_eq!(single[1..single.len() - 1].iter().filter(is_whole_day).count(), single.len() - 2, "{single:?}");
}

#[tokio::test]
async fn parts_are_published_where_they_cover_their_group_exactly_once() {
    let (world, plan) = one_large_group(55).await;
    let worker = open(&world, &plan).await;
    let whole = worker.part(0).unwrap();
    let [first, second] = whole.halves().unwrap();
    let [third, fourth] = second.halves().unwrap();
    let mut outputs = Vec::new();
    for (number, part) in [&whole, &first, &second, &third, &fourth].into_iter().enumerate() {
        outputs.push(carried(&compute_one(&worker, part, &format!("part{number}")).await.output));
    }
    assert_eq!(outputs[0].part, None);
    assert_eq!(outputs[1].part, Some((first.from, first.to)));
    let of = |numbers: &[usize]| -> Vec<GroupOutput> { numbers.iter().map(|at| outputs[*at].clone()).collect() };
    // Nothing, a gap at an end or within, and what is there twice under two names.
    let refused: [&[usize]; 10] =
        [&[], &[1], &[2], &[1, 3], &[1, 4], &[3, 4], &[0, 1], &[0, 1, 2], &[1, 2, 3], &[1, 2, 4]];
    for numbers in refused {
        let round = worker.publish(&of(numbers), None, &always).await;
        for outcome in round.into_values() {
            let error = outcome.unwrap_err();
            assert!(matches!(*error, BatchError::GroupMissing { group: 0, .. }), "{numbers:?}: {error}");
        }
    }
    let round = worker.publish(&of(&[4, 1, 4, 3, 1]), None, &always).await;
    assert!(round.values().all(|outcome| matches!(outcome, Ok(Outcome::Published(_)))), "{round:?}");
    check_equals_fold(&world).await;
    let by_parts = facts_of(&world, &world.view("by_day")).await;
    let plan = choose_one(&world, &["by_day"], Mode::Full, u64::MAX).await;
    let worker = open(&world, &plan).await;
    let whole = compute_one(&worker, &worker.part(0).unwrap(), "whole").await.output;
    let round = worker.publish(&[whole], None, &always).await;
    assert!(round.values().all(|outcome| matches!(outcome, Ok(Outcome::Published(_)))), "{round:?}");
    assert_eq!(facts_of(&world, &world.view("by_day")).await, by_parts, "copies and counters are the same");
}

/// With ever more memory: at first not even a bucket fits, then some of them at a time, at last everything.
#[tokio::test]
async fn what_does_not_fit_is_computed_half_by_half() {
    let mut world = World::new(56).await;
    for number in 0..3_000_i64 {
        let time = TODAY - number % 30 * DAY + number;
        let (id, page) = (Some(u32::try_from(number).unwrap()), Some(format!("/{number}")));
        world.send_one(Some(Event { time, id, page, ..Event::default() })).await;
    }
    world.clock.advance(Duration::from_secs(40));
    world.archive().await;
    let plan = choose_one(&world, &["by_day"], Mode::Full, u64::MAX).await;
    let worker = open(&world, &plan).await;
    let part = worker.part(0).unwrap();
    let (mut refused, mut divided, mut memory_bytes) = (0, None, 1 << 10);
    loop {
        let engine = RecomputeSettings { memory_bytes, spill_limit_bytes: 1, target_partitions: 1, ..settings(1) };
        let name = format!("memory{memory_bytes}");
        let (computed, failed) = match worker.compute_part(&part, &name, &engine, &GroupProgress::default()).await {
            Ok(computed) => (computed, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let errors: Vec<&BatchError> =
            computed.iter().flat_map(|computed| computed.errors.values()).chain(&failed).collect();
        assert!(errors.iter().all(|error| error.is_over_limit()), "{errors:?}");
        if errors.is_empty() && computed.len() == 1 {
            break;
        }
        if errors.is_empty() {
            divided = Some(computed.into_iter().map(|computed| computed.output).collect::<Vec<_>>());
        } else {
            refused += 1;
        }
        memory_bytes *= 2;
        assert!(memory_bytes < 1 << 30, "it never fits");
    }
    assert!(refused > 0, "the least memory is enough");
    let divided = divided.expect("in no memory parts fit, and the whole does not");
    let round = worker.publish(&divided, None, &always).await;
    assert!(round.values().all(|outcome| matches!(outcome, Ok(Outcome::Published(_)))), "{round:?}");
    check_equals_fold(&world).await;
}
