//! What starts, what waits and what is left out, of one schedule: after downtime, beside a run of its own, beyond its
//! deadline, and where the clock is wrong.

use std::time::Duration;

use positions::TimestampMicros;
use workflow::schedule::{Decision, Overlap, SkipReason, WaitReason};

use super::{DAY, HOUR, Leader, MINUTE, at, cron, every, names, schedule, starts, written};

/// Each day at two, in UTC.
fn nightly() -> workflow::schedule::Schedule {
    schedule("nightly", cron("0 2 * * *", "UTC"))
}

#[test]
fn an_interval_begins_at_once_and_a_cron_expression_with_its_next_minute() {
    let mut leader = Leader::new(vec![], "2026-05-01T12:00:00Z");
    leader.schedules = vec![nightly(), every("often", HOUR)];
    assert_eq!(leader.look().len(), 2, "both are learned");
    let first = starts(leader.look());
    assert_eq!(names(&first), ["often"]);
    assert_eq!((first[0].occurrence, first[0].is_catch_up), (leader.now, false));
    assert_eq!(leader.look(), [], "nothing is decided twice");
    leader.running.clear();
    let later = leader.starts_until("2026-05-02T12:00:00Z", MINUTE);
    let nightly: Vec<String> =
        later.iter().filter(|start| start.schedule.0 == "nightly").map(|start| written(start.occurrence)).collect();
    assert_eq!(nightly, ["2026-05-02T02:00:00Z"]);
    let often = later.iter().filter(|start| start.schedule.0 == "often").count();
    assert!((23..=24).contains(&often), "{often}");
}

#[test]
fn each_occurrence_starts_one_run() {
    let mut leader = Leader::new(vec![schedule("quarters", cron("*/15 * * * *", "UTC"))], "2026-05-01T12:00:00Z");
    let started = leader.starts_until("2026-05-02T12:00:00Z", Duration::from_secs(7));
    let occurrences: Vec<TimestampMicros> = started.iter().map(|start| start.occurrence).collect();
    let expected: Vec<TimestampMicros> = (1..=96).map(|n| at("2026-05-01T12:00:00Z").plus(MINUTE * 15 * n)).collect();
    assert_eq!(occurrences, expected);
    assert!(started.iter().all(|start| !start.is_catch_up && start.at.micros_since(start.occurrence) < 7_000_000));
}

#[test]
fn what_was_due_while_nothing_ran_is_made_up_for_by_one_run() {
    let mut leader = Leader::new(vec![nightly()], "2026-05-01T12:00:00Z");
    let made_up = starts(leader.look_at("2026-05-06T12:00:00Z"));
    assert_eq!(made_up.len(), 1);
    assert!(made_up[0].is_catch_up);
    assert_eq!(written(made_up[0].occurrence), "2026-05-06T02:00:00Z");
    leader.running.clear();
    let next = leader.starts_until("2026-05-07T12:00:00Z", MINUTE);
    assert_eq!(next.len(), 1);
    assert!(!next[0].is_catch_up, "the next one is as ever");
}

#[test]
fn where_nobody_wants_it_made_up_for_it_is_left_out() {
    let mut leader = Leader::new(vec![nightly()], "2026-05-01T12:00:00Z");
    leader.schedules[0].catch_up = false;
    let decisions = leader.look_at("2026-05-06T12:00:00Z");
    let occurrence = at("2026-05-06T02:00:00Z");
    let schedule = leader.schedules[0].name.clone();
    assert_eq!(decisions, [Decision::Skip { schedule, occurrence, reason: SkipReason::Downtime }]);
    assert_eq!(leader.look(), []);
    assert_eq!(leader.starts_until("2026-05-07T12:00:00Z", MINUTE).len(), 1);
}

#[test]
fn a_look_that_comes_a_little_late_has_missed_nothing() {
    let mut leader = Leader::new(vec![nightly()], "2026-05-01T12:00:00Z");
    leader.schedules[0].catch_up = false;
    let started = starts(leader.look_at("2026-05-02T02:00:59Z"));
    assert_eq!((names(&started), started[0].is_catch_up), (vec!["nightly"], false));
}

