//! Folding: hours become days and days months, no answer changes, and whatever is computed on a folded version
//! afterwards replaces the buckets that it has.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use batch_layer::archive::ArchiveSettings;
use batch_layer::erase::{Wanted, erase, search};
use batch_layer::fold::{FoldOutcome, Folding, folded_by};
use batch_layer::recompute::{Mode, Outcome, RecomputeComponents, plan_recompute, recompute};
use batch_layer::{BatchError, BatchSettings, FormerDefinitions};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use event_log::PollLimit;
use futures::FutureExt;
use futures::stream;
use positions::{Clock, IdSource, SourceName, TimestampMicros};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serving_layer::{BatchVersion, BatchViewStore, BucketRanges, Folded, ServingError, always};
use views::{Bucket, Pipeline, PlannedView, bucket_of};

use super::compaction::engine;
use super::erase::{PAGE, check_erased, choose, components, publish};
use super::importing::{draw, import};
use super::oracle::{Cell, by_page, distinct, finished};
use super::recompute::{all_finished, check_equals_fold};
use super::retention::forget;
use super::steps::{compute_one, recompute_in_steps, send_law_events};
use super::world::{Event, HOUR, START, World};
use crate::law::cases::{ORDERED, PLAIN, STATISTICS};
use crate::support::house::{NoFormer, fold};
use crate::support::seeds::seeds;

const DAY: i64 = 24 * HOUR;
/// Months of 2023; the world begins on the 14th of November.
const SEPTEMBER: i64 = 1_693_526_400_000_000;
const OCTOBER: i64 = SEPTEMBER + 30 * DAY;
const NOVEMBER: i64 = OCTOBER + 31 * DAY;

fn days(number: u64) -> Duration {
    Duration::from_secs(number * 24 * 3600)
}

async fn fold_one(world: &World, view: &PlannedView, age: Duration) -> FoldOutcome {
    fold(&world.batch_context(), view, age, &engine(), &always).await.unwrap()
}

async fn fold_all(world: &World, age: Duration) -> BTreeMap<String, FoldOutcome> {
    let mut all = BTreeMap::new();
    for view in &world.pipeline.views {
        all.insert(view.name.to_string(), fold_one(world, view, age).await);
    }
    all
}

fn folding(outcome: FoldOutcome) -> Folding {
    let FoldOutcome::Folded(folding) = outcome else { panic!("not folded, but {outcome:?}") };
    folding
}

async fn folded(world: &World, view: &str) -> Folded {
    world.newest(&world.view(view)).await.unwrap().facts.folded
}

/// The grain that a version must have at an instant, by the words of its facts.
fn grain(own: Bucket, folded: Folded, time: TimestampMicros) -> Bucket {
    let is_before = |until: Option<TimestampMicros>| until.is_some_and(|until| time < until);
    match own {
        Bucket::None | Bucket::Month => own,
        _ if is_before(folded.months_until) => Bucket::Month,
        Bucket::Hour if is_before(folded.days_until) => Bucket::Day,
        _ => own,
    }
}

async fn buckets(world: &World, view: &PlannedView, version: &BatchVersion) -> BTreeSet<TimestampMicros> {
    let store = BatchViewStore::new(&world.lake, view.clone());
    store.buckets_within(version, TimestampMicros(i64::MIN), TimestampMicros(i64::MAX)).await.unwrap()
}

fn rows(version: &BatchVersion) -> u64 {
    version.snapshot.files().iter().map(|file| file.rows).sum()
}

/// Every version has the buckets that its facts say, no others, and a row for each group in each of them.
async fn check_buckets(world: &World) {
    for view in &world.pipeline.views {
        let Some(version) = world.newest(view).await else { continue };
        let folded = version.facts.folded;
        for bucket in buckets(world, view, &version).await {
            let grain = grain(view.bucket, folded, bucket);
            assert_eq!(bucket_of(grain, bucket), bucket, "{} {grain:?} {folded:?}", view.name);
        }
        if view.name.as_str() == "by_page" {
            let events = distinct(world, &version);
            let groups = events.iter().map(|event| {
                let time = TimestampMicros(event.time);
                (bucket_of(grain(view.bucket, folded, time), time), event.page.clone())
            });
            assert_eq!(rows(&version), groups.collect::<BTreeSet<_>>().len() as u64, "{folded:?}");
        }
    }
}

