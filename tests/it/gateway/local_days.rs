//! Hours, days, weeks and months of a time zone, rolled up of a view's bins: `bucket` and `tz`.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::array::timezone::Tz;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use chrono::DateTime;
use query_gateway::{GatewaySettings, RowsAnswer};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::world::{Event, START, World, event};
use crate::support::seeds::seeds;

const PIPELINE: &str = r#"
CREATE UNBOUNDED EXTERNAL TABLE edits (
  time TIMESTAMP NOT NULL, page VARCHAR, "user" VARCHAR, added BIGINT, price DECIMAL(10, 2), weight DOUBLE
) STORED AS JSON LOCATION 'kafka://edits' OPTIONS (event_time 'time', partitions '2');

CREATE MATERIALIZED VIEW hits AS
SELECT page, date_bin(INTERVAL '60 minutes', time) AS hour, count(*) AS c, sum(added) AS added,
       approx_distinct("user") AS users, approx_percentile_cont(added, 0.5) AS middle
FROM edits GROUP BY page, hour;

CREATE MATERIALIZED VIEW fine AS
SELECT date_bin(INTERVAL '15 minutes', time) AS bin, count(*) AS c, sum(added) AS added FROM edits GROUP BY bin;

CREATE MATERIALIZED VIEW days AS
SELECT date_trunc('day', time) AS day, count(*) AS c FROM edits GROUP BY date_trunc('day', time);

CREATE MATERIALIZED VIEW instants AS SELECT time AS bin, count(*) AS c FROM edits GROUP BY time;

CREATE MATERIALIZED VIEW two AS
SELECT date_trunc('day', time) AS day, date_trunc('hour', time) AS hour, count(*) AS c
FROM edits GROUP BY date_trunc('day', time), date_trunc('hour', time);

CREATE MATERIALIZED VIEW totals AS SELECT page, count(*) AS c FROM edits GROUP BY page;
"#;

const BERLIN: (&str, &str) = ("tz", "Europe/Berlin");
const DAY: (&str, &str) = ("bucket", "day");

fn at(time: &str, page: &'static str, user: &str, added: i64) -> Event {
    Event { time: DateTime::parse_from_rfc3339(time).unwrap().timestamp_micros(), ..event(0, page, user, added) }
}

/// An event in each hour of `[from, to)`, by one of three users; the first half of them in batch.
async fn hourly(from: &str, to: &str) -> World {
    let world = World::on(PIPELINE, GatewaySettings::default());
    let micros = |time: &str| DateTime::parse_from_rfc3339(time).unwrap().timestamp_micros();
    let (from, to) = (micros(from), micros(to));
    let times: Vec<i64> = (0..).map(|hour| from + hour * 3_600_000_000).take_while(|time| *time < to).collect();
    let users = ["ann", "bob", "cat"];
    let all = times.iter().zip(0..).map(|(time, n)| Event { time: *time, ..event(0, "A", users[n % 3], n as i64) });
    let all: Vec<Event> = all.collect();
    let (first, rest) = all.split_at(all.len() / 2);
    world.send(0, first.iter().cloned());
    world.append_run(0).await;
    for view in ["hits", "fine", "days"] {
        world.publish(view, &[first.len() as i64, 0]).await;
    }
    world.send(1, rest.iter().cloned());
    world.append_run(1).await;
    world
}

fn body(answer: &RowsAnswer) -> Value {
    serde_json::from_str(&answer.to_json().unwrap()).unwrap()
}

