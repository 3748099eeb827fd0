//! A recompute in steps: plans and outputs as JSON, groups computed in any order by workers that share nothing but the
//! store, and published once; all of it equal to the recompute in one process.

use std::time::Duration;

use batch_layer::recompute::{
    BucketGroup, Computed, GroupOutput, GroupPart, GroupProgress, Mode, OpenPlan, Outcome, ReadSoFar,
    RecomputeComponents, RecomputePlan, Round, plan_recompute,
};
use batch_layer::{BatchError, RecomputeSettings};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use event_log::{EventLog, NewRecord};
use futures::FutureExt;
use futures::stream;
use positions::{Clock, IdSource, TimestampMicros, ViewName};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use records::RecordsError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use serving_layer::{BatchFacts, BatchViewStore, BucketRanges, Publisher, ServingError, always};
use views::PlannedView;

use super::erase;
use super::recompute::{all_finished, check_equals_fold};
use super::world::{Event, GRID, HOUR, START, World};
use crate::law::cases::{ORDERED, PLAIN, STATISTICS};
use crate::support::seeds::seeds;
use crate::support::traces::traces_in_lake;

const DAY: i64 = 24 * HOUR;
/// The start of the day that `START` lies in.
const TODAY: i64 = START - START % DAY;

pub fn settings(task_bytes: u64) -> RecomputeSettings {
    RecomputeSettings { target_partitions: 2, task_bytes, ..RecomputeSettings::default() }
}

/// As it comes out of a journal.
pub fn carried<T: Serialize + DeserializeOwned>(value: &T) -> T {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}

/// The components of a process of its own, for some views.
fn components(world: &World, views: &[&str]) -> RecomputeComponents {
    let mut components = world.recompute_components();
    components.views.retain(|view| views.contains(&view.name.as_str()));
    components
}

/// A size of tasks that gives about so many.
pub(super) async fn task_bytes(world: &World, tasks: u64) -> u64 {
    let bytes: u64 = world.snapshot().await.snapshot.files().iter().map(|file| file.size_bytes).sum();
    (bytes / tasks).max(1)
}

pub(super) async fn choose(world: &World, views: &[&str], mode: Mode, task_bytes: u64) -> (Vec<RecomputePlan>, Round) {
    let chosen = plan_recompute(&components(world, views), mode, &settings(task_bytes)).await.unwrap();
    (chosen.plans.iter().map(|plan| carried(plan.plan())).collect(), chosen.round)
}

pub async fn choose_one(world: &World, views: &[&str], mode: Mode, task_bytes: u64) -> RecomputePlan {
    let (mut plans, round) = choose(world, views, mode, task_bytes).await;
    assert!(plans.len() == 1 && round.is_empty(), "{} plans, {round:?}", plans.len());
    plans.remove(0)
}

pub async fn open(world: &World, plan: &RecomputePlan) -> OpenPlan {
    OpenPlan::open(&world.recompute_components(), carried(plan)).await.unwrap()
}

/// A part as it is, or in any parts of it.
fn divided(part: GroupPart, random: &mut StdRng) -> Vec<GroupPart> {
    let is_divided = random.random_bool(0.4);
    match part.halves().filter(|_| is_divided) {
        Some([first, second]) => [divided(first, random), divided(second, random)].concat(),
        None => vec![part],
    }
}

/// Computes a part that fits.
pub async fn compute_one(plan: &OpenPlan, part: &GroupPart, name: &str) -> Computed {
    let progress = GroupProgress::default();
    let mut computed = plan.compute_part(&carried(part), name, &settings(1), &progress).await.unwrap();
    assert_eq!(computed.len(), 1, "it fits");
    computed.remove(0)
}

