//! What a client, or all of them together, can take from the collector; and how it stops.

use std::time::Duration;

use collector::CollectorSettings;
use futures::{StreamExt, stream};
use reqwest::Body;
use serde_json::json;

use super::answers::gzip;
use super::fake::Mood;
use super::{Answer, JSON, LINES, Server, event};

/// A body of unknown length: no `Content-Length` warns of it.
fn streamed(bytes: Vec<u8>) -> Body {
    let pieces: Vec<Result<Vec<u8>, std::io::Error>> = bytes.chunks(1_000).map(|piece| Ok(piece.to_vec())).collect();
    Body::wrap_stream(stream::iter(pieces))
}

#[tokio::test]
async fn a_large_body_is_refused_announced_or_not() {
    let server = Server::start(CollectorSettings { max_body_bytes: 10_000, ..Default::default() }).await;
    let body = format!("{}{}", event("a"), " ".repeat(10_000));
    let announced = server.post(JSON, body.clone()).await;
    announced.check_problem(413, "too-large", "body is larger than 10000 bytes");
    assert_eq!(announced.body["limit"], json!(10_000));
    server.post(JSON, streamed(body.clone().into_bytes())).await.check_problem(413, "too-large", "10000 bytes");
    server.post(JSON, streamed(body.as_bytes()[..10_000].to_vec())).await.check_counts(1, 0);
    assert_eq!(server.log.payloads(), [event("a")]);
}

#[tokio::test]
async fn events_are_counted_and_large_ones_left_out() {
    let settings = CollectorSettings { max_events: 3, max_event_bytes: 100, ..Default::default() };
    let server = Server::start(settings).await;
    let lines = |count: usize| vec![event("a"); count].join("\n");
    for (content_type, body) in
        [(LINES, lines(4)), (JSON, lines(4)), (JSON, format!("[{}]", lines(4).replace('\n', ",")))]
    {
        server.post(content_type, body).await.check_problem(413, "too-many-events", "more than 3 events");
    }
    let large = event(&"x".repeat(100));
    let answer = server.post(LINES, format!("{}\n{large}\n{}", event("a"), event("b"))).await;
    answer.check_counts(2, 1);
    assert_eq!(answer.body["errors"][0]["index"], json!(1));
    assert_eq!(answer.body["errors"][0]["stored"], json!(false));
    let told = format!("too large: {} bytes, the limit is 100 (`collector.max_event_bytes`)", large.len());
    assert_eq!(answer.body["errors"][0]["error"], json!(told));
    assert_eq!(server.log.payloads(), [event("a"), event("b")]);
}

#[tokio::test]
async fn a_line_nested_too_deep_costs_only_itself() {
    let server = Server::start(Default::default()).await;
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let answer = server.post(LINES, format!("{deep}\n{}", event("a"))).await;
    answer.check_counts(1, 1);
    assert!(answer.body["errors"][0]["error"].as_str().unwrap().contains("too deep"));
}

#[tokio::test]
async fn too_many_requests_are_told_to_come_back() {
    let settings =
        CollectorSettings { max_in_flight_requests: 1, retry_after: Duration::from_secs(7), ..Default::default() };
    let server = Server::start(settings).await;
    server.log.set(Mood::Slow);
    let first = server.post(JSON, event("a"));
    let second = async {
        server.log.asked().await;
        let refused = server.post(JSON, event("b")).await;
        server.log.turns.add_permits(1);
        refused
    };
    let (first, second) = tokio::join!(first, second);
    first.check_counts(1, 0);
    second.check_problem(
        429,
        "overloaded",
        "1 requests are in progress, the limit (`collector.max_in_flight_requests`)",
    );
    assert_eq!(second.retry_after.as_deref(), Some("7"));
    // The place is free again, also after a request that was refused late.
    server.log.set(Mood::Well);
    server.post(JSON, "[").await.check_problem(400, "bad-body", "");
    server.post(JSON, event("b")).await.check_counts(1, 0);
}

/// A client sends before it reads: were its body left in the connection, it would see that one end and no answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_hears_why_however_much_it_sends() {
    let settings =
        CollectorSettings { max_in_flight_requests: 1, retry_after: Duration::from_secs(7), ..Default::default() };
    let server = Server::start(settings).await;
    server.log.set(Mood::Slow);
    let large = vec![b' '; 7 << 20];
    let refused = async {
        server.log.asked().await;
        for _ in 0..10 {
            let busy = server.post(JSON, large.clone()).await;
            busy.check_problem(429, "overloaded", "requests are in progress");
            assert_eq!(busy.retry_after.as_deref(), Some("7"));
            server.post("text/csv", large.clone()).await.check_problem(415, "unsupported-media-type", "");
        }
        server.log.turns.add_permits(1);
    };
    let (first, ()) = tokio::join!(server.post(JSON, event("a")), refused);
    first.check_counts(1, 0);
    assert_eq!(server.log.payloads(), [event("a")]);
}

#[tokio::test]
async fn too_many_bytes_are_told_to_come_back() {
    let settings = CollectorSettings { max_in_flight_bytes: 5_000, ..Default::default() };
    let server = Server::start(settings).await;
    let body = |bytes: usize| format!("{}{}", event("a"), " ".repeat(bytes));
    server.post(JSON, streamed(body(6_000).into_bytes())).await.check_problem(
        429,
        "overloaded",
        "more than 5000 bytes, the limit (`collector.max_in_flight`)",
    );
    server.post(JSON, body(4_000)).await.check_counts(1, 0);
    let request = server.request("clicks/events", JSON, gzip(body(6_000))).header("content-encoding", "gzip");
    Answer::of(request.send().await.unwrap()).await.check_problem(
        429,
        "overloaded",
        "more than 5000 bytes, the limit (`collector.max_in_flight`)",
    );
    server.post(JSON, body(4_000)).await.check_counts(1, 0);
}

#[tokio::test]
async fn a_client_that_does_not_finish_is_sent_away() {
    let settings = CollectorSettings { read_timeout: Duration::from_millis(30), ..Default::default() };
    let server = Server::start(settings).await;
    let endless = stream::iter([Ok::<_, std::io::Error>(event("a"))]).chain(stream::pending());
    server.post(JSON, Body::wrap_stream(endless)).await.check_problem(408, "slow-body", "30ms");
    assert!(server.log.payloads().is_empty());
}

#[tokio::test]
async fn a_log_that_does_not_answer_in_time_is_503() {
    let settings = CollectorSettings { acknowledge_timeout: Duration::from_millis(30), ..Default::default() };
    let server = Server::start(settings).await;
    server.log.set(Mood::Slow);
    let answer = server.post(JSON, event("a")).await;
    answer.check_problem(503, "not-acknowledged", "1 of 1 events");
    assert!(answer.body["errors"][0]["error"].as_str().unwrap().contains("within 30ms"));
}

#[tokio::test]
async fn a_request_that_is_in_is_answered_before_the_server_stops() {
    let mut server = Server::start(Default::default()).await;
    server.log.set(Mood::Slow);
    let request = server.request("clicks/events", JSON, event("a"));
    let stop = async {
        server.log.asked().await;
        server.stop.cancel();
        server.log.turns.add_permits(1);
    };
    let (response, ()) = tokio::join!(request.send(), stop);
    Answer::of(response.unwrap()).await.check_counts(1, 0);
    server.tasks.join_next().await.unwrap().unwrap();
}