/// Sends events of four months, every fourth of them a copy of another one, many beside the ends of months and days.
async fn send_old(world: &mut World, random: &mut StdRng, count: usize) {
    for _ in 0..count {
        let earlier: Vec<Event> = world.sent.iter().filter_map(|sent| sent.event.clone()).collect();
        let time = world.clock.now().0 - random.random_range(0..120 * DAY);
        let grain = [Bucket::Month, Bucket::Day, Bucket::Hour][random.random_range(0..3)];
        let time = match random.random_range(0..3) {
            0 => bucket_of(grain, TimestampMicros(time)).0 - random.random_range(0..2_i64),
            _ => time,
        };
        let event = match random.random_range(0..4) {
            0 if !earlier.is_empty() => earlier[random.random_range(0..earlier.len())].clone(),
            _ => Event {
                time,
                id: random.random_bool(0.8).then(|| random.random_range(0..10_000)),
                page: random.random_bool(0.9).then(|| format!("/{}", random.random_range(0..4))),
                amount: random.random_bool(0.9).then(|| random.random_range(0..100)),
                ..Event::default()
            },
        };
        world.send_one(Some(event)).await;
    }
}

/// The same question by buckets of each grain, and one whose groups tell minutes apart.
fn pipeline_of_grains() -> String {
    let source =
        "CREATE UNBOUNDED EXTERNAL TABLE hits (time TIMESTAMP NOT NULL, id VARCHAR, page VARCHAR, bytes BIGINT)
        STORED AS JSON LOCATION 'kafka://hits'
        OPTIONS (event_time 'time', event_id 'id', grid '8', gap '30 seconds', partitions '2');";
    let views = ["by_page hour", "by_day day", "by_month month", "in_all none"].map(|words| {
        let (name, bucket) = words.split_once(' ').unwrap();
        format!(
            "\nCREATE MATERIALIZED VIEW {name} WITH (bucket = '{bucket}') AS
            SELECT page, count(*) AS hits, sum(bytes) AS bytes, min(bytes) AS least, max(bytes) AS most
            FROM hits GROUP BY page;"
        )
    });
    let minutes = "\nCREATE MATERIALIZED VIEW by_minute AS
        SELECT date_bin(INTERVAL '1 minute', time) AS minute, count(*) AS hits FROM hits GROUP BY minute;";
    std::iter::once(source.to_owned()).chain(views).chain([minutes.to_owned()]).collect()
}

/// Months pass. What is an hour at first becomes a day and then a month, in versions of every grain.
#[tokio::test]
async fn as_time_goes_by_hours_become_days_and_days_months() {
    for seed in seeds(2) {
        let mut world = World::of(seed, &pipeline_of_grains()).await;
        let random = &mut StdRng::seed_from_u64(seed);
        let mut grains: BTreeMap<String, Vec<Bucket>> = BTreeMap::new();
        for step in 0..9 {
            for number in 0..12 {
                let late = if step == 0 { 0 } else { random.random_range(0..30 * DAY) };
                let (time, page) = (world.clock.now().0 - late, Some(format!("/{}", number % 3)));
                world.send_one(Some(Event { time, page, amount: Some(number), ..Event::default() })).await;
            }
            publish(&mut world).await;
            let before = all_finished(&world).await;
            fold_all(&world, days(20)).await;
            assert_eq!(all_finished(&world).await, before, "seed {seed}, step {step}");
            check_buckets(&world).await;
            for view in &world.pipeline.views {
                let version = world.newest(view).await.unwrap();
                let events = distinct(&world, &version);
                match view.name.as_str() {
                    "by_minute" => assert_eq!(rows(&version), minutes_of(&events), "rows that are told apart stay"),
                    name => assert_eq!(before[name], by_page(&events), "seed {seed}, step {step}, {name}"),
                }
                // Of the bucket that the first event is in.
                let grain = grain(view.bucket, version.facts.folded, TimestampMicros(START));
                let start = bucket_of(grain, TimestampMicros(START));
                assert!(buckets(&world, view, &version).await.contains(&start), "{} {grain:?}", view.name);
                let known = grains.entry(view.name.to_string()).or_default();
                known.push(grain);
                known.dedup();
            }
            world.clock.advance(days(8));
        }
        let of = |name: &str| grains[name].as_slice();
        assert_eq!(of("by_page"), [Bucket::Hour, Bucket::Day, Bucket::Month]);
        assert_eq!(of("by_minute"), [Bucket::Hour, Bucket::Day, Bucket::Month]);
        assert_eq!(of("by_day"), [Bucket::Day, Bucket::Month]);
        assert_eq!((of("by_month"), of("in_all")), (&[Bucket::Month][..], &[Bucket::None][..]));
    }
}

