//! A web server's access log with event ids: a tenth is sent twice, a tenth in reversed order.

use std::collections::BTreeMap;

use serde_json::json;

use super::data::{self, Event};
use super::oracle::{self, Totals};
use super::{Bench, Kind, integer, rows, start};

const PATHS: &str = "requests_by_path";

#[tokio::test(flavor = "multi_thread")]
async fn web_requests_sent_twice_and_backwards_are_counted_once() {
    check_everything(Kind::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn web_requests_are_right_with_redis() {
    check_everything(Kind::WithRedis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn web_requests_are_right_on_real_parts() {
    check_everything(Kind::Real).await;
}

async fn check_everything(kind: Kind) {
    let Some(events) = data::read("web-access.jsonl.gz") else { return };
    let Some(mut bench) = start("web-access", kind).await else { return };
    let sending = disorder(&mut bench, &events);
    let mut sent = 0;
    let mut token = String::new();
    for chunk in bench.chunks(&sending) {
        let lines: Vec<&str> = chunk.iter().map(|event| event.line.as_str()).collect();
        token = bench.running.post("requests", &lines).await;
        sent += chunk.len();
        let known = distinct(&sending[..sent]);
        if bench.choose(&[true, false]) {
            tokio::join!(check_paths(&bench, &known, &token), bench.batch(&[]));
        } else {
            check_paths(&bench, &known, &token).await;
        }
    }
    check_facts(&bench, &token).await;
    bench.batch(&[]).await;
    check_facts(&bench, &token).await;
    bench.batch(&["--full"]).await;
    check_facts(&bench, &token).await;
    bench.assert_met_both_layers();
}

/// A tenth twice, at random places behind the first; then a tenth reversed.
fn disorder(bench: &mut Bench, events: &[Event]) -> Vec<Event> {
    let mut sending = events.to_vec();
    let mut chosen: Vec<usize> = (0..events.len()).collect();
    bench.shuffle(&mut chosen);
    for index in &chosen[..events.len() / 10] {
        let behind = sending.len() - bench.choose(&[0, 10, 500]).min(sending.len() - index - 1);
        sending.insert(behind, events[*index].clone());
    }
    let tenth = sending.len() / 10;
    sending[3 * tenth..4 * tenth].reverse();
    sending
}

/// The first of all copies.
fn distinct(events: &[Event]) -> Vec<Event> {
    let first: BTreeMap<&str, &Event> = events.iter().rev().map(|event| (event.text("event_id"), event)).collect();
    first.into_values().cloned().collect()
}

fn by_path(events: &[Event]) -> BTreeMap<String, Totals> {
    let amounts = |event: &Event| (event.integer("bytes"), event.integer("status").map(|s| i64::from(s >= 400)));
    oracle::group(events, |e| e.text("path").to_owned(), amounts, |e| e.text("client_ip").to_owned())
}

async fn check_paths(bench: &Bench, known: &[Event], token: &str) {
    let query = [("by", "path"), ("order", "path"), ("limit", "2000"), ("after", token)];
    let answer = bench.ask(PATHS, &query).await;
    let expected = by_path(known);
    assert_eq!(rows(&answer).len(), expected.len(), "{}", answer["envelope"]);
    for (row, (path, totals)) in rows(&answer).iter().zip(&expected) {
        assert_eq!(row["path"], json!(path));
        assert_eq!(integer(row, "requests"), totals.count, "{row} {}", answer["envelope"]);
        assert_eq!(row["bytes"].as_i64().unwrap_or(0), totals.sum, "{row}");
        assert_eq!(integer(row, "errors"), totals.other_sum, "{row}");
        let (clients, exact) = (integer(row, "clients") as f64, totals.distinct.len() as f64);
        assert!((clients - exact).abs() <= 1.0 + exact * 0.06, "{clients} for {exact} clients: {row}");
    }
}

/// What the data set's README states.
async fn check_facts(bench: &Bench, token: &str) {
    let total = bench.ask(PATHS, &[("by", ""), ("after", token)]).await;
    let row = &rows(&total)[0];
    assert_eq!(integer(row, "requests"), 9_999, "{}", total["envelope"]);
    assert_eq!(integer(row, "bytes"), 2_747_282_505);
    assert_eq!(integer(row, "errors"), 220);
    let clients = integer(row, "clients") as f64;
    assert!((clients - 1_753.0).abs() <= 1_753.0 * 0.06, "{clients} clients");
    let icon = bench.ask(PATHS, &[("by", "path"), ("path", "/favicon.ico"), ("after", token)]).await;
    assert_eq!(integer(&rows(&icon)[0], "requests"), 807);
}
