//! Erasing: nothing of what was erased is left in any object, and every table equals a fold over the rest, whichever
//! call fails on the way, and also when it is built again from the log.

use std::sync::Arc;
use std::time::Duration;

use batch_layer::BatchError;
use batch_layer::erase::{Done, EraseComponents, Wanted, erase, search};
use batch_layer::recompute::Mode;
use lake::Version;
use positions::{
    DefinitionHash, DefinitionNumber, Incarnation, Index, IndexStamp, PartitionId, Position, TimestampMicros,
};
use serving_layer::exactness::{ExactnessReport, ExactnessRow, ExactnessStore};
use serving_layer::memory::MemoryStore;
use serving_layer::{PartitionKey, RealtimeStore, Swap};

use super::compaction::{compact_with, engine};
use super::recompute::{all_finished, check_equals_fold};
use super::world::{Event, World};
use crate::support::seeds::seeds;
use crate::support::traces::traces_in_lake;

/// The page of a person, as no other text here.
pub const PAGE: &str = "/person-5f0c9a";

pub fn components(world: &World) -> EraseComponents {
    EraseComponents { context: world.batch_context(), source: world.source(), store: None, settings: engine() }
}

pub fn visit(world: &World, id: u32) -> Event {
    let time = positions::Clock::now(world.clock.as_ref()).0;
    Event { time, id: Some(id), page: Some(PAGE.to_owned()), amount: Some(50), ..Event::default() }
}

/// A world with published views, and visits of the person among the rest.
async fn world_with_visits(seed: u64, count: usize) -> World {
    let mut world = World::new(seed).await;
    for id in 5_000..5_003 {
        world.send(count / 3).await;
        let event = visit(&world, id);
        world.send_one(Some(event.clone())).await;
        // A copy, perhaps in another partition.
        world.send_one(Some(event)).await;
        publish(&mut world).await;
    }
    check_equals_fold(&world).await;
    name_in_reports(&world).await;
    let traces = traces_in_lake(&world.lake, PAGE).await;
    assert!(traces.iter().any(|place| place.contains("exactness")), "nothing to erase: {traces:?}");
    world
}

