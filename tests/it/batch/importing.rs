//! Imported files: in as a whole or not at all, and once, whoever commits beside them and whichever call fails; what is
//! streamed and imported counts as a fold over both.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use batch_layer::BatchError;
use batch_layer::erase::{Wanted, erase, search};
use batch_layer::import::{
    Committed, FileId, FileOutcome, Import, ImportComponents, Known, PART_BYTES, Portion, read_file,
};
use batch_layer::recompute::Mode;
use datafusion::scalar::ScalarValue;
use positions::{Clock, ErasedRecord, IdSource, LifeStart, Offset, PartitionId, TimestampMicros};
use rand::Rng;
use records::decode::{column, rejected_rows};
use records::master::MasterFacts;
use tokio::sync::mpsc;

use super::compaction::{compact_with, engine, world_of_small_files};
use super::erase::{check_erased, choose, components as erase_components, publish};
use super::recompute::{all_finished, check_equals_fold};
use super::world::{Event, HOUR, START, Sent, World};
use crate::support::seeds::seeds;
use crate::support::traces::traces_in_lake;

const FIRST: PartitionId = PartitionId::FIRST_IMPORTED;

/// A file of events, and (`None`) of lines that are none.
#[derive(Clone)]
pub struct File {
    id: FileId,
    events: Vec<Option<Event>>,
}

fn file(name: &str, events: Vec<Option<Event>>) -> File {
    File { id: FileId { name: name.to_owned(), identity: format!("identity of {name}") }, events }
}

fn components(world: &World) -> ImportComponents {
    ImportComponents {
        master: world.master(),
        source: world.source(),
        clock: Arc::clone(&world.clock) as Arc<dyn Clock>,
        ids: Arc::clone(&world.ids) as Arc<dyn IdSource>,
        workers: 2,
        give_up_after_bad: 0,
        keeps_rejected: true,
    }
}

async fn open(world: &World) -> Import {
    Import::open(components(world)).await.unwrap()
}

