//! Events as real feeds write them, through both layers: each form that means one value counts as that value, and what
//! means none is refused by name where the source is strict.

use serde_json::{Value, json};

use super::{Kind, World, publish_all_of, rows_of, send};

const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (
  id VARCHAR, time TIMESTAMP NOT NULL, k VARCHAR NOT NULL, n BIGINT, d DOUBLE, m DECIMAL(24,4), b BOOLEAN, s VARCHAR,
  day DATE, userId VARCHAR, \"service.name\" VARCHAR
) STORED AS JSON LOCATION 'kafka://hits'
OPTIONS (event_time 'time', event_id 'id', strict 'true', gap '200ms', partitions '2');

CREATE MATERIALIZED VIEW forms AS
SELECT k, count(*) AS hits, sum(n) AS n, sum(d) AS d, sum(m) AS m, count(b) AS b, max(s) AS s, min(day) AS day,
       min(time) AS first, max(userId) AS user_id, max(\"service.name\") AS service
FROM hits GROUP BY k;
";

/// Name of the group, what the event says beside it, and what the group's row must say.
fn accepted() -> Vec<(&'static str, &'static str, Value)> {
    let noon = "2026-03-01T12:34:56Z";
    let at = |instant: &str| json!({ "first": instant });
    vec![
        ("seconds", r#""time":1772368496"#, at(noon)),
        ("milliseconds", r#""time":1772368496789"#, at("2026-03-01T12:34:56.789Z")),
        ("no seconds", r#""time":"2026-03-01T12:34Z""#, at("2026-03-01T12:34:00Z")),
        ("space before the offset", r#""time":"2026-03-01 12:34:56 +0000""#, at(noon)),
        ("as Go prints it", r#""time":"2026-03-01 13:34:56.000000001 +0100 CET""#, at(noon)),
        ("basic form", r#""time":"20260301T123456Z""#, at(noon)),
        ("date of HTTP", r#""time":"Sun, 01 Mar 2026 12:34:56 GMT""#, at(noon)),
        ("day alone", r#""time":"2026-03-01""#, at("2026-03-01T00:00:00Z")),
        ("nine digits", r#""time":"2026-03-01T12:34:56.789123456Z""#, at("2026-03-01T12:34:56.789123Z")),
        ("no zone", r#""time":"2026-03-01T12:34:56.789""#, at("2026-03-01T12:34:56.789Z")),
        ("offset of Nepal", r#""time":"2026-03-01 18:19:56+05:45""#, at(noon)),
        ("leap second", r#""time":"2016-12-31T23:59:60Z""#, at("2017-01-01T00:00:00Z")),
        ("before 1970", r#""time":"1969-12-31T23:30:00Z""#, at("1969-12-31T23:30:00Z")),
        ("time in capitals", r#""Time":"2026-03-01T12:34:56Z""#, at(noon)),
        ("whole number", r#""time":1772368496,"n":12.0"#, json!({"n": 12})),
        ("number in a string", r#""time":1772368496,"n":"12""#, json!({"n": 12})),
        ("beyond a double", r#""time":1772368496,"n":9007199254740993"#, json!({"n": 9_007_199_254_740_993_i64})),
        ("double in a string", r#""time":1772368496,"d":"0.304""#, json!({"d": 0.304})),
        ("truth as a number", r#""time":1772368496,"b":1"#, json!({"b": 1})),
        ("days since 1970", r#""time":1772368496,"day":20513"#, json!({"day": "2026-03-01"})),
        ("text as a number", r#""time":1772368496,"s":42"#, json!({"s": "42"})),
        ("NUL in a text", r#""time":1772368496,"s":"a\u0000b""#, json!({"s": "a\0b"})),
        ("half a pair", r#""time":1772368496,"s":"a\ud800""#, json!({"s": "a\u{fffd}"})),
        ("camel case", r#""time":1772368496,"userId":"u1""#, json!({"user_id": "u1"})),
        ("dots in a key", r#""time":1772368496,"service.name":"a""#, json!({"service": "a"})),
        ("unknown key twice", r#""time":1772368496,"x":1,"x":2,"n":1"#, json!({"n": 1})),
    ]
}

/// What the event says beside its group, and words of the error.
const REFUSED: [(&str, [&str; 2]); 7] = [
    (r#""time":"2026-03-01T24:00:00Z""#, ["time", "TIMESTAMP"]),
    (r#""time":null"#, ["column time", "NOT NULL"]),
    (r#""time":1772368496,"n":12.5"#, ["column n", "BIGINT"]),
    (r#""time":1772368496,"n":"""#, ["column n", "no value is null"]),
    (r#""time":1772368496,"m":19.99999"#, ["column m", "DECIMAL"]),
    (r#""time":1772368496,"n":1,"n":1"#, ["column n", "twice"]),
    (r#""time":20260301"#, ["time", "20260301"]),
];

pub async fn events_count_in_every_form_that_means_one_value(kind: Kind) {
    let Some(world) = World::new(kind, PIPELINE).await else { return };
    let (system, client) = world.start().await;
    let accepted = accepted();
    let good = accepted.iter().map(|(name, rest, _)| format!(r#"{{"k":"{name}",{rest}}}"#));
    // An id is the same as a number and as text: one of the two is a copy.
    let ids = [r#""7001""#, "7001"].map(|id| format!(r#"{{"k":"id","time":1772368496,"id":{id}}}"#));
    let bad = REFUSED.iter().map(|(rest, _)| format!(r#"{{"k":"refused",{rest}}}"#));
    // Of two payloads the first counts; one that was rejected was never an event, so the mended one is no copy.
    let sent_again = [("first", "1"), ("first", "100"), ("mended", r#""oops""#), ("mended", "1")]
        .map(|(name, n)| format!(r#"{{"k":"{name}","time":1772368496,"id":"{name}","n":{n}}}"#));
    let lines: Vec<String> = good.chain(ids).chain(bad).chain(sent_again).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();

    let receipt = send(&client, &lines).await;
    assert_eq!((receipt.accepted, receipt.rejected), (accepted.len() as u64 + 5, REFUSED.len() as u64 + 1));
    for (told, (event, words)) in receipt.errors.iter().zip(REFUSED) {
        assert!(words.iter().all(|word| told.error.contains(word)), "{event}: {}", told.error);
    }
    let mut expected = accepted;
    expected.extend(
        [("id", json!({})), ("first", json!({"n": 1})), ("mended", json!({"n": 1}))].map(|(k, says)| (k, "", says)),
    );
    let before = rows_of(&client, "forms", &receipt.token).await;
    check(&before["rows"], &expected);
    let after = publish_all_of(&system, &client, "forms", &receipt.token).await;
    check(&after["rows"], &expected);
    system.stop().await.unwrap();
}

/// Each group is there once, counted once, and says what is expected; no other is.
#[track_caller]
fn check(rows: &Value, expected: &[(&str, &str, Value)]) {
    let rows = rows.as_array().unwrap();
    for (name, _, says) in expected {
        let row = rows.iter().find(|row| row["k"] == *name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(row["hits"], 1, "{name}: {row}");
        for (measure, value) in says.as_object().unwrap() {
            assert_eq!(&row[measure], value, "{name}: {row}");
        }
    }
    assert_eq!(rows.len(), expected.len());
}
