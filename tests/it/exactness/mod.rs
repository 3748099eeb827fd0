//! Reports of exactness: nothing to tell where the law says so, the right cause where copies stray, an error for a
//! version that is wrong; what a comparison costs; `verify`; two definitions on a sample; and what `erase` leaves of
//! them. Receipts of single answers.

mod receipts;
mod sample;
mod world;

use batch_layer::RecomputeSettings;
use batch_layer::recompute::{Mode, Verified, verify};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use edge::{Names, Principal};
use positions::{IdSource, RecomputeId, TimestampMicros};
use query_gateway::{GatewaySettings, MeasureReport, SqlRequest, VersionReport};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serving_layer::exactness::ExactnessStore;
use serving_layer::{BatchFacts, BatchViewSettings, BatchViewStore};
use views::column;

use crate::support::principals::reader;
use crate::support::seeds::seeds;
use crate::support::traces::traces_in_lake;
use world::{Event, HOUR, SECOND, START, VIEWS, World};

fn event(id: u32, page: &str, bytes: i64) -> Event {
    Event {
        id: Some(id),
        time: START + i64::from(id % 7) * SECOND,
        page: Some(page.to_owned()),
        amount: Some(bytes),
        ..Event::default()
    }
}

fn measure<'a>(report: &'a VersionReport, name: &str) -> &'a MeasureReport {
    report.measures.iter().find(|measure| measure.measure.as_deref() == Some(name)).unwrap()
}

/// That a version was compared, and nothing differs.
fn check_same(report: &VersionReport, about: &str) {
    assert_eq!(report.reason, None, "{about}: {report:?}");
    assert!(report.groups > 0 && !report.measures.is_empty(), "{about}: {report:?}");
    for measure in &report.measures {
        assert_eq!((measure.different, measure.cause.as_deref()), (0, None), "{about}: {measure:?}");
    }
}

/// Random events, late ones among them, and copies of those of the same burst.
async fn burst(world: &World, rng: &mut StdRng, next_id: &mut u32) {
    let mut sent: Vec<Event> = Vec::new();
    for _ in 0..rng.random_range(5..40) {
        world.clock.advance(std::time::Duration::from_millis(rng.random_range(0..100)));
        let now = positions::Clock::now(world.clock.as_ref()).0;
        let event = if !sent.is_empty() && rng.random_bool(0.25) {
            sent[rng.random_range(0..sent.len())].clone()
        } else {
            *next_id += 1;
            Event {
                id: Some(*next_id),
                time: now - if rng.random_bool(0.3) { rng.random_range(0..30 * HOUR) } else { 0 },
                page: rng.random_bool(0.9).then(|| format!("/{}", rng.random_range(0..6))),
                amount: rng.random_bool(0.9).then(|| rng.random_range(0..1000)),
                ..Event::default()
            }
        };
        world.send(&event, &event.id.unwrap().to_string()).await;
        sent.push(event);
    }
}

#[tokio::test]
async fn nothing_differs_for_any_traffic_whose_copies_come_within_the_horizon() {
    for seed in seeds(6) {
        eprintln!("TWOFOLD_SEED={seed}");
        let (world, mut rng, mut next_id) = (World::new(seed).await, StdRng::seed_from_u64(seed), 0);
        for round in 0..3 {
            burst(&world, &mut rng, &mut next_id).await;
            world.settle().await;
            world.publish(if rng.random_bool(0.3) { Mode::Full } else { Mode::Incremental }).await;
            world.compare(&world.gateway).await;
            for view in VIEWS {
                let reports = world.reports(view).await.reports;
                assert_eq!(reports.len(), round, "the first version replaces none: {reports:?}");
                reports.iter().for_each(|report| check_same(report, view));
            }
        }
        assert_eq!(world.gateway.troubles().await, [], "nothing is wrong");
        let status = world.gateway.status(&Principal::anyone()).await;
        let told = status.views[0].exactness.as_ref().unwrap();
        assert_eq!((told.different, told.unexplained.len()), (0, 0), "{told:?}");
    }
}