#[test]
fn beside_a_run_of_its_own_it_is_left_out_or_waits_or_replaces_it() {
    let run_of = |overlap: Overlap| {
        let mut leader = Leader::new(vec![nightly()], "2026-05-01T12:00:00Z");
        leader.schedules[0].overlap = overlap;
        assert_eq!(starts(leader.look_at("2026-05-02T02:00:00Z")).len(), 1);
        leader
    };
    let occurrence = at("2026-05-03T02:00:00Z");

    let mut skipping = run_of(Overlap::Skip);
    let schedule = skipping.schedules[0].name.clone();
    let skipped = Decision::Skip { schedule, occurrence, reason: SkipReason::Overlap };
    assert_eq!(skipping.look_at("2026-05-03T02:00:00Z"), [skipped]);
    skipping.running.clear();
    assert_eq!(skipping.look_at("2026-05-03T09:00:00Z"), [], "it stays left out");
    assert_eq!(starts(skipping.look_at("2026-05-04T02:00:00Z")).len(), 1);

    let mut queueing = run_of(Overlap::Queue);
    let waits = queueing.look_at("2026-05-03T02:00:00Z");
    assert!(matches!(waits[..], [Decision::Wait { reason: WaitReason::Overlap, .. }]), "{waits:?}");
    assert_eq!(queueing.look_at("2026-05-05T09:00:00Z"), [], "what comes meanwhile falls into the one that waits");
    queueing.running.clear();
    let started = starts(queueing.look_at("2026-05-05T09:30:00Z"));
    assert_eq!(started.len(), 1);
    assert_eq!((started[0].occurrence, written(started[0].up_to).as_str()), (occurrence, "2026-05-05T02:00:00Z"));
    assert!(!started[0].is_catch_up);
    queueing.running.clear();
    assert_eq!(queueing.look_at("2026-05-05T10:00:00Z"), []);

    let mut replacing = run_of(Overlap::Replace);
    let before = replacing.running[0].run.clone();
    let started = starts(replacing.look_at("2026-05-03T02:00:00Z"));
    assert_eq!(started[0].replaces, [before]);
    assert_eq!(replacing.running.len(), 1);
}

#[test]
fn a_missed_deadline_is_told_once_of_what_runs_and_of_what_waits() {
    let mut leader = Leader::new(vec![nightly()], "2026-05-01T12:00:00Z");
    leader.schedules[0].deadline = Some(HOUR);
    leader.schedules[0].overlap = Overlap::Queue;
    leader.look_at("2026-05-02T02:00:00Z");
    assert_eq!(leader.look_at("2026-05-02T02:59:59Z"), []);
    let (schedule, run) = (leader.schedules[0].name.clone(), leader.running[0].run.clone());
    let missed = |occurrence: &str, run: Option<String>| Decision::MissedDeadline {
        schedule: schedule.clone(),
        occurrence: at(occurrence),
        run,
    };
    assert_eq!(leader.look_at("2026-05-02T03:00:00Z"), [missed("2026-05-02T02:00:00Z", Some(run))]);
    assert_eq!(leader.look_at("2026-05-02T04:00:00Z"), []);
    assert_eq!(leader.look_at("2026-05-03T02:00:00Z").len(), 1, "the next one waits");
    assert_eq!(leader.look_at("2026-05-03T03:00:00Z"), [missed("2026-05-03T02:00:00Z", None)]);
    leader.running.clear();
    let late = leader.look_at("2026-05-03T03:30:00Z");
    assert_eq!(starts(late).len(), 1);
    assert_eq!(leader.look_at("2026-05-03T05:00:00Z"), [], "of the same occurrence it was told");
}

#[test]
fn what_is_done_in_time_misses_nothing() {
    let mut leader = Leader::new(vec![nightly()], "2026-05-01T12:00:00Z");
    leader.schedules[0].deadline = Some(HOUR);
    leader.look_at("2026-05-02T02:00:00Z");
    leader.running.clear();
    assert_eq!(leader.look_at("2026-05-02T12:00:00Z"), []);
}