fn payload(event: &Option<Event>) -> Vec<u8> {
    event.as_ref().map_or_else(|| br#"{"id": "x"}"#.to_vec(), |event| event.payload("bytes").to_vec())
}

async fn read(import: &mut Import, file: &File) -> Result<FileOutcome, BatchError> {
    let portions: Vec<Portion> =
        file.events.chunks(7).map(|events| Portion::Events(events.iter().map(payload).collect())).collect();
    let (sender, receiver) = mpsc::channel(2);
    let sending = async move {
        // Dropped when all is sent, which ends the file.
        let sender = sender;
        for portion in portions {
            if sender.send(Ok(portion)).await.is_err() {
                return;
            }
        }
    };
    let (outcome, ()) = tokio::join!(read_file(import, file.id.clone(), receiver, |_| ()), sending);
    outcome
}

/// Imports files that are not in, each with a commit of its own.
async fn try_import(world: &World, files: &[File]) -> Result<(), BatchError> {
    let mut import = Import::open(components(world)).await?;
    for file in files {
        while import.known(&file.id) == Known::New {
            read(&mut import, file).await?;
            if import.commit().await? == Committed::Raced {
                import.begin_apart().await?;
            }
        }
    }
    Ok(())
}

/// Imports a file, alone, and notes the truth about it.
pub async fn import(world: &mut World, file: &File) {
    let mut import = open(world).await;
    assert_eq!(import.known(&file.id), Known::New);
    let outcome = read(&mut import, file).await.unwrap();
    let bad = file.events.iter().filter(|event| event.is_none()).count();
    assert_eq!((outcome.records, outcome.rejected), (file.events.len() as u64, bad as u64));
    assert_eq!(import.commit().await.unwrap(), Committed::Done);
    assert_eq!(import.known(&file.id), Known::In);
    let end = import.token().sources[&world.source().name][&import.partition()];
    note(world, import.partition(), end.0 - file.events.len() as i64, file);
}

/// The records of a file as they stand from an offset on.
fn note(world: &mut World, partition: PartitionId, from: i64, file: &File) {
    let now = world.clock.now().0;
    for (number, event) in file.events.iter().enumerate() {
        world.sent.push(Sent {
            partition: partition.0,
            offset: from + number as i64,
            timestamp: event.as_ref().map_or(now, |event| event.time.min(now)),
            payload: String::from_utf8(payload(event)).unwrap(),
            event: event.clone(),
        });
    }
}

/// Events of long ago and of now, copies of what was sent before, and lines that are no event.
pub fn draw(world: &mut World, name: &str, count: usize) -> File {
    let now = world.clock.now().0;
    let sent: Vec<Event> = world.sent.iter().filter_map(|sent| sent.event.clone()).collect();
    let mut event = || match world.rng.random_range(0..10) {
        0 => None,
        1..=3 if !sent.is_empty() => Some(sent[world.rng.random_range(0..sent.len())].clone()),
        _ => Some(Event {
            time: now - world.rng.random_range(0..900 * HOUR),
            id: world.rng.random_bool(0.8).then(|| world.rng.random_range(0..1000)),
            page: Some(format!("/{}", world.rng.random_range(0..6))),
            amount: world.rng.random_bool(0.9).then(|| world.rng.random_range(0..100)),
            ..Event::default()
        }),
    };
    let events = (0..count).map(|_| event()).collect();
    file(name, events)
}

#[tokio::test]
async fn streamed_and_imported_events_count_once_each() {
    for seed in seeds(8) {
        let mut world = World::new(seed).await;
        for round in 0..4 {
            let count = world.rng.random_range(0..40);
            world.send(count).await;
            world.archive().await;
            let count = world.rng.random_range(1..60);
            let drawn = draw(&mut world, &format!("file {round}"), count);
            import(&mut world, &drawn).await;
            if world.rng.random_bool(0.5) {
                world.clock.advance(Duration::from_secs(40));
            }
            world.recompute(Mode::Incremental).await;
            check_equals_fold(&world).await;
            if round == 2 {
                compact_with(&world, &engine()).await;
            }
        }
        let view = world.view("by_page");
        let (version, facts) = (world.newest(&view).await.unwrap(), world.snapshot().await.facts);
        // All of the files is below the cut, however young their newest event is.
        assert_eq!(version.facts.cut.0[&FIRST], facts.partitions[&FIRST].archived.end);
        world.snapshot().await.check_ledger().unwrap();
        let incremental = all_finished(&world).await;
        world.recompute(Mode::Full).await;
        assert_eq!(all_finished(&world).await, incremental);
    }
}

/// Large events, so that a part is soon full; among them portions without any.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_several_parts_keeps_its_records_in_their_order() {
    const PADDING: usize = 900 << 10;
    let mut world = World::new(61).await;
    let count = PART_BYTES / PADDING + 5;
    let event = |number: usize| Event {
        time: START - HOUR * (number as i64 % 50),
        id: Some(number as u32),
        page: Some(format!("/{}", number % 3)),
        amount: Some(number as i64),
        ..Event::default()
    };
    let whole = file("large", (0..count).map(|number| Some(event(number))).collect());
    for workers in [1, 3] {
        let mut import = Import::open(ImportComponents { workers, ..components(&world) }).await.unwrap();
        let (sender, receiver) = mpsc::channel(2);
        let padded = |event: &Option<Event>| [payload(event), vec![b' '; PADDING]].concat();
        let sending = async {
            for event in &whole.events {
                sender.send(Ok(Portion::Events(Vec::new()))).await.unwrap();
                sender.send(Ok(Portion::Events(vec![padded(event)]))).await.unwrap();
            }
            drop(sender);
        };
        let mut told = Vec::new();
        let id = FileId { name: format!("large {workers}"), identity: format!("large {workers}") };
        let (outcome, ()) = tokio::join!(read_file(&mut import, id, receiver, |records| told.push(records)), sending);
        let outcome = outcome.unwrap();
        assert_eq!((outcome.records, outcome.rejected), (count as u64, 0), "{:?}", outcome.findings);
        assert!(told.len() > 1 && told.is_sorted() && told.last() == Some(&(count as u64)), "{told:?}");
        assert_eq!(import.commit().await.unwrap(), Committed::Done);
    }
    note(&mut world, FIRST, 0, &whole);
    note(&mut world, FIRST, count as i64, &whole);
    let snapshot = world.snapshot().await;
    snapshot.check_ledger().unwrap();
    // What was read of each record lies at its own place.
    let rows = snapshot.read_range(FIRST, Offset(0), Offset(2 * count as i64)).await.unwrap();
    let amounts: Vec<i64> = rows
        .iter()
        .flat_map(|batch| batch.column_by_name("bytes").unwrap().as_primitive::<Int64Type>().values().to_vec())
        .collect();
    assert_eq!(amounts, (0..count).chain(0..count).map(|number| number as i64).collect::<Vec<_>>());
    world.recompute(Mode::Full).await;
    check_equals_fold(&world).await;
}