/// Somebody goes over to another definition of a view and back: in between nobody computes this one.
#[tokio::test]
async fn a_definition_that_was_gone_back_to_is_compared_only_where_runs_held_it() {
    let world = World::new(3).await;
    world.send(&event(1, "/a", 10), "1").await;
    world.round("by_page").await;
    world.send(&event(2, "/b", 5), "2").await;
    world.settle_without(Some("by_page")).await;
    world.send(&event(3, "/a", 7), "3").await;
    let report = world.round("by_page").await.unwrap();
    let reason = report.reason.as_deref().unwrap_or_default();
    assert!(reason.contains("realtime does not reach from cut to cut"), "{report:?}");
    for (id, key) in [(4, "4"), (5, "5"), (6, "6")] {
        world.send(&event(id, "/a", 2), key).await;
    }
    check_same(&world.round("by_page").await.unwrap(), "computed all the time again");
    assert_eq!(world.gateway.troubles().await, [], "nothing is wrong");
}

#[tokio::test]
async fn a_copy_beyond_the_horizon_is_told_as_one() {
    let world = World::new(1).await;
    let first = event(1, "/a", 10);
    world.send(&first, "1").await;
    world.round("by_page").await;
    world.clock.advance(std::time::Duration::from_secs(60));
    world.send(&first, "1").await;
    world.send(&event(2, "/b", 5), "2").await;
    let report = world.round("by_page").await.unwrap();
    let hits = measure(&report, "hits");
    assert_eq!((hits.different, hits.cause.as_deref()), (1, Some("copies")), "{report:?}");
    assert_eq!((hits.largest_difference, report.groups), (Some(1.0), 2), "{report:?}");
    assert_eq!(hits.worst[0]["group"]["page"], "/a", "{report:?}");
    let (before, after) = (hits.worst[0]["before"].as_str(), hits.worst[0]["after"].as_str());
    assert_eq!((before, after), (Some("2"), Some("1")), "{report:?}");
    assert_eq!((measure(&report, "bytes").largest_difference, measure(&report, "most").different), (Some(10.0), 0));
    assert_eq!(world.gateway.troubles().await, [], "copies are no trouble");
}

#[tokio::test]
async fn a_copy_in_another_partition_is_told_as_one() {
    let world = World::new(2).await;
    world.send(&event(1, "/z", 1), "1").await;
    world.round("by_page").await;
    let copied = event(2, "/a", 10);
    let home = world.send(&copied, "2").await;
    let mut keys = 3..;
    // Keys fall where they fall: a copy in the same partition is within the horizon, and dropped.
    while world.send(&copied, &keys.next().unwrap().to_string()).await == home {}
    let report = world.round("by_page").await.unwrap();
    let hits = measure(&report, "hits");
    assert_eq!((hits.different, hits.cause.as_deref()), (1, Some("copies")), "{report:?}");
    assert_eq!(hits.largest_difference, Some(1.0), "{report:?}");
}

/// Publishes the newest version of a view again, with only those of its rows that `is_kept`, all files anew or those
/// of one bucket.
async fn publish_rows(world: &World, view: &str, only: Option<i64>, is_kept: impl Fn(usize, i64) -> bool) {
    let on = world.newest(view).await;
    let settings = BatchViewSettings { max_file_rows: 4, small_file_rows: 1, ..BatchViewSettings::default() };
    let store = BatchViewStore::with_settings(&world.lake, world.view(view), settings);
    let batches = on.snapshot.read(on.snapshot.files(), None).await.unwrap();
    let rows = arrow::compute::concat_batches(&store.schema(), &batches).unwrap();
    let buckets = buckets_of(&rows);
    let kept =
        (0..rows.num_rows()).map(|row| Some(is_kept(row, buckets[row]) && only.is_none_or(|one| one == buckets[row])));
    let kept = arrow::compute::filter_record_batch(&rows, &kept.collect::<arrow::array::BooleanArray>()).unwrap();
    let facts = BatchFacts { recompute: RecomputeId(world.ids.next_id()), ..BatchFacts::clone(&on.facts) };
    let replaced = only.map(|bucket| vec![TimestampMicros(bucket)]);
    let stream = RecordBatchStreamAdapter::new(kept.schema(), futures::stream::iter([Ok(kept)]));
    let nonce = world.ids.next_id();
    store.publish(Some(&on), replaced.as_deref(), Box::pin(stream), facts, nonce).await.unwrap();
}

fn buckets_of(rows: &arrow::array::RecordBatch) -> Vec<i64> {
    use arrow::array::AsArray;
    let buckets = rows.column_by_name(column::BUCKET).unwrap();
    buckets.as_primitive::<arrow::datatypes::TimestampMicrosecondType>().values().to_vec()
}

