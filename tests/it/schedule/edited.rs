//! Schedules that are written otherwise while processes end and begin: what is due soon after an edit is not lost.

use std::time::Duration;

use positions::TimestampMicros;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use workflow::schedule::{Decision, Look, Memory, Rules, RunningOf, Schedule, Start, decide};

use super::{DAY, HOUR, MINUTE, at, cron, names, schedule, starts};
use crate::support::seeds::seeds;

const SECOND: Duration = Duration::from_secs(1);

/// What the journal keeps, and a process that leads.
struct Process {
    schedules: Vec<Schedule>,
    memory: Memory,
    since: TimestampMicros,
}

impl Process {
    fn look(&mut self, now: TimestampMicros) -> Vec<Start> {
        let look = Look { now, since: self.since };
        let none: &[RunningOf] = &[];
        // What is learned starts with the next look of the same step.
        let looks = [(); 2].map(|()| {
            let decided = decide(&self.schedules, &rules(), &self.memory, look, none);
            decided.iter().for_each(|decision: &Decision| self.memory.apply(decision));
            starts(decided)
        });
        looks.concat()
    }
}

fn rules() -> Rules {
    Rules { least_distance: Duration::ZERO, ..Rules::default() }
}

fn daily(minute_of_day: i64) -> Schedule {
    schedule("daily", cron(&format!("{} {} * * *", minute_of_day % 60, minute_of_day / 60), "UTC"))
}

#[test]
fn an_occurrence_that_passes_while_a_process_starts_with_another_minute_is_started() {
    let mut process =
        Process { schedules: vec![daily(0)], memory: Memory::default(), since: at("2026-05-01T12:00:00Z") };
    assert_eq!(process.look(process.since), []);
    process.schedules = vec![daily(13 * 60)];
    process.since = at("2026-05-01T13:00:02Z");
    let started = process.look(at("2026-05-01T13:00:08Z"));
    assert_eq!((names(&started), started[0].occurrence), (vec!["daily"], at("2026-05-01T13:00:00Z")));
    assert_eq!(process.look(at("2026-05-01T13:00:09Z")), [], "once");
    // One that nobody has seen before begins with the process.
    process.memory = Memory::default();
    assert_eq!(process.look(at("2026-05-01T13:00:10Z")), []);
}

/// Edits at random moments, each with a restart that takes a while; the next occurrence is seconds or hours away.
#[test]
fn each_edit_of_a_minute_is_followed_by_its_next_occurrence_however_long_the_restart_takes() {
    for seed in seeds(200) {
        eprintln!("edited schedules: repeat with TWOFOLD_SEED={seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let mut now = at("2026-05-01T12:00:00Z");
        let mut process = Process { schedules: vec![daily(0)], memory: Memory::default(), since: now };
        process.look(now);
        for _ in 0..20 {
            now = now.plus(Duration::from_secs(rng.random_range(1..7_200)));
            process.look(now);
            let edited_at = now;
            let minutes = edited_at.0.div_euclid(60_000_000)
                + if rng.random_bool(0.5) { 1 } else { 1 + rng.random_range(0..600) };
            let due = TimestampMicros(minutes * 60_000_000);
            process.schedules = vec![daily(minutes % 1_440)];
            now = now.plus(Duration::from_secs(rng.random_range(0..30)));
            process.since = now;
            now = now.plus(Duration::from_secs(rng.random_range(0..30)));
            let mut started = process.look(now);
            while now < due.plus(MINUTE) {
                // Nothing can happen long before it.
                let longest = if now.plus(MINUTE * 2) < due { 60 } else { 5 };
                now = now.plus(SECOND * rng.random_range(1..longest));
                started.extend(process.look(now));
            }
            let occurrences: Vec<TimestampMicros> = started.iter().map(|start| start.occurrence).collect();
            assert_eq!(occurrences, [due], "seed {seed}, edited at {edited_at:?}, now {now:?}");
        }
    }
}

#[test]
fn an_edit_makes_up_for_nothing_that_is_long_ago() {
    let mut process =
        Process { schedules: vec![daily(0)], memory: Memory::default(), since: at("2026-05-01T12:00:00Z") };
    process.look(process.since);
    process.schedules = vec![daily(13 * 60)];
    let later = process.since.plus(HOUR + MINUTE + SECOND * 2);
    assert_eq!(process.look(later), []);
    assert_eq!(process.look(process.since.plus(DAY + HOUR)).len(), 1, "the next one");
}
