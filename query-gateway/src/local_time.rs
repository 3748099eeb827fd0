//! Local time: instants as clocks of a time zone show them, and the hours, days and months that those count. Pure.
//!
//! Guarantee: the spans of a unit follow each other without gap or overlap, each from the first instant at which a
//! clock there shows its start; a day on which clocks change has 23 or 25 hours, and an hour that they show twice is
//! two. Only hours may overlap, where a zone shifts its clocks by a part of one.
//! Not here: bins of a view, which may not fit into such spans (`local_bins.rs`).
//! Why so: the offset of a zone changes by law, in the midst of a day or at its start; so borders are looked for among
//! the instants, never computed from an offset.

use std::sync::Arc;

use arrow::array::timezone::Tz;
use chrono::{
    DateTime, Datelike, Days, MappedLocalTime, Months, NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone, Timelike,
};

use crate::GatewayError;

const HOUR_MICROS: i64 = 3_600_000_000;
/// No zone ever was further from UTC, in hours, nor left more out.
const FURTHEST_HOURS: i64 = 26;

/// A time zone.
#[derive(Clone, Debug)]
pub(crate) struct Zone {
    name: String,
    tz: Tz,
}

/// What a calendar counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CalendarUnit {
    /// From minute 0 to minute 0.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From Monday to Monday.
    Week,
    /// From the first of a month to that of the next.
    Month,
    /// Three months, from January, April, July and October on.
    Quarter,
    /// From one January to the next.
    Year,
}

/// The units by the words that stand for them.
pub(crate) const UNITS: [(&str, CalendarUnit); 6] = [
    ("hour", CalendarUnit::Hour),
    ("day", CalendarUnit::Day),
    ("week", CalendarUnit::Week),
    ("month", CalendarUnit::Month),
    ("quarter", CalendarUnit::Quarter),
    ("year", CalendarUnit::Year),
];

impl CalendarUnit {
    /// The word that stands for it.
    pub(crate) fn as_str(self) -> &'static str {
        UNITS.iter().find(|(_, unit)| *unit == self).map_or("", |(word, _)| *word)
    }

    /// The start of the unit that a local time falls into.
    fn floor(self, local: NaiveDateTime) -> Option<NaiveDateTime> {
        let date = local.date();
        let first = match self {
            Self::Hour => return date.and_hms_opt(local.hour(), 0, 0),
            Self::Day => date,
            Self::Week => date.checked_sub_days(Days::new(date.weekday().num_days_from_monday().into()))?,
            Self::Month => date.with_day(1)?,
            Self::Quarter => NaiveDate::from_ymd_opt(date.year(), date.month0() / 3 * 3 + 1, 1)?,
            Self::Year => NaiveDate::from_ymd_opt(date.year(), 1, 1)?,
        };
        Some(first.into())
    }

    /// The start of the unit behind the one that starts here.
    fn next(self, start: NaiveDateTime) -> Option<NaiveDateTime> {
        match self {
            Self::Hour => start.checked_add_signed(TimeDelta::hours(1)),
            Self::Day => start.checked_add_days(Days::new(1)),
            Self::Week => start.checked_add_days(Days::new(7)),
            Self::Month => start.checked_add_months(Months::new(1)),
            Self::Quarter => start.checked_add_months(Months::new(3)),
            Self::Year => start.checked_add_months(Months::new(12)),
        }
    }
}

impl Zone {
    /// The one of this name, `Europe/Berlin`, or at this distance from UTC, `+05:30`.
    ///
    /// # Errors
    /// [`GatewayError::BadRequest`] where there is none.
    pub(crate) fn parse(text: &str) -> Result<Self, GatewayError> {
        // A raw plus of a URL comes as a blank.
        let name = text.strip_prefix(' ').map_or_else(|| text.to_owned(), |offset| format!("+{offset}"));
        match name.parse() {
            Ok(tz) => Ok(Self { name, tz }),
            Err(_) => Err(GatewayError::bad_with_hint(
                format!("`tz` must be a time zone such as `Europe/Berlin`, got `{text}`"),
                "write a name of the IANA time zone database, capitals as there (`Europe/Berlin`, `UTC`), or an offset \
                 (`-03:00`; a plus as %2B)",
            )),
        }
    }

    /// Where nothing is added to an instant.
    pub(crate) fn utc() -> Self {
        Self { name: "UTC".to_owned(), tz: "+00:00".parse().expect("an offset of no hours is one") }
    }

    /// As it was asked for.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The name as a type of instants has it.
    pub(crate) fn arrow_name(&self) -> Arc<str> {
        Arc::from(self.name.as_str())
    }

    /// The first instant of a date there, in microseconds; none where no calendar reaches.
    pub(crate) fn start_of(&self, date: NaiveDate) -> Option<i64> {
        self.first(date.into())
    }

    /// The span `[from, to)` of a unit that an instant falls into, in microseconds; none where no calendar reaches.
    pub(crate) fn span(&self, unit: CalendarUnit, at: i64) -> Option<(i64, i64)> {
        let local = self.local(at)?;
        if unit == CalendarUnit::Hour {
            // Counted back from the instant: a clock that is turned back shows the hour twice.
            let from = at.checked_sub(micros_of(local).rem_euclid(HOUR_MICROS))?;
            return Some((from, from.checked_add(HOUR_MICROS)?));
        }
        let mut start = unit.floor(local)?;
        let mut from = self.first(start)?;
        loop {
            // More than once where a clock is turned back over midnight, or a whole day is left out.
            let next = unit.next(start)?;
            let to = self.first(next)?;
            if at < to {
                return Some((from, to));
            }
            (start, from) = (next, to);
        }
    }

    /// What a clock shows.
    fn local(&self, at: i64) -> Option<NaiveDateTime> {
        let utc = DateTime::from_timestamp_micros(at)?.naive_utc();
        utc.checked_add_offset(self.tz.offset_from_utc_datetime(&utc).fix())
    }

    /// The first instant at which a clock shows this time or, where clocks leave it out, a later one.
    fn first(&self, local: NaiveDateTime) -> Option<i64> {
        match self.tz.from_local_datetime(&local) {
            MappedLocalTime::Single(at) => Some(at.timestamp_micros()),
            MappedLocalTime::Ambiguous(one, other) => Some(one.timestamp_micros().min(other.timestamp_micros())),
            MappedLocalTime::None => self.first_behind(local),
        }
    }

    /// The instant at which clocks leave out a local time: before it they show less, from it on more.
    fn first_behind(&self, local: NaiveDateTime) -> Option<i64> {
        let mut before = micros_of(local.checked_sub_signed(TimeDelta::hours(FURTHEST_HOURS))?);
        let mut behind = micros_of(local.checked_add_signed(TimeDelta::hours(FURTHEST_HOURS))?);
        while behind - before > 1 {
            let middle = before + (behind - before) / 2;
            if self.local(middle)? < local {
                before = middle;
            } else {
                behind = middle;
            }
        }
        Some(behind)
    }
}

/// A local time as a number, as if it were one of UTC.
fn micros_of(local: NaiveDateTime) -> i64 {
    local.and_utc().timestamp_micros()
}
