//! When a schedule is due: occurrences of a cron expression on the clock of a time zone, or of an interval.
//!
//! Where clocks change:
//!
//! | hour field | an hour that is left out | an hour that comes twice |
//! |---|---|---|
//! | names hours (`30 2 * * *`) | what falls into it is due when it ends, once | due the first time |
//! | begins with `*` | nothing is due in it | due both times: it goes by the time that passes |
//!
//! Guarantee: pure; occurrences rise strictly, and lie on whole minutes. Those of an interval lie on a grid that the
//! name of the schedule shifts, so that schedules of one interval do not meet; it outlives restarts and has no drift.
//! Not here: jitter, and what is done when one is due (`plan.rs`, `decide.rs`).
//! Why not by asking the calendar library for each local time: an hour that is left out or comes twice would be a case
//! at each place; walking through the minutes that pass, it is seen where it happens.

use std::time::Duration;

use chrono::{DateTime, Offset as _, TimeZone as _};
use chrono_tz::{TZ_VARIANTS, Tz};
use positions::TimestampMicros;
use xxhash_rust::xxh3::xxh3_64;

use super::cron::{CronExpression, RAREST_DAYS};

const MINUTE_MICROS: i64 = 60_000_000;
const HOUR: i64 = 60;
const DAY: i64 = 24 * HOUR;

/// How far back the last occurrences are looked for, one after the other: what is due often is found at once.
const LOOKS_BACK: [i64; 5] = [HOUR, DAY, 32 * DAY, 400 * DAY, (RAREST_DAYS + 1) * DAY];

/// A text that names no zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be the name of a time zone such as `Europe/Berlin` or `UTC`, got `{0}`")]
pub struct UnknownZone(String);

/// Reads the name of a time zone of the IANA database.
///
/// # Errors
/// [`UnknownZone`]: correct the text.
pub fn parse_zone(text: &str) -> Result<Tz, UnknownZone> {
    text.parse().map_err(|_| UnknownZone(text.to_owned()))
}

/// The names that [`parse_zone`] takes.
pub fn zone_names() -> impl Iterator<Item = &'static str> {
    TZ_VARIANTS.iter().map(|zone| zone.name())
}

/// When a schedule is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Timing {
    /// At the minutes of an expression, on the clock of a zone.
    Cron {
        /// The minutes.
        expression: CronExpression,
        /// Whose clock.
        zone: Tz,
    },
    /// Again and again.
    Every {
        /// From one to the next, at least 1 ms.
        interval: Duration,
        /// By what the grid is shifted: the hash of the schedule's name.
        shift: u64,
    },
}

impl Timing {
    /// The timing of an interval; `name` is that of its schedule.
    pub fn every(interval: Duration, name: &str) -> Self {
        Self::Every { interval, shift: xxh3_64(name.as_bytes()) }
    }

    /// What stays as long as nobody changes when the schedule is due.
    pub fn mark(&self) -> u64 {
        let text = match self {
            Self::Cron { expression, zone } => format!("cron {} {}", expression.text(), zone.name()),
            Self::Every { interval, shift } => format!("every {} {shift}", interval.as_micros()),
        };
        xxh3_64(text.as_bytes())
    }

    /// The shortest time from one occurrence to the next.
    pub fn shortest_period(&self) -> Duration {
        match self {
            Self::Cron { .. } => Duration::from_secs(60),
            Self::Every { interval, .. } => *interval,
        }
    }

    /// The first occurrence after an instant; `None` at the end of time.
    pub fn next_after(&self, after: TimestampMicros) -> Option<TimestampMicros> {
        match self {
            Self::Cron { expression, zone } => ZonedCron { expression, zone: *zone }.next_after(after),
            Self::Every { .. } => {
                let interval = self.interval_micros();
                Some(TimestampMicros(self.last_of_grid(after).0.checked_add(interval)?))
            }
        }
    }

