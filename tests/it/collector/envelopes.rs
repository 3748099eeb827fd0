//! Objects around events: taken apart where the source says where its events stand, named where it does not.

use collector::CollectorSettings;
use serde_json::json;
use views::{Envelope, SourceDefinition};

use super::{Answer, JSON, LINES, Server, event};
use crate::decode::clicks;

async fn server_at(path: &[&str]) -> Server {
    let envelope = Envelope::At(path.iter().map(|key| (*key).to_owned()).collect());
    Server::start_for(SourceDefinition { envelope, ..clicks() }, CollectorSettings::default()).await
}

/// What goes with each stored record, in milliseconds.
fn shifts(server: &Server) -> Vec<Option<i64>> {
    let stored = server.log.stored.lock().unwrap();
    stored.iter().map(|(_, _, record)| record.clock_shift.map(|micros| micros / 1_000)).collect()
}

/// Sends a body, of which every event is stored, good or bad; what is stored then.
async fn stored_of(server: &Server, content_type: Option<&str>, body: &str) -> Vec<String> {
    let before = server.log.payloads().len();
    let answer = server.post_of(content_type, body.to_owned()).await;
    assert_eq!(answer.status, 200, "{body}: {answer:?}");
    server.log.payloads().split_off(before)
}

#[tokio::test]
async fn each_event_of_an_envelope_is_a_record_with_the_keys_around_it() {
    let (a, b) = (event("a"), event("bb"));
    let body = format!(
        "\u{feff} {{\"writeKey\": \"w\", \"batch\": [{a} ,\n 7, {b}], \"context\": {{\"batch\": [1]}},\n\
         \"sentAt\": \"2026-01-29T12:00:00Z\"}}\n"
    );
    let expected = [format!("{{\"batch\":{a}}}"), "{\"batch\":7}".to_owned(), format!("{{\"batch\":{b}}}")];
    for content_type in [Some(JSON), Some(LINES), Some("text/plain"), None] {
        let server = server_at(&["batch"]).await;
        assert_eq!(stored_of(&server, content_type, &body).await, expected, "{content_type:?}");
        assert_eq!(shifts(&server), [Some(172_800_000); 3], "{content_type:?}");
    }
}