#[tokio::test]
async fn an_archive_goes_on_beside_imports() {
    for seed in seeds(8) {
        let mut world = World::new(seed).await;
        world.send(60).await;
        let files: Vec<File> = (0..5).map(|number| draw(&mut world, &format!("file {number}"), 30)).collect();
        let settings = world.archive_settings();
        let archiving = world.archive_while(settings, async |told| {
            try_import(&world, &files).await.unwrap();
            world.wait_until_archived(told).await;
        });
        archiving.await.unwrap();
        for (number, file) in files.iter().enumerate() {
            note(&mut world, FIRST, 30 * number as i64, file);
        }
        world.clock.advance(Duration::from_secs(40));
        world.recompute(Mode::Incremental).await;
        check_equals_fold(&world).await;
        world.snapshot().await.check_ledger().unwrap();
    }
}

#[tokio::test]
async fn whichever_call_fails_every_file_is_in_once() {
    let mut ended = false;
    for number in 1..1_000 {
        let mut world = World::new(5).await;
        world.send(9).await;
        world.archive().await;
        let files = [draw(&mut world, "one", 10), draw(&mut world, "two", 20)];
        world.faults.fail_call(number, number % 2 == 0);
        let first = try_import(&world, &files).await;
        ended = !world.faults.has_failed();
        world.faults.fail_call(0, false);
        try_import(&world, &files).await.unwrap_or_else(|error| panic!("after call {number} ({first:?}): {error}"));
        note(&mut world, FIRST, 0, &files[0]);
        note(&mut world, FIRST, 10, &files[1]);
        let snapshot = world.snapshot().await;
        snapshot.check_ledger().unwrap();
        assert_eq!(snapshot.facts.partitions[&FIRST].archived.end.offset, Offset(30), "after call {number}");
        world.clock.advance(Duration::from_secs(40));
        world.recompute(Mode::Incremental).await;
        check_equals_fold(&world).await;
        if ended {
            break;
        }
    }
    assert!(ended, "an import makes fewer calls");
}

#[tokio::test]
async fn two_imports_at_a_time_use_two_partitions_and_bring_a_file_once() {
    let mut world = World::new(7).await;
    let files: Vec<File> = (0..4).map(|number| draw(&mut world, &format!("file {number}"), 10)).collect();
    let (mut one, mut other) = (open(&world).await, open(&world).await);
    read(&mut one, &files[0]).await.unwrap();
    read(&mut other, &files[1]).await.unwrap();
    assert_eq!(one.commit().await.unwrap(), Committed::Done);
    assert_eq!(other.commit().await.unwrap(), Committed::Raced);
    other.begin_apart().await.unwrap();
    assert_eq!(other.partition(), PartitionId(FIRST.0 + 1));
    read(&mut other, &files[1]).await.unwrap();
    assert_eq!(other.commit().await.unwrap(), Committed::Done);
    // In partitions of their own, neither has to read anything again.
    read(&mut one, &files[2]).await.unwrap();
    assert_eq!(one.commit().await.unwrap(), Committed::Done);
    read(&mut one, &files[3]).await.unwrap();
    read(&mut other, &files[3]).await.unwrap();
    assert_eq!(one.commit().await.unwrap(), Committed::Done);
    assert_eq!(other.commit().await.unwrap(), Committed::Raced);
    other.begin_apart().await.unwrap();
    assert_eq!(other.known(&files[3].id), Known::In);
    assert_eq!(other.commit().await.unwrap(), Committed::Done);
    for (number, (partition, from)) in [(0, 0), (1, 0), (0, 10), (0, 20)].into_iter().enumerate() {
        note(&mut world, PartitionId(FIRST.0 + partition), from, &files[number]);
    }
    world.recompute(Mode::Full).await;
    check_equals_fold(&world).await;
    world.snapshot().await.check_ledger().unwrap();
    assert_eq!(open(&world).await.files_in(), 4);
}

