//! Clocks of clients: how far they are off is told by when they say that they send, and goes with every event.

use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;
use collector::CollectorSettings;
use event_log::{NewRecord, Record};
use records::decode::{decode, event_keys};
use serde_json::json;

use super::{Answer, JSON, LINES, Server, event};
use crate::decode::{clicks, record};

/// The request comes at 2026-01-31T12:00:00Z.
const TWO_DAYS_BEHIND: &str = "2026-01-29T12:00:00Z";
const TWO_DAYS: i64 = 172_800_000;

/// An event that a device met half a second before noon of a day by its own clock.
fn event_on(day: &str, id: &str) -> String {
    event(id).replace("2026-01-31", day)
}

async fn send(server: &Server, sent_at: &str, body: String) -> Answer {
    Answer::of(server.request("clicks/events", LINES, body).header("x-sent-at", sent_at).send().await.unwrap()).await
}

/// What goes with each stored record, in milliseconds.
fn shifts(server: &Server) -> Vec<Option<i64>> {
    let stored = server.log.stored.lock().unwrap();
    stored.iter().map(|(_, _, record)| record.clock_shift.map(|micros| micros / 1_000)).collect()
}

#[tokio::test]
async fn what_a_clock_is_off_goes_with_every_event() {
    for (sent_at, day, millis) in [
        (TWO_DAYS_BEHIND, "2026-01-29", TWO_DAYS),
        ("2026-02-02T12:00:00Z", "2026-02-02", -TWO_DAYS),
        // In every form that a TIMESTAMP takes as text.
        ("1769688000000", "2026-01-29", TWO_DAYS),
        ("2026-01-29 13:00:00+01:00", "2026-01-29", TWO_DAYS),
        ("Thu, 29 Jan 2026 12:00:00 GMT", "2026-01-29", TWO_DAYS),
        // No clock is corrected by less than a millisecond.
        ("2026-01-29T12:00:00.0004Z", "2026-01-29", TWO_DAYS - 1),
        // Thirty days are allowed, and no longer a matter of the network.
        ("2026-01-01T12:00:00Z", "2026-01-01", 15 * TWO_DAYS),
    ] {
        let server = Server::start(Default::default()).await;
        let answer = send(&server, sent_at, format!("{}\n{}", event_on(day, "a"), event_on(day, "b"))).await;
        answer.check_counts(2, 0);
        assert_eq!(answer.body["clock_shift_ms"], json!(millis), "{sent_at}");
        assert_eq!(shifts(&server), [Some(millis); 2], "{sent_at}");
    }
}

#[tokio::test]
async fn a_request_under_way_is_no_clock_that_is_off() {
    let exact = || CollectorSettings { clock_tolerance: Duration::ZERO, ..Default::default() };
    for (settings, sent_at, millis) in [
        (CollectorSettings::default(), "2026-01-31T11:59:30Z", None),
        (CollectorSettings::default(), "2026-01-31T12:00:30Z", None),
        (CollectorSettings::default(), "2026-01-31T11:59:29.999Z", Some(30_001)),
        (exact(), "2026-01-31T12:00:00Z", None),
        (exact(), "2026-01-31T11:59:59.999Z", Some(1)),
    ] {
        let server = Server::start(settings).await;
        let answer = send(&server, sent_at, event("a")).await;
        answer.check_counts(1, 0);
        assert_eq!(answer.body.get("clock_shift_ms"), millis.map(|millis| json!(millis)).as_ref(), "{sent_at}");
        assert_eq!(shifts(&server), [millis], "{sent_at}");
    }
    let server = Server::start(Default::default()).await;
    let silent = server.post(LINES, event("a")).await;
    assert_eq!((silent.body.get("clock_shift_ms"), shifts(&server)), (None, vec![None]));
}

#[tokio::test]
async fn a_clock_that_is_off_too_far_is_refused_with_both_times_and_the_setting() {
    let server = Server::start(Default::default()).await;
    for sent_at in ["2025-12-31T11:59:59Z", "2026-03-03T12:00:00Z", "0000-01-01"] {
        let answer = send(&server, sent_at, event("a")).await;
        answer.check_problem(400, "bad-request", "the header X-Sent-At is ");
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains(&sent_at[..10]), "{detail}");
        assert!(detail.contains("the request came at 2026-01-31T12:00:00Z"), "{detail}");
        assert!(detail.contains("more than 30d (`collector.max_clock_shift`); nothing was stored"), "{detail}");
        assert!(answer.hint().contains("set the client's clock"), "{answer:?}");
    }
    assert!(server.log.payloads().is_empty());
}