/// A report of each view names the person among the groups that differ.
async fn name_in_reports(world: &World) {
    for view in &world.pipeline.views {
        let now = positions::Clock::now(world.clock.as_ref());
        let row = ExactnessRow {
            view: view.name.to_string(),
            definition: view.hash.to_string(),
            version: Version(3),
            replaced_version: Version(2),
            published_at: now,
            compared_at: now,
            reason: None,
            measure: Some("hits".to_owned()),
            class: Some("exact".to_owned()),
            groups: 5,
            different: 1,
            largest_difference: Some(1.0),
            mean_difference: Some(0.2),
            cause: Some("copies".to_owned()),
            worst: Some(format!(r#"[{{"group":{{"page":"{PAGE}"}},"before":"2","after":"1","difference":1.0}}]"#)),
        };
        let report = ExactnessReport { version: Version(3), erased: 0, rows: vec![row] };
        let store = ExactnessStore::new(&world.lake, view);
        assert!(store.append(&report, 10, world.ids.as_ref()).await.unwrap());
    }
}

pub async fn publish(world: &mut World) {
    world.archive().await;
    world.clock.advance(Duration::from_secs(40));
    world.recompute(Mode::Incremental).await;
}

/// Puts the person's visits on the list, as the command does, and takes them out of the truth.
pub async fn choose(world: &mut World) -> usize {
    let wanted = Wanted { condition: Some(format!("page = '{PAGE}'")), ..Wanted::default() };
    let found = search(&components(world), &wanted).await.unwrap();
    let (mut chosen, mut newest) = (0_usize, None);
    for sent in &mut world.sent {
        if sent.event.take_if(|event| event.page() == PAGE).is_some() {
            chosen += 1;
            newest = newest.max(Some(TimestampMicros(sent.timestamp)));
        }
    }
    assert_eq!(found.newest, newest, "by it a log lets go of them");
    assert_eq!((found.events, found.record_count), (chosen as u64, chosen as u64));
    assert!(found.files > 0 && found.files <= found.all_files);
    world.master().erased().add(&found.records, world.ids.as_ref()).await.unwrap();
    chosen
}

async fn erase_all(world: &World) -> Result<Done, BatchError> {
    erase(&components(world)).await
}

pub async fn check_erased(world: &World) {
    assert_eq!(traces_in_lake(&world.lake, PAGE).await, Vec::<String>::new());
    world.snapshot().await.check_ledger().unwrap();
    check_equals_fold(world).await;
}

#[tokio::test]
async fn nothing_is_left_of_what_was_erased_and_the_rest_is_exact() {
    for seed in seeds(4) {
        let mut world = world_with_visits(seed, 60).await;
        if seed % 2 == 0 {
            compact_with(&world, &engine()).await;
        }
        let chosen = choose(&mut world).await;
        let done = erase_all(&world).await.unwrap();
        assert_eq!((done.listed, done.views.len()), (chosen, 3));
        assert!(done.files > 0 && done.deleted > 0);
        check_erased(&world).await;
        // Done twice, the second time finds nothing to do.
        let again = erase_all(&world).await.unwrap();
        assert_eq!((again.files, again.views.len()), (0, 0));

        // What comes later counts, whoever it is of.
        let event = visit(&world, 5_000);
        world.send_one(Some(event)).await;
        world.send(20).await;
        publish(&mut world).await;
        compact_with(&world, &engine()).await;
        check_equals_fold(&world).await;
        let incremental = all_finished(&world).await;
        world.recompute(Mode::Full).await;
        assert_eq!(all_finished(&world).await, incremental);
    }
}

#[tokio::test]
async fn whichever_call_fails_the_next_one_goes_on() {
    let mut ended = false;
    for number in (1..3_000).step_by(11) {
        let mut world = world_with_visits(9, 9).await;
        choose(&mut world).await;
        world.faults.fail_call(number, number % 2 == 0);
        let first = erase_all(&world).await;
        ended = !world.faults.has_failed();
        world.faults.fail_call(0, false);
        erase_all(&world).await.unwrap_or_else(|error| panic!("after call {number} ({first:?}): {error}"));
        check_erased(&world).await;
        if ended {
            break;
        }
    }
    assert!(ended, "there are more calls than this test makes fail");
}

/// The log still holds what was erased, as Kafka does until its retention ends.
#[tokio::test]
async fn a_table_that_is_built_again_from_the_log_leaves_out_what_was_erased() {
    let mut world = world_with_visits(5, 30).await;
    choose(&mut world).await;
    erase_all(&world).await.unwrap();
    for folder in ["raw", "views"] {
        for object in world.lake.objects(&world.lake.path(folder)).await.unwrap() {
            world.lake.delete_if_there(&object.location).await.unwrap();
        }
    }
    publish(&mut world).await;
    assert!(world.snapshot().await.snapshot.version() > Version(0));
    check_erased(&world).await;
}

#[tokio::test]
async fn rejected_records_are_found_by_their_text_alone() {
    let mut world = World::new(11).await;
    world.send(12).await;
    // An event that mentions the text where no column is, and one that is none.
    let payloads = [
        format!(r#"{{"time":"2023-11-14T22:13:20Z","id":"e1","page":"/","note":"{PAGE}"}}"#),
        format!(r#"{{"time":"soon","note":"{PAGE}"}}"#),
    ];
    for payload in payloads {
        let timestamp = positions::Clock::now(world.clock.as_ref());
        let record = event_log::NewRecord { key: None, payload: payload.into(), timestamp, clock_shift: None };
        event_log::EventLog::append(&world.log, "hits", vec![record]).await.pop().unwrap().unwrap();
    }
    world.archive().await;
    let by = |condition: Option<&str>, text: Option<&str>| Wanted {
        condition: condition.map(str::to_owned),
        text: text.map(str::to_owned),
        older_than: None,
    };
    let columns = search(&components(&world), &by(Some(&format!("page = '{PAGE}'")), None)).await.unwrap();
    assert_eq!(columns.records, Vec::new());
    let text = search(&components(&world), &by(None, Some(PAGE))).await.unwrap();
    assert_eq!((text.rejected, text.mentions, text.record_count), (1, 1, 1));
    // A condition names the other one by its place.
    let all = search(&components(&world), &by(Some("page = '/' AND id = 'e1'"), Some(PAGE))).await.unwrap();
    assert!(all.record_count > 1 && all.mentions == 0, "{all:?}");
    world.master().erased().add(&all.records, world.ids.as_ref()).await.unwrap();
    erase_all(&world).await.unwrap();
    assert_eq!(traces_in_lake(&world.lake, PAGE).await, Vec::<String>::new());
    // What was erased is not found again, and a condition that cannot be read is an error.
    let again = search(&components(&world), &by(Some("page IS NULL AND time IS NULL"), Some(PAGE))).await.unwrap();
    assert_eq!((again.rejected, again.mentions), (0, 0));
    for (condition, told) in [
        ("no_such = 1", "no_such"),
        ("page SIMILAR TO '%a%'", "write `page LIKE '%a%'`"),
        ("count(*) > 1", "a condition is about one event"),
    ] {
        let error = search(&components(&world), &by(Some(condition), None)).await.unwrap_err();
        assert!(error.to_string().contains(told), "{condition}: {error}");
    }
    // As PostgreSQL reads it: the parser alone would take all behind FROM for one operand, and choose every event.
    let chosen =
        async |condition: &str| search(&components(&world), &by(Some(condition), None)).await.unwrap().record_count;
    assert_eq!(chosen("(time IS NULL) IS NOT DISTINCT FROM false AND _offset < 0").await, 0);
    assert!(chosen("(time IS NULL) IS NOT DISTINCT FROM false AND _offset >= 0").await > 0);
}

/// The row of the first event has the payload of the whole record: its neighbours are none of what is looked for.
#[tokio::test]
async fn a_text_in_a_record_of_several_events_chooses_those_that_hold_it() {
    let mut world = World::new(12).await;
    let good = format!(r#"{{"time":"2023-11-14T22:13:20Z","id":"e1","page":"/","note":"{PAGE}"}}"#);
    let bad = format!(r#"{{"time":"soon","note":"{PAGE}"}}"#);
    for others in [&good, &bad] {
        let payload = format!(r#"[{{"time":"later"}},{others}]"#);
        let timestamp = positions::Clock::now(world.clock.as_ref());
        let record = event_log::NewRecord { key: None, payload: payload.into(), timestamp, clock_shift: None };
        event_log::EventLog::append(&world.log, "hits", vec![record]).await.pop().unwrap().unwrap();
    }
    world.archive().await;
    let wanted = Wanted { condition: None, text: Some(PAGE.to_owned()), older_than: None };
    let found = search(&components(&world), &wanted).await.unwrap();
    // Of the first record nothing is chosen, of the second its second event.
    assert_eq!(found.rejected, 1, "{found:?}");
    assert_eq!(found.records.iter().map(|record| record.items.clone()).collect::<Vec<_>>(), [vec![2]]);
}

const IN_KAPPA: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (id VARCHAR, time TIMESTAMP NOT NULL, page VARCHAR, bytes BIGINT)
STORED AS JSON LOCATION 'kafka://hits'
OPTIONS (event_time 'time', event_id 'id', partitions '2', mode 'kappa');
CREATE MATERIALIZED VIEW by_page AS SELECT page, count(*) AS hits FROM hits GROUP BY page;
";

/// Nothing is computed anew: the speed layer finds nothing, and replays what is left.
#[tokio::test]
async fn generations_of_a_source_in_kappa_mode_are_forgotten() {
    let mut world = World::of(1, IN_KAPPA).await;
    world.send(40).await;
    let event = visit(&world, 5_000);
    world.send_one(Some(event)).await;
    world.archive().await;
    let store = Arc::new(MemoryStore::new(1 << 20, world.clock.clone()));
    let (source, own) = (world.source().name.clone(), world.view("by_page").hash);
    let place = |generation, partition| PartitionKey::of_generation(&source, generation, PartitionId(partition));
    let other = DefinitionHash(own.0 ^ 1);
    for (generation, partition) in [(own, 0), (own, 1), (other, 0)] {
        let start = Position::start(Incarnation(0));
        let index = Index::new(IndexStamp(1), DefinitionNumber(1), start, TimestampMicros(0));
        let swapped = store.swap_index(&place(generation, partition), None, &index, Duration::ZERO).await.unwrap();
        assert_eq!(swapped, Swap::Done);
    }
    choose(&mut world).await;
    let done = erase(&EraseComponents { store: Some(store.clone()), ..components(&world) }).await.unwrap();
    assert!(done.files > 0 && done.views.is_empty(), "{done:?}");
    assert_eq!(traces_in_lake(&world.lake, PAGE).await, Vec::<String>::new());
    for partition in [0, 1] {
        assert_eq!(store.read_index(&place(own, partition)).await.unwrap(), None);
    }
    assert!(store.read_index(&place(other, 0)).await.unwrap().is_some(), "whoever else it belongs to");
}
