//! More requests than the collector has places for: those it refuses are told when to come back, those it accepts
//! count.

use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::join_all;
use serde_json::{Value, json};
use twofold::client::SendOutcome;

use super::{Kind, PIPELINE, World, publish_all, rows};

const SENDERS: usize = 8;
const REQUESTS: usize = 20;
const EVENTS_PER_REQUEST: usize = 50;

fn lines(sender: usize, request: usize) -> String {
    let line = |event| {
        format!(r#"{{"id":"{sender}-{request}-{event}","time":"2026-01-05T10:00:00Z","page":"/","bytes":1}}{}"#, '\n')
    };
    (0..EVENTS_PER_REQUEST).map(line).collect()
}

pub(super) async fn a_collector_asked_too_much_counts_what_it_accepted(kind: Kind) {
    let Some(world) = World::new(kind, PIPELINE).await else { return };
    let mut config = world.config();
    config.collector.max_in_flight_requests = SENDERS / 2;
    let (system, client) = world.start_with(config).await;
    let (accepted, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    let token = tokio::sync::Mutex::new(positions::PositionToken::default());
    join_all((0..SENDERS).map(async |sender| {
        for request in 0..REQUESTS {
            // What is refused is not sent again: then the count shows that none of it was stored.
            match client.send_events("hits", lines(sender, request).into()).await.unwrap() {
                SendOutcome::Received(receipt) => {
                    accepted.fetch_add(receipt.accepted, Ordering::Relaxed);
                    token.lock().await.merge(&positions::PositionToken::decode(&receipt.token).unwrap());
                }
                SendOutcome::Later { after, reason, partly, .. } => {
                    assert!(reason.contains("429") && partly.is_none(), "{reason}");
                    assert!(after.is_some(), "no Retry-After: {reason}");
                    refused.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }))
    .await;
    let (accepted, refused) = (accepted.into_inner(), refused.into_inner());
    assert!(refused > 0 && accepted > 0, "{accepted} events accepted, {refused} requests refused");
    assert_eq!(accepted as usize, (SENDERS * REQUESTS - refused as usize) * EVENTS_PER_REQUEST);
    let token = token.into_inner().encode();
    let check = |answer: &Value| assert_eq!(answer["rows"][0]["hits"], json!(accepted), "{}", answer["envelope"]);
    check(&rows(&client, &token).await);
    check(&publish_all(&system, &client, &token).await);
    system.stop().await.unwrap();
}
