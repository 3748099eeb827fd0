//! Generated traffic towards a collector that refuses: it waits as long as it is told, sends the same again, and counts
//! every line once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use collector::CollectorSettings;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use twofold::client::Client;
use twofold::demo::PIPELINE;
use twofold::generator::{GeneratePlan, Tally, TrafficSettings, run_generator};
use views::{Pipeline, SourceDefinition};

use crate::collector::Server;
use crate::collector::fake::Mood;

const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The demo's source on the topic of the fake log. Its clock stands still, so visits of today lie far ahead of it.
fn visits() -> SourceDefinition {
    let pipeline = Pipeline::read(PIPELINE, &BTreeMap::new()).unwrap();
    let source = (*pipeline.sources[0]).clone();
    SourceDefinition { topic: "clicks".to_owned(), future_limit: Duration::from_secs(100 * 366 * 86_400), ..source }
}

/// Sends two requests to a collector whose log is well again after it has refused the first one twice; what was
/// acknowledged, how long it took, and what the log holds.
async fn generate_past_two_refusals(mood: Mood) -> (Tally, Duration, Vec<String>) {
    let settings = CollectorSettings { retry_after: RETRY_AFTER, ..Default::default() };
    let server = Server::start_for(visits(), settings).await;
    let client = Client::new(&server.address).unwrap();
    let traffic = TrafficSettings { copy_share: 0.2, malformed_share: 0.1, ..TrafficSettings::default() };
    let (stop, plan) = (CancellationToken::new(), GeneratePlan { traffic, rate: 2_000, span: None });
    server.log.set(mood);
    let recover = async {
        server.log.asked().await;
        server.log.asked().await;
        server.log.set(Mood::Well);
        // The repetition, and what came due meanwhile: lines of every kind.
        server.log.asked().await;
        server.log.asked().await;
        stop.cancel();
    };
    let started = Instant::now();
    let (tally, ()) = tokio::join!(run_generator(&client, plan, stop.clone()), recover);
    (tally.unwrap(), started.elapsed(), server.log.payloads())
}

/// Lines that are made to be refused may be JSON, and have ids.
fn is_visit(event: &Value) -> bool {
    event["page"].is_string() && !event["status"].is_string() && event["time"] != "yesterday"
}

async fn check_counted_once(mood: Mood) {
    let (tally, took, stored) = generate_past_two_refusals(mood).await;
    assert_eq!(tally.retries, 2);
    assert!(took >= 2 * RETRY_AFTER, "{mood:?}: it did not wait for what Retry-After says, twice: {took:?}");
    let events: Vec<Value> = stored.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let visits = events.iter().filter(|event| is_visit(event));
    let ids: BTreeSet<&str> = visits.filter_map(|visit| visit["id"].as_str()).collect();
    assert_eq!(tally.visits, ids.len() as u64, "{mood:?}");
    assert!(tally.visits > 0 && tally.copies > 0 && tally.malformed > 0, "{mood:?}: {tally:?}");
    // All that was acknowledged is in the log at last, and none of it is counted twice.
    let lines = (tally.visits + tally.copies + tally.malformed) as usize;
    assert!(stored.len() >= lines, "{mood:?}: {} stored, {lines} acknowledged", stored.len());
    let whole: BTreeSet<&String> = stored[stored.len() - lines..].iter().collect();
    assert!(stored.iter().all(|line| whole.contains(line)), "{mood:?}: the repetition is another request");
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_that_finds_no_room_waits_and_is_counted_once() {
    // The first line is stored, unless it is the only one, and the others are told 429.
    check_counted_once(Mood::Full).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_that_finds_no_log_waits_and_is_counted_once() {
    check_counted_once(Mood::Down).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_of_which_half_was_stored_is_sent_again_and_counted_once() {
    check_counted_once(Mood::Half).await;
}