/// How many groups and buckets together a view by minutes has.
fn minutes_of(events: &[&Event]) -> u64 {
    events.iter().map(|event| event.time.div_euclid(60_000_000)).collect::<BTreeSet<_>>().len() as u64
}

#[tokio::test]
async fn folded_views_equal_the_fold_over_the_log_whatever_comes_later() {
    for seed in seeds(6) {
        let mut world = World::new(seed).await;
        let random = &mut StdRng::seed_from_u64(seed);
        let mut foldings = 0;
        for round in 0..5 {
            send_old(&mut world, random, 40).await;
            publish(&mut world).await;
            check_equals_fold(&world).await;
            check_buckets(&world).await;
            let before = all_finished(&world).await;
            let outcomes = fold_all(&world, days(random.random_range(0..100))).await;
            foldings += outcomes.values().filter(|outcome| matches!(outcome, FoldOutcome::Folded(_))).count();
            assert_eq!(outcomes["in_all"], FoldOutcome::NothingDue, "one bucket is as coarse as can be");
            assert_eq!(all_finished(&world).await, before, "seed {seed}, round {round}: {outcomes:?}");
            check_equals_fold(&world).await;
            check_buckets(&world).await;
        }
        assert!(foldings > 1, "seed {seed}: {foldings} foldings");
        let incremental = (all_finished(&world).await, folded(&world, "by_page").await);
        world.recompute(Mode::Full).await;
        assert_eq!((all_finished(&world).await, folded(&world, "by_page").await), incremental, "seed {seed}");
        check_equals_fold(&world).await;
        check_buckets(&world).await;
    }
}

/// The law over all ways in: streamed, imported and folded in any order, copies of each among the others.
#[tokio::test]
async fn what_is_streamed_imported_and_folded_equals_the_fold_over_all_of_it() {
    for seed in seeds(4) {
        let mut world = World::new(seed).await;
        let random = &mut StdRng::seed_from_u64(seed);
        let mut foldings = 0;
        for round in 0..6 {
            if random.random_bool(0.7) {
                send_old(&mut world, random, 25).await;
            }
            if random.random_bool(0.7) {
                let file = draw(&mut world, &format!("file {round}"), 25);
                import(&mut world, &file).await;
            }
            publish(&mut world).await;
            check_equals_fold(&world).await;
            check_buckets(&world).await;
            if world.newest(&world.view("by_page")).await.is_some() {
                let before = all_finished(&world).await;
                let outcomes = fold_all(&world, days(random.random_range(0..50))).await;
                foldings += outcomes.values().filter(|outcome| matches!(outcome, FoldOutcome::Folded(_))).count();
                assert_eq!(all_finished(&world).await, before, "seed {seed}, round {round}: {outcomes:?}");
                check_buckets(&world).await;
            }
        }
        assert!(foldings > 0, "seed {seed}: nothing was folded");
        let incremental = all_finished(&world).await;
        world.recompute(Mode::Full).await;
        assert_eq!(all_finished(&world).await, incremental, "seed {seed}");
        check_equals_fold(&world).await;
    }
}