#[tokio::test]
async fn a_file_is_known_by_its_bytes_and_another_one_of_its_name_is_told() {
    let mut world = World::new(9).await;
    let drawn = draw(&mut world, "a", 10);
    import(&mut world, &drawn).await;
    let import = open(&world).await;
    let named = |name: &str, identity: &str| FileId { name: name.to_owned(), identity: identity.to_owned() };
    assert_eq!(import.known(&drawn.id), Known::In);
    assert_eq!(import.known(&named("b", &drawn.id.identity)), Known::In);
    assert_eq!(import.known(&named("a", "another")), Known::Changed);
    assert_eq!(import.known(&named("b", "another")), Known::New);
}

/// Many pages of the list, so that it is read over all of them.
#[tokio::test]
async fn every_file_of_a_long_list_is_known() {
    let world = World::new(11).await;
    let mut import = open(&world).await;
    let event = Event { time: world.clock.now().0, id: Some(1), ..Event::default() };
    for number in 0..350 {
        read(&mut import, &file(&format!("file {number}"), vec![Some(event.clone())])).await.unwrap();
        if number % 7 == 0 {
            assert_eq!(import.commit().await.unwrap(), Committed::Done);
        }
    }
    assert_eq!(import.commit().await.unwrap(), Committed::Done);
    let import = open(&world).await;
    assert_eq!(import.files_in(), 350);
    let is_in = |number: i32| import.known(&file(&format!("file {number}"), Vec::new()).id) == Known::In;
    assert!((0..350).all(is_in) && !is_in(350));
}

#[tokio::test]
async fn rejected_rows_are_kept_or_their_file_is_refused() {
    let mut world = World::new(13).await;
    let good = Event { time: world.clock.now().0 - HOUR, id: Some(1), ..Event::default() };
    let drawn = file("bad", vec![Some(good), None, None, None]);
    let refusing = [
        (ImportComponents { keeps_rejected: false, ..components(&world) }, "record 2: "),
        (
            ImportComponents { give_up_after_bad: 3, ..components(&world) },
            "3 records in a row were rejected, from 2 to 4",
        ),
    ];
    for (components, reason) in refusing {
        let mut import = Import::open(components).await.unwrap();
        let refused = read(&mut import, &drawn).await.unwrap_err();
        assert!(matches!(&refused, BatchError::NotImported { file, .. } if file == "bad"), "{refused}");
        assert!(refused.to_string().contains(reason), "{refused}");
        assert_eq!(import.commit().await.unwrap(), Committed::Done);
        assert!(world.snapshot().await.facts.partitions.is_empty());
    }
    import(&mut world, &drawn).await;
    let rows = world.snapshot().await.read_range(FIRST, Offset(0), Offset(4)).await.unwrap();
    let rejected: usize = rows.iter().map(|batch| rejected_rows(batch).unwrap().len()).sum();
    assert_eq!(rejected, 3);
    let payloads = rows[0].column_by_name(column::PAYLOAD).unwrap();
    assert_eq!(payloads.null_count(), 0);
    world.recompute(Mode::Full).await;
    check_equals_fold(&world).await;
}

/// A file that cannot be read to its end leaves nothing, and the next one begins where it would have.
#[tokio::test]
async fn a_file_that_breaks_off_is_not_in() {
    let mut world = World::new(15).await;
    let whole = draw(&mut world, "whole", 20);
    let mut import = open(&world).await;
    let (sender, receiver) = mpsc::channel(4);
    sender.send(Ok(Portion::Events(whole.events.iter().map(payload).collect()))).await.unwrap();
    sender.send(Err("it is torn".to_owned())).await.unwrap();
    let torn = FileId { name: "torn".to_owned(), identity: "torn".to_owned() };
    let refused = read_file(&mut import, torn.clone(), receiver, |_| ()).await.unwrap_err();
    assert_eq!(refused.to_string(), "torn is not imported: it is torn");
    let empty = file("empty", Vec::new());
    read(&mut import, &empty).await.unwrap();
    read(&mut import, &whole).await.unwrap();
    assert_eq!(import.commit().await.unwrap(), Committed::Done);
    assert_eq!((import.known(&torn), import.known(&empty.id)), (Known::New, Known::In));
    note(&mut world, FIRST, 0, &whole);
    world.recompute(Mode::Full).await;
    check_equals_fold(&world).await;
}

