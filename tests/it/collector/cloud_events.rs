//! CloudEvents over HTTP: each mode gives the same object, and what is no such event is refused by its header.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use collector::CollectorSettings;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};

use super::fake::Mood;
use super::{Answer, JSON, Server, gzip};

const TIME: &str = "2026-01-31T11:59:59.5Z";

/// An event of the source in binary mode; attributes of its own are the columns.
fn binary(server: &Server, content_type: Option<&str>, data: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
    let request = reqwest::Client::new().post(server.events()).body(data);
    let request = content_type.into_iter().fold(request, |request, value| request.header("content-type", value));
    let attributes = [("specversion", "1.0"), ("type", "paid"), ("source", "/shop"), ("time", TIME), ("page", "/pay")];
    attributes.into_iter().fold(request, |request, (name, value)| request.header(format!("ce-{name}"), value))
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    Answer::of(request.send().await.unwrap()).await
}

/// The only record that is stored.
fn stored(server: &Server) -> Value {
    let payloads = server.log.payloads();
    assert_eq!(payloads.len(), 1, "{payloads:?}");
    serde_json::from_str(&payloads[0]).unwrap()
}

#[tokio::test]
async fn headers_and_body_become_one_object() {
    let server = Server::start(Default::default()).await;
    let sent = binary(&server, Some(JSON), "{\"amount\": 1.50}\n").header("ce-id", "7").header("x-other", "no");
    answer(sent).await.check_counts(1, 0);
    let expected = "{\"datacontenttype\":\"application/json\",\"id\":\"7\",\"page\":\"/pay\",\"source\":\"/shop\",\
                    \"specversion\":\"1.0\",\"time\":\"2026-01-31T11:59:59.5Z\",\"type\":\"paid\",\
                    \"data\":{\"amount\": 1.50}}";
    assert_eq!(server.log.payloads(), [expected]);
    assert_eq!(server.log.stored.lock().unwrap()[0].2.key.as_deref(), Some(&b"7"[..]));
}

