//! Schedules: when each is due, where clocks change among it, and what becomes of what cannot start now.

mod decisions;
mod edited;
mod meeting;
mod occurrences;

use std::time::Duration;

use positions::TimestampMicros;
use workflow::RunMode;
use workflow::schedule::{
    CronExpression, Decision, Look, Memory, Overlap, Rules, RunningOf, Schedule, ScheduleName, Start, Target, Timing,
    decide, parse_zone,
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// An instant as people write it.
fn at(text: &str) -> TimestampMicros {
    TimestampMicros(chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros())
}

/// An instant as [`at`] reads it.
fn written(at: TimestampMicros) -> String {
    let at = chrono::DateTime::from_timestamp_micros(at.0).unwrap();
    at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

fn cron(text: &str, zone: &str) -> Timing {
    Timing::Cron { expression: CronExpression::parse(text).unwrap(), zone: parse_zone(zone).unwrap() }
}

pub fn schedule(name: &str, timing: Timing) -> Schedule {
    Schedule {
        name: ScheduleName(name.to_owned()),
        timing,
        target: Target::default(),
        mode: RunMode::Incremental,
        jitter: Duration::ZERO,
        overlap: Overlap::Skip,
        catch_up: true,
        deadline: None,
        priority: 50,
    }
}

fn every(name: &str, interval: Duration) -> Schedule {
    schedule(name, Timing::every(interval, name))
}

/// What a leader keeps, and the runs that it has started.
struct Leader {
    schedules: Vec<Schedule>,
    rules: Rules,
    memory: Memory,
    running: Vec<RunningOf>,
    now: TimestampMicros,
}

impl Leader {
    /// Has seen its schedules at `now`: what each of them starts at first is over.
    fn new(schedules: Vec<Schedule>, now: &str) -> Self {
        let rules = Rules { least_distance: Duration::ZERO, max_runs: 1_000, ..Rules::default() };
        let mut leader = Self { schedules, rules, memory: Memory::default(), running: Vec::new(), now: at(now) };
        leader.look();
        leader.look();
        leader.running.clear();
        leader
    }

    /// Decides, applies what was decided, and starts runs; told again, there is nothing to decide.
    fn look(&mut self) -> Vec<Decision> {
        let look = Look { now: self.now, since: self.now };
        let decisions = decide(&self.schedules, &self.rules, &self.memory, look, &self.running);
        for decision in &decisions {
            self.memory.apply(decision);
            if let Decision::Start(start) = decision {
                self.running.retain(|of| !start.replaces.contains(&of.run));
                self.running.push(RunningOf {
                    run: format!("{}@{}", start.schedule, start.occurrence.0),
                    schedule: start.schedule.clone(),
                    occurrence: start.occurrence,
                });
            }
        }
        // The journal holds it as text.
        let text = serde_json::to_string(&self.memory).unwrap();
        assert_eq!(serde_json::from_str::<Memory>(&text).unwrap(), self.memory);
        decisions
    }

    fn look_at(&mut self, now: &str) -> Vec<Decision> {
        self.now = at(now);
        self.look()
    }

    /// Looks again and again until `end`; runs take no time.
    fn starts_until(&mut self, end: &str, step: Duration) -> Vec<Start> {
        let mut started = Vec::new();
        while self.now < at(end) {
            self.now = self.now.plus(step);
            started.extend(starts(self.look()));
            self.running.clear();
        }
        started
    }
}

fn starts(decisions: Vec<Decision>) -> Vec<Start> {
    let starts = decisions.into_iter().filter_map(|decision| match decision {
        Decision::Start(start) => Some(start),
        _ => None,
    });
    starts.collect()
}

fn names(starts: &[Start]) -> Vec<&str> {
    starts.iter().map(|start| start.schedule.0.as_str()).collect()
}