#[tokio::test]
async fn nothing_is_left_of_imported_events_that_were_erased() {
    let mut world = World::new(17).await;
    world.send(30).await;
    let mut drawn = draw(&mut world, "a", 40);
    for number in [3, 20, 39] {
        let time = world.clock.now().0 - number as i64 * HOUR;
        let visit = Event { time, id: Some(7_000), page: Some(super::erase::PAGE.to_owned()), ..Event::default() };
        drawn.events[number] = Some(visit);
    }
    import(&mut world, &drawn).await;
    publish(&mut world).await;
    check_equals_fold(&world).await;
    assert_eq!(choose(&mut world).await, 3);
    erase(&erase_components(&world)).await.unwrap();
    check_erased(&world).await;
    // It is still known to be in: what was erased does not come back with it.
    assert_eq!(open(&world).await.known(&drawn.id), Known::In);
}

/// An import that was cut short leaves files which no list of places finds: what they hold stands elsewhere by now.
#[tokio::test]
async fn nothing_is_left_of_an_import_that_was_cut_short_once_another_is_in_its_place() {
    let mut world = World::new(21).await;
    world.send(30).await;
    let person = |hour: i64, world: &World| {
        let time = world.clock.now().0 - hour * HOUR;
        Some(Event { time, id: Some(7_000), page: Some(super::erase::PAGE.to_owned()), ..Event::default() })
    };
    // Drawn before the visit, so that no copy of it is among them.
    let (mut drawn, other) = (draw(&mut world, "a", 40), draw(&mut world, "b", 60));
    drawn.events[3] = person(2, &world);
    let visit = person(1, &world);
    world.send_one(visit).await;
    read(&mut open(&world).await, &drawn).await.unwrap();
    publish(&mut world).await;
    assert_eq!(choose(&mut world).await, 1);
    // Nobody knows that the import has ended.
    assert_eq!(erase(&erase_components(&world)).await.unwrap().imports_left, 1);
    assert!(!traces_in_lake(&world.lake, super::erase::PAGE).await.is_empty());

    import(&mut world, &other).await;
    import(&mut world, &drawn).await;
    publish(&mut world).await;
    assert_eq!(choose(&mut world).await, 1);
    assert_eq!(erase(&erase_components(&world)).await.unwrap().imports_left, 0);
    check_erased(&world).await;
}

/// What was erased is told by places, and that list outlives a lake that was lost, or brought back from a copy.
#[tokio::test]
async fn no_place_of_an_import_that_was_erased_is_used_again() {
    let mut world = World::new(23).await;
    let drawn = draw(&mut world, "a", 10);
    import(&mut world, &drawn).await;
    let next = |number: i32| PartitionId(FIRST.0 + number);
    for (partition, offset, free) in [
        (FIRST, 3, FIRST),
        (PartitionId(0), 70, FIRST),
        (FIRST, 12, next(1)),
        (next(1), 0, next(2)),
        (next(7), 0, next(2)),
    ] {
        let erased = [ErasedRecord::whole(partition, Offset(offset))];
        world.master().erased().add(&erased, world.ids.as_ref()).await.unwrap();
        assert_eq!(open(&world).await.partition(), free, "{partition} {offset}");
    }
    let mut apart = open(&world).await;
    apart.begin_apart().await.unwrap();
    assert_eq!(apart.partition(), next(2));
}

#[tokio::test]
async fn without_the_list_of_what_is_in_nothing_is_imported() {
    let mut world = World::new(25).await;
    let drawn = draw(&mut world, "a", 10);
    import(&mut world, &drawn).await;
    let on = world.snapshot().await;
    // As a version commits that knows of no imports.
    let facts = MasterFacts { imports: None, ..on.facts.clone() };
    world.master().append(&on, &[], facts, world.ids.next_id()).await.unwrap();
    let refused = Import::open(components(&world)).await.err().unwrap();
    assert!(refused.to_string().contains("the list of them is gone"), "{refused}");
}

