//! Which occurrences start now, which wait, and which are left out.
//!
//! Order: what is due is looked at by priority, then by when it was due, then by name. Each starts unless a run of its
//! own schedule is not done and it does not replace it, all places are taken, or another schedule has just started.
//! Guarantee: pure. Nothing is decided twice: once its decisions are applied to the memory, the same call gives those
//! that the passing of time, or the end of a run, brings.
//! Not here: what is remembered (`memory.rs`); caps on tasks, and backfills, which start by hand and come after these.

use std::cmp::Reverse;
use std::time::Duration;

use positions::TimestampMicros;

use super::memory::{Decision, Kept, Memory, SkipReason, Start, WaitReason, Waiting};
use super::plan::{Overlap, Rules, Schedule, ScheduleName};
use super::timing::Timing;

/// A clock that is found further back than this was wrong before: what it made us remember does not count.
const CLOCK_WAS_WRONG: Duration = Duration::from_secs(24 * 60 * 60);

/// A leader looks at least so often. Where starts may be closer to each other, it makes several at once: else some of
/// many short intervals would never have their turn.
const LOOK: Duration = Duration::from_secs(2);

/// A run of a schedule that is not done: queued, running or paused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningOf {
    /// Its id.
    pub run: String,
    /// Which schedule started it.
    pub schedule: ScheduleName,
    /// For which occurrence.
    pub occurrence: TimestampMicros,
}

/// What is due of a schedule.
struct Due<'a> {
    schedule: &'a Schedule,
    kept: &'a Kept,
    waiting: Waiting,
    up_to: TimestampMicros,
}

/// When somebody looks what is due, by wall time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// When.
    pub now: TimestampMicros,
    /// Since when whoever looks has had these schedules: some time passes between the start of a process and its first
    /// look as the leader, and what is due in it must not be lost.
    pub since: TimestampMicros,
}

/// What is to be done, and to be remembered.
pub fn decide(
    schedules: &[Schedule],
    rules: &Rules,
    memory: &Memory,
    look: Look,
    running: &[RunningOf],
) -> Vec<Decision> {
    let now = look.now;
    let is_gone = |name: &&ScheduleName| !schedules.iter().any(|schedule| schedule.name == **name);
    let gone = memory.schedules.keys().filter(is_gone);
    let mut decisions: Vec<Decision> = gone.map(|name| Decision::Forget { schedule: name.clone() }).collect();
    let mut due = Vec::new();
    for schedule in schedules {
        let known = memory.schedules.get(&schedule.name);
        let Some(kept) = known.filter(|kept| still_counts(kept, schedule, now)) else {
            decisions.push(learn(schedule, known, rules, look));
            continue;
        };
        decisions.extend(missed_deadlines(schedule, kept, now, running));
        match find_due(schedule, kept, rules, now) {
            Some(Ok(found)) => due.push(found),
            Some(Err(skipped)) => decisions.push(skipped),
            None => {}
        }
    }
    due.sort_by_key(|due| (Reverse(due.schedule.priority), due.waiting.occurrence, &due.schedule.name));
    let (last_start, last_at) = memory.last_start.clone().unzip();
    let turns = turns_at(now, last_at, possible_distance(rules, schedules));
    let mut turn = Turn { now, running, rules, turns, begun: 0, started: 0, last_start };
    decisions.extend(due.iter().filter_map(|due| turn.decide(due)));
    decisions
}

fn still_counts(kept: &Kept, schedule: &Schedule, now: TimestampMicros) -> bool {
    kept.timing == schedule.timing.mark() && kept.handled <= now.plus(CLOCK_WAS_WRONG)
}

/// What is new begins with the next occurrence after whoever looks had it, an interval at once, as there is no moment
/// that its author has chosen. What is due at other times than before begins where the times before were decided: its
/// first occurrence may come while a process starts, or waits until the leader before it is silent. What is longer ago
/// than `missed_after` is not made up for.
fn learn(schedule: &Schedule, known: Option<&Kept>, rules: &Rules, look: Look) -> Decision {
    let (first, from) = match schedule.timing {
        Timing::Cron { .. } => {
            let begin = known.map_or(look.since, |kept| kept.handled);
            (None, begin.max(look.now.minus(rules.missed_after)).min(look.now))
        }
        Timing::Every { .. } => (Some(look.now), look.now),
    };
    Decision::Learn { schedule: schedule.name.clone(), timing: schedule.timing.mark(), from, first }
}

