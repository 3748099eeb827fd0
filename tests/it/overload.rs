//! A collector, as a process, that is asked for twice what it has places for: who is refused is told when to come back,
//! memory stays flat however much is offered, and every accepted event counts.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::join_all;
use positions::PositionToken;
use serde_json::json;
use twofold::client::{Client, SendOutcome};

use crate::support::parts::{Kind, Parts};
use crate::support::process::{Running, Setup, memory_peak};

const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (
  id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, page VARCHAR NOT NULL, amount BIGINT NOT NULL, note VARCHAR
) STORED AS JSON LOCATION 'kafka://hits' OPTIONS (event_time 'time', event_id 'id', partitions '2');

CREATE MATERIALIZED VIEW hits_by_page AS
SELECT page, count(*) AS hits, sum(amount) AS amount, count(note) AS notes FROM hits GROUP BY page;
";

const PLACES: usize = 4;
const SENDERS: usize = 2 * PLACES;
const EVENTS_PER_REQUEST: usize = 32;
const NOTE_BYTES: usize = 16 << 10;
/// Requests that must be accepted, and offered, before the senders end: 60 MiB in the log, many times of it offered.
const ACCEPTED: u64 = 120;
const OFFERED: u64 = 2 * ACCEPTED;
/// What the process may need beyond its memory once it is warm: its queue, what it reads ahead, one micro-batch and two
/// commits are 4 MiB each by the settings below; decoded rows and states come on top.
const MAX_BYTES: u64 = 160 << 20;

/// What the senders have together.
#[derive(Default)]
struct Sent {
    requests: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    amount: AtomicU64,
    token: Mutex<PositionToken>,
}

impl Sent {
    fn is_enough(&self) -> bool {
        let places = self.accepted.load(Ordering::SeqCst) + self.refused.load(Ordering::SeqCst);
        self.accepted.load(Ordering::SeqCst) >= ACCEPTED && places >= OFFERED && self.refused.load(Ordering::SeqCst) > 0
    }
}

/// One request and the sum of its amounts.
fn request(number: u64) -> (String, u64) {
    let note = "x".repeat(NOTE_BYTES);
    let line = |event: usize| {
        let page = event % 3;
        format!(
            r#"{{"id":"{number}-{event}","time":"2026-01-05T10:00:00Z","page":"p{page}","amount":{number},"note":"{note}"}}{}"#,
            '\n'
        )
    };
    ((0..EVENTS_PER_REQUEST).map(line).collect(), number * EVENTS_PER_REQUEST as u64)
}

/// Sends until all together have sent enough. What is refused is not sent again: then the count shows that none of it
/// was stored.
async fn send(client: &Client, sent: &Sent, is_enough: impl Fn() -> bool) {
    while !is_enough() {
        let (lines, amount) = request(sent.requests.fetch_add(1, Ordering::SeqCst));
        match client.send_events("hits", lines.into()).await.unwrap() {
            SendOutcome::Received(receipt) => {
                assert_eq!(
                    (receipt.accepted, receipt.rejected),
                    (EVENTS_PER_REQUEST as u64, 0),
                    "{:?}",
                    receipt.errors
                );
                sent.amount.fetch_add(amount, Ordering::SeqCst);
                sent.token.lock().unwrap().merge(&PositionToken::decode(&receipt.token).unwrap());
                sent.accepted.fetch_add(1, Ordering::SeqCst);
            }
            SendOutcome::Later { after, reason, partly, .. } => {
                assert!(reason.contains("429") && partly.is_none(), "{reason}");
                assert!(after.is_some(), "no Retry-After: {reason}");
                sent.refused.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

async fn start(parts: &Parts, folder: &tempfile::TempDir) -> Running {
    let setup = Setup::new(folder.path(), &parts.pipeline(PIPELINE), parts.settings())
        .with("COLLECTOR__MAX_IN_FLIGHT_REQUESTS", &PLACES.to_string())
        .with("COLLECTOR__MAX_BODY", "1MiB")
        .with("COLLECTOR__MAX_INFLATED", "1MiB")
        .with("COLLECTOR__MAX_IN_FLIGHT", "4MiB")
        .with("LOG__QUEUE_SIZE", "4MiB")
        .with("LOG__PREFETCH_SIZE", "4MiB")
        .with("SPEED__MAX_SIZE", "4MiB")
        .with("ARCHIVE__COMMIT_SIZE", "4MiB")
        .with("BATCH__INTERVAL", "1d");
    Running::start(&setup).await
}

tests::on_all_parts!(a_collector_at_twice_its_capacity_refuses_counts_and_stays_small);

async fn a_collector_at_twice_its_capacity_refuses_counts_and_stays_small(kind: Kind) {
    let Some(parts) = Parts::of(kind).await else { return };
    let folder = tempfile::tempdir().unwrap();
    let running = start(&parts, &folder).await;
    let (client, sent) = (Client::new(&running.address).unwrap(), Sent::default());
    let warm_up = || sent.accepted.load(Ordering::SeqCst) >= ACCEPTED / 10;
    join_all((0..SENDERS).map(|_| send(&client, &sent, warm_up))).await;
    let warm = memory_peak(running.process_id());
    join_all((0..SENDERS).map(|_| send(&client, &sent, || sent.is_enough()))).await;

    let accepted = sent.accepted.load(Ordering::SeqCst) * EVENTS_PER_REQUEST as u64;
    let token = sent.token.lock().unwrap().encode();
    let answer = running.rows("hits_by_page", &[("by", ""), ("after", &token), ("timeout", "30s")]).await;
    let row = &answer["rows"][0];
    assert_eq!((&row["hits"], &row["notes"]), (&json!(accepted), &json!(accepted)), "{}", answer["envelope"]);
    assert_eq!(row["amount"], json!(sent.amount.load(Ordering::SeqCst)), "{}", answer["envelope"]);
    running.wait_until_archived(accepted as i64).await;
    let grown = memory_peak(running.process_id()) - warm;
    let refused = sent.refused.load(Ordering::SeqCst);
    eprintln!("{accepted} events accepted, {refused} requests refused: {} MiB warm, {} more", warm >> 20, grown >> 20);
    assert!(grown <= MAX_BYTES, "it held {} MiB more, {} MiB is the most", grown >> 20, MAX_BYTES >> 20);
}