/// A rejected row is as old as its import: the days of a source that has gone silent must not be too old by it.
#[tokio::test]
async fn an_import_ages_nothing_that_the_log_has() {
    let mut world = World::new(27).await;
    world.send(40).await;
    world.archive().await;
    let newest = world.sent.iter().map(|sent| sent.timestamp).max().unwrap();
    world.clock.advance(Duration::from_secs(90 * 24 * 3600));
    import(&mut world, &file("bad", vec![None])).await;
    let day = 24 * HOUR;
    let wanted = Wanted { older_than: Some(Duration::from_secs(24 * 3600)), ..Wanted::default() };
    let found = search(&erase_components(&world), &wanted).await.unwrap();
    assert_eq!(found.before, Some(TimestampMicros((newest - day).div_euclid(day) * day)));
}

/// At the offsets of archived rows stand imported ones of quite other times: in one file, each round would read both.
#[tokio::test]
async fn imported_rows_are_not_packed_together_with_archived_ones() {
    let mut world = world_of_small_files(29, 40).await;
    for number in 0..6 {
        let drawn = draw(&mut world, &format!("file {number}"), 5);
        import(&mut world, &drawn).await;
    }
    assert!(compact_with(&world, &engine()).await > 1);
    let files = world.snapshot().await.snapshot.files().to_vec();
    let is_imported = |bound: &ScalarValue| match bound {
        ScalarValue::Int32(Some(partition)) => PartitionId(*partition).is_imported(),
        bound => panic!("{bound}"),
    };
    for file in &files {
        let (least, most, _) = &file.bounds[views::column::PARTITION];
        assert_eq!(is_imported(least), is_imported(most), "{}", file.path);
    }
    assert!(files.iter().any(|file| file.rows > 5 && is_imported(&file.bounds[views::column::PARTITION].0)));
    world.recompute(Mode::Full).await;
    check_equals_fold(&world).await;
}

/// They were written for any of the next thousands of versions, which may not come in years.
#[tokio::test]
async fn files_of_imports_go_once_they_were_replaced_and_not_while_one_is_at_work() {
    let mut world = World::new(31).await;
    for number in 0..4 {
        let drawn = draw(&mut world, &format!("file {number}"), 5);
        import(&mut world, &drawn).await;
    }
    assert!(compact_with(&world, &engine()).await > 0);
    let (mut at_work, drawn) = (open(&world).await, draw(&mut world, "at work", 5));
    read(&mut at_work, &drawn).await.unwrap();
    let newest = world.snapshot().await;
    let table = newest.snapshot.table();
    table.purge(&newest.snapshot).await.unwrap();
    assert_eq!(table.stray_files().await.unwrap().len(), 5);
    let later = UNIX_EPOCH + Duration::from_secs(300 * 365 * 24 * 3600);
    let is_given_up = |path: &str| newest.is_import_over(path) == Some(true);
    let version = newest.snapshot.version();
    assert_eq!(table.vacuum_given_up(version, (Duration::ZERO, later), &is_given_up).await.unwrap().objects, 4);
    assert_eq!(table.stray_files().await.unwrap().len(), 1);
    assert_eq!(at_work.commit().await.unwrap(), Committed::Done);
    assert_eq!(table.stray_files().await.unwrap(), Vec::<String>::new());
    note(&mut world, FIRST, 20, &drawn);
    world.recompute(Mode::Full).await;
    check_equals_fold(&world).await;
}

#[tokio::test]
async fn the_next_life_of_a_topic_leaves_imported_files_alone() {
    let mut world = World::new(19).await;
    world.send(10).await;
    world.archive().await;
    let drawn = draw(&mut world, "a", 10);
    import(&mut world, &drawn).await;
    let facts = world.snapshot().await.facts;
    let start = LifeStart { offset: Offset(100), log_offset: Offset(0) };
    let next = facts.next_life(BTreeMap::from([(PartitionId(0), start), (PartitionId(1), start)]));
    assert_eq!(next.partitions[&FIRST], facts.partitions[&FIRST]);
    assert_ne!(next.partitions[&PartitionId(0)], facts.partitions[&PartitionId(0)]);
}