/// Groups of buckets are those of the coarsest of the views, which are folded differently far.
#[tokio::test]
async fn many_groups_of_differently_folded_views_equal_the_fold() {
    for seed in seeds(3) {
        let mut world = World::new(seed).await;
        let random = &mut StdRng::seed_from_u64(seed);
        let mut most = 0;
        for age in [days(60), days(30), days(5)] {
            send_old(&mut world, random, 60).await;
            world.archive().await;
            world.clock.advance(Duration::from_secs(40));
            most = most.max(recompute_in_steps(&world, &["by_page", "by_day"], Mode::Incremental, 6, random).await);
            check_equals_fold(&world).await;
            check_buckets(&world).await;
            fold_one(&world, &world.view("by_page"), age).await;
            assert_eq!(folded(&world, "by_day").await, Folded::default());
            check_equals_fold(&world).await;
            check_buckets(&world).await;
        }
        let before = all_finished(&world).await;
        most = most.max(recompute_in_steps(&world, &["by_page", "by_day"], Mode::Full, 6, random).await);
        assert_eq!(all_finished(&world).await, before);
        check_buckets(&world).await;
        assert!(most > 1, "every plan had one group");
    }
}

/// The measures of the law suite, by a dimension that does not tell hours apart.
fn law_pipeline() -> String {
    let source = "CREATE UNBOUNDED EXTERNAL TABLE events (
        time TIMESTAMP, id VARCHAR, k VARCHAR, i BIGINT, d DECIMAL(12, 2), f DOUBLE, s VARCHAR, b BOOLEAN
    ) STORED AS JSON LOCATION 'kafka://hits'
    OPTIONS (event_time 'time', event_id 'id', grid '8', gap '30 seconds', partitions '2');";
    let views = [("plain", PLAIN), ("statistics", STATISTICS), ("ordered", ORDERED)].map(|(name, measures)| {
        let measures: Vec<String> = measures.iter().map(|(name, call, _)| format!("{call} AS {name}")).collect();
        let measures = measures.join(", ");
        format!("\nCREATE MATERIALIZED VIEW {name} AS SELECT events.k AS k, {measures} FROM events GROUP BY events.k;")
    });
    std::iter::once(source.to_owned()).chain(views).collect()
}

#[tokio::test]
async fn all_measures_of_the_law_are_the_same_after_folding() {
    for seed in seeds(3) {
        let mut world = World::of(seed, &law_pipeline()).await;
        let random = &mut StdRng::seed_from_u64(seed);
        for age in [days(20), days(1)] {
            send_law_events(&world, random, 120).await;
            publish(&mut world).await;
            let before = all_finished(&world).await;
            for (view, outcome) in fold_all(&world, age).await {
                let folding = folding(outcome);
                assert!(folding.rows < folding.rows_before, "{view}: {folding:?}");
            }
            assert_eq!(all_finished(&world).await, before, "seed {seed}");
            check_buckets(&world).await;
        }
        let incremental = all_finished(&world).await;
        world.recompute(Mode::Full).await;
        assert_eq!(all_finished(&world).await, incremental, "seed {seed}");
    }
}