#[tokio::test]
async fn a_damaged_version_is_an_error_without_a_known_cause() {
    let world = World::new(3).await;
    for id in 1..6 {
        world.send(&event(id, &format!("/{id}"), 10), &id.to_string()).await;
    }
    world.round("by_page").await;
    assert!(verified(&world, None).await.is_same());
    publish_rows(&world, "by_page", None, |row, _| row != 2).await;
    world.compare(&world.gateway).await;
    let report = world.reports("by_page").await.reports.remove(0);
    let hits = measure(&report, "hits");
    assert_eq!((report.groups, hits.different, hits.cause.as_deref()), (5, 1, Some("unknown")), "{report:?}");
    let troubles = world.gateway.troubles().await;
    let told: Vec<(&str, &str)> = troubles.iter().map(|one| (one.kind.as_ref(), one.about.as_str())).collect();
    assert_eq!(told, [("inexact", "view by_page")], "{troubles:?}");
    assert!(troubles[0].problem.contains("hits, bytes, most"), "{troubles:?}");
    let found = verified(&world, None).await;
    assert!(!found.is_same(), "{found:?}");
    assert_eq!(found.comparison.measures[0].worst[0].after.as_deref(), Some("1"), "{found:?}");
    // A right version ends it, and says that it differs from the one before.
    world.publish(Mode::Full).await;
    assert!(verified(&world, None).await.is_same());
}

async fn verified(world: &World, stretch: Option<(TimestampMicros, TimestampMicros)>) -> Verified {
    let settings = RecomputeSettings { target_partitions: 1, task_bytes: 1, ..RecomputeSettings::default() };
    let view = world.view(if stretch.is_some() { "by_hour" } else { "by_page" });
    verify(&world.recompute_components(), &view, stretch, 10, &settings).await.unwrap()
}

/// Events of twelve hours, published.
async fn twelve_hours(world: &World) {
    for id in 0..24 {
        let event = Event { time: START - i64::from(id % 12) * HOUR, ..event(id, "/a", 1) };
        world.send(&event, &id.to_string()).await;
    }
    world.round("by_hour").await;
}

#[tokio::test]
async fn a_stretch_is_verified_for_its_buckets_alone() {
    let world = World::new(4).await;
    twelve_hours(&world).await;
    let buckets = buckets_of_version(&world).await;
    let damaged = buckets[3];
    publish_rows(&world, "by_hour", None, |_, bucket| bucket != damaged).await;
    let hour = |bucket: i64| Some((TimestampMicros(bucket), TimestampMicros(bucket + HOUR)));
    for (at, bucket) in buckets.iter().enumerate() {
        let found = verified(&world, hour(*bucket)).await;
        assert_eq!((found.is_same(), found.comparison.groups), (at != 3, 1), "bucket {at}: {found:?}");
    }
}

/// The buckets of the newest version of the view by hours, rising.
async fn buckets_of_version(world: &World) -> Vec<i64> {
    let version = world.newest("by_hour").await;
    let mut buckets = Vec::new();
    for rows in version.snapshot.read(version.snapshot.files(), None).await.unwrap() {
        buckets.extend(buckets_of(&rows));
    }
    buckets.sort_unstable();
    buckets.dedup();
    assert!(buckets.len() > 8, "the hours are buckets: {buckets:?}");
    buckets
}

#[tokio::test]
async fn what_a_publication_did_not_touch_is_not_compared() {
    let world = World::new(5).await;
    twelve_hours(&world).await;
    let buckets = buckets_of_version(&world).await;
    publish_rows(&world, "by_hour", None, |_, _| true).await;
    publish_rows(&world, "by_hour", Some(buckets[0]), |_, _| true).await;
    world.compare(&world.gateway).await;
    let reports = world.reports("by_hour").await.reports;
    reports.iter().for_each(|report| check_same(report, "by_hour"));
    let [touched, all] = reports.as_slice() else { panic!("{reports:?}") };
    assert_eq!(all.groups, 12);
    assert!(touched.groups <= 4, "one file of four rows was written, {} groups were compared", touched.groups);
}

