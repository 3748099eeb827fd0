//! Cron expressions: five fields, and the minutes of a calendar that they name.
//!
//! In: `minute hour day-of-month month day-of-week`, each a list of `*`, `N`, `N-M`, `*/N` and `N-M/N`; months and days
//! of the week also by their first three letters, Sunday is 0 or 7; `@hourly`, `@daily`, `@weekly`, `@monthly`,
//! `@yearly`.
//! Guarantee: pure and total. An expression that names no minute of any year, such as 30 February, is refused.
//! Not here: time zones (`timing.rs`).
//! Why by hand: the format is a table of bits, while the crates that read it bring procedural macros and their own
//! answer to what happens when clocks change, which we have to promise (`timing.rs`).
//!
//! # Source
//! Paul Vixie's cron, `crontab(5)`: where both day fields are restricted, a day that matches either of them matches.

use positions::calendar::date_of;

/// An expression that is none, and how it would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CronError(String);

/// The minutes that a cron expression names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronExpression {
    text: String,
    // One bit for each value that a field takes.
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether a day has to match both day fields: one of them begins with `*`.
    needs_both_days: bool,
    /// Whether the field of hours begins with `*`: such a schedule goes by the time that passes.
    is_hourly: bool,
}

/// One of the five fields.
struct Field {
    name: &'static str,
    least: u64,
    most: u64,
    names: &'static [&'static str],
}

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const SUNDAY: u64 = 7;

const FIELDS: [Field; 5] = [
    Field { name: "minute", least: 0, most: 59, names: &[] },
    Field { name: "hour", least: 0, most: 23, names: &[] },
    Field { name: "day of the month", least: 1, most: 31, names: &[] },
    Field { name: "month", least: 1, most: 12, names: MONTHS },
    Field { name: "day of the week", least: 0, most: SUNDAY, names: WEEKDAYS },
];

const SHORT_FORMS: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// 29 February falls on each day of the week within so many days, also across a century without a leap day.
pub(super) const RAREST_DAYS: i64 = 41 * 366;

impl CronExpression {
    /// Reads an expression.
    ///
    /// # Errors
    /// [`CronError`]: correct the text; it names the field.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let text = text.trim();
        let short = SHORT_FORMS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, long)| *long);
        let fields: Vec<&str> = short.unwrap_or(text).split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            let form = "must have five fields (minute, hour, day of the month, month, day of the week)";
            return Err(CronError(format!("{form} such as `30 2 * * *`, or be `@daily` or its like; got `{text}`")));
        };
        let weekdays = read_field(&FIELDS[4], weekday)?;
        let expression = Self {
            text: text.to_owned(),
            minutes: read_field(&FIELDS[0], minute)?,
            hours: read_field(&FIELDS[1], hour)?,
            days: read_field(&FIELDS[2], day)?,
            months: read_field(&FIELDS[3], month)?,
            // Sunday is 0 and 7.
            weekdays: weekdays | (weekdays >> SUNDAY),
            needs_both_days: day.starts_with('*') || weekday.starts_with('*'),
            is_hourly: hour.starts_with('*'),
        };
        if (0..RAREST_DAYS).any(|day| expression.matches_day(day)) {
            Ok(expression)
        } else {
            Err(CronError(format!("names a day that no year has: `{text}`")))
        }
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the field of hours begins with `*`.
    pub(super) fn is_hourly(&self) -> bool {
        self.is_hourly
    }

    /// Whether a minute matches; it counts from 1970-01-01 00:00 on the clock of the schedule's zone.
    pub(super) fn matches(&self, local_minute: i64) -> bool {
        has(self.minutes, local_minute.rem_euclid(60))
            && self.matches_hour(local_minute.div_euclid(60))
            && self.matches_day(local_minute.div_euclid(24 * 60))
    }

    /// Whether minutes of an hour may match, as far as its hour says; it counts from 1970-01-01 00:00.
    pub(super) fn matches_hour(&self, local_hour: i64) -> bool {
        has(self.hours, local_hour.rem_euclid(24))
    }

    /// Whether minutes of a day may match, as far as its date says; it counts from 1970-01-01.
    pub(super) fn matches_day(&self, day: i64) -> bool {
        let date = date_of(day);
        // 1970-01-01 was a Thursday.
        let (of_month, of_week) = (has(self.days, date.day), has(self.weekdays, (day + 4).rem_euclid(7)));
        let is_day = if self.needs_both_days { of_month && of_week } else { of_month || of_week };
        is_day && has(self.months, date.month)
    }
}

fn has(bits: u64, value: i64) -> bool {
    (bits >> value) & 1 == 1
}

fn read_field(field: &Field, text: &str) -> Result<u64, CronError> {
    text.split(',').try_fold(0, |bits, item| Ok(bits | read_item(field, text, item)?))
}

/// One item of a field's list, as bits.
fn read_item(field: &Field, text: &str, item: &str) -> Result<u64, CronError> {
    let refused = |what: &str| CronError(format!("the field `{text}` ({}): {what}", field.name));
    let (range, step) = match item.split_once('/') {
        Some((range, step)) => (range, Some(step)),
        None => (item, None),
    };
    let is_range = range == "*" || range.contains('-');
    let step = match step.map(str::parse::<usize>) {
        None => 1,
        Some(Ok(step)) if step > 0 && is_range => step,
        Some(Ok(step)) if step > 0 => {
            return Err(refused(&format!("a step needs a range: write `{range}-{}/{step}`", field.most)));
        }
        Some(_) => return Err(refused("a step must be a number of at least 1")),
    };
    let value = |text: &str| read_value(field, text).map_err(|what| refused(&what));
    let (from, to) = match range.split_once('-') {
        _ if range == "*" => (field.least, field.most.min(field.least + values_of(field) - 1)),
        Some((from, to)) => (value(from)?, value(to)?),
        None => (value(range)?, value(range)?),
    };
    // `fri-sun` ends with the week.
    let to = if field.most == SUNDAY && to == 0 && from > 0 { SUNDAY } else { to };
    if from > to {
        return Err(refused(&format!("`{range}` ends before it begins: write it as two ranges")));
    }
    Ok((from..=to).step_by(step).fold(0, |bits, value| bits | (1_u64 << value)))
}

/// How many values a field has that differ: Sunday is one day, by two numbers.
fn values_of(field: &Field) -> u64 {
    if field.most == SUNDAY { SUNDAY } else { field.most - field.least + 1 }
}

fn read_value(field: &Field, text: &str) -> Result<u64, String> {
    let named = field.names.iter().zip(field.least..).find(|(name, _)| name.eq_ignore_ascii_case(text));
    if let Some((_, value)) = named {
        return Ok(value);
    }
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse::<u64>().ok().filter(|_| is_number);
    let range = || {
        let names = field.names.first().map_or_else(String::new, |first| format!(" or a name such as `{first}`"));
        format!("must be {} to {}{names}, got `{text}`", field.least, field.most)
    };
    number.filter(|number| (field.least..=field.most).contains(number)).ok_or_else(range)
}