    /// The last two occurrences in `(after, now]`, the newest first.
    pub fn last_two(&self, after: TimestampMicros, now: TimestampMicros) -> [Option<TimestampMicros>; 2] {
        match self {
            Self::Cron { expression, zone } => ZonedCron { expression, zone: *zone }.last_two(after, now),
            Self::Every { .. } => {
                let last = self.last_of_grid(now);
                let before = TimestampMicros(last.0.saturating_sub(self.interval_micros()));
                [last, before].map(|occurrence| Some(occurrence).filter(|occurrence| *occurrence > after))
            }
        }
    }

    /// The newest place of the grid of an interval that is not after `at`.
    fn last_of_grid(&self, at: TimestampMicros) -> TimestampMicros {
        let interval = self.interval_micros();
        let shift = match self {
            Self::Cron { .. } => 0,
            Self::Every { shift, .. } => (shift % interval.unsigned_abs()).cast_signed(),
        };
        TimestampMicros(at.0.saturating_sub(at.0.saturating_sub(shift).rem_euclid(interval)))
    }

    fn interval_micros(&self) -> i64 {
        i64::try_from(self.shortest_period().as_micros()).unwrap_or(i64::MAX).max(1)
    }
}

/// An expression on the clock of its zone. Instants are minutes since 1970-01-01T00:00 UTC here, and local minutes are
/// what that clock shows, counted as if it never changed.
#[derive(Clone, Copy)]
struct ZonedCron<'a> {
    expression: &'a CronExpression,
    zone: Tz,
}

impl ZonedCron<'_> {
    fn next_after(self, after: TimestampMicros) -> Option<TimestampMicros> {
        let begin = after.0.div_euclid(MINUTE_MICROS) + 1;
        let mut minute = begin;
        while minute < begin + (RAREST_DAYS + 1) * DAY {
            let local = self.local(minute)?;
            if self.is_occurrence(minute, local)? {
                return Some(TimestampMicros(minute * MINUTE_MICROS));
            }
            minute += self.step(minute, local)?;
        }
        None
    }

    fn last_two(self, after: TimestampMicros, now: TimestampMicros) -> [Option<TimestampMicros>; 2] {
        let mut found = [None, None];
        for minutes in LOOKS_BACK {
            let from = TimestampMicros(now.0.saturating_sub(minutes * MINUTE_MICROS)).max(after);
            found = [None, None];
            let mut at = from;
            while let Some(next) = self.next_after(at).filter(|next| *next <= now) {
                found = [Some(next), found[0]];
                at = next;
            }
            if from == after || found[1].is_some() {
                break;
            }
        }
        found
    }

    fn is_occurrence(self, minute: i64, local: i64) -> Option<bool> {
        let matches = self.expression.matches(local);
        if self.expression.is_hourly() {
            return Some(matches);
        }
        if matches && !self.is_second_time(minute, local)? {
            return Some(true);
        }
        // What the clock left out on its way to this minute.
        let before = self.local(minute - 1)?;
        Some((before + 1..local).any(|left_out| self.expression.matches(left_out)))
    }

    /// Whether the clock has shown this minute before.
    fn is_second_time(self, minute: i64, local: i64) -> Option<bool> {
        let offset_before = self.local(minute - DAY)? - (minute - DAY);
        let first = local - offset_before;
        Some(first < minute && self.local(first)? == local)
    }

    /// How far the next minute is that may match. Never over a change of the clock, which may leave out what matches.
    fn step(self, minute: i64, local: i64) -> Option<i64> {
        let to_next_day = DAY - local.rem_euclid(DAY);
        let to_next_hour = HOUR - local.rem_euclid(HOUR);
        let is_day = self.expression.matches_day(local.div_euclid(DAY));
        let is_hour = is_day && self.expression.matches_hour(local.div_euclid(HOUR));
        for (may_jump, length) in [(!is_day, to_next_day), (!is_hour, to_next_hour)] {
            if may_jump && self.local(minute + length)? == local + length {
                return Some(length);
            }
        }
        Some(1)
    }

    /// `None` where the calendar ends.
    fn local(self, minute: i64) -> Option<i64> {
        let seconds = minute.checked_mul(60)?;
        let utc = DateTime::from_timestamp(seconds, 0)?.naive_utc();
        let offset = self.zone.offset_from_utc_datetime(&utc).fix().local_minus_utc();
        Some((seconds + i64::from(offset)).div_euclid(60))
    }
}