#[tokio::test]
async fn what_is_no_time_is_refused_by_the_place_where_it_stands() {
    let server = Server::start(Default::default()).await;
    for text in ["soon", "", "2026-13-01T00:00:00Z", "31.01.2026", "20260131120000"] {
        let answer = send(&server, text, event("a")).await;
        answer.check_problem(400, "bad-request", &format!("the header X-Sent-At is no time: `{text}`"));
    }
    let twice = server.request("clicks/events", LINES, event("a")).header("x-sent-at", TWO_DAYS_BEHIND);
    let twice = Answer::of(twice.header("x-sent-at", TWO_DAYS_BEHIND).send().await.unwrap()).await;
    twice.check_problem(400, "bad-request", "the header X-Sent-At is given twice");
    // The plus of an address is a space.
    let path = "clicks/events?sent_at=2026-01-29T13:00:00+01:00";
    let plus = Answer::of(server.request(path, LINES, event("a")).send().await.unwrap()).await;
    plus.check_problem(400, "bad-request", "the parameter `sent_at` is no time: `2026-01-29T13:00:00 01:00`");
    assert!(plus.hint().contains("%2B"), "{plus:?}");
    assert!(server.log.payloads().is_empty());
}

#[tokio::test]
async fn a_client_that_sets_no_header_says_it_in_the_address() {
    for (time, header, millis) in [
        ("1769688000000", None, TWO_DAYS),
        ("2026-01-29T13:00:00%2B01:00", None, TWO_DAYS),
        // Where both say it, the header does.
        ("2026-01-30T12:00:00Z", Some(TWO_DAYS_BEHIND), TWO_DAYS),
    ] {
        let server = Server::start(Default::default()).await;
        // As `navigator.sendBeacon` sends it.
        let path = format!("clicks/events?on_error=refuse&sent_at={time}");
        let request = server.request(&path, "text/plain;charset=UTF-8", event_on("2026-01-29", "a"));
        let request = header.into_iter().fold(request, |request, value| request.header("x-sent-at", value));
        let answer = Answer::of(request.send().await.unwrap()).await;
        answer.check_counts(1, 0);
        assert_eq!(shifts(&server), [Some(millis)], "{time}");
    }
}

#[tokio::test]
async fn an_event_is_judged_by_its_corrected_time() {
    // A day ahead of everybody, it would be rejected as of the future.
    let server = Server::start(Default::default()).await;
    let ahead = event_on("2026-02-01", "a");
    server.post(JSON, ahead.clone()).await.check_counts(0, 1);
    send(&server, "2026-02-01T12:00:00Z", ahead).await.check_counts(1, 0);
    // And the other way round: a clock that is said to be behind, and events that are not.
    let answer = send(&server, TWO_DAYS_BEHIND, event("a")).await;
    answer.check_counts(0, 1);
    assert!(answer.body["errors"][0]["error"].as_str().unwrap().contains("too far in the future"), "{answer:?}");
    assert_eq!(answer.body["clock_shift_ms"], json!(TWO_DAYS));
}

#[tokio::test]
async fn events_sent_again_are_the_same_events_however_they_are_corrected() {
    let server = Server::start(Default::default()).await;
    let body = format!("{}\n{}", event_on("2026-01-29", "a"), event_on("2026-01-29", "bb"));
    for (sent_at, millis) in [(TWO_DAYS_BEHIND, TWO_DAYS), ("2026-01-29T11:55:00Z", TWO_DAYS + 300_000)] {
        let answer = send(&server, sent_at, body.clone()).await;
        answer.check_counts(2, 0);
        assert_eq!(answer.body["clock_shift_ms"], json!(millis));
    }
    let stored = server.log.stored.lock().unwrap();
    let read = |sent: &NewRecord| Record { clock_shift: sent.clock_shift, ..record(0, sent.payload.clone()) };
    let records: Vec<Record> = stored.iter().map(|(_, _, sent)| read(sent)).collect();
    let rows = decode(&clicks(), &records).unwrap();
    let keys = event_keys(&rows).unwrap();
    assert!(keys[0].is_some() && keys[0] != keys[1]);
    assert_eq!(keys[..2], keys[2..]);
    let times = rows.column(0).as_primitive::<TimestampMicrosecondType>().values();
    assert_eq!(times[2] - times[0], 300_000_000);
    // Equal keys, so that equal events meet in one partition.
    let sent_with: Vec<_> = stored.iter().map(|(_, _, sent)| sent.key.clone()).collect();
    assert_eq!(sent_with[..2], sent_with[2..]);
}