/// Computes all groups in any division and order, each part by a process of its own, some by two.
async fn compute(world: &World, plan: &RecomputePlan, name: &str, random: &mut StdRng) -> Vec<GroupOutput> {
    let all = open(world, plan).await.parts();
    let mut parts: Vec<GroupPart> = all.into_iter().flat_map(|part| divided(part, random)).collect();
    let again: Vec<GroupPart> = parts.iter().filter(|_| random.random_bool(0.2)).cloned().collect();
    parts.extend(again);
    parts.shuffle(random);
    let mut outputs = Vec::new();
    for (attempt, part) in parts.into_iter().enumerate() {
        let name = format!("{name}-{}-{attempt}", part.group);
        let computed = compute_one(&open(world, plan).await, &part, &name).await;
        assert!(computed.errors.is_empty(), "{:?}", computed.errors);
        outputs.push(carried(&computed.output));
    }
    outputs
}

/// All three steps; says of how many groups.
pub async fn recompute_in_steps(world: &World, views: &[&str], mode: Mode, tasks: u64, random: &mut StdRng) -> usize {
    let task_bytes = task_bytes(world, tasks).await;
    let (plans, _) = choose(world, views, mode, task_bytes).await;
    let mut groups = 0;
    for (number, plan) in plans.iter().enumerate() {
        groups += plan.groups.len();
        let outputs = compute(world, plan, &format!("plan{number}"), random).await;
        let round = open(world, plan).await.publish(&outputs, None, &always).await;
        assert!(round.values().all(|outcome| matches!(outcome, Ok(Outcome::Published(_)))), "{round:?}");
    }
    groups
}

/// The measures of the law suite, in views of three grains.
fn law_pipeline() -> String {
    let source = "CREATE UNBOUNDED EXTERNAL TABLE events (
        time TIMESTAMP, id VARCHAR, k VARCHAR, i BIGINT, d DECIMAL(12, 2), f DOUBLE, s VARCHAR, b BOOLEAN
    ) STORED AS JSON LOCATION 'kafka://hits'
    OPTIONS (event_time 'time', event_id 'id', grid '8', gap '30 seconds', partitions '2');";
    let view = |name: &str, grain: &str, measures: &[(&'static str, &'static str, &'static str)]| {
        let measures: Vec<String> = measures.iter().map(|(name, call, _)| format!("{call} AS {name}")).collect();
        let measures = measures.join(", ");
        format!(
            "\nCREATE MATERIALIZED VIEW {name} WITH (bucket = '{grain}') AS
             SELECT events.k AS k, date_bin(INTERVAL '1 hour', time) AS hour, {measures} FROM events
             GROUP BY events.k, date_bin(INTERVAL '1 hour', time);"
        )
    };
    [
        source.to_owned(),
        view("plain", "hour", PLAIN),
        view("statistics", "day", STATISTICS),
        view("ordered", "month", ORDERED),
    ]
    .concat()
}

/// Sends events of two months, every fifth of them a copy of another one.
pub async fn send_law_events(world: &World, random: &mut StdRng, count: usize) {
    let mut sent: Vec<String> = Vec::new();
    for number in 0..count {
        let payload = match random.random_range(0..5) {
            0 if !sent.is_empty() => sent[random.random_range(0..sent.len())].clone(),
            _ => {
                let time = START - random.random_range(0..60 * DAY);
                let time = chrono::DateTime::from_timestamp_micros(time).unwrap();
                let event = json!({
                    "time": time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
                    "id": random.random_bool(0.8).then(|| format!("e{number}-{}", time.timestamp_micros())),
                    "k": random.random_bool(0.9).then(|| ["a", "b"][random.random_range(0..2)]),
                    "i": random.random_bool(0.9).then(|| random.random_range(-1000_i32..1000)),
                    "d": random.random_bool(0.9).then(|| f64::from(random.random_range(-10_000_i32..10_000)) / 4.0),
                    "f": random.random_bool(0.9).then(|| f64::from(random.random_range(-1000_i32..1000)) / 8.0),
                    "s": random.random_bool(0.9).then(|| format!("s{}", random.random_range(0..50_u32))),
                    "b": random.random_bool(0.9).then(|| random.random_bool(0.7)),
                });
                event.to_string()
            }
        };
        sent.push(payload.clone());
        let record = NewRecord { key: None, payload: payload.into(), timestamp: world.clock.now(), clock_shift: None };
        world.log.append("hits", vec![record]).await.pop().unwrap().unwrap();
    }
}