#[tokio::test]
async fn the_place_of_events_may_lie_deeper_and_hold_one_event() {
    let a = event("a");
    let server = server_at(&["data", "line \"items\""]).await;
    let body = format!(r#"{{"data": {{"n": 1, "line \"items\"": [{a}]}}, "sent_at": 1769688000000}}"#);
    let expected = format!(r#"{{"data":{{"line \"items\"":{a}}}}}"#);
    assert_eq!(stored_of(&server, Some(JSON), &body).await, [expected]);
    let one = format!(r#"{{"sentAt": "2026-01-30T12:00:00Z", "data": {{"line \"items\"": {a}}}}}"#);
    assert_eq!(stored_of(&server, Some(JSON), &format!(" {one}\n")).await, [one]);
    assert_eq!(shifts(&server), [Some(172_800_000), Some(86_400_000)]);
    assert_eq!(stored_of(&server, Some(JSON), r#"{"data": {"line \"items\"": []}}"#).await, [""; 0]);
}

#[tokio::test]
async fn what_is_no_envelope_is_set_apart_as_any_other_body() {
    let server = server_at(&["batch"]).await;
    let a = event("a");
    for body in [
        a.clone(),
        format!("{{\"batch\": 1, \"sentAt\": \"soon\", \"event\": {a}}}"),
        format!("{{\"Batch\": [{a}]}}"),
        // Which of the two was meant nobody knows.
        format!("{{\"batch\": [{a}], \"batch\": [{a}]}}"),
    ] {
        assert_eq!(stored_of(&server, Some(JSON), &body).await, [body.as_str()]);
    }
    let two = format!("{{\"batch\": [{a}]}}\n{{\"batch\": [{a}]}}");
    assert_eq!(stored_of(&server, Some(LINES), &two).await, two.lines().collect::<Vec<_>>());
    // The time of a single event is its own matter.
    assert!(shifts(&server).iter().all(Option::is_none));
    let torn = server.post(JSON, format!("{{\"batch\": [{a}, {{torn]}}")).await;
    torn.check_problem(400, "bad-body", "event 0 of the body");
}

#[tokio::test]
async fn an_envelope_says_when_it_was_sent_unless_the_request_does() {
    let server = server_at(&["batch"]).await;
    let body = format!(r#"{{"sentAt": "2026-01-30T12:00:00Z", "batch": [{}]}}"#, event("a"));
    let request = server.request("clicks/events", JSON, body).header("x-sent-at", "2026-01-29T12:00:00Z");
    // The header stands outside of what a client may have kept for days.
    assert_eq!(Answer::of(request.send().await.unwrap()).await.status, 200);
    assert_eq!(shifts(&server), [Some(172_800_000)]);
}

/// An envelope that was kept for a year and is sent again, or a field that means something else: no event is lost.
#[tokio::test]
async fn a_time_of_an_envelope_that_cannot_be_gone_by_costs_no_event() {
    for (times, reason) in [
        (r#""sentAt": "soon""#, "`sentAt` of the body is no time: `soon`"),
        (r#""sentAt": """#, "`sentAt` of the body is no time: ``"),
        (r#""sentAt": true"#, "`sentAt` of the body is no time: `true`"),
        (r#""sent_at": 12"#, "`sentAt` of the body is no time: `12`"),
        (r#""sentAt": {"at": 1}"#, "`sentAt` of the body is no time"),
        (r#""sentAt": "2026-01-29T12:00:00Z", "sent_at": 1769688000000"#, "`sentAt` of the body is given twice"),
        (r#""sentAt": "2025-01-29T12:00:00Z""#, "more than 30d (`collector.max_clock_shift`)"),
        (r#""sentAt": "2027-01-29T12:00:00Z""#, "more than 30d (`collector.max_clock_shift`)"),
    ] {
        let server = server_at(&["batch"]).await;
        let answer = server.post(JSON, format!("{{{times}, \"batch\": [{}]}}", event("a"))).await;
        answer.check_counts(1, 0);
        let told = answer.body["clock_passed_over"].as_str().unwrap();
        assert!(told.contains(reason) && told.ends_with("count at the times that they bear"), "{times}: {told}");
        assert_eq!((answer.body.get("clock_shift_ms"), shifts(&server)), (None, vec![None]), "{times}");
    }
    let server = server_at(&["batch"]).await;
    let silent = server.post(JSON, format!("{{\"sentAt\": null, \"batch\": [{}]}}", event("a"))).await;
    assert_eq!((silent.status, silent.body.get("clock_passed_over")), (200, None));
}

#[tokio::test]
async fn limits_count_the_events_of_an_envelope() {
    let source = SourceDefinition { envelope: Envelope::At(vec!["batch".to_owned()]), ..clicks() };
    let settings = CollectorSettings { max_events: 2, max_event_bytes: 100, ..Default::default() };
    let server = Server::start_for(source, settings).await;
    let many = server.post(JSON, format!("{{\"batch\": [{}]}}", ["{}"; 3].join(","))).await;
    many.check_problem(413, "too-many-events", "more than 2 events");
    let large = format!("\"{}\"", "x".repeat(200));
    let answer = server.post(JSON, format!("{{\"batch\": [{{}}, {large}]}}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let errors = answer.body["errors"].as_array().unwrap();
    assert!(errors.iter().any(|error| error["index"] == 1 && error["stored"] == json!(false)), "{answer:?}");
    assert_eq!(server.log.payloads(), ["{\"batch\":{}}"]);
}

#[tokio::test]
async fn an_object_around_events_names_the_option_where_the_source_says_nothing() {
    let server = Server::start(Default::default()).await;
    let a = event("a");
    for (body, option) in [
        (format!("{{\"sentAt\": 1, \"batch\": [{a}]}}"), Some("events_at 'batch'")),
        (format!("{{\"payload\": {a}, \"more\": [{{}}]}}"), Some("events_at 'payload'")),
        (format!("{{\"it's.all\": [ {a}]}}"), Some("events_at '\"it''s.all\"'")),
        (format!("{{\"before\": null, \"after\": {a}, \"op\": \"c\"}}"), None),
        // Nothing to name, or a column at the top: an event that lacks something.
        ("{\"batch\": [1]}".to_owned(), None),
        (format!("{{\"id\": \"x\", \"batch\": [{a}]}}"), None),
    ] {
        let answer = server.post(JSON, body.clone()).await;
        answer.check_counts(0, 1);
        let error = answer.body["errors"][0]["error"].as_str().unwrap();
        assert_eq!(error.contains("if its events stand at"), option.is_some(), "{body}: {error}");
        assert!(option.is_none_or(|option| error.ends_with(&format!("the option {option}"))), "{body}: {error}");
        assert_eq!(answer.body["errors"][0]["stored"], json!(true));
    }
    for change in [
        format!("{{\"before\": null, \"after\": {a}, \"op\": \"c\"}}"),
        format!("{{\"schema\": {{}}, \"payload\": {{\"before\": null, \"after\": {a}, \"op\": \"c\"}}}}"),
    ] {
        let answer = server.post(JSON, change).await;
        let error = answer.body["errors"][0]["error"].as_str().unwrap();
        assert!(error.ends_with("the option envelope 'debezium'"), "{error}");
    }
}
