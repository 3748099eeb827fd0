//! Retention by age: whole days are erased, every table is exact for what is left, and the list of what was erased
//! stays short.

use std::sync::Arc;
use std::time::Duration;

use batch_layer::erase::{Found, Wanted, erase, search};
use batch_layer::recompute::Mode;
use event_log::{EventLog, NewRecord};
use positions::{Clock, Erased, TimestampMicros};
use records::master::Eraser;

use super::compaction::{compact_with, engine};
use super::erase::{components, publish};
use super::recompute::{all_finished, check_equals_fold};
use super::world::{HOUR, Sent, World};
use crate::support::seeds::seeds;

const DAY: i64 = 24 * HOUR;
const AGE: Duration = Duration::from_secs(3600);

/// Sends something that is no event, as long ago as its record says.
async fn send_rejected(world: &mut World, timestamp: TimestampMicros) {
    let payload = r#"{"time":"soon"}"#.to_owned();
    let record = NewRecord { key: None, payload: payload.clone().into(), timestamp, clock_shift: None };
    let (partition, offset) = world.log.append("hits", vec![record]).await.pop().unwrap().unwrap();
    let timestamp = timestamp.0.div_euclid(1000) * 1000;
    world.sent.push(Sent { partition: partition.0, offset: offset.0, timestamp, payload, event: None });
}

/// The start of the day that holds the instant one age before the newest record.
fn first_kept(world: &World) -> i64 {
    let newest = world.sent.iter().map(|sent| sent.timestamp).max().unwrap();
    (newest - AGE.as_micros() as i64).div_euclid(DAY) * DAY
}

async fn find_old(world: &World) -> Found {
    let wanted = Wanted { older_than: Some(AGE), ..Wanted::default() };
    search(&components(world), &wanted).await.unwrap()
}

/// Takes what is from before an instant out of the truth; returns how many records are gone now that were not before.
pub fn forget(world: &mut World, before: i64, gone: &mut Vec<(i32, i64)>) -> u64 {
    let mut chosen = 0;
    for sent in &mut world.sent {
        let time = sent.event.as_ref().map_or(sent.timestamp, |event| event.time);
        let place = (sent.partition, sent.offset);
        if time < before && !gone.contains(&place) {
            sent.event = None;
            gone.push(place);
            chosen += 1;
        }
    }
    chosen
}

#[tokio::test]
async fn days_that_are_too_old_are_erased_and_the_rest_is_exact() {
    for seed in seeds(4) {
        let mut world = World::new(seed).await;
        let mut gone = Vec::new();
        for round in 0..3 {
            world.send(60).await;
            let long_ago = world.clock.now().0 - 3 * DAY;
            send_rejected(&mut world, TimestampMicros(long_ago)).await;
            world.send(20).await;
            publish(&mut world).await;
            if seed % 2 == 0 {
                compact_with(&world, &engine()).await;
            }
            let before = first_kept(&world);
            let chosen = forget(&mut world, before, &mut gone);
            let found = find_old(&world).await;
            assert_eq!(found.before, Some(TimestampMicros(before)), "seed {seed}, round {round}");
            assert_eq!((found.events, found.record_count), (chosen, chosen), "seed {seed}, round {round}");
            assert!(chosen > 0 && found.files > 0, "seed {seed}, round {round}");
            world.master().erased().add(&found.records, world.ids.as_ref()).await.unwrap();
            let done = erase(&components(&world)).await.unwrap();
            assert_eq!(done.listed, gone.len());
            world.snapshot().await.check_ledger().unwrap();
            check_equals_fold(&world).await;
            assert_eq!(find_old(&world).await.events, 0, "what was erased is not found again");
            assert_eq!(erase(&components(&world)).await.unwrap().files, 0);

            // What comes afterwards counts, however late it is; and what is computed again says the same.
            world.send(30).await;
            publish(&mut world).await;
            check_equals_fold(&world).await;
            let incremental = all_finished(&world).await;
            world.recompute(Mode::Full).await;
            assert_eq!(all_finished(&world).await, incremental, "seed {seed}, round {round}");
            world.clock.advance(Duration::from_secs(24 * 3600));
        }
    }
}

async fn files_to_look_at(world: &World, listed: &Arc<Erased>) -> usize {
    let on = world.snapshot().await;
    let eraser = Eraser::new(on.clone(), Arc::clone(listed));
    on.snapshot.files().iter().filter(|file| eraser.may_touch(file)).count()
}

#[tokio::test]
async fn records_side_by_side_are_one_entry_of_the_list() {
    let mut world = World::new(3).await;
    world.send(60).await;
    publish(&mut world).await;
    let wanted = Wanted { condition: Some("_offset >= 0".to_owned()), ..Wanted::default() };
    let found = search(&components(&world), &wanted).await.unwrap();
    assert_eq!((found.records.len(), found.record_count), (2, 60), "one stretch for each partition");
    let listed = Arc::new(world.master().erased().add(&found.records, world.ids.as_ref()).await.unwrap());
    assert_eq!((listed.len(), listed.number), (60, 1));
    assert_eq!(files_to_look_at(&world, &listed).await, found.all_files);
    erase(&components(&world)).await.unwrap();
    assert_eq!(files_to_look_at(&world, &listed).await, 0, "nothing is left in any file");
    world.sent.iter_mut().for_each(|sent| sent.event = None);
    check_equals_fold(&world).await;

    world.send(10).await;
    publish(&mut world).await;
    check_equals_fold(&world).await;
}

#[tokio::test]
async fn age_is_counted_from_the_newest_record_and_never_from_a_time_to_come() {
    let mut world = World::new(4).await;
    assert_eq!(find_old(&world).await, Found::default(), "nothing is archived yet");
    world.send(40).await;
    world.archive().await;
    let before = first_kept(&world);
    world.clock.advance(Duration::from_secs(100 * 24 * 3600));
    assert_eq!(find_old(&world).await.before, Some(TimestampMicros(before)), "a silent source keeps what it has");
    // A wrong clock raises the running maximum, by a day for each record.
    let now = world.clock.now();
    for _ in 0..250 {
        send_rejected(&mut world, now.plus(Duration::from_secs(300 * 24 * 3600))).await;
    }
    world.archive().await;
    let limit = (now.0 - AGE.as_micros() as i64).div_euclid(DAY) * DAY;
    assert_eq!(find_old(&world).await.before, Some(TimestampMicros(limit)));
}
