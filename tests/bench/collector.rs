//! The collector over HTTP into the log: requests of a thousand events, and requests of one, client and server on the
//! same cores. Nothing reads the log meanwhile.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use bytes::Bytes;
use collector::{Collector, CollectorComponents, CollectorSettings, OpenSources};
use edge::Principal;
use tokio::net::TcpListener;
use twofold::environment::SystemClock;

use crate::data::Traffic;
use crate::parts::{BenchParts, KINDS};
use crate::report::{Report, rate_async};

const IN_THOUSANDS: usize = 1_000_000;
const ALONE: usize = 50_000;
/// Requests of a thousand events that are under way at one time, and requests of one.
const CALLERS: [usize; 2] = [4, 64];

/// Events acknowledged per second.
pub async fn measure(report: &mut Report) {
    for kind in KINDS {
        let Some(parts) = BenchParts::of(kind).await else { continue };
        let address = serve(&parts).await;
        let thousands = post(address, bodies(IN_THOUSANDS, 1_000), CALLERS[0]).await;
        report.on_parts("collector over HTTP, requests of 1,000 events", kind, thousands, "events/s");
        let alone = post(address, bodies(ALONE, 1), CALLERS[1]).await;
        report.on_parts("collector over HTTP, requests of one event", kind, alone, "events/s");
    }
}

async fn serve(parts: &BenchParts) -> SocketAddr {
    let sources = Arc::new(OpenSources::of([parts.source()]));
    let components = CollectorComponents { log: parts.log(), sources, clock: Arc::new(SystemClock) };
    let router = collector::router(Arc::new(Collector::new(components, CollectorSettings::default())));
    let router = router.layer(Extension(Principal::anyone()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Requests of `size` events, made before the clock starts.
fn bodies(events: usize, size: usize) -> Vec<Bytes> {
    let mut traffic = Traffic::new(events);
    let mut body = || (0..size).map(|_| traffic.next_payload().0).collect::<Vec<_>>().join("\n").into();
    (0..events / size).map(|_| body()).collect()
}

/// Sends all bodies; how many events a second were acknowledged.
async fn post(address: SocketAddr, bodies: Vec<Bytes>, callers: usize) -> f64 {
    let url = format!("http://{address}/v1/sources/hits/events");
    let client = reqwest::Client::new();
    let lines = |body: &Bytes| 1 + body.iter().filter(|byte| **byte == b'\n').count();
    let events = bodies.iter().map(lines).sum();
    let caller = |one: usize| {
        let (client, url) = (client.clone(), url.clone());
        let own: Vec<Bytes> = bodies.iter().skip(one).step_by(callers).cloned().collect();
        async move {
            for body in own {
                let request = client.post(&url).header("content-type", "application/x-ndjson").body(body);
                let answer = request.send().await.unwrap();
                assert!(answer.status().is_success(), "{answer:?}");
                answer.bytes().await.unwrap();
            }
        }
    };
    let callers: Vec<_> = (0..callers).map(caller).collect();
    rate_async(events, async {
        futures::future::join_all(callers).await;
    })
    .await
}
