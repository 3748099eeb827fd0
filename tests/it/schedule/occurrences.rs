//! When schedules are due, against tables and against a calendar that is asked for each local minute.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{NaiveDate, NaiveDateTime, TimeDelta, TimeZone as _, Timelike as _};
use positions::TimestampMicros;
use rand::Rng as _;
use workflow::schedule::{CronExpression, Timing, parse_zone};

use super::{DAY, HOUR, at, cron, every, written};
use crate::support::seeds::for_each_seed;

fn check(text: &str, zone: &str, after: &str, expected: &[&str]) {
    let timing = cron(text, zone);
    let next = |before: &TimestampMicros| timing.next_after(*before);
    let found: Vec<String> =
        std::iter::successors(Some(at(after)), next).skip(1).take(expected.len()).map(written).collect();
    assert_eq!(found, expected, "`{text}` in {zone} after {after}");
}

#[test]
fn an_hour_that_is_left_out_is_made_up_for_once_when_it_ends() {
    let days = ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"];
    check("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", &days);
    check("*/20 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"]);
    check("0,30 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"]);
    check("0 3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T01:00:00Z"]);
    // Half an hour, midnight, a whole day.
    check(
        "15 2 * * *",
        "Australia/Lord_Howe",
        "2026-10-03T00:00:00Z",
        &["2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"],
    );
    check("0 0 * * *", "America/Santiago", "2026-09-05T12:00:00Z", &["2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"]);
    check("0 9 30 12 *", "Pacific/Apia", "2011-12-01T00:00:00Z", &["2011-12-30T10:00:00Z", "2012-12-29T19:00:00Z"]);
}

