//! Clocks of devices that are off, through both layers: times are corrected, and an event that is sent again under
//! another correction counts once.

use serde_json::{Value, json};
use twofold::client::Client;

use super::{Kind, World, publish_all_of, rows_of};

const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, page VARCHAR NOT NULL)
STORED AS JSON LOCATION 'kafka://hits' OPTIONS (event_time 'time', event_id 'id', gap '200ms', partitions '2');

CREATE MATERIALIZED VIEW times_by_page AS
SELECT page, count(*) AS hits, min(time) AS earliest, max(time) AS latest FROM hits GROUP BY page;
";
const HOUR: i64 = 3_600_000;

/// Milliseconds since 1970 of an instant in an answer.
fn millis(instant: &Value) -> i64 {
    chrono::DateTime::parse_from_rfc3339(instant.as_str().unwrap()).unwrap().timestamp_millis()
}

/// Sends events as a device does whose clock shows this time; the receipt.
async fn send_at(client: &Client, sent_at: i64, events: &str) -> Value {
    let request = reqwest::Client::new().post(format!("{}/v1/sources/hits/events", client.base()));
    let request = request.header("content-type", "application/x-ndjson").header("x-sent-at", sent_at.to_string());
    let answer = request.body(events.to_owned()).send().await.unwrap();
    let receipt: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!((&receipt["accepted"], &receipt["rejected"]), (&json!(2), &json!(0)), "{receipt}");
    receipt
}

#[track_caller]
fn check(answer: &Value, [earliest, latest]: [i64; 2]) {
    let rows = answer["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 1, "{answer}");
    assert_eq!((&rows[0]["page"], &rows[0]["hits"]), (&json!("/"), &json!(2)), "{answer}");
    assert_eq!([&rows[0]["earliest"], &rows[0]["latest"]].map(millis), [earliest, latest], "{answer}");
}

pub async fn a_wrong_clock_is_corrected_and_an_event_sent_again_counts_once(kind: Kind) {
    let Some(world) = World::new(kind, PIPELINE).await else { return };
    let (system, client) = world.start().await;
    // Ten days behind; the events happened within the last two hours, by the same clock.
    let sent_at = chrono::Utc::now().timestamp_millis() - 240 * HOUR;
    let happened = [sent_at - 2 * HOUR, sent_at - HOUR];
    let event = |(id, time): (usize, &i64)| format!(r#"{{"id":"{id}","time":{time},"page":"/"}}"#);
    let events = happened.iter().enumerate().map(event).collect::<Vec<_>>().join("\n");

    let first = send_at(&client, sent_at, &events).await;
    let shift = first["clock_shift_ms"].as_i64().unwrap();
    assert!(shift >= 240 * HOUR, "{first}");
    // Nobody answered, and the clock was set in between: the same events, corrected otherwise.
    let again = send_at(&client, sent_at + HOUR / 2, &events).await;
    assert_ne!(again["clock_shift_ms"], first["clock_shift_ms"]);

    // Those that came first count, in both layers alike.
    let expected = happened.map(|time| time + shift);
    let token = again["token"].as_str().unwrap();
    let before = rows_of(&client, "times_by_page", token).await;
    assert_eq!(before["envelope"]["version"], Value::Null);
    check(&before, expected);
    let after = publish_all_of(&system, &client, "times_by_page", token).await;
    check(&after, expected);
    assert_eq!(after["envelope"]["copies"], json!(2));
    system.stop().await.unwrap();
}
