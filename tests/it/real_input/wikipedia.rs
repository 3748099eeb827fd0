//! Edits of Wikipedia on 2015-09-12: no event ids, nulls, every script of the world in `page`.

use serde_json::{Value, json};

use super::data::{self, Event};
use super::oracle::{self, Totals};
use super::{Bench, Kind, integer, rows, start};

const PAGES: &str = "edits_by_page";
const CHANNELS: &str = "edits_by_channel";

#[tokio::test(flavor = "multi_thread")]
async fn wikipedia_edits_are_right_in_both_layers() {
    check_everything(Kind::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wikipedia_edits_are_right_with_redis() {
    check_everything(Kind::WithRedis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wikipedia_edits_are_right_on_real_parts() {
    check_everything(Kind::Real).await;
}

async fn check_everything(kind: Kind) {
    let Some(events) = data::read("wikipedia-edits.jsonl.gz") else { return };
    let Some(mut bench) = start("wikipedia", kind).await else { return };
    let mut sent = 0;
    let mut token = String::new();
    for chunk in bench.chunks(&events) {
        let lines: Vec<&str> = chunk.iter().map(|event| event.line.as_str()).collect();
        token = bench.running.post("edits", &lines).await;
        sent += chunk.len();
        let known = &events[..sent];
        let question = bench.choose(&[0, 1, 2]);
        let is_publishing = bench.choose(&[true, false]);
        let asks = async {
            match question {
                0 => check_top_pages(&bench, known, &token).await,
                1 => check_channels(&bench, known, &token).await,
                _ => check_hours_of_a_page(&bench, known, &token).await,
            }
        };
        // Every other time a publication lands while the question is under way.
        if is_publishing { tokio::join!(asks, bench.batch(&[])).0 } else { asks.await }
    }
    check_facts(&bench, &token).await;
    bench.batch(&[]).await;
    check_facts(&bench, &token).await;
    bench.batch(&["--full"]).await;
    check_facts(&bench, &token).await;
    bench.assert_met_both_layers();
    check_channels(&bench, &events, &token).await;
}

fn by_page(events: &[Event]) -> std::collections::BTreeMap<String, Totals> {
    oracle::group(events, |e| e.text("page").to_owned(), |_| (None, None), |_| String::new())
}

async fn check_top_pages(bench: &Bench, known: &[Event], token: &str) {
    let query = [("by", "page"), ("order", "-edits,page"), ("limit", "50"), ("after", token)];
    let answer = bench.ask(PAGES, &query).await;
    let got: Vec<(String, i64)> =
        rows(&answer).iter().map(|row| (row["page"].as_str().unwrap().to_owned(), integer(row, "edits"))).collect();
    assert_eq!(got, oracle::top(&by_page(known), 50), "{}", answer["envelope"]);
}

async fn check_hours_of_a_page(bench: &Bench, known: &[Event], token: &str) {
    let page = "Jeremy Corbyn";
    let query = [("page", page), ("order", "hour"), ("limit", "100"), ("after", token)];
    let answer = bench.ask(PAGES, &query).await;
    let of_page = known.iter().filter(|event| event.text("page") == page);
    let expected = oracle::group(of_page, Event::hour, |_| (None, None), |_| String::new());
    let got: Vec<(String, i64)> =
        rows(&answer).iter().map(|row| (row["hour"].as_str().unwrap().to_owned(), integer(row, "edits"))).collect();
    let expected: Vec<(String, i64)> = expected.into_iter().map(|(hour, totals)| (hour, totals.count)).collect();
    assert_eq!(got, expected, "{}", answer["envelope"]);
}

async fn check_channels(bench: &Bench, known: &[Event], token: &str) {
    let query = [("by", "channel"), ("order", "channel"), ("limit", "1000"), ("after", token)];
    let answer = bench.ask(CHANNELS, &query).await;
    let amounts = |event: &Event| (event.integer("added"), event.integer("deleted"));
    let expected = oracle::group(known, |e| e.text("channel").to_owned(), amounts, |e| e.text("user").to_owned());
    assert_eq!(rows(&answer).len(), expected.len(), "{}", answer["envelope"]);
    for (row, (channel, totals)) in rows(&answer).iter().zip(&expected) {
        assert_eq!(row["channel"], json!(channel));
        assert_eq!((integer(row, "edits"), integer(row, "added")), (totals.count, totals.sum), "{row}");
        check_sketches(row, totals);
    }
}

fn check_sketches(row: &Value, totals: &Totals) {
    let exact = totals.distinct.len() as f64;
    let editors = integer(row, "editors") as f64;
    assert!((editors - exact).abs() <= 1.0 + exact * 0.06, "{editors} for {exact} editors: {row}");
    let p99 = row["p99_added"].as_f64().unwrap();
    assert!(oracle::is_percentile(&totals.amounts, 0.99, 0.03, p99), "{row}");
}

/// What the data set's README states.
async fn check_facts(bench: &Bench, token: &str) {
    let query = [("by", "page"), ("order", "-edits"), ("limit", "5"), ("after", token)];
    let answer = bench.ask(PAGES, &query).await;
    let top: Vec<i64> = rows(&answer).iter().map(|row| integer(row, "edits")).collect();
    assert_eq!(top, [33, 28, 27, 21, 20], "{}", answer["envelope"]);
    let total = bench.ask(CHANNELS, &[("by", ""), ("after", token)]).await;
    assert_eq!(integer(&rows(&total)[0], "edits"), 39_244, "{}", total["envelope"]);
    assert_eq!(integer(&rows(&total)[0], "added"), 9_385_573);
    let english = bench.ask(CHANNELS, &[("by", "channel"), ("channel", "#en.wikipedia")]).await;
    assert_eq!(integer(&rows(&english)[0], "edits"), 11_549);
    assert_eq!(integer(&rows(&english)[0], "added"), 3_045_299);
    let (status, sql) =
        bench.running.sql("SELECT count(DISTINCT page) AS pages, sum(edits) AS edits FROM edits_by_page").await;
    assert_eq!(status, 200, "{sql}");
    assert_eq!((integer(&rows(&sql)[0], "pages"), integer(&rows(&sql)[0], "edits")), (35_143, 39_244));
}