#[test]
fn an_hour_that_comes_twice_counts_the_first_time() {
    check("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    let thirds = ["2026-10-25T00:00:00Z", "2026-10-25T00:20:00Z", "2026-10-25T00:40:00Z", "2026-10-26T01:00:00Z"];
    check("*/20 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", &thirds);
    check(
        "45 1 * * *",
        "Australia/Lord_Howe",
        "2026-04-04T00:00:00Z",
        &["2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"],
    );
}

#[test]
fn what_is_due_in_each_hour_goes_by_the_time_that_passes() {
    let spring = ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"];
    check("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", &spring);
    check("0 */2 * * *", "Europe/Berlin", "2026-03-28T23:30:00Z", &["2026-03-29T02:00:00Z", "2026-03-29T04:00:00Z"]);
    let autumn = ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"];
    check("30 * * * *", "Europe/Berlin", "2026-10-24T23:45:00Z", &autumn);
}

#[test]
fn fields_mean_what_crontab_says() {
    let after = "2026-02-01T00:00:00Z";
    check("0 0 13 * 5", "UTC", after, &["2026-02-06T00:00:00Z", "2026-02-13T00:00:00Z", "2026-02-20T00:00:00Z"]);
    check("0 0 */2 * 1", "UTC", after, &["2026-02-09T00:00:00Z", "2026-02-23T00:00:00Z"]);
    check("0 0 * * fri-sun", "UTC", after, &["2026-02-06T00:00:00Z", "2026-02-07T00:00:00Z", "2026-02-08T00:00:00Z"]);
    check("0 0 * * 7", "UTC", after, &["2026-02-08T00:00:00Z", "2026-02-15T00:00:00Z"]);
    check("0 0 * * */2", "UTC", after, &["2026-02-03T00:00:00Z", "2026-02-05T00:00:00Z", "2026-02-07T00:00:00Z"]);
    let steps = ["2026-02-01T09:05:00Z", "2026-02-01T09:10:00Z", "2026-02-01T09:15:00Z", "2026-03-01T09:05:00Z"];
    check("5-15/5 9 1 JAN-mar *", "UTC", after, &steps);
    check("0 0 29 2 *", "UTC", after, &["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]);
    check("0 0 29 2 */7", "UTC", after, &["2032-02-29T00:00:00Z", "2060-02-29T00:00:00Z"]);
    check("@daily", "Asia/Kolkata", after, &["2026-02-01T18:30:00Z", "2026-02-02T18:30:00Z"]);
    check("@weekly", "UTC", after, &["2026-02-08T00:00:00Z"]);
    check("* * * * *", "UTC", "2026-02-01T00:00:59.999999Z", &["2026-02-01T00:01:00Z", "2026-02-01T00:02:00Z"]);
    assert_eq!(cron("* * * * *", "UTC").next_after(TimestampMicros(-1)), Some(TimestampMicros(0)));
}

#[test]
fn what_is_no_expression_is_refused_by_its_field() {
    for (text, expected) in [
        ("", "must have five fields"),
        ("0 2 * *", "must have five fields"),
        ("0 0 2 * * *", "must have five fields"),
        ("@reboot", "must have five fields"),
        ("60 * * * *", "the field `60` (minute): must be 0 to 59, got `60`"),
        ("0 24 * * *", "the field `24` (hour): must be 0 to 23"),
        ("0 0 0 * *", "the field `0` (day of the month): must be 1 to 31"),
        ("0 0 * foo *", "(month): must be 1 to 12 or a name such as `jan`, got `foo`"),
        ("0 0 * * 8", "(day of the week): must be 0 to 7 or a name such as `sun`"),
        ("5/10 * * * *", "a step needs a range: write `5-59/10`"),
        ("*/0 * * * *", "a step must be a number of at least 1"),
        ("*/x * * * *", "a step must be a number of at least 1"),
        ("30-10 * * * *", "`30-10` ends before it begins"),
        ("+5 * * * *", "got `+5`"),
        ("1,,2 * * * *", "must be 0 to 59, got ``"),
        ("0 0 L * *", "got `L`"),
        ("0 0 30 2 *", "names a day that no year has"),
        ("0 0 31 4,6,9,11 *", "names a day that no year has"),
    ] {
        let error = CronExpression::parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "`{text}`: {expected} is missing in: {error}");
    }
    let error = parse_zone("Berlin").unwrap_err().to_string();
    assert!(error.contains("got `Berlin`") && error.contains("`Europe/Berlin`"), "{error}");
}

/// The occurrences of one day after the other, each local minute asked for at the calendar library.
fn by_calendar(
    zone: &str,
    is_hourly: bool,
    days: &[NaiveDate],
    is_due: impl Fn(NaiveDateTime) -> bool,
) -> BTreeSet<i64> {
    let zone = parse_zone(zone).unwrap();
    let minutes = days.iter().flat_map(|day| {
        let midnight = day.and_hms_opt(0, 0, 0).unwrap();
        (0..24 * 60).map(move |minute| midnight + TimeDelta::minutes(minute))
    });
    let mut found = BTreeSet::new();
    for local in minutes.filter(|local| is_due(*local)) {
        let instants = zone.from_local_datetime(&local);
        if is_hourly {
            found.extend(instants.earliest().map(|instant| instant.timestamp_micros()));
            found.extend(instants.latest().map(|instant| instant.timestamp_micros()));
        } else {
            let mut ahead = (0..2 * 24 * 60).map(|minutes| local + TimeDelta::minutes(minutes));
            let first = ahead.find_map(|local| zone.from_local_datetime(&local).earliest());
            found.extend(first.map(|instant| instant.timestamp_micros()));
        }
    }
    found
}

/// The days around a change of clocks, of zones that make it otherwise.
const CHANGES: [(&str, (i32, u32, u32)); 11] = [
    ("Europe/Berlin", (2026, 3, 29)),
    ("Europe/Berlin", (2026, 10, 25)),
    ("America/New_York", (2026, 3, 8)),
    ("America/New_York", (2026, 11, 1)),
    ("Australia/Lord_Howe", (2026, 4, 5)),
    ("Australia/Lord_Howe", (2026, 10, 4)),
    ("America/Santiago", (2026, 9, 6)),
    ("America/Santiago", (2026, 4, 5)),
    ("Asia/Kathmandu", (1986, 1, 1)),
    ("Pacific/Apia", (2011, 12, 30)),
    ("UTC", (2026, 6, 1)),
];

/// A field of an expression, and the numbers that it means.
type Field = (&'static str, fn(u32) -> bool);

#[test]
fn occurrences_are_those_that_the_calendar_has() {
    let minutes: [Field; 4] = [
        ("*/17", |minute| minute % 17 == 0),
        ("30", |minute| minute == 30),
        ("0,59", |m| m == 0 || m == 59),
        ("*", |_| true),
    ];
    let hours: [Field; 6] = [
        ("*", |_| true),
        ("*/3", |hour| hour % 3 == 0),
        ("1-3", |hour| (1..=3).contains(&hour)),
        ("2", |hour| hour == 2),
        ("0,1", |hour| hour < 2),
        ("23", |hour| hour == 23),
    ];
    for (zone, (year, month, day)) in CHANGES {
        let middle = NaiveDate::from_ymd_opt(year, month, day).unwrap();
        let days: Vec<NaiveDate> = (-2..=2).map(|offset| middle + TimeDelta::days(offset)).collect();
        for ((minute, is_minute), (hour, is_hour)) in minutes.iter().flat_map(|m| hours.iter().map(move |h| (*m, *h))) {
            let text = format!("{minute} {hour} * * *");
            let is_due = |local: NaiveDateTime| is_minute(local.minute()) && is_hour(local.hour());
            let expected = by_calendar(zone, hour.starts_with('*'), &days, is_due);
            let timing = cron(&text, zone);
            // Between noon and noon nothing of the days outside can be due.
            let noon = |day: &NaiveDate| day.and_hms_opt(12, 30, 0).unwrap().and_utc().timestamp_micros();
            let (from, to) = (noon(&days[1]), noon(&days[3]));
            let next = |before: &TimestampMicros| timing.next_after(*before);
            let all = std::iter::successors(Some(TimestampMicros(from)), next).skip(1);
            let found: BTreeSet<i64> = all.map(|found| found.0).take_while(|found| *found <= to).collect();
            let expected: BTreeSet<i64> = expected.range(from + 1..=to).copied().collect();
            assert_eq!(found, expected, "`{text}` in {zone} about {middle}");
        }
    }
}

#[test]
fn the_last_two_are_the_last_that_come_one_after_the_other() {
    for_each_seed(20, |mut rng| {
        let often = ["* * * * *", "*/7 */5 * * *"];
        let seldom = ["30 2 * * *", "0 0 1 * *", "0 12 * * mon", "15 3 29 2 *", "* * 1 1 *"];
        let (texts, most_hours) = if rng.random_bool(0.3) { (&often[..], 50) } else { (&seldom[..], 20_000) };
        let timing = cron(texts[rng.random_range(0..texts.len())], "Europe/Berlin");
        let now = at("2026-10-25T03:00:00Z").minus(DAY * rng.random_range(0..400));
        let after = now.minus(HOUR * rng.random_range(0..most_hours));
        let next = |before: &TimestampMicros| timing.next_after(*before).filter(|next| *next <= now);
        let all: Vec<TimestampMicros> = std::iter::successors(Some(after), next).skip(1).collect();
        let expected = [all.last().copied(), all.iter().rev().nth(1).copied()];
        assert_eq!(timing.last_two(after, now), expected, "{timing:?}: after {after:?}, now {now:?}");
    });
}

#[test]
fn intervals_lie_on_a_grid_of_their_own_for_each_name() {
    let (one, other) = (every("one", HOUR), every("other", HOUR));
    let now = at("2026-01-01T00:00:00Z");
    let next = one.timing.next_after(now).unwrap();
    assert!(next > now && next <= now.plus(HOUR));
    assert_eq!(one.timing.next_after(next), Some(next.plus(HOUR)));
    assert_eq!(one.timing.next_after(next.minus(Duration::from_micros(1))), Some(next));
    assert_ne!(Some(next), other.timing.next_after(now), "two names, two places on the grid");
    let end = next.plus(HOUR * 5);
    assert_eq!(one.timing.last_two(now, end), [Some(end), Some(end.minus(HOUR))]);
    assert_eq!(one.timing.last_two(next.minus(Duration::from_micros(1)), next), [Some(next), None]);
    assert_eq!(one.timing.last_two(next, next), [None, None]);
}

#[test]
fn the_end_of_time_is_no_occurrence() {
    for instant in [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX] {
        let _ = cron("0 0 * * *", "Europe/Berlin").next_after(TimestampMicros(instant));
        let _ = Timing::every(DAY, "a").next_after(TimestampMicros(instant));
    }
    assert_eq!(cron("0 0 * * *", "UTC").next_after(TimestampMicros(i64::MAX)), None);
    assert_eq!(Timing::every(DAY, "a").next_after(TimestampMicros(i64::MAX)), None);
}