/// A world of so many events of the law, all of them computed by one process.
pub(super) async fn law_world(seed: u64, events: usize, random: &mut StdRng) -> World {
    let mut world = World::of(seed, &law_pipeline()).await;
    send_law_events(&world, random, events).await;
    world.clock.advance(Duration::from_secs(40));
    world.archive().await;
    world.recompute(Mode::Full).await;
    world
}

pub(super) async fn all_facts(world: &World) -> Vec<BatchFacts> {
    let mut all = Vec::new();
    for view in &world.pipeline.views {
        all.push(facts_of(world, view).await);
    }
    all
}

/// The facts of the newest version, but for what says who made it, and when.
pub(super) async fn facts_of(world: &World, view: &PlannedView) -> BatchFacts {
    let mut facts = world.newest(view).await.unwrap().facts.as_ref().clone();
    (facts.recompute, facts.published_at) = (positions::RecomputeId(0), TimestampMicros(0));
    facts
}

#[tokio::test]
async fn many_groups_equal_one_for_all_measures_of_the_law() {
    let views = ["plain", "statistics", "ordered"];
    for seed in seeds(2) {
        let random = &mut StdRng::seed_from_u64(seed);
        let world = law_world(seed, 240, random).await;
        let (one, facts) = (all_finished(&world).await, all_facts(&world).await);
        // By months, since all three share the search for copies; then each view by its own grain.
        assert!(recompute_in_steps(&world, &views, Mode::Full, 10, random).await > 1);
        assert_eq!((all_finished(&world).await, all_facts(&world).await), (one.clone(), facts.clone()));
        for view in views {
            let groups = recompute_in_steps(&world, &[view], Mode::Full, 8, random).await;
            assert!(groups >= if view == "ordered" { 2 } else { 8 }, "{groups} groups of {view}");
            assert_eq!((all_finished(&world).await, all_facts(&world).await), (one.clone(), facts.clone()));
        }
    }
}

#[tokio::test]
async fn incremental_rounds_of_many_groups_equal_the_fold() {
    for seed in seeds(4) {
        let mut world = World::new(seed).await;
        let random = &mut StdRng::seed_from_u64(seed);
        let mut most = 0;
        for _ in 0..4 {
            let count = random.random_range(20..80);
            world.send(count).await;
            world.archive().await;
            for views in [&["by_page"][..], &["by_day", "in_all"]] {
                most = most.max(recompute_in_steps(&world, views, Mode::Incremental, 6, random).await);
            }
            check_equals_fold(&world).await;
        }
        assert!(most > 1, "every plan had one group");
        let incremental = all_finished(&world).await;
        world.recompute(Mode::Full).await;
        assert_eq!(all_finished(&world).await, incremental);
    }
}