fn find_due<'a>(
    schedule: &'a Schedule,
    kept: &'a Kept,
    rules: &Rules,
    now: TimestampMicros,
) -> Option<Result<Due<'a>, Decision>> {
    let newest = schedule.newest_due(kept.handled, now);
    if let Some(waiting) = kept.waiting {
        let up_to = newest.unwrap_or(waiting.occurrence).max(waiting.occurrence);
        return Some(Ok(Due { schedule, kept, waiting, up_to }));
    }
    let occurrence = newest?;
    let is_missed = schedule.start_of(occurrence).plus(rules.missed_after) < now;
    if is_missed && !schedule.catch_up {
        let reason = SkipReason::Downtime;
        return Some(Err(Decision::Skip { schedule: schedule.name.clone(), occurrence, reason }));
    }
    let waiting = Waiting { occurrence, is_catch_up: is_missed };
    Some(Ok(Due { schedule, kept, waiting, up_to: occurrence }))
}

/// Deadlines that have passed of what waits or runs, the earliest first, each told once.
fn missed_deadlines(schedule: &Schedule, kept: &Kept, now: TimestampMicros, running: &[RunningOf]) -> Vec<Decision> {
    let Some(deadline) = schedule.deadline else { return Vec::new() };
    let of_runs = runs_of(schedule, running).map(|of| (of.occurrence, Some(of.run.clone())));
    let mut open: Vec<(TimestampMicros, Option<String>)> = of_runs.collect();
    open.extend(kept.waiting.map(|waiting| (waiting.occurrence, None)));
    open.retain(|(occurrence, _)| occurrence.plus(deadline) <= now && kept.told.is_none_or(|told| *occurrence > told));
    open.sort();
    // The runs of one occurrence miss one deadline.
    open.dedup_by_key(|(occurrence, _)| *occurrence);
    let missed = |(occurrence, run)| Decision::MissedDeadline { schedule: schedule.name.clone(), occurrence, run };
    open.into_iter().map(missed).collect()
}

fn runs_of<'a>(schedule: &'a Schedule, running: &'a [RunningOf]) -> impl Iterator<Item = &'a RunningOf> {
    running.iter().filter(move |of| of.schedule == schedule.name)
}

/// The least distance, or less where not every schedule would have its turn.
fn possible_distance(rules: &Rules, schedules: &[Schedule]) -> Duration {
    let shortest = schedules.iter().map(|schedule| schedule.timing.shortest_period()).min().unwrap_or_default();
    let turns = u32::try_from(schedules.len()).unwrap_or(u32::MAX).max(1);
    rules.least_distance.min(shortest / turns)
}

/// How many starts a look has: as many as would have come one after the other since the last one, or in the time of a
/// look, where that is less.
fn turns_at(now: TimestampMicros, last_at: Option<TimestampMicros>, distance: Duration) -> u128 {
    // A start that is still to come was noted by a clock that went ahead.
    let since =
        last_at.and_then(|at| u64::try_from(now.micros_since(at)).ok()).map_or(Duration::MAX, Duration::from_micros);
    match distance.as_micros() {
        0 => u128::MAX,
        _ if since < distance => 0,
        distance => since.min(LOOK).as_micros().div_ceil(distance),
    }
}

/// One look at all that is due.
struct Turn<'a> {
    now: TimestampMicros,
    running: &'a [RunningOf],
    rules: &'a Rules,
    /// How many starts are not too close to each other.
    turns: u128,
    /// How many there were.
    begun: u128,
    /// How many more runs there are since the look began.
    started: usize,
    last_start: Option<ScheduleName>,
}

impl Turn<'_> {
    /// `None`: it waits, and did so before.
    fn decide(&mut self, due: &Due<'_>) -> Option<Decision> {
        let Due { schedule, waiting, up_to, .. } = due;
        let own: Vec<String> = runs_of(schedule, self.running).map(|of| of.run.clone()).collect();
        let blocked = match schedule.overlap {
            Overlap::Skip if !own.is_empty() => {
                let reason = SkipReason::Overlap;
                return Some(Decision::Skip { schedule: schedule.name.clone(), occurrence: *up_to, reason });
            }
            Overlap::Queue if !own.is_empty() => Some(WaitReason::Overlap),
            // What replaces a run takes its place.
            _ if own.is_empty() && self.running.len() + self.started >= self.rules.max_runs => Some(WaitReason::Places),
            _ if self.has_just_started_another(schedule) => Some(WaitReason::Distance),
            _ => None,
        };
        if let Some(reason) = blocked {
            let wait = Decision::Wait { schedule: schedule.name.clone(), waiting: *waiting, reason };
            return due.kept.waiting.is_none().then_some(wait);
        }
        self.started += usize::from(own.is_empty());
        self.begun += 1;
        self.last_start = Some(schedule.name.clone());
        Some(Decision::Start(Start {
            schedule: schedule.name.clone(),
            occurrence: waiting.occurrence,
            up_to: *up_to,
            is_catch_up: waiting.is_catch_up,
            replaces: own,
            at: self.now,
        }))
    }

    fn has_just_started_another(&self, schedule: &Schedule) -> bool {
        self.begun >= self.turns && self.last_start.as_ref().is_some_and(|name| *name != schedule.name)
    }
}