#[tokio::test]
async fn two_gateways_write_one_report_and_the_oldest_ones_go() {
    let world = World::with_settings(6, GatewaySettings { exactness_versions: 2, ..GatewaySettings::default() }).await;
    let other = world.another_gateway();
    for id in 0..5 {
        world.send(&event(id, "/a", 1), &id.to_string()).await;
        world.settle().await;
        world.publish(Mode::Incremental).await;
        let (first, second) = if id % 2 == 0 { (&world.gateway, &other) } else { (&other, &world.gateway) };
        world.compare(first).await;
        world.compare(second).await;
        world.compare(first).await;
    }
    world.send(&event(9, "/a", 1), "9").await;
    let newest = world.round("by_page").await.unwrap();
    let reports = world.reports("by_page").await.reports;
    let versions: Vec<i64> = reports.iter().map(|report| report.version.0).collect();
    assert_eq!(versions, [newest.version.0, newest.version.0 - 1]);
    reports.iter().for_each(|report| check_same(report, "by_page"));
    let sql = "SELECT view, count(DISTINCT version) AS versions, sum(different) AS different FROM system.exactness \
               GROUP BY view ORDER BY view";
    let request = SqlRequest { is_operator: true, ..SqlRequest::new(sql) };
    let answer = world.gateway.sql(&Principal::anyone(), request).await.unwrap().to_json().unwrap();
    let expected = r#"[{"view":"by_hour","versions":2,"different":0},{"view":"by_page","versions":2,"different":0}]"#;
    assert!(answer.contains(expected), "{answer}");
    let seen = reader(Names::All, &[("page", &["/a"])]);
    let told = world.gateway.exactness(&seen, "by_page").await.unwrap();
    assert!(told.reports.is_empty() && told.withheld.is_some(), "counts are of all rows: {told:?}");
    let told = world.gateway.exactness(&reader(Names::All, &[]), "by_page").await.unwrap();
    assert_eq!(told.reports, reports);
    let refused = world.gateway.sql(&Principal::anyone(), SqlRequest::new(sql)).await.unwrap_err();
    assert!(refused.to_string().contains("may operate"), "{refused}");
}

#[tokio::test]
async fn runs_that_are_gone_and_too_much_to_read_are_told() {
    let world = World::new(7).await;
    world.send(&event(1, "/a", 1), "1").await;
    world.round("by_page").await;
    world.send(&event(2, "/a", 1), "2").await;
    world.settle().await;
    world.publish(Mode::Incremental).await;
    world.wipe_realtime().await;
    world.compare(&world.gateway).await;
    let report = world.reports("by_page").await.reports.remove(0);
    assert!(report.reason.as_ref().unwrap().contains("holds nothing of it"), "{report:?}");
    assert_eq!(report.measures, []);
    let small = World::with_settings(7, GatewaySettings { exactness_memory_bytes: 1, ..GatewaySettings::default() });
    let small = small.await;
    small.send(&event(1, "/a", 1), "1").await;
    small.round("by_page").await;
    small.send(&event(2, "/a", 1), "2").await;
    let report = small.round("by_page").await.unwrap();
    assert!(report.reason.as_ref().unwrap().contains("`gateway.exactness_memory`"), "{report:?}");
}

#[tokio::test]
async fn groups_are_forgotten_and_no_late_report_names_them_again() {
    let world = World::new(8).await;
    let first = event(1, "/person", 10);
    world.send(&first, "1").await;
    world.round("by_page").await;
    world.clock.advance(std::time::Duration::from_secs(60));
    world.send(&first, "1").await;
    world.round("by_page").await;
    let store = ExactnessStore::new(&world.lake, &world.view("by_page"));
    let before = store.read().await.unwrap();
    assert!(before.iter().any(|row| row.worst.as_ref().is_some_and(|worst| worst.contains("/person"))), "{before:?}");
    store.forget_groups(1, world.ids.as_ref()).await.unwrap();
    let after = store.read().await.unwrap();
    assert_eq!(after.len(), before.len(), "the numbers stay");
    assert!(after.iter().all(|row| row.worst.is_none()), "{after:?}");
    // As many copies again: the version is of before the erasing, which is on the list as entry 1.
    world.clock.advance(std::time::Duration::from_secs(60));
    world.send(&first, "1").await;
    let report = world.round("by_page").await.unwrap();
    assert_eq!(measure(&report, "hits").different, 1, "{report:?}");
    assert_eq!(measure(&report, "hits").worst, serde_json::json!([]), "{report:?}");
    let mut traces = traces_in_lake(&world.lake, "/person").await;
    traces.retain(|place| place.contains("exactness"));
    assert!(traces.is_empty(), "{traces:?}");
}