#[tokio::test]
async fn the_structured_form_is_stored_as_it_was_sent() {
    let server = Server::start(Default::default()).await;
    let one = format!(r#"{{"specversion": "1.0", "id": "a", "time": "{TIME}", "page": "/", "data": {{"n": 1.50}}}}"#);
    let other = one.replace("\"a\"", "\"b\"");
    let event = server.request("clicks/events", "application/cloudevents+json", one.clone());
    // A proxy may have copied attributes into headers: the type of the body counts.
    answer(event.header("ce-specversion", "1.0").header("ce-id", "x")).await.check_counts(1, 0);
    let batch = server.post("application/cloudevents-batch+json; charset=utf-8", format!("[{one},{other}]")).await;
    batch.check_counts(2, 0);
    assert_eq!(server.log.payloads(), [one.clone(), one, other]);
}

#[tokio::test]
async fn data_of_any_type_are_taken() {
    let archive = gzip("{}");
    let cases: [(Option<&str>, Vec<u8>, Value); 6] = [
        (Some("text/csv"), b"a,b\nc,d".to_vec(), json!({"data": "a,b\nc,d"})),
        (Some("application/xml"), b"<a/>".to_vec(), json!({"data": "<a/>"})),
        (Some("application/octet-stream"), b"PAR1\xff".to_vec(), json!({"data_base64": "UEFSMf8="})),
        (None, b"[1]".to_vec(), json!({"data": [1]})),
        (Some(JSON), b"".to_vec(), json!({})),
        // Data that are an archive are data, and no packed event.
        (Some("application/gzip"), archive.clone(), json!({"data_base64": BASE64_STANDARD.encode(&archive)})),
    ];
    for (content_type, data, expected) in cases {
        let server = Server::start(Default::default()).await;
        answer(binary(&server, content_type, data).header("ce-id", "7")).await.check_counts(1, 0);
        let stored = stored(&server);
        for member in ["data", "data_base64"] {
            assert_eq!(stored.get(member), expected.get(member), "{content_type:?}");
        }
        assert_eq!(stored.get("datacontenttype").and_then(Value::as_str), content_type);
    }
    let server = Server::start(Default::default()).await;
    let packed = binary(&server, Some(JSON), gzip("{\"amount\": 2}")).header("content-encoding", "gzip");
    answer(packed).await.check_counts(1, 0);
    assert_eq!(stored(&server)["data"], json!({"amount": 2}));
}

#[tokio::test]
async fn values_are_unquoted_and_percent_decoded_once() {
    for (written, value) in [
        ("plain", "plain"),
        ("caf%C3%A9%20%22x%22", "caf\u{e9} \"x\""),
        ("%25C3", "%C3"),
        ("%e2%82%ac", "\u{20ac}"),
        // As older senders wrote it, and what is no encoding at all.
        (r#""a \"b\" \\ %20c""#, "a \"b\" \\  c"),
        ("100% %zz %4", "100% %zz %4"),
        ("a\"b\"", "a\"b\""),
        ("caf\u{e9}", "caf\u{e9}"),
    ] {
        let server = Server::start(Default::default()).await;
        let written = HeaderValue::from_bytes(written.as_bytes()).unwrap();
        answer(binary(&server, None, "").header("ce-id", written)).await.check_counts(1, 0);
        assert_eq!(stored(&server)["id"], json!(value));
    }
}

#[tokio::test]
async fn what_cannot_be_one_object_is_refused() {
    let server = Server::start(Default::default()).await;
    for written in [&b"%C0%A0"[..], b"%ff", b"\xff"] {
        let written = HeaderValue::from_bytes(written).unwrap();
        let refused = answer(binary(&server, None, "").header("ce-id", written)).await;
        refused.check_problem(400, "bad-request", "the header ce-id is not UTF-8; nothing was stored");
    }
    for (content_type, data) in [(Some(JSON), "{torn"), (None, "a,b"), (Some(JSON), "1,\"id\":\"8\"")] {
        let refused = answer(binary(&server, content_type, data).header("ce-id", "7")).await;
        refused.check_problem(400, "bad-body", "the data of the CloudEvent are not JSON");
        assert!(refused.hint().contains("Content-Type"), "{refused:?}");
    }
    let versionless = server.request("clicks/events", JSON, "{}").header("ce-id", "7");
    answer(versionless).await.check_problem(400, "bad-request", "ce-id tells of a CloudEvent");
    assert!(server.log.payloads().is_empty());
}

#[tokio::test]
async fn columns_say_which_attributes_an_event_must_have() {
    // Without an id it is an event that nothing tells from its copies.
    let server = Server::start(Default::default()).await;
    answer(binary(&server, None, "")).await.check_counts(1, 0);
    assert_eq!(server.log.stored.lock().unwrap()[0].2.key, None);
    // With two, nobody knows which was meant: it is kept with both.
    let server = Server::start(Default::default()).await;
    let twice = answer(binary(&server, None, "").header("ce-id", "7").header("ce-id", "8")).await;
    twice.check_counts(0, 1);
    let error = &twice.body["errors"][0];
    assert!(error["error"].as_str().unwrap().contains("column id is given twice"), "{twice:?}");
    assert_eq!(error["stored"], json!(true));
    assert!(server.log.payloads()[0].contains("\"id\":\"7\",\"id\":\"8\""));
}

#[tokio::test]
async fn an_event_in_binary_mode_is_sent_as_any_other() {
    let settings = CollectorSettings { max_event_bytes: 300, ..Default::default() };
    let server = Server::start(settings).await;
    let late = "2026-01-29T12:00:00Z";
    let shifted = binary(&server, None, "").header("ce-id", "7").header("x-sent-at", late);
    let shifted = answer(shifted).await;
    // Two days later than it says, so that it is of the future: the correction reached it.
    assert_eq!((shifted.status, &shifted.body["clock_shift_ms"]), (200, &json!(172_800_000)));
    let large = answer(binary(&server, Some("application/octet-stream"), vec![0; 200]).header("ce-id", "8")).await;
    large.check_counts(0, 1);
    assert_eq!(large.body["errors"][0]["stored"], json!(false), "{large:?}");
    server.log.set(Mood::Down);
    let down = answer(binary(&server, None, "").header("ce-id", "9").header("x-sent-at", late)).await;
    down.check_problem(503, "not-acknowledged", "1 of 1 events");
    assert_eq!(down.body["clock_shift_ms"], json!(172_800_000));
}