#[tokio::test]
async fn a_plan_is_published_once_however_often_somebody_tries() {
    let mut world = World::new(41).await;
    let random = &mut StdRng::seed_from_u64(41);
    world.send(120).await;
    world.archive().await;
    let plan = choose_one(&world, &["by_page", "by_day"], Mode::Full, task_bytes(&world, 3).await).await;
    let outputs = compute(&world, &plan, "first", random).await;

    // Without one of the groups nothing is published, nor without the lease.
    let last = plan.groups.len() - 1;
    let all_but_last: Vec<GroupOutput> = outputs.iter().filter(|output| output.group != last).cloned().collect();
    for (view, outcome) in open(&world, &plan).await.publish(&all_but_last, None, &always).await {
        let error = outcome.unwrap_err();
        assert!(matches!(*error, BatchError::GroupMissing { group, .. } if group == last), "{view}: {error}");
    }
    let lost = || futures::future::ready(false).boxed();
    for (view, outcome) in open(&world, &plan).await.publish(&outputs, None, &lost).await {
        let error = outcome.unwrap_err();
        assert!(matches!(*error, BatchError::Serving(ServingError::Withdrawn { .. })), "{view}: {error}");
        assert!(world.newest(&world.view(view.as_str())).await.is_none(), "{view}");
    }

    // Two attempts at once, and one long after: all of them tell of the one version.
    let task = |attempt: u32| Publisher { run: "r1".to_owned(), task: "publish".to_owned(), attempt };
    let workers = [open(&world, &plan).await, open(&world, &plan).await, open(&world, &plan).await];
    let (first, second) = (task(1), task(2));
    let (one, other) = tokio::join!(
        workers[0].publish(&outputs, Some(&first), &always),
        workers[1].publish(&outputs, Some(&second), &always)
    );
    let late = workers[2].publish(&outputs, Some(&task(3)), &always).await;
    for view in one.keys() {
        let newest = world.newest(&world.view(view.as_str())).await.unwrap();
        assert_eq!(newest.number(), lake::Version(1), "{view}");
        assert!(newest.facts.publisher.as_ref().is_some_and(|publisher| publisher.attempt < 3));
        for round in [&one, &other, &late] {
            assert!(matches!(&round[view], Ok(Outcome::Published(version)) if version.number().0 == 1), "{round:?}");
        }
    }
    check_equals_fold(&world).await;

    // Somebody else came first: neither computed on it nor published.
    let plan = choose_one(&world, &["by_page"], Mode::Full, u64::MAX).await;
    let stale = open(&world, &plan).await;
    let outputs = compute(&world, &plan, "second", random).await;
    world.recompute(Mode::Full).await;
    let round = stale.publish(&outputs, None, &always).await;
    assert!(round.values().all(|outcome| matches!(outcome, Ok(Outcome::LostRace))), "{round:?}");
    let computed = compute_one(&stale, &stale.part(0).unwrap(), "third").await;
    assert!(computed.output.parts.is_empty());
    let is_conflict = |error: &BatchError| matches!(error, BatchError::Serving(ServingError::Conflict { .. }));
    assert!(computed.errors.len() == 1 && computed.errors.values().all(is_conflict), "{:?}", computed.errors);
    let round = stale.publish(&[computed.output], None, &always).await;
    assert!(round.values().all(|outcome| matches!(outcome, Ok(Outcome::LostRace))), "{round:?}");
    check_equals_fold(&world).await;
}

/// Every call to the store fails once, before or after it was done: the next attempt finds out what became of it.
#[tokio::test]
async fn an_attempt_whose_outcome_is_unknown_is_repeated_safely() {
    let mut world = World::new(42).await;
    let random = &mut StdRng::seed_from_u64(42);
    world.send(60).await;
    world.archive().await;
    for is_after in [false, true] {
        for call in 1..200 {
            let plan = choose_one(&world, &["by_page"], Mode::Full, task_bytes(&world, 2).await).await;
            let outputs = compute(&world, &plan, "attempt", random).await;
            let worker = open(&world, &plan).await;
            let before = world.newest(&world.view("by_page")).await.map_or(0, |version| version.number().0);
            world.faults.fail_call(call, is_after);
            let round = worker.publish(&outputs, None, &always).await;
            let has_failed = world.faults.has_failed();
            world.faults.fail_call(0, false);
            let again = open(&world, &plan).await.publish(&outputs, None, &always).await;
            for outcome in again.values() {
                let Ok(Outcome::Published(version)) = outcome else { panic!("call {call}: {round:?}, {again:?}") };
                assert_eq!(version.number().0, before + 1, "call {call}: {round:?}");
            }
            let newest = world.newest(&world.view("by_page")).await.unwrap();
            assert_eq!(newest.number().0, before + 1, "call {call}: published twice");
            if !has_failed {
                assert!(call > 3, "publishing takes calls to the store");
                break;
            }
        }
    }
    check_equals_fold(&world).await;
}