#[tokio::test]
async fn late_events_and_copies_on_both_sides_of_an_end_count_once() {
    let mut world = World::new(51).await;
    let times = [OCTOBER - 1, OCTOBER, OCTOBER + HOUR, OCTOBER + DAY - 1, NOVEMBER, NOVEMBER + 9 * DAY];
    let event = |number: usize, time: i64| Event {
        time,
        id: Some(number as u32),
        page: Some("/a".to_owned()),
        amount: Some(1),
        ..Event::default()
    };
    for (number, time) in times.into_iter().enumerate() {
        world.send_one(Some(event(number, time))).await;
    }
    publish(&mut world).await;
    fold_all(&world, days(20)).await;
    let at = TimestampMicros;
    let until = Folded { months_until: Some(at(OCTOBER)), days_until: Some(at(OCTOBER + 24 * DAY)) };
    assert_eq!(until, folded_by(world.clock.now(), days(20)));
    assert_eq!(folded(&world, "by_page").await, until);
    let expected = BTreeSet::from([SEPTEMBER, OCTOBER, NOVEMBER, NOVEMBER + 9 * DAY].map(at));
    let view = world.view("by_page");
    assert_eq!(buckets(&world, &view, &world.newest(&view).await.unwrap()).await, expected);

    // A copy of each, and another event at the same time.
    for (number, time) in times.into_iter().enumerate() {
        world.send_one(Some(event(number, time))).await;
        world.send_one(Some(event(100 + number, time))).await;
    }
    publish(&mut world).await;
    assert_eq!(folded(&world, "by_page").await, until, "a version is folded as far as the one before");
    assert_eq!(buckets(&world, &view, &world.newest(&view).await.unwrap()).await, expected);
    check_equals_fold(&world).await;
    check_buckets(&world).await;
    let copies =
        world.newest(&view).await.unwrap().facts.counters.values().map(|counters| counters.copies).sum::<u64>();
    assert_eq!(copies, times.len() as u64);
    // A longer age later unfolds nothing.
    assert_eq!(fold_one(&world, &view, days(90)).await, FoldOutcome::NothingDue);
}

/// A world with an event in each of many hours of three months, published and not folded.
pub(super) async fn unfolded_world(seed: u64) -> World {
    let mut world = World::new(seed).await;
    for number in 0..74 {
        let (time, page) = (SEPTEMBER + number * DAY + number % 24 * HOUR, Some(format!("/{}", number % 3)));
        world.send_one(Some(Event { time, page, amount: Some(number), ..Event::default() })).await;
    }
    publish(&mut world).await;
    world
}

/// The same folded, but for the last twenty days.
async fn folded_world(seed: u64) -> World {
    let world = unfolded_world(seed).await;
    fold_all(&world, days(20)).await;
    check_buckets(&world).await;
    world
}

fn only(world: &World, view: &str) -> RecomputeComponents {
    let mut components = world.recompute_components();
    components.views.retain(|one| one.name.as_str() == view);
    components
}

fn range(from: i64, to: i64, only_missing: bool) -> Mode {
    Mode::Range { from: TimestampMicros(from), to: TimestampMicros(to), only_missing }
}

#[tokio::test]
async fn a_range_is_made_of_whole_folded_buckets() {
    let mut world = folded_world(52).await;
    let page = only(&world, "by_page");
    let why = async |from: i64, to: i64| {
        let round = recompute(&page, range(from, to, false), &engine()).await;
        round.into_values().next().unwrap().unwrap_err().to_string()
    };
    let said = why(SEPTEMBER + DAY, OCTOBER).await;
    assert!(said.contains("begins") && said.contains("(month)"), "{said}");
    assert!(said.contains("2023-09-01T00:00:00Z") && said.contains("2023-10-01T00:00:00Z"), "{said}");
    let said = why(OCTOBER, OCTOBER + 5 * HOUR).await;
    assert!(said.contains("ends") && said.contains("(day)"), "{said}");
    assert!(said.contains("2023-10-01T00:00:00Z") && said.contains("2023-10-02T00:00:00Z"), "{said}");

    // What came since is not in yet, and is afterwards.
    send_old(&mut world, &mut StdRng::seed_from_u64(52), 30).await;
    world.archive().await;
    let before = (all_finished(&world).await, folded(&world, "by_page").await);
    for (from, to) in [
        (SEPTEMBER, OCTOBER),
        (OCTOBER + DAY, OCTOBER + 3 * DAY),
        (NOVEMBER + HOUR, NOVEMBER + 5 * HOUR),
        (SEPTEMBER, NOVEMBER + HOUR),
    ] {
        let round = recompute(&page, range(from, to, false), &engine()).await;
        assert!(matches!(round.values().next(), Some(Ok(Outcome::Published(_)))), "{round:?}");
        assert_eq!((all_finished(&world).await, folded(&world, "by_page").await), before);
    }
    check_equals_fold(&world).await;

    // A folded month that is lost is found, and computed as a month.
    let store = BatchViewStore::new(&world.lake, world.view("by_page"));
    let newest = store.newest().await.unwrap().unwrap();
    let nothing = RecordBatchStreamAdapter::new(store.schema(), stream::empty());
    let (facts, lost) = (newest.facts.as_ref().clone(), [TimestampMicros(SEPTEMBER)]);
    store.publish(Some(&newest), Some(&lost), Box::pin(nothing), facts, world.ids.next_id()).await.unwrap();
    assert_ne!(all_finished(&world).await, before.0);
    let missing = range(SEPTEMBER, OCTOBER, true);
    let chosen = plan_recompute(&page, missing, &engine()).await.unwrap();
    let month = BucketRanges::from(vec![(TimestampMicros(SEPTEMBER), TimestampMicros(OCTOBER))]);
    assert_eq!(chosen.plans[0].plan().touched, Some(month));
    assert_eq!(chosen.plans[0].plan().estimate().buckets, 1);
    recompute(&page, missing, &engine()).await;
    assert_eq!(all_finished(&world).await, before.0);
    world.clock.advance(Duration::from_secs(40));
    world.recompute(Mode::Incremental).await;
    check_equals_fold(&world).await;
    check_buckets(&world).await;
}

