//! A source whose archive has given up takes nothing, with the reason and the way on; the others go on.

use std::sync::Arc;

use anyhow::anyhow;
use collector::{Collector, CollectorComponents, CollectorSettings, OpenSources, StoppedSources, router};
use positions::{Life, SourceName};
use twofold::health::Health;
use views::SourceDefinition;

use super::fake::FakeLog;
use super::{Answer, JSON, event};
use crate::decode::{NOW, clicks};
use crate::support::seams::ManualClock;

#[tokio::test]
async fn a_source_that_stopped_for_good_takes_nothing_and_the_others_go_on() {
    let (log, health) = (Arc::new(FakeLog::default()), Arc::new(Health::default()));
    let sources = Arc::new(OpenSources::beside(health.clone()));
    sources.open(Arc::new(clicks()), Life::default());
    sources.open(Arc::new(SourceDefinition { name: SourceName::new("others"), ..clicks() }), Life::default());
    let clock = Arc::new(ManualClock::at(NOW));
    let components = CollectorComponents { log: log.clone(), sources, clock };
    let collector = Arc::new(Collector::new(components, CollectorSettings::default()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/v1/sources", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router(collector)).into_future());
    let client = reqwest::Client::new();
    let post = async |source: &str| {
        let request = client.post(format!("{address}/{source}/events")).header("content-type", JSON).body(event("a"));
        Answer::of(request.send().await.unwrap()).await
    };

    post("clicks").await.check_counts(1, 0);
    health.stop_source("clicks", "archive", &anyhow!("the topic is another one; `twofold source reset` goes on"));
    let refused = post("clicks").await;
    refused.check_problem(503, "source-stopped", "source clicks is stopped");
    refused.check_problem(503, "source-stopped", "the topic is another one; `twofold source reset` goes on");
    assert!(refused.hint().contains("once the cause is gone") && refused.retry_after.is_none(), "{refused:?}");
    post("others").await.check_counts(1, 0);
    assert_eq!(log.payloads().len(), 2, "nothing of what was refused is stored");
    let details = client.get(format!("{address}/clicks")).send().await.unwrap();
    assert_eq!(details.status(), 200, "what the source is like can be asked all the time");

    health.clear_source("clicks", "archive");
    post("clicks").await.check_counts(1, 0);
}

#[test]
fn events_are_taken_as_long_as_they_are_archived() {
    let health = Health::default();
    health.stop_source("hits", "speed", &anyhow!("a view panics"));
    assert_eq!(health.why_stopped("hits"), None);
    health.stop_source("hits", "topic", &anyhow!("it is compacted"));
    assert_eq!(health.why_stopped("hits").as_deref(), Some("topic: it is compacted"));
    assert_eq!(health.why_stopped("others"), None);
}
