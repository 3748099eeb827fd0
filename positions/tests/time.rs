//! The calendar and the grammar of spans of time.

use std::time::Duration;

use positions::calendar::{Date, date_of, day_of};
use positions::{SpanError, parse_span};

#[test]
fn days_and_dates_are_each_other_s_inverse() {
    for days in (-200_000_000..200_000_000).step_by(9_973).chain(-1_000..1_000) {
        let date = date_of(days);
        assert_eq!(day_of(date.months(), date.day), days, "{date:?}");
        assert!((1..=Date::last_day(date.months())).contains(&date.day), "{date:?}");
    }
    for (days, year, month, day) in [(0, 1970, 1, 1), (-1, 1969, 12, 31), (11_016, 2000, 2, 29), (-719_528, 0, 1, 1)] {
        assert_eq!(date_of(days), Date { year, month, day });
    }
}

#[test]
fn months_have_their_days() {
    let days = |year: i64| (0..12).map(|month| Date::last_day(year * 12 + month)).collect::<Vec<_>>();
    assert_eq!(days(2023), [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]);
    let february: Vec<i64> = [1900, 2000, 2024, 2100].into_iter().map(|year| days(year)[1]).collect();
    assert_eq!(february, [28, 29, 29, 28]);
}

#[test]
fn spans_are_sums_of_numbers_with_units() {
    let seconds = |text: &str| parse_span(text).map(|span| span.as_secs_f64());
    for (text, expected) in [
        ("0s", 0.0),
        ("500ms", 0.5),
        ("1500ms", 1.5),
        ("30s", 30.0),
        ("30 sec", 30.0),
        ("5m", 300.0),
        ("10 minutes", 600.0),
        ("1h", 3600.0),
        ("1 Hour", 3600.0),
        ("1 hour 30 minutes", 5400.0),
        ("1h30m", 5400.0),
        ("  2 days ", 172_800.0),
        ("1d", 86_400.0),
    ] {
        assert_eq!(seconds(text), Ok(expected), "{text}");
    }
    for text in ["", " ", "5", "ms", "-1s", "1.5s", "10 parsecs", "1h 5", "s1", "1h,1m", "\u{0661}s"] {
        assert_eq!(parse_span(text), Err(SpanError::Malformed), "{text}");
    }
    for text in ["99999999999999999999s", "18446744073709551615d", "18446744073709551615ms 1ms"] {
        assert_eq!(parse_span(text), Err(SpanError::TooLarge), "{text}");
    }
    assert_eq!(parse_span("18446744073709551615ms"), Ok(Duration::from_millis(u64::MAX)));
}