#[tokio::test]
async fn what_is_erased_is_gone_from_folded_views_and_the_rest_is_exact() {
    for seed in seeds(3) {
        let mut world = World::new(seed).await;
        let random = &mut StdRng::seed_from_u64(seed);
        send_old(&mut world, random, 60).await;
        for day in [0, 40, 70] {
            let (time, page) = (world.clock.now().0 - day * DAY, Some(PAGE.to_owned()));
            world.send_one(Some(Event { time, page, amount: Some(50), ..Event::default() })).await;
        }
        publish(&mut world).await;
        fold_all(&world, days(20)).await;
        let until = folded(&world, "by_page").await;
        assert_eq!(choose(&mut world).await, 3);
        erase(&components(&world)).await.unwrap();
        check_erased(&world).await;
        check_buckets(&world).await;

        // By age: a month that is folded loses those of its days that are too old.
        let wanted = Wanted { older_than: Some(days(50)), ..Wanted::default() };
        let found = search(&components(&world), &wanted).await.unwrap();
        let chosen = forget(&mut world, found.before.unwrap().0, &mut Vec::new());
        assert_eq!(found.events, chosen, "seed {seed}");
        world.master().erased().add(&found.records, world.ids.as_ref()).await.unwrap();
        erase(&components(&world)).await.unwrap();
        check_equals_fold(&world).await;
        check_buckets(&world).await;
        assert_eq!(folded(&world, "by_page").await, until);

        // What comes afterwards counts, however late it is.
        send_old(&mut world, random, 30).await;
        publish(&mut world).await;
        fold_all(&world, days(1)).await;
        check_equals_fold(&world).await;
        check_buckets(&world).await;
    }
}

/// Every call to the store fails once, before or after it was done; the next attempt goes on.
#[tokio::test]
async fn a_folding_that_failed_anywhere_is_repeated_safely() {
    for is_after in [false, true] {
        let mut ended = false;
        for call in 1..200 {
            let mut world = World::new(53).await;
            send_old(&mut world, &mut StdRng::seed_from_u64(53), 24).await;
            publish(&mut world).await;
            let (view, before) = (world.view("by_page"), all_finished(&world).await);
            let number = world.newest(&view).await.unwrap().number().0;
            world.faults.fail_call(call, is_after);
            let first = fold(&world.batch_context(), &view, days(10), &engine(), &always).await;
            ended = !world.faults.has_failed();
            world.faults.fail_call(0, false);
            assert!(first.as_ref().err().is_none_or(BatchError::is_retryable), "call {call}: {first:?}");
            let again = fold_one(&world, &view, days(10)).await;
            let newest = world.newest(&view).await.unwrap();
            assert_eq!(newest.number().0, number + 1, "call {call}: {first:?}, {again:?}");
            assert_eq!(newest.facts.folded, folded_by(world.clock.now(), days(10)));
            assert_eq!(all_finished(&world).await, before, "call {call}");
            check_equals_fold(&world).await;
            check_buckets(&world).await;
            if ended {
                assert!(call > 3, "folding takes calls to the store");
                break;
            }
        }
        assert!(ended, "there are more calls than this test makes fail");
    }
}

