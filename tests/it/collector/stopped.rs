//! A source whose archive has given up takes nothing, with the reason and the way on; the others go on.

use std::collections::BTreeMap;
use std::sync::Arc;

use collector::{Collector, CollectorComponents, CollectorSettings, OpenSources, StoppedSource, router};
use positions::{Life, SourceName};
use views::SourceDefinition;

use super::fake::FakeLog;
use super::{Answer, JSON, event};
use crate::decode::{NOW, clicks};
use crate::support::principals::{as_anyone, as_principal, writer};
use crate::support::seams::ManualClock;

#[tokio::test]
async fn a_source_that_stopped_for_good_takes_nothing_and_the_others_go_on() {
    let (log, sources) = (Arc::new(FakeLog::default()), Arc::new(OpenSources::default()));
    sources.open(Arc::new(clicks()), Life::default());
    sources.open(Arc::new(SourceDefinition { name: SourceName::new("others"), ..clicks() }), Life::default());
    let clock = Arc::new(ManualClock::at(NOW));
    let components = CollectorComponents { log: log.clone(), sources: sources.clone(), clock };
    let collector = Arc::new(Collector::new(components, CollectorSettings::default()));
    let serve = async |router: axum::Router| {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/v1/sources", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, router).into_future());
        address
    };
    let address = serve(as_anyone(router(collector.clone()))).await;
    let of_page = serve(as_principal(router(collector), writer(&["clicks"]))).await;
    let client = reqwest::Client::new();
    let post = async |source: &str| {
        let request = client.post(format!("{address}/{source}/events")).header("content-type", JSON).body(event("a"));
        Answer::of(request.send().await.unwrap()).await
    };

    post("clicks").await.check_counts(1, 0);
    let (reason, way_out) = ("the topic is another one".to_owned(), "run `twofold source reset clicks`".to_owned());
    sources.refuse(BTreeMap::from([(SourceName::new("clicks"), StoppedSource { reason, way_out })]));
    let refused = post("clicks").await;
    refused.check_problem(503, "source-stopped", "source clicks takes no events, it has stopped");
    refused.check_problem(503, "source-stopped", "the topic is another one");
    assert!(refused.hint().contains("`twofold source reset clicks`") && refused.retry_after.is_none(), "{refused:?}");
    let request = client.post(format!("{of_page}/clicks/events")).header("content-type", JSON).body(event("a"));
    let told = Answer::of(request.send().await.unwrap()).await;
    told.check_problem(503, "source-stopped", "whoever operates the system sees why");
    assert!(!told.body.to_string().contains("another one") && !told.hint().contains("reset"), "{told:?}");
    post("others").await.check_counts(1, 0);
    assert_eq!(log.payloads().len(), 2, "nothing of what was refused is stored");
    let details = client.get(format!("{address}/clicks")).send().await.unwrap();
    assert_eq!(details.status(), 200, "what the source is like can be asked all the time");

    sources.refuse(BTreeMap::new());
    post("clicks").await.check_counts(1, 0);
}
