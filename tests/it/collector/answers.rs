//! What is stored of a request and what its sender is told.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use positions::{Offset, PartitionId, PositionToken, SourceName, TimestampMicros};
use records::decode::decode;
use serde_json::{Value, json};
use views::{SourceDefinition, SourceFormat, Unreadable};

use super::fake::Mood;
use super::{Answer, JSON, LINES, Server, event};
use crate::decode::{NOW, clicks, error, record};

pub fn gzip(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes.as_ref()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn every_form_of_body_stores_the_events_byte_for_byte() {
    let (a, b) = (event("a"), event("bb"));
    let bodies = [
        (JSON, format!("[{a} ,\n {b}]")),
        (JSON, format!("{a}\n{b}")),
        (JSON, format!("  {a}{b}  ")),
        (LINES, format!("{a}\n{b}\n")),
        (LINES, format!("\r\n{a}\r\n\n   \n {b}")),
        (JSON, format!("\u{feff}[{a},{b}]")),
        (LINES, format!("\u{feff}{a}\r\n{b}")),
        ("application/json; charset=utf-8", format!("[{a},{b}]")),
        ("Application/JSON", format!("[{a},{b}]")),
    ];
    for (content_type, body) in bodies {
        let server = Server::start(Default::default()).await;
        server.post(content_type, body.clone()).await.check_counts(2, 0);
        assert_eq!(server.log.payloads(), [a.clone(), b.clone()], "{content_type}: {body}");
        let request = server.request("clicks/events", content_type, gzip(&body)).header("content-encoding", "gzip");
        Answer::of(request.send().await.unwrap()).await.check_counts(2, 0);
        assert_eq!(server.log.payloads()[2..], [a.clone(), b.clone()], "gzip {content_type}: {body}");
    }
}

#[tokio::test]
async fn records_are_keyed_by_id_and_stamped_in_milliseconds() {
    let server = Server::start(Default::default()).await;
    let body = format!("[{},{},7]", event("a"), r#"{"time":"2026-01-31T12:00:00Z","page":"/"}"#);
    server.post(JSON, body).await.check_counts(2, 1);
    let stored = server.log.stored.lock().unwrap();
    let keys: Vec<Option<&[u8]>> = stored.iter().map(|(_, _, record)| record.key.as_deref()).collect();
    assert_eq!(keys, [Some(&b"a"[..]), None, None]);
    assert!(stored.iter().all(|(_, _, record)| record.timestamp == TimestampMicros(NOW)));
}

#[tokio::test]
async fn the_token_covers_what_was_stored() {
    let server = Server::start(Default::default()).await;
    let body = format!("{}\n{}\n{}\nbad", event("a"), event("bb"), event("c"));
    let answer = server.post(LINES, body).await;
    answer.check_counts(3, 1);
    let token = PositionToken::decode(answer.body["token"].as_str().unwrap()).unwrap();
    // Keys of odd length go to partition 1; `bb` and the record without a key to partition 0.
    let covered = &token.sources[&SourceName::new("clicks")];
    assert_eq!(covered.iter().collect::<Vec<_>>(), [(&PartitionId(0), &Offset(2)), (&PartitionId(1), &Offset(2))]);
}

#[tokio::test]
async fn a_bad_event_is_stored_and_named_by_its_index() {
    let server = Server::start(Default::default()).await;
    let bad = r#"{"time":"2026-01-31T12:00:00Z","page":"/","bytes":"12x"}"#;
    let answer = server.post(LINES, format!("{}\n\n{bad}\n{{torn\n{}", event("a"), event("b"))).await;
    answer.check_counts(2, 2);
    let errors = answer.body["errors"].as_array().unwrap();
    // The empty line counts: an index is the number of the line from 0.
    assert_eq!(errors.iter().map(|error| error["index"].clone()).collect::<Vec<_>>(), [json!(2), json!(3)]);
    assert!(errors.iter().all(|error| error["stored"] == json!(true)));
    assert!(errors[0]["error"].as_str().unwrap().contains("column bytes is BIGINT"));
    assert_eq!(server.log.payloads(), [event("a"), bad.to_owned(), "{torn".to_owned(), event("b")]);
    // What the sender is told is what both layers will decode.
    for (row, payload) in server.log.payloads().into_iter().enumerate() {
        let rows = decode(&clicks(), &[record(0, payload)]).unwrap();
        let told = errors.iter().find(|told| told["index"] == json!([0, 2, 3, 4][row]));
        assert_eq!(error(&rows, 0), told.map(|told| told["error"].as_str().unwrap().to_owned()));
    }
}

#[tokio::test]
async fn values_that_their_column_cannot_take_are_told_by_column() {
    let source = SourceDefinition { unreadable: Unreadable::Null, ..clicks() };
    let server = Server::start_for(source, Default::default()).await;
    let with = |rest: &str| format!(r#"{{"time":"2026-01-31T12:00:00Z","page":"/",{rest}}}"#);
    let good = [with(r#""bytes":"12x""#), with(r#""bytes":[],"tags":["a",{},[]]"#), with(r#""bytes":7"#)];
    let bad = r#"{"page":"/","bytes":"x"}"#;
    let answer = server.post(LINES, format!("{}\n{bad}", good.join("\n"))).await;
    answer.check_counts(3, 1);
    assert_eq!(answer.body["unreadable"], json!({"bytes": 2, "tags": 2}), "those of events that count");
    let answer = server.post(LINES, event("a")).await;
    assert_eq!(answer.body.get("unreadable"), None);
}

#[tokio::test]
async fn bad_events_can_be_refused_instead() {
    let server = Server::start(Default::default()).await;
    let request = server.request("clicks/events?on_error=refuse", JSON, format!("[1,{},{{}}]", event("a")));
    let answer = Answer::of(request.send().await.unwrap()).await;
    answer.check_counts(1, 2);
    let told: Vec<(Value, Value)> = answer.body["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (error["index"].clone(), error["stored"].clone()))
        .collect();
    assert_eq!(told, [(json!(0), json!(false)), (json!(2), json!(false))]);
    assert_eq!(server.log.payloads(), [event("a")]);
}

/// Both layers would wait for the schema, and nobody who speaks HTTP may stop a source.
#[tokio::test]
async fn what_names_a_schema_is_left_out_however_bad_events_are_treated() {
    let source = SourceDefinition { format: SourceFormat::Avro, ..clicks() };
    let server = Server::start_for(source, Default::default()).await;
    let body = [event("a"), "\0\0\0\0\u{7}junk".to_owned(), event("b")].join("\n");
    let answer = server.post(LINES, body).await;
    answer.check_counts(2, 1);
    let told = &answer.body["errors"][0];
    assert_eq!((&told["index"], &told["stored"]), (&json!(1), &json!(false)), "{told}");
    assert!(told["error"].as_str().unwrap().contains("name a schema"), "{told}");
    assert_eq!(server.log.payloads(), [event("a"), event("b")]);
}

#[tokio::test]
async fn no_events_are_no_error_and_no_body_is_one() {
    let server = Server::start(Default::default()).await;
    server.post(JSON, "[]").await.check_counts(0, 0);
    server.post(JSON, "").await.check_problem(400, "bad-body", "empty");
    server.post(LINES, " \n\n").await.check_problem(400, "bad-body", "empty");
}

#[tokio::test]
async fn what_cannot_be_taken_apart_is_refused_whole() {
    let server = Server::start(Default::default()).await;
    let good = event("a");
    let deep = format!("[{good},{}1{}]", "[".repeat(70), "]".repeat(70));
    for body in [format!("[{good},"), format!("[{good}] x"), format!("{good} x"), format!("[{good},{{torn]"), deep] {
        let answer = server.post(JSON, body).await;
        answer.check_problem(400, "bad-body", "nothing was stored");
        assert!(answer.body["hint"].as_str().unwrap().contains("x-ndjson"), "{answer:?}");
    }
    server.post(JSON, b"[\"\xff\"]".to_vec()).await.check_problem(400, "bad-body", "not UTF-8 at byte 2");
    let torn = gzip(&good);
    for body in [good.clone().into_bytes(), torn[..torn.len() - 9].to_vec(), b"".to_vec()] {
        let request = server.request("clicks/events", JSON, body).header("content-encoding", "gzip");
        let answer = Answer::of(request.send().await.unwrap()).await;
        assert_eq!(answer.status, 400, "{answer:?}");
    }
    assert!(server.log.payloads().is_empty());
}

#[tokio::test]
async fn what_does_not_exist_is_answered_with_what_does() {
    let server = Server::start(Default::default()).await;
    let send = async |path| Answer::of(server.request(path, JSON, event("a")).send().await.unwrap()).await;
    let answer = send("klicks/events").await;
    answer.check_problem(404, "unknown", "there is no source `klicks`");
    assert_eq!(answer.body["known"], json!(["clicks"]));
    send("clicks/events?on_error=drop").await.check_problem(400, "bad-request", "drop");
    send("clicks/events?onerror=keep").await.check_problem(400, "bad-request", "onerror");
    let got = reqwest::Client::new().get(server.events()).send().await.unwrap();
    assert_eq!(got.headers()["allow"], "POST");
    Answer::of(got).await.check_problem(405, "method-not-allowed", "POST");
    assert!(server.log.payloads().is_empty());
}

#[tokio::test]
async fn a_log_that_is_down_is_503_and_says_what_to_send_again() {
    let server = Server::start(Default::default()).await;
    server.log.set(Mood::Down);
    let answer = server.post(JSON, format!("[{},7]", event("a"))).await;
    answer.check_problem(503, "not-acknowledged", "2 of 2 events");
    assert_eq!(answer.retry_after.as_deref(), Some("1"));
    assert_eq!(answer.body["accepted"], json!(0));
    assert!(answer.body["errors"][0]["error"].as_str().unwrap().contains("no broker answers"));
    server.log.set(Mood::Well);
    server.post(JSON, event("a")).await.check_counts(1, 0);
}

#[tokio::test]
async fn an_answer_of_half_a_request_leaves_no_doubt() {
    for (mood, unknown) in [(Mood::Half, vec![1, 3]), (Mood::Silent, vec![1, 2, 3])] {
        let server = Server::start(Default::default()).await;
        server.log.set(mood);
        let events: Vec<String> = ["a", "b", "c", "d"].map(event).to_vec();
        let answer = server.post(LINES, events.join("\n")).await;
        answer.check_problem(503, "not-acknowledged", "of 4 events");
        assert_eq!(answer.body["accepted"], json!(4 - unknown.len()));
        assert_eq!(answer.body["unacknowledged"], json!(unknown.len()));
        let errors = answer.body["errors"].as_array().unwrap();
        assert!(errors.iter().all(|error| error["stored"] == Value::Null), "{answer:?}");
        assert_eq!(errors.iter().map(|error| error["index"].as_i64().unwrap()).collect::<Vec<_>>(), unknown);
        let token = PositionToken::decode(answer.body["token"].as_str().unwrap()).unwrap();
        let covered: i64 = token.sources.values().flatten().map(|(_, offset)| offset.0).sum();
        assert_eq!(covered, server.log.payloads().len() as i64);
    }
}

#[tokio::test]
async fn a_bracket_in_lines_costs_its_line_alone() {
    for bad in ["[", "]", "[]", "[1,2", "[ {\"torn"] {
        for (before, after) in [(vec![], vec!["b", "c"]), (vec!["a"], vec!["b"])] {
            let server = Server::start(Default::default()).await;
            let good = |ids: &[&str]| ids.iter().map(|id| event(id)).collect::<Vec<_>>();
            let lines = [good(&before), vec![bad.to_owned()], good(&after)].concat();
            let answer = server.post(LINES, lines.join("\n")).await;
            answer.check_counts(2, 1);
            assert_eq!(answer.body["errors"][0]["index"], json!(before.len()), "{bad}: {answer:?}");
            assert_eq!(server.log.payloads(), lines);
        }
    }
}

#[tokio::test]
async fn what_the_log_will_never_take_is_an_error_of_its_row() {
    for mood in [Mood::Strict, Mood::Narrow] {
        let server = Server::start(Default::default()).await;
        server.log.set(mood);
        let answer = server.post(LINES, format!("{}\n{}\nbad\n{}", event("a"), event("never"), event("b"))).await;
        answer.check_counts(2, 2);
        let told: Vec<_> =
            answer.body["errors"].as_array().unwrap().iter().map(|error| (&error["index"], &error["stored"])).collect();
        assert_eq!(told, [(&json!(1), &json!(false)), (&json!(2), &json!(true))]);
        assert_eq!(server.log.payloads(), [event("a"), "bad".to_owned(), event("b")]);
        server.post(LINES, event("never")).await.check_counts(0, 1);
    }
}

#[tokio::test]
async fn a_log_without_room_is_429_and_says_what_to_send_again() {
    let server = Server::start(Default::default()).await;
    server.log.set(Mood::Full);
    let answer = server.post(LINES, format!("{}\n{}", event("a"), event("b"))).await;
    answer.check_problem(429, "overloaded", "1 of 2 events");
    assert_eq!((&answer.body["accepted"], answer.retry_after.as_deref()), (&json!(1), Some("1")));
    assert_eq!(
        answer.body["errors"],
        json!([{"index": 1, "error": answer.body["errors"][0]["error"], "stored": null}])
    );
}

#[tokio::test]
async fn a_source_tells_its_columns_and_whether_copies_are_known() {
    let server = Server::start(Default::default()).await;
    let get = async |path: &str| {
        let url = server.request(path, JSON, "").build().unwrap().url().clone();
        Answer::of(reqwest::Client::new().get(url).send().await.unwrap()).await
    };
    let answer = get("clicks").await;
    assert_eq!(
        (answer.status, &answer.body["event_id"], &answer.body["event_time"]),
        (200, &json!("id"), &json!("time"))
    );
    let bytes = json!({"name": "bytes", "type": "BIGINT", "nullable": true});
    assert!(answer.body["columns"].as_array().unwrap().contains(&bytes), "{answer:?}");
    get("klicks").await.check_problem(404, "unknown", "there is no source `klicks`");
    let posted = Answer::of(server.request("clicks", JSON, event("a")).send().await.unwrap()).await;
    posted.check_problem(405, "method-not-allowed", "GET");
    assert_eq!(posted.body["hint"], json!("did you mean `POST /v1/sources/{source}/events`?"));
    let put = reqwest::Client::new().put(format!("{}/v1/sources/clicks", server.address)).send().await.unwrap();
    assert_eq!(Answer::of(put).await.body.get("hint"), None, "nothing takes PUT");
    assert!(server.log.payloads().is_empty());
}