/// A world with events in each of some hours, published, and two of the hours lost from the view since.
async fn world_with_lost_hours() -> (World, [TimestampMicros; 2]) {
    let mut world = World::new(43).await;
    for number in 0..12 * GRID {
        let (hour, page) = (number % 12, Some("/a".to_owned()));
        let time = TODAY + hour * HOUR;
        world.send_one(Some(Event { time, page, amount: Some(number), ..Event::default() })).await;
    }
    world.clock.advance(Duration::from_secs(40));
    world.archive().await;
    world.recompute(Mode::Full).await;
    let lost = [3, 8].map(|hour| TimestampMicros(TODAY + hour * HOUR));
    let store = BatchViewStore::new(&world.lake, world.view("by_page"));
    let newest = store.newest().await.unwrap().unwrap();
    let nothing = RecordBatchStreamAdapter::new(store.schema(), stream::empty());
    let facts = newest.facts.as_ref().clone();
    store.publish(Some(&newest), Some(&lost), Box::pin(nothing), facts, world.ids.next_id()).await.unwrap();
    (world, lost)
}

fn range(from: i64, to: i64, only_missing: bool) -> Mode {
    let at = |hour: i64| TimestampMicros(TODAY + hour * HOUR);
    Mode::Range { from: at(from), to: at(to), only_missing }
}

#[tokio::test]
async fn a_range_is_computed_at_the_cut_of_the_version_before() {
    for only_missing in [false, true] {
        let (mut world, lost) = world_with_lost_hours().await;
        let random = &mut StdRng::seed_from_u64(43);
        let before = world.newest(&world.view("by_page")).await.unwrap();
        // New events in hours in and beyond the range, which must not be in yet.
        for hour in 0..12 {
            for _ in 0..2 * GRID {
                let time = TODAY + hour * HOUR;
                world.send_one(Some(Event { time, page: Some("/b".into()), ..Event::default() })).await;
            }
        }
        world.archive().await;
        let plan = choose_one(&world, &["by_page"], range(2, 6, only_missing), 1).await;
        let hours = |from: TimestampMicros, to: TimestampMicros| BucketRanges::from(vec![(from, to)]);
        let next = TimestampMicros(lost[0].0 + HOUR);
        let expected = match only_missing {
            true => hours(lost[0], next),
            false => hours(TimestampMicros(TODAY + 2 * HOUR), TimestampMicros(TODAY + 6 * HOUR)),
        };
        assert_eq!(plan.touched, Some(expected));
        assert_eq!(plan.estimate().buckets, if only_missing { 1 } else { 4 });
        assert_eq!(plan.groups.len(), if only_missing { 1 } else { 4 }, "one bucket is the least");
        let outputs = compute(&world, &plan, "range", random).await;
        let round = open(&world, &plan).await.publish(&outputs, None, &always).await;
        assert!(matches!(round.values().next(), Some(Ok(Outcome::Published(_)))), "{round:?}");
        let after = world.newest(&world.view("by_page")).await.unwrap();
        assert_eq!((&after.facts.cut, &after.facts.counters), (&before.facts.cut, &before.facts.counters));
        let store = BatchViewStore::new(&world.lake, world.view("by_page"));
        let (from, to) = (TimestampMicros(TODAY), TimestampMicros(TODAY + DAY));
        let held = store.buckets_within(&after, from, to).await.unwrap();
        assert!(held.contains(&lost[0]) && !held.contains(&lost[1]) && held.len() == 11, "{held:?}");

        // The other one, and then what came since.
        let round = plan_recompute(&components(&world, &["by_page"]), range(0, 24, true), &settings(1)).await.unwrap();
        assert_eq!(round.plans[0].plan().touched, Some(hours(lost[1], TimestampMicros(lost[1].0 + HOUR))));
        recompute_in_steps(&world, &["by_page"], range(0, 24, true), 4, random).await;
        let (plans, round) = choose(&world, &["by_page"], range(0, 24, true), 1).await;
        assert!(plans.is_empty() && matches!(round.values().next(), Some(Ok(Outcome::NothingNew))), "{round:?}");
        world.recompute(Mode::Incremental).await;
        check_equals_fold(&world).await;
    }
}

