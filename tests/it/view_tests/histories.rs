//! Histories: equal for equal seeds, every record in them, and nothing that the law would judge otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use positions::micros;
use twofold::view_test::arrivals::Arrivals;
use twofold::view_test::history::{History, Kind, Sending, Step};

use super::{Place, one_test};
use crate::support::seeds::seeds;

const HORIZON: Duration = Duration::from_secs(600);

/// Thirty events, the first of them twice, one that cannot be read, one without an id.
fn arrivals(keep_order: bool) -> Arrivals {
    let event = |second: usize| format!(r#"{{"id":"{second}","time":"2026-01-01T12:{second}:00Z","page":"/"}}"#);
    let mut events: Vec<String> = (10..40).map(event).collect();
    events.insert(1, event(10));
    events.insert(5, "no json".to_owned());
    events.insert(9, r#"{"time":"2026-01-01T12:00:00Z","page":"/"}"#.to_owned());
    let test = one_test("by_page", &events.join("\n"), "rows = ''");
    let test = test.replace("view =", &format!("keep_order = {keep_order}\nview ="));
    Arrivals::of(&Place::with(&test).cases().unwrap().remove(0)).unwrap()
}

fn sendings(history: &History) -> Vec<Sending> {
    let sent = history.steps.iter().filter_map(|step| match step {
        Step::Send(sendings) => Some(sendings.clone()),
        Step::Publish(_) => None,
    });
    sent.flatten().collect()
}

fn publications(history: &History) -> usize {
    history.steps.iter().filter(|step| matches!(step, Step::Publish(_))).count()
}

#[test]
fn a_history_holds_every_record_and_copies_of_some_within_the_horizon() {
    let arrivals = arrivals(false);
    let (mut partitions, mut later, mut copies, mut published) = (BTreeSet::new(), 0, 0, 0);
    for seed in seeds(200) {
        let history = History::of(&arrivals, Kind::Mixed { seed }, HORIZON);
        assert_eq!(history, History::of(&arrivals, Kind::Mixed { seed }, HORIZON), "seed {seed}");
        let sent = sendings(&history);
        assert!(sent.is_sorted_by_key(|sending| sending.at), "seed {seed}: time goes back");
        let mut first = BTreeMap::new();
        let mut added = 0;
        for sending in &sent {
            let arrival = &arrivals.records[sending.record];
            match first.get(&sending.record) {
                None => {
                    assert!(sending.at >= arrival.at, "seed {seed}: before its time");
                    assert!(arrival.is_alone || sending.at == arrival.at, "seed {seed}: moved a record with a copy");
                    later += usize::from(sending.at > arrival.at);
                    first.insert(sending.record, sending.at);
                }
                Some(before) => {
                    assert!(arrival.is_recognised, "seed {seed}: a copy that nobody knows");
                    assert!(sending.at.micros_since(*before) < micros(HORIZON), "seed {seed}: beyond the horizon");
                    added += arrival.events;
                }
            }
        }
        assert_eq!(first.len(), arrivals.records.len(), "seed {seed}: a record is missing");
        assert_eq!(added, history.copies, "seed {seed}");
        partitions.insert(history.partitions);
        copies += added;
        published += publications(&history);
    }
    if seeds(2).len() > 1 {
        assert_eq!(partitions, BTreeSet::from([1, 2, 3, 4]));
        assert!(later > 100 && copies > 100 && published > 100, "{later} later, {copies} copies, {published} versions");
    }
}

#[test]
fn records_that_share_an_event_or_have_none_stay_where_they_are() {
    let arrivals = arrivals(false);
    let alone: Vec<bool> = arrivals.records.iter().take(10).map(|record| record.is_alone).collect();
    assert_eq!(alone, [false, false, true, true, true, false, true, true, true, true]);
    let recognised: Vec<bool> = arrivals.records.iter().take(10).map(|record| record.is_recognised).collect();
    assert_eq!(recognised, [false, false, true, true, true, false, true, true, true, false]);
    assert_eq!(arrivals.rejected.len(), 1);
    assert_eq!(arrivals.rejected[0].place, "given 1, line 6");
}

#[test]
fn where_the_order_is_kept_nothing_moves() {
    let arrivals = arrivals(true);
    for seed in seeds(50) {
        let history = History::of(&arrivals, Kind::Mixed { seed }, HORIZON);
        let mut records: Vec<usize> = sendings(&history).iter().map(|sending| sending.record).collect();
        let mut known = BTreeSet::new();
        records.retain(|record| known.insert(*record));
        assert!(records.is_sorted(), "seed {seed}: {records:?}");
        assert_eq!(history.partitions, 1);
    }
}

#[test]
fn where_days_lie_between_events_no_copies_are_added() {
    let event = |id: usize, day: usize| format!(r#"{{"id":"{id}","time":"2026-01-{day}T12:00:00Z","page":"/"}}"#);
    let arrivals = |events: &[String]| {
        let test = one_test("by_page", &events.join("\n"), "rows = ''");
        Arrivals::of(&Place::with(&test).cases().unwrap().remove(0)).unwrap()
    };
    let near = arrivals(&[event(1, 10), event(2, 11)]);
    assert!(near.is_free && near.takes_copies);
    let far = arrivals(&[event(1, 10), event(2, 12)]);
    assert!(far.is_free && !far.takes_copies);
    let twice = arrivals(&[event(1, 10), event(2, 12), event(2, 12)]);
    assert!(!twice.is_free && !twice.takes_copies);
    assert_eq!(History::of(&far, Kind::Mixed { seed: 1 }, HORIZON).copies, 0);
}

#[test]
fn one_layer_alone_gets_events_as_they_are_written() {
    let arrivals = arrivals(false);
    for (kind, versions) in [(Kind::Batch, 1), (Kind::Realtime, 0)] {
        let history = History::of(&arrivals, kind, HORIZON);
        let records: Vec<usize> = sendings(&history).iter().map(|sending| sending.record).collect();
        assert_eq!(records, (0..arrivals.records.len()).collect::<Vec<_>>());
        assert_eq!((publications(&history), history.partitions, history.copies), (versions, 1, 0));
    }
}