#[tokio::test]
async fn of_a_folding_and_another_publisher_one_wins() {
    let mut world = World::new(54).await;
    let view = world.view("by_page");
    assert_eq!(fold_one(&world, &view, days(10)).await, FoldOutcome::NoVersion);
    send_old(&mut world, &mut StdRng::seed_from_u64(54), 40).await;
    publish(&mut world).await;
    let context = world.batch_context();
    let number = world.newest(&view).await.unwrap().number().0;

    // Without the lease nothing is published.
    let lost = || futures::future::ready(false).boxed();
    let error = fold(&context, &view, days(10), &engine(), &lost).await.unwrap_err();
    assert!(matches!(error, BatchError::Serving(ServingError::Withdrawn { .. })), "{error}");
    assert_eq!(world.newest(&view).await.unwrap().number().0, number);

    // Of two at once, one.
    let plan = plan_recompute(&only(&world, "by_page"), Mode::Full, &engine()).await.unwrap().plans.remove(0);
    let settings = engine();
    let (one, other) = tokio::join!(
        fold(&context, &view, days(10), &settings, &always),
        fold(&context, &view, days(10), &settings, &always)
    );
    let outcomes = [one.unwrap(), other.unwrap()];
    let is_folded = |outcome: &&FoldOutcome| matches!(outcome, FoldOutcome::Folded(_));
    assert_eq!(outcomes.iter().filter(is_folded).count(), 1, "{outcomes:?}");
    let is_late = |outcome: &&FoldOutcome| matches!(outcome, FoldOutcome::LostRace | FoldOutcome::NothingDue);
    assert_eq!(outcomes.iter().filter(is_late).count(), 1, "{outcomes:?}");
    assert_eq!(world.newest(&view).await.unwrap().number().0, number + 1);
    let note = world.lake.get(&world.lake.path("format.json")).await.unwrap().unwrap();
    assert_eq!(note, format!(r#"{{"format":{}}}"#, lake::FORMAT_WITH_FOLDED), "earlier versions keep away");

    // A recompute that was planned before, with finer buckets, cannot be published any more.
    let computed = compute_one(&plan, &plan.part(0).unwrap(), "late").await;
    let is_conflict = |error: &BatchError| matches!(error, BatchError::Serving(ServingError::Conflict { .. }));
    assert!(computed.errors.len() == 1 && computed.errors.values().all(is_conflict), "{:?}", computed.errors);
    check_equals_fold(&world).await;
    check_buckets(&world).await;
}

#[tokio::test]
async fn views_are_folded_beside_rounds_where_an_age_is_set() {
    for fold_after in [None, Some(days(10))] {
        let mut world = World::new(55).await;
        send_old(&mut world, &mut StdRng::seed_from_u64(55), 40).await;
        world.archive().await;
        world.clock.advance(Duration::from_secs(40));
        let settings = BatchSettings {
            interval: Duration::from_secs(3600),
            recompute: engine(),
            fold_after,
            ..BatchSettings::default()
        };
        world.keep_house(&NoFormer, &settings).await;
        let expected = fold_after.map(|age| folded_by(world.clock.now(), age)).unwrap_or_default();
        assert_eq!(folded(&world, "by_page").await, expected);
        check_equals_fold(&world).await;
        check_buckets(&world).await;
    }
}

/// Some definitions, for ever.
struct Kept(Vec<PlannedView>);

impl FormerDefinitions for Kept {
    fn views_of(&self, _source: &SourceName) -> Vec<PlannedView> {
        self.0.clone()
    }
}

/// One over the present reading of the source, one over another.
#[tokio::test]
async fn former_definitions_are_folded_by_the_same_rules() {
    let former =
        ["time TIMESTAMP NOT NULL, id VARCHAR, page VARCHAR, bytes BIGINT", "time TIMESTAMP NOT NULL, page VARCHAR"]
            .map(|columns| {
                let id = if columns.contains("id VARCHAR") { "event_id 'id', " } else { "" };
                let text = format!(
                    "CREATE UNBOUNDED EXTERNAL TABLE hits ({columns}) STORED AS JSON LOCATION 'kafka://hits'
                 OPTIONS (event_time 'time', {id}grid '8', gap '30 seconds', late_after '1 minute', partitions '2');
                 CREATE MATERIALIZED VIEW by_page AS SELECT page, count(*) AS hits FROM hits GROUP BY page;"
                );
                Pipeline::read(&text, &BTreeMap::new()).unwrap().view("by_page").unwrap().clone()
            });
    let mut world = World::new(57).await;
    for number in 0..90 {
        let (time, page) = (world.clock.now().0 - number * DAY - HOUR, Some(format!("/{}", number % 3)));
        world.send_one(Some(Event { time, page, ..Event::default() })).await;
    }
    world.archive().await;
    world.clock.advance(Duration::from_secs(40));
    let settings = BatchSettings {
        interval: Duration::from_secs(3600),
        recompute: engine(),
        fold_after: Some(days(10)),
        ..BatchSettings::default()
    };
    world.keep_house(&Kept(former.to_vec()), &settings).await;
    for view in &former {
        let version = world.newest(view).await.unwrap();
        assert_eq!(version.facts.folded, folded_by(world.clock.now(), days(10)));
        for bucket in buckets(&world, view, &version).await {
            let grain = grain(view.bucket, version.facts.folded, bucket);
            assert_eq!(bucket_of(grain, bucket), bucket, "{grain:?}");
        }
        // Each page has 30 hits, in as few rows as there are buckets.
        assert!(rows(&version) < 60, "{} rows", rows(&version));
        let found = finished(&world, view, &version).await;
        let hits: Vec<_> = found.into_values().map(|row| row[0].clone()).collect();
        assert_eq!(hits, vec![Cell::Exact("30".to_owned()); 3]);
    }
    check_equals_fold(&world).await;
    check_buckets(&world).await;
}

#[tokio::test]
async fn a_year_of_hours_becomes_a_few_rows() {
    let mut world = World::new(56).await;
    for number in 0..365 * 4_i64 {
        let (time, page) = (START - number * 6 * HOUR, Some(format!("/{}", number % 4)));
        world.send_one(Some(Event { time, page, amount: Some(number % 100), ..Event::default() })).await;
    }
    let poll = PollLimit { records: 10_000, bytes: 1 << 20, wait: Duration::from_millis(2) };
    let settings = ArchiveSettings { poll, ..world.archive_settings() };
    world.archive_with(settings).await;
    world.clock.advance(Duration::from_secs(40));
    world.recompute(Mode::Full).await;
    let (view, before) = (world.view("by_page"), all_finished(&world).await);
    let most = folding(fold_one(&world, &view, days(30)).await);
    eprintln!("a year of hours, folded but for 30 days: {most:?}");
    assert_eq!(most.rows_before, 365 * 4);
    assert!(most.rows * 5 < most.rows_before && most.files <= most.files_before, "{most:?}");
    let all = folding(fold_one(&world, &view, Duration::ZERO).await);
    eprintln!("folded but for today: {all:?}");
    assert_eq!(all.rows_before, most.rows);
    assert!(all.rows * 10 < most.rows_before && all.files <= most.files, "{all:?}");
    assert_eq!(all_finished(&world).await, before);
    check_equals_fold(&world).await;
    check_buckets(&world).await;
}