#[tokio::test]
async fn a_range_that_divides_a_bucket_is_refused_with_the_nearest_bounds() {
    let mut world = World::new(44).await;
    world.send(40).await;
    world.archive().await;
    let why = async |world: &World, view: &str, mode: Mode| {
        let (plans, round) = choose(world, &[view], mode, 1).await;
        assert!(plans.is_empty());
        round.into_values().next().unwrap().unwrap_err().to_string()
    };
    let said = why(&world, "by_page", range(0, 5, false)).await;
    assert!(said.contains("no version yet") && said.contains("`twofold batch run`"), "{said}");
    world.recompute(Mode::Full).await;
    let said = why(&world, "by_day", range(5, 24, false)).await;
    assert!(said.contains("2023-11-14T05:00:00Z") && said.contains("2023-11-14T00:00:00Z"), "{said}");
    assert!(said.contains("begins") && said.contains("2023-11-15T00:00:00Z"), "{said}");
    let said = why(&world, "by_day", range(0, 5, false)).await;
    assert!(said.contains("ends"), "{said}");
    let said = why(&world, "in_all", range(0, 24, false)).await;
    assert!(said.contains("one bucket"), "{said}");
    let said = why(&world, "by_page", range(5, 5, false)).await;
    assert!(said.contains("is empty"), "{said}");
    assert!(choose(&world, &["by_page"], range(5, 24, false), 1).await.1.is_empty());
}

#[tokio::test]
async fn groups_are_even_and_an_estimate_says_what_there_is() {
    let mut world = World::new(45).await;
    let random = &mut StdRng::seed_from_u64(45);
    // Files of a few hours each, of very different sizes.
    for day in 0..12 {
        for _ in 0..random.random_range(8..60) {
            let time = TODAY - day * DAY + random.random_range(0..6 * HOUR);
            let page = Some(format!("/{}", random.random_range(0..1000)));
            world.send_one(Some(Event { time, page, ..Event::default() })).await;
        }
        world.archive().await;
    }
    world.clock.advance(Duration::from_secs(40));
    let files = world.snapshot().await.snapshot.files().to_vec();
    let bytes: u64 = files.iter().map(|file| file.size_bytes).sum();
    let rows: u64 = files.iter().map(|file| file.rows).sum();
    for tasks in [1, 2, 5, 11] {
        let limit = bytes / tasks + 1;
        let plan = choose_one(&world, &["by_page"], Mode::Full, limit).await;
        let estimate = plan.estimate();
        let slack = plan.groups.len() as u64;
        assert!(estimate.bytes.abs_diff(bytes) <= slack, "{estimate:?} of {bytes} bytes");
        assert!(estimate.rows.abs_diff(rows) <= slack, "{estimate:?} of {rows} rows");
        assert!((12..=12 * 6).contains(&estimate.buckets), "{estimate:?}");
        check_even(&plan.groups, limit);
        assert!(tasks > 1 || plan.groups.len() == 1);
        assert!(tasks == 1 || plan.groups.len() as u64 >= tasks, "{} groups of {tasks}", plan.groups.len());
    }
    // Of one bucket, no group is less.
    let plan = choose_one(&world, &["by_page"], Mode::Full, 1).await;
    assert!(plan.groups.iter().all(|group| group.buckets == 1), "{:?}", plan.groups);
}