#[test]
fn jitter_is_the_same_for_everybody_and_within_its_bound() {
    let mut jittered = nightly();
    jittered.jitter = MINUTE * 10;
    let mut spread = Vec::new();
    for day in 0..200 {
        let occurrence = at("2026-05-02T02:00:00Z").plus(DAY * day);
        let start = jittered.start_of(occurrence);
        assert_eq!(start, jittered.clone().start_of(occurrence));
        let delay = start.micros_since(occurrence);
        assert!((0..=600_000_000).contains(&delay), "{delay}");
        spread.push(delay);
    }
    spread.sort_unstable();
    spread.dedup();
    assert!(spread.len() > 150 && spread[0] < 60_000_000 && spread[spread.len() - 1] > 540_000_000, "{spread:?}");

    let mut other = jittered.clone();
    other.name.0 = "other".to_owned();
    let occurrence = at("2026-05-02T02:00:00Z");
    assert_ne!(jittered.start_of(occurrence), other.start_of(occurrence));

    let start = jittered.start_of(occurrence);
    let mut leader = Leader::new(vec![jittered], "2026-05-01T12:00:00Z");
    leader.now = start.minus(Duration::from_micros(1));
    assert_eq!(leader.look(), []);
    leader.now = start;
    assert_eq!(starts(leader.look())[0].occurrence, occurrence);
}

/// Or a schedule whose jitter is longer than its period would never start.
#[test]
fn jitter_ends_before_the_next_occurrence() {
    let mut minutely = schedule("minutely", cron("* * * * *", "UTC"));
    minutely.jitter = HOUR;
    let mut leader = Leader::new(vec![minutely], "2026-05-01T12:00:00Z");
    let started = leader.starts_until("2026-05-01T13:00:00Z", Duration::from_secs(1));
    assert!((58..=60).contains(&started.len()), "{}", started.len());
}

#[test]
fn a_clock_that_goes_back_starts_nothing_twice_and_stops_nothing_for_good() {
    let mut leader = Leader::new(vec![nightly()], "2026-05-01T12:00:00Z");
    assert_eq!(starts(leader.look_at("2026-05-02T02:00:00Z")).len(), 1);
    leader.running.clear();
    assert_eq!(leader.look_at("2026-05-02T01:00:00Z"), []);
    assert_eq!(leader.look_at("2026-05-02T02:00:00Z"), [], "the hour that comes again was dealt with");
    assert_eq!(starts(leader.look_at("2026-05-03T02:00:00Z")).len(), 1);
    leader.running.clear();

    // A clock that was years ahead, for one look.
    assert_eq!(starts(leader.look_at("2031-01-01T00:00:00Z")).len(), 1);
    leader.running.clear();
    leader.look_at("2026-05-03T03:00:00Z");
    assert_eq!(leader.starts_until("2026-05-06T12:00:00Z", MINUTE * 10).len(), 3);
}

#[test]
fn a_schedule_that_is_written_otherwise_makes_up_for_nothing() {
    let mut leader = Leader::new(vec![schedule("one", cron("0 2 * * mon", "UTC"))], "2026-05-01T12:00:00Z");
    leader.now = at("2026-05-06T12:00:00Z");
    leader.look();
    leader.running.clear();
    leader.schedules = vec![schedule("one", cron("0 3 * * *", "UTC"))];
    assert!(starts(leader.look()).is_empty());
    assert_eq!(leader.look(), []);
    assert_eq!(starts(leader.look_at("2026-05-07T03:00:00Z")).len(), 1);

    leader.schedules.clear();
    assert!(matches!(leader.look()[..], [Decision::Forget { .. }]));
    assert!(leader.memory.schedules.is_empty());
    assert_eq!(leader.look(), []);
}

/// A leader that dies takes only such decisions with it as the next one makes again.
#[test]
fn what_the_journal_need_not_hold_is_decided_again() {
    let mut leader = Leader::new(vec![nightly()], "2026-05-01T12:00:00Z");
    leader.look_at("2026-05-02T02:00:00Z");
    let kept = leader.memory.clone();
    let skipped = leader.look_at("2026-05-03T02:00:00Z");
    assert!(skipped.len() == 1 && !skipped[0].is_to_be_kept(), "{skipped:?}");
    leader.memory = kept;
    assert_eq!(leader.look(), skipped);
    let told = leader.look_at("2026-05-03T02:00:01Z");
    assert_eq!(told, []);
    leader.running.clear();
    let started = leader.look_at("2026-05-04T02:00:00Z");
    assert!(started.len() == 1 && started[0].is_to_be_kept(), "{started:?}");
}
