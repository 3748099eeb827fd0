//! What the registry of definitions says while a process goes over to others: what is being built, and what is served.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use positions::DefinitionNumber;
use serde_json::{Value, json};
use serving_layer::registry::{DefinitionRegistry, DefinitionSet};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use twofold::commands::status::draw_status;
use views::Pipeline;

use super::traffic::Feed;
use super::world::{Process, World};
use super::{source, steady, view};
use crate::simulation::plan::Rates;

const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until every view of the present set is served.
pub async fn all_served(registry: &DefinitionRegistry) -> DefinitionSet {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let set = registry.present().await.unwrap().unwrap();
        if set.being_built().next().is_none() {
            return set;
        }
        assert!(Instant::now() < deadline, "never served: {:?}", set.views);
        sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the status says this of the registry.
async fn told(process: &Process, expected: Value) -> Value {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let status = process.client.get("/v1/status", &[]).await.unwrap();
        if status["system"]["registry"] == expected {
            return status;
        }
        assert!(Instant::now() < deadline, "{:#}", status["system"]);
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_registry_says_what_is_being_built_until_it_answers_completely() {
    let world = World::new(1, Rates::default());
    let mut process = world.start(&steady("kept")).await;
    let registry = DefinitionRegistry::new(&process.lake);
    let first = all_served(&registry).await;
    assert_eq!(first.number, DefinitionNumber(1));
    told(&process, json!({"definitions": 1, "being_built": []})).await;

    // Another process registers other definitions; this one goes on with its own, and says so.
    let changed = source("kept", "10m") + &view("kept", "count", "count(*) AS n, min(page) AS first");
    let claimed = registry.claim(&Pipeline::read(&changed, &BTreeMap::new()).unwrap()).await.unwrap();
    let feed = Feed::new("kept", false);
    let stop = CancellationToken::new();
    let sending = tokio::spawn(feed.clone().send_on(process.client.clone(), stop.clone()));
    let status = told(&process, json!({"definitions": claimed.0, "being_built": ["kept_count"]})).await;
    assert_eq!(status["system"]["definitions"], 1);
    let text = draw_status(&status);
    let expected = format!("another process has registered definitions {}\nbeing built: kept_count\n", claimed.0);
    assert!(text.contains(&expected), "{text}");
    let set = registry.present().await.unwrap().unwrap();
    let state = &set.views["kept_count"];
    assert_eq!(state.served.map(|defined| defined.hash), first.views["kept_count"].served.map(|defined| defined.hash));

    // Now it goes over to them as well.
    let building = state.building.unwrap();
    process.apply(&changed).await;
    // At its silent end the log is covered by batch as a whole, also what came before there were runs of the new
    // definition.
    stop.cancel();
    sending.await.unwrap();
    let set = all_served(&registry).await;
    assert_eq!((set.number, set.views["kept_count"].served), (claimed, Some(building)));
    told(&process, json!({"definitions": claimed.0, "being_built": []})).await;
    process.stop().await;
}