fn check_even(groups: &[BucketGroup], limit: u64) {
    let is_small = |group: &BucketGroup| group.bytes <= limit + 1 || group.buckets == 1;
    assert!(groups.iter().all(is_small), "{groups:?}");
    assert!(groups.windows(2).all(|two| two[0].to == two[1].from), "{groups:?}");
    // Even shares are more than half of the limit; and what a group lacks of its share, the one behind it begins with.
    let together = |two: &[BucketGroup]| two[0].bytes + two[1].bytes;
    assert!(groups.windows(2).all(|two| 2 * together(two) + 4 >= limit), "{groups:?}");
    let ends = (groups[0].from, groups[groups.len() - 1].to);
    assert_eq!(ends, (TimestampMicros(i64::MIN), TimestampMicros(i64::MAX)));
}

#[tokio::test]
async fn a_plan_of_ten_thousand_groups_is_small() {
    let mut world = World::new(46).await;
    world.send(40).await;
    world.archive().await;
    let mut plan = choose_one(&world, &["by_page", "by_day"], Mode::Full, 1).await;
    let group = |number: i64| BucketGroup {
        from: TimestampMicros(START + number * HOUR),
        to: TimestampMicros(START + (number + 1) * HOUR),
        buckets: 1,
        rows: 1_000_000,
        bytes: 256 << 20,
    };
    plan.groups = (0..10_000).map(group).collect();
    // The worst there is: every other hour.
    let hours = plan.groups.iter().step_by(2).map(|group| (group.from, group.to));
    plan.touched = Some(hours.collect());
    let text = serde_json::to_string(&plan).unwrap();
    assert!(text.len() < 4 << 20, "{} bytes", text.len());
    assert_eq!(serde_json::from_str::<RecomputePlan>(&text).unwrap(), plan);
}

#[tokio::test]
async fn a_plan_of_another_definition_is_refused() {
    let mut world = World::new(47).await;
    world.send(40).await;
    world.archive().await;
    let mut plan = choose_one(&world, &["by_page"], Mode::Full, 1).await;
    plan.views[0].hash = positions::DefinitionHash(1);
    let refused = OpenPlan::open(&world.recompute_components(), plan.clone()).await.err().unwrap();
    assert!(matches!(refused, BatchError::DefinitionChanged { .. }) && !refused.is_retryable(), "{refused}");
    plan.views.clear();
    let refused = OpenPlan::open(&world.recompute_components(), plan).await.err().unwrap();
    assert!(matches!(refused, BatchError::EmptyPlan), "{refused}");
    let plan = choose_one(&world, &["by_page"], Mode::Full, u64::MAX).await;
    let plan = open(&world, &plan).await;
    let refused = plan.part(1).unwrap_err();
    assert!(matches!(refused, BatchError::NoSuchGroup { group: 1, groups: 1 }), "{refused}");
    let mut of_another_plan = plan.part(0).unwrap();
    of_another_plan.group = 1;
    let refused = plan.compute_part(&of_another_plan, "none", &settings(1), &GroupProgress::default()).await;
    assert!(matches!(refused, Err(BatchError::NoSuchGroup { group: 1, groups: 1 })), "{refused:?}");
}

#[tokio::test]
async fn rows_that_expressions_fail_on_add_up_over_groups() {
    let pipeline = "
        CREATE UNBOUNDED EXTERNAL TABLE hits (time TIMESTAMP NOT NULL, page VARCHAR, bytes BIGINT)
        STORED AS JSON LOCATION 'kafka://hits' OPTIONS (event_time 'time', grid '8', gap '30 seconds', partitions '2');
        CREATE MATERIALIZED VIEW shares AS SELECT page, sum(100 / bytes) AS share FROM hits GROUP BY page;";
    let mut world = World::of(48, pipeline).await;
    for number in 0..60 {
        let (time, amount) = (START - number * HOUR, Some(number % 3));
        world.send_one(Some(Event { time, amount, ..Event::default() })).await;
    }
    world.clock.advance(Duration::from_secs(40));
    world.archive().await;
    let plan = choose_one(&world, &["shares"], Mode::Full, task_bytes(&world, 5).await).await;
    let mut outputs = Vec::new();
    for part in open(&world, &plan).await.parts() {
        let worker = open(&world, &plan).await;
        outputs.push(compute_one(&worker, &part, &format!("g{}", part.group)).await.output);
    }
    assert!(outputs.len() > 4, "{} groups", outputs.len());
    let failed = GroupOutput::all_failed_rows(&outputs);
    let rows: Vec<u64> = failed.values().flat_map(|expressions| expressions.values().copied()).collect();
    assert_eq!(rows, [20], "{failed:?}");
}