/// The columns of the rows, a row behind another.
async fn shown(world: &World, view: &str, parameters: &[(&str, &str)], columns: &[&str]) -> String {
    let answer = world.rows(view, parameters).await.unwrap_or_else(|error| panic!("{parameters:?}: {error}"));
    let body = body(&answer);
    let row = |row: &Value| {
        let values = columns.iter().map(|column| row[*column].to_string().replace('"', ""));
        values.collect::<Vec<_>>().join(" ")
    };
    body["rows"].as_array().unwrap().iter().map(row).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn a_day_on_which_clocks_change_has_23_or_25_hours() {
    for (from, to, range, expected) in [
        (
            "2026-03-27T00:00:00Z",
            "2026-04-01T00:00:00Z",
            [("from", "2026-03-28"), ("to", "2026-03-31")],
            "2026-03-27T23:00:00Z 24 3, 2026-03-28T23:00:00Z 23 3, 2026-03-29T22:00:00Z 24 3",
        ),
        (
            "2026-10-23T00:00:00Z",
            "2026-10-28T00:00:00Z",
            [("from", "2026-10-24"), ("to", "2026-10-27")],
            "2026-10-23T22:00:00Z 24 3, 2026-10-24T22:00:00Z 25 3, 2026-10-25T23:00:00Z 24 3",
        ),
    ] {
        let world = hourly(from, to).await;
        let all: Vec<(&str, &str)> = range.into_iter().chain([DAY, BERLIN, ("by", "hour")]).collect();
        assert_eq!(shown(&world, "hits", &all, &["hour", "c", "users"]).await, expected);
        // The hour that clocks show twice is two, the one that they leave out is none.
        let hours: Vec<(&str, &str)> = range.into_iter().chain([("bucket", "hour"), BERLIN, ("by", "hour")]).collect();
        let hours = world.rows("hits", &hours).await.unwrap();
        let whole: usize = expected.split_whitespace().skip(1).step_by(3).map(|c| c.parse::<usize>().unwrap()).sum();
        assert_eq!((hours.rows.num_rows(), hours.extent.groups), (whole, whole));
    }
}

#[tokio::test]
async fn weeks_and_months_are_those_of_the_zone() {
    let world = hourly("2026-02-25T00:00:00Z", "2026-04-03T00:00:00Z").await;
    // March has an hour less, April begins in summer time.
    for (bucket, from, to, expected) in [
        ("month", "2026-03-01", "2026-04-01", "2026-02-28T23:00:00Z 743 3"),
        ("week", "2026-03-23", "2026-04-06", "2026-03-22T23:00:00Z 167 3, 2026-03-29T22:00:00Z 98 3"),
        ("quarter", "2026-01-01", "2026-04-01", "2025-12-31T23:00:00Z 838 3"),
        ("year", "2026-01-01", "2027-01-01", "2025-12-31T23:00:00Z 888 3"),
    ] {
        let parameters = [("bucket", bucket), BERLIN, ("by", "hour"), ("from", from), ("to", to)];
        assert_eq!(shown(&world, "hits", &parameters, &["hour", "c", "users"]).await, expected, "{bucket}");
    }
    // Of days, too, where the zone is the one that they were counted in.
    let utc = [("bucket", "month"), ("by", "day"), ("from", "2026-03-01")];
    assert_eq!(shown(&world, "days", &utc, &["day", "c"]).await, "2026-03-01T00:00:00Z 744, 2026-04-01T00:00:00Z 48");
}

#[tokio::test]
async fn states_are_merged_before_they_are_finished() {
    let world = World::on(PIPELINE, GatewaySettings::default());
    world.send(0, [at("2026-01-01T23:30:00Z", "A", "ann", 10), at("2026-01-02T05:00:00Z", "A", "ann", 20)]);
    world.append_run(0).await;
    world.publish("hits", &[2, 0]).await;
    world.send(1, [at("2026-01-02T22:59:00Z", "A", "ann", 30), at("2026-01-02T23:00:00Z", "A", "bob", 99)]);
    world.append_run(1).await;
    let all = [DAY, BERLIN];
    assert_eq!(
        shown(&world, "hits", &all, &["page", "hour", "c", "added", "users", "middle"]).await,
        "A 2026-01-01T23:00:00Z 3 60 1 20, A 2026-01-02T23:00:00Z 1 99 1 99"
    );
    let parts = world.rows("hits", &[DAY, BERLIN, ("parts", "true")]).await.unwrap();
    let first = &body(&parts)["rows"][0];
    assert_eq!((&first["_batch"]["c"], &first["_realtime"]["c"]), (&json!(2), &json!(1)));
    let told = &body(&parts)["bucket"];
    assert_eq!(told, &json!({"dimension": "hour", "unit": "day", "tz": "Europe/Berlin"}));
    assert!(body(&world.rows("hits", &[BERLIN]).await.unwrap()).get("bucket").is_none());
}

#[tokio::test]
async fn orders_pages_and_gaps_are_those_of_the_days() {
    let world = hourly("2026-03-27T23:00:00Z", "2026-03-30T22:00:00Z").await;
    let by = [DAY, BERLIN, ("by", "hour")];
    let ordered: Vec<(&str, &str)> = by.into_iter().chain([("order", "-c,-hour"), ("limit", "2")]).collect();
    let first = world.rows("hits", &ordered).await.unwrap();
    assert_eq!((first.extent.groups, first.extent.truncated), (3, true));
    assert_eq!(shown(&world, "hits", &ordered, &["hour"]).await, "2026-03-29T22:00:00Z, 2026-03-27T23:00:00Z");
    let next = first.extent.next.unwrap();
    let rest: Vec<(&str, &str)> = ordered.iter().copied().chain([("cursor", next.as_str())]).collect();
    assert_eq!(shown(&world, "hits", &rest, &["hour", "c"]).await, "2026-03-28T23:00:00Z 23");
    for other in [("tz", "UTC"), ("bucket", "week")] {
        let mut asked = rest.clone();
        asked.retain(|(name, _)| *name != other.0);
        asked.push(other);
        let refused = world.rows("hits", &asked).await.unwrap_err().problem();
        assert!(refused.detail().contains("&bucket=day&tz=Europe/Berlin`"), "{}", refused.detail());
        asked.retain(|(name, _)| *name != "cursor");
        assert!(world.rows("hits", &asked).await.is_ok(), "the hint: begin again");
    }
    // The range may begin within a day, and go on where nothing came.
    let range = [("from", "2026-03-28 12:00:00"), ("to", "2026-04-01"), ("fill", "0")];
    let filled: Vec<(&str, &str)> = by.into_iter().chain(range).collect();
    assert_eq!(
        shown(&world, "hits", &filled, &["hour", "c"]).await,
        "2026-03-27T23:00:00Z 12, 2026-03-28T23:00:00Z 23, 2026-03-29T22:00:00Z 24, 2026-03-30T22:00:00Z 0"
    );
}

#[tokio::test]
async fn times_without_an_offset_are_local() {
    let world = hourly("2026-10-24T00:00:00Z", "2026-10-26T00:00:00Z").await;
    let count = async |parameters: &[(&str, &str)]| {
        let all: Vec<(&str, &str)> = parameters.iter().copied().chain([("by", "")]).collect();
        shown(&world, "hits", &all, &["c"]).await
    };
    for (parameters, expected) in [
        (vec![BERLIN, ("from", "2026-10-25"), ("to", "2026-10-26")], "25"),
        (vec![("from", "2026-10-25"), ("to", "2026-10-26")], "24"),
        (vec![BERLIN, ("hour.ge", "2026-10-25T00:00:00"), ("hour.lt", "2026-10-25 01:00:00")], "1"),
        (vec![BERLIN, ("from", "2026-10-25T02:30:00+02:00"), ("to", "2026-10-25T02:30:00+01:00")], "1"),
        (vec![BERLIN, ("from", "2026-10-24T22:00:00Z"), ("to", "1792969200")], "25"),
        (vec![("tz", " 02:00"), ("from", "2026-10-25"), ("to", "2026-10-26")], "24"),
    ] {
        assert_eq!(count(&parameters).await, expected, "{parameters:?}");
    }
    let twice = world.rows("hits", &[BERLIN, ("from", "2026-10-25T02:30:00")]).await.unwrap_err().problem();
    assert!(twice.detail().contains("clocks of Europe/Berlin show `2026-10-25T02:30:00` twice"), "{twice:?}");
    assert!(twice.hint().unwrap().contains("as in `2026-10-25T02:30:00Z`"), "{twice:?}");
    assert_eq!(count(&[BERLIN, ("from", "2026-10-25T02:30:00Z"), ("to", "2026-10-25T04:30:00Z")]).await, "2");
    // Midnight itself is left out in Cairo on that day: it begins at one.
    let cairo = hourly("2026-04-23T00:00:00Z", "2026-04-25T00:00:00Z").await;
    let parameters =
        [("tz", "Africa/Cairo"), DAY, ("by", "hour"), ("from", "2026-04-24"), ("to", "2026-04-24T12:00:00")];
    assert_eq!(shown(&cairo, "hits", &parameters, &["hour", "c"]).await, "2026-04-23T22:00:00Z 11");
}

#[tokio::test]
async fn what_cannot_be_rolled_up_is_refused_with_what_can() {
    let world = hourly("2026-01-05T00:00:00Z", "2026-01-07T00:00:00Z").await;
    let kolkata = ("tz", "Asia/Kolkata");
    for (view, parameters, reason, hint) in [
        ("hits", vec![DAY, kolkata], "a day of Asia/Kolkata begins at 2026-01-04T18:30:00Z", "'30 minutes'"),
        ("hits", vec![("bucket", "hour"), ("tz", "+05:45")], "an hour of +05:45 begins", "'15 minutes'"),
        ("days", vec![DAY, BERLIN], "a day of Europe/Berlin begins at 2026-01-04T23:00:00Z", "'60 minutes'"),
        // In winter days of London are those of UTC, and in summer not.
        ("days", vec![DAY, ("tz", "Europe/London")], "a day of Europe/London begins at 2026-07-", "'60 minutes'"),
        ("days", vec![("bucket", "hour")], "an hour of UTC begins at 2026-01-05T01:00:00Z", "'60 minutes'"),
        ("totals", vec![DAY], "view totals has no time dimension, as `bucket` would need", ""),
        ("two", vec![DAY], "several time dimensions, `day` and `hour`", "`range_of=hour`"),
        ("instants", vec![DAY], "`bin` is none that can be told", "date_bin or date_trunc"),
        ("hits", vec![DAY, ("by", "page")], "`bucket` needs `hour` in the answer", "add `hour` to `by`"),
        ("hits", vec![("bucket", "fortnight")], "`bucket` must be hour, day, week, month, quarter or year", ""),
        ("hits", vec![DAY, ("tz", "Berlin")], "`tz` must be a time zone such as `Europe/Berlin`", "`UTC`"),
    ] {
        let refused = world.rows(view, &parameters).await.unwrap_err().problem();
        assert_eq!(refused.status().as_u16(), 400, "{parameters:?}");
        assert!(refused.detail().contains(reason), "{parameters:?}: {}", refused.detail());
        assert!(refused.hint().unwrap_or_default().contains(hint), "{parameters:?}: {refused:?}");
    }
    // The hints, followed.
    for (view, parameters, rows) in [
        ("fine", vec![DAY, kolkata], 3),
        ("fine", vec![("bucket", "hour"), ("tz", "+05:45")], 48),
        ("hits", vec![DAY, BERLIN], 3),
        ("days", vec![DAY, ("tz", "UTC")], 2),
        ("two", vec![DAY, BERLIN, ("range_of", "hour"), ("by", "hour")], 3),
        ("hits", vec![DAY, ("by", "page,hour")], 2),
        ("hits", vec![DAY, ("tz", "-03:00")], 3),
    ] {
        let answer = world.rows(view, &parameters).await.unwrap_or_else(|error| panic!("{parameters:?}: {error}"));
        assert_eq!(answer.rows.num_rows(), rows, "{view} {parameters:?}");
    }
}

#[tokio::test]
async fn times_that_no_span_holds_are_left_out_by_a_range() {
    let world = World::on(PIPELINE, GatewaySettings::default());
    // Until 1972 clocks of Monrovia were 44 minutes and 30 seconds behind; no calendar has a year 287,000.
    let of_no_year = Event { time: 9_000_000_000_000_000_000, ..event(0, "C", "ann", 1) };
    world.send(0, [at("1970-01-01T00:00:00Z", "A", "ann", 1), event(0, "B", "ann", 1), of_no_year]);
    world.append_run(0).await;
    let monrovia = [DAY, ("tz", "Africa/Monrovia")];
    let (from, to) = (("from", "1980-01-01"), ("to", "2100-01-01"));
    for (page, reason, hint, way_out) in [
        ("A", "begins at 1969-12-31T00:44:30Z", "leave times of former offsets out with `from`", vec![from]),
        ("C", "`hour` has times that no calendar reaches", "leave them out with `from` and `to`", vec![from, to]),
    ] {
        let asked: Vec<(&str, &str)> = monrovia.into_iter().chain([("page.in", "B"), ("page.in", page)]).collect();
        let refused = world.rows("hits", &asked).await.unwrap_err().problem();
        assert!(refused.detail().contains(reason), "{page}: {}", refused.detail());
        assert!(refused.hint().unwrap().contains(hint), "{page}: {refused:?}");
        let asked: Vec<(&str, &str)> = asked.into_iter().chain(way_out).collect();
        assert_eq!(shown(&world, "hits", &asked, &["page", "hour"]).await, "B 2026-01-01T00:00:00Z", "{page}");
    }
}

/// Zones that change their clocks in the night or at midnight, on both sides of the equator, by hours and never.
const ZONES: [&str; 10] = [
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",
    "America/Santiago",
    "Africa/Cairo",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Australia/Adelaide",
    "Pacific/Auckland",
    "+05:30",
];

/// What clocks show, as far as it tells the spans of a unit apart.
const SPANS: [(&str, &str); 5] =
    [("hour", "%FT%H%z"), ("day", "%F"), ("week", "%G-%V"), ("month", "%Y-%m"), ("year", "%Y")];

#[tokio::test]
async fn spans_are_what_clocks_show() {
    for seed in seeds(3) {
        eprintln!("repeat with TWOFOLD_SEED={seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let world = World::on(PIPELINE, GatewaySettings::default());
        let mut added: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
        let minutes: Vec<i64> = (0..600).map(|_| random.random_range(-400_000..700_000)).collect();
        for (minute, amount) in minutes.iter().zip(1..) {
            let sum = added.entry(START + minute * 60_000_000).or_default();
            *sum = (sum.0 + 1, sum.1 + amount);
        }
        let events = minutes.iter().zip(1..).map(|(minute, amount)| event(*minute, "A", "ann", amount));
        let mut events: Vec<Event> = events.collect();
        world.send(1, events.split_off(300));
        world.append_run(1).await;
        world.send(0, events);
        world.append_run(0).await;
        world.publish("fine", &[300, 0]).await;
        for zone in ZONES {
            for (unit, shows) in SPANS {
                let parameters = [("bucket", unit), ("tz", zone), ("limit", "10000")];
                let answer = world.rows("fine", &parameters).await.unwrap();
                check_spans(&answer, &added, zone, shows);
            }
        }
    }
}

/// Compares an answer in the order of time with counts and sums by instant.
fn check_spans(answer: &RowsAnswer, added: &BTreeMap<i64, (i64, i64)>, zone: &str, shows: &str) {
    let tz: Tz = zone.parse().unwrap();
    let shown = |at: i64| DateTime::from_timestamp_micros(at).unwrap().with_timezone(&tz).format(shows).to_string();
    let mut expected: Vec<(String, i64, i64)> = Vec::new();
    for (at, (count, sum)) in added {
        let span = shown(*at);
        match expected.last_mut().filter(|last| last.0 == span) {
            Some(last) => (last.1, last.2) = (last.1 + count, last.2 + sum),
            None => expected.push((span, *count, *sum)),
        }
    }
    let starts = answer.rows.column(0).as_primitive::<TimestampMicrosecondType>();
    let number = |name: &str| answer.rows.column_by_name(name).unwrap().as_primitive::<Int64Type>();
    let (counts, sums) = (number("c").values(), number("added").values());
    let found = starts.values().iter().zip(counts.iter().zip(sums.iter()));
    let found: Vec<(String, i64, i64)> = found.map(|(at, (count, sum))| (shown(*at), *count, *sum)).collect();
    assert_eq!(found, expected, "{zone} {shows}");
    for start in starts.values() {
        assert_ne!(shown(*start), shown(start - 1), "{zone} {shows}: a span begins where it is first shown");
    }
}
