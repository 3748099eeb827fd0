//! Schedules that would meet: spread, by priority, and no more at one time than there are places.

use std::collections::BTreeMap;
use std::time::Duration;

use workflow::schedule::{Decision, Look, Memory, Overlap, Start, WaitReason, decide};

use super::{HOUR, Leader, MINUTE, at, cron, every, names, schedule, starts};

const SECOND: Duration = Duration::from_secs(1);

/// All at midnight, each with a priority.
fn at_midnight(priorities: &[(&str, i32)]) -> Vec<workflow::schedule::Schedule> {
    let of = |(name, priority): &(&str, i32)| {
        let mut schedule = schedule(name, cron("0 0 * * *", "UTC"));
        schedule.priority = *priority;
        schedule
    };
    priorities.iter().map(of).collect()
}

#[test]
fn those_that_meet_start_one_after_the_other_the_higher_priority_first() {
    let mut leader = Leader::new(at_midnight(&[("a", 10), ("b", 90), ("c", 50), ("d", 90)]), "2026-05-01T12:00:00Z");
    leader.rules.least_distance = SECOND * 10;
    let started = leader.starts_until("2026-05-02T00:05:00Z", SECOND);
    assert_eq!(names(&started), ["b", "d", "c", "a"]);
    let gaps: Vec<i64> = started.windows(2).map(|pair| pair[1].at.micros_since(pair[0].at)).collect();
    assert_eq!(gaps, [10_000_000; 3]);
    assert!(started.iter().all(|start| start.occurrence == at("2026-05-02T00:00:00Z") && !start.is_catch_up));
}

/// However long it waited for its turn, it did not miss anything.
#[test]
fn what_waits_for_its_turn_is_no_downtime() {
    let names: Vec<String> = (0..30).map(|n| format!("s{n:02}")).collect();
    let with_priority: Vec<(&str, i32)> = names.iter().map(|name| (name.as_str(), 50)).collect();
    let mut leader = Leader::new(at_midnight(&with_priority), "2026-05-01T12:00:00Z");
    leader.schedules.iter_mut().for_each(|schedule| schedule.catch_up = false);
    // Their shortest period would allow two seconds for each of thirty.
    leader.rules.least_distance = MINUTE;
    leader.rules.missed_after = SECOND * 5;
    let started = leader.starts_until("2026-05-02T01:00:00Z", SECOND);
    assert_eq!(started.len(), 30);
    assert_eq!(started[29].at.micros_since(started[0].at), 29 * 2_000_000);
}

/// The distance counts as no more than lets each have its turn.
#[test]
fn many_short_intervals_all_have_their_turns() {
    let names: Vec<String> = (0..20).map(|n| format!("s{n}")).collect();
    let schedules = names.iter().map(|name| every(name, Duration::from_millis(200))).collect();
    let mut leader = Leader::new(schedules, "2026-05-01T12:00:00Z");
    leader.rules.least_distance = MINUTE;
    let started = leader.starts_until("2026-05-01T12:00:05Z", Duration::from_millis(1));
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    started.iter().for_each(|start: &Start| *counts.entry(start.schedule.0.as_str()).or_default() += 1);
    assert_eq!(counts.len(), 20);
    assert!(counts.values().all(|count| (22..=26).contains(count)), "{counts:?}");
}

/// Also where a leader looks less often than one of them is due.
#[test]
fn more_than_one_starts_at_a_look_where_there_are_fewer_looks_than_turns() {
    let names: Vec<String> = (0..20).map(|n| format!("s{n}")).collect();
    let schedules = names.iter().map(|name| every(name, SECOND * 10)).collect();
    let mut leader = Leader::new(schedules, "2026-05-01T12:00:00Z");
    leader.rules.least_distance = SECOND;
    let started = leader.starts_until("2026-05-01T12:01:00Z", SECOND);
    let (mut counts, mut at_once) = (BTreeMap::new(), BTreeMap::new());
    for start in &started {
        *counts.entry(start.schedule.0.as_str()).or_insert(0) += 1;
        *at_once.entry(start.at).or_insert(0) += 1;
    }
    assert!(counts.len() == 20 && counts.values().all(|count| (5..=6).contains(count)), "{counts:?}");
    assert!(at_once.values().all(|count| *count <= 4), "{at_once:?}");
}

#[test]
fn schedules_of_one_interval_do_not_meet() {
    let schedules = ["clicks", "orders", "visits", "logins"].map(|name| every(name, HOUR)).to_vec();
    let mut leader = Leader::new(schedules, "2026-05-01T12:00:00Z");
    let started = leader.starts_until("2026-05-01T18:00:00Z", SECOND);
    let gaps: Vec<i64> = started.windows(2).map(|pair| pair[1].at.micros_since(pair[0].at)).collect();
    assert!(started.len() >= 20 && gaps.iter().all(|gap| *gap >= 1_000_000), "{gaps:?}");
}

#[test]
fn no_more_start_than_there_are_places() {
    let mut leader = Leader::new(at_midnight(&[("a", 10), ("b", 90), ("c", 50)]), "2026-05-01T12:00:00Z");
    leader.rules.max_runs = 2;
    let decisions = leader.look_at("2026-05-02T00:00:00Z");
    let waits = |decision: &Decision| matches!(decision, Decision::Wait { reason: WaitReason::Places, .. });
    assert_eq!(decisions.iter().filter(|decision| waits(decision)).count(), 1);
    assert_eq!(names(&starts(decisions)), ["b", "c"]);
    assert_eq!(leader.look_at("2026-05-02T03:00:00Z"), []);
    leader.running.remove(0);
    let started = starts(leader.look_at("2026-05-02T03:00:01Z"));
    assert_eq!((names(&started), started[0].is_catch_up), (vec!["a"], false));
}

/// It would wait for the place that it gives free itself.
#[test]
fn a_run_that_replaces_another_needs_no_place() {
    let mut leader = Leader::new(at_midnight(&[("a", 10)]), "2026-05-01T12:00:00Z");
    leader.rules.max_runs = 1;
    leader.schedules[0].overlap = Overlap::Replace;
    assert_eq!(starts(leader.look_at("2026-05-02T00:00:00Z")).len(), 1);
    assert_eq!(starts(leader.look_at("2026-05-03T00:00:00Z")).len(), 1);
}

#[test]
fn a_leader_that_dies_before_it_has_written_leaves_the_same_decision_to_the_next() {
    let leader = Leader::new(at_midnight(&[("a", 10), ("b", 90)]), "2026-05-01T12:00:00Z");
    let now = at("2026-05-02T00:00:00Z");
    let look = Look { now, since: now };
    let decided = decide(&leader.schedules, &leader.rules, &leader.memory, look, &[]);
    assert_eq!(decide(&leader.schedules, &leader.rules, &leader.memory, look, &[]), decided);
    let mut memory: Memory = leader.memory.clone();
    decided.iter().for_each(|decision| memory.apply(decision));
    let later = Look { now: now.plus(SECOND), ..look };
    assert_eq!(decide(&leader.schedules, &leader.rules, &memory, later, &[]), []);
}