#[tokio::test]
async fn a_group_tells_how_far_it_is() {
    let mut world = World::new(49).await;
    world.send(200).await;
    world.archive().await;
    let plan = choose_one(&world, &["by_page", "by_day"], Mode::Full, u64::MAX).await;
    let (worker, progress) = (open(&world, &plan).await, GroupProgress::default());
    assert_eq!(progress.read_so_far(), ReadSoFar::default());
    let part = worker.part(0).unwrap();
    worker.compute_part(&part, "watched", &settings(1), &progress).await.unwrap();
    let (read, expected) = (progress.read_so_far(), worker.rows_to_read(&part));
    assert!(read.bytes > 0 && read.rows > expected / 2 && read.rows <= expected, "{read:?} of {expected} rows");
    assert!(["by_page", "by_day"].contains(&progress.step().as_str()), "{}", progress.step());
}

#[tokio::test]
async fn a_plan_outlives_the_version_of_the_master_dataset_that_it_was_made_of() {
    let mut world = World::new(50).await;
    let random = &mut StdRng::seed_from_u64(50);
    world.send(80).await;
    world.archive().await;
    let plan = choose_one(&world, &["by_page"], Mode::Full, task_bytes(&world, 3).await).await;
    world.send(80).await;
    world.archive().await;
    let newest = world.snapshot().await.snapshot;
    newest.table().purge(&newest).await.unwrap();
    let gone = world.master().open_at(plan.master_version).await.err().unwrap();
    assert!(matches!(gone, RecordsError::VersionGone { .. }), "{gone}");
    let outputs = compute(&world, &plan, "late", random).await;
    let round = open(&world, &plan).await.publish(&outputs, None, &always).await;
    assert!(matches!(round.values().next(), Some(Ok(Outcome::Published(_)))), "{round:?}");
    check_equals_fold(&world).await;

    // Not where rows below its cut are gone since.
    let mut other = plan.clone();
    other.erased += 1;
    let refused = OpenPlan::open(&world.recompute_components(), other).await.err().unwrap();
    assert!(matches!(refused, BatchError::Records(RecordsError::VersionGone { .. })), "{refused}");
}

#[tokio::test]
async fn what_was_computed_for_a_first_version_goes_with_what_was_erased() {
    let mut world = World::new(53).await;
    let random = &mut StdRng::seed_from_u64(53);
    world.send(60).await;
    let person = erase::visit(&world, 5_000);
    world.send_one(Some(person)).await;
    world.send(60).await;
    world.archive().await;
    world.clock.advance(Duration::from_secs(40));
    let plan = choose_one(&world, &["by_page"], Mode::Full, task_bytes(&world, 1).await).await;
    compute(&world, &plan, "cut-short", random).await;
    let traces = traces_in_lake(&world.lake, erase::PAGE).await;
    assert!(traces.iter().any(|object| object.contains("views/by_page")), "nothing was computed: {traces:?}");

    erase::choose(&mut world).await;
    let done = batch_layer::erase::erase(&erase::components(&world)).await.unwrap();
    assert_eq!(done.views, [ViewName::new("by_page")]);
    erase::check_erased(&world).await;
    let again = batch_layer::erase::erase(&erase::components(&world)).await.unwrap();
    assert!(again.views.is_empty(), "{:?}", again.views);
}
