//! An old process that starts again beside newer definitions: it takes no number, says so, and runs the newer ones;
//! told to apply its own, by a command or at its start, it goes back to them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{PIPELINE, Place, check, text, twofold};
use crate::support::process::{DEADLINE, Running};

/// A view that the newer definitions have alone.
const LATER: &str = "\nCREATE MATERIALIZED VIEW later AS SELECT page, count(*) AS n FROM hits GROUP BY page;\n";

/// Waits until a running process runs the definitions that it says are the present ones, of this number or a later one.
async fn wait_until_present(running: &Running, least: u64) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let (own, present) = numbers(running).await;
        if own == present && own.as_u64() >= Some(least) {
            return;
        }
        assert!(Instant::now() < deadline, "it runs {own}, and {present} are present\n{}", running.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What the status says of definitions: those of the process, and the present ones.
async fn numbers(running: &Running) -> (Value, Value) {
    let status = running.status().await;
    let system = &status["system"];
    assert_eq!(system.get("superseded"), None, "{status:#}");
    (system["definitions"].clone(), system["registry"]["definitions"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_process_does_not_win_by_starting_last() {
    let place = Place::new();
    let event = r#"{"id":"1","time":"2026-01-05T10:00:00Z","page":"/","bytes":7}"#;
    let running = Running::start(&place.setup()).await;
    let token = running.post("hits", &[event]).await;
    running.wait_until_archived(1).await;
    assert!(running.terminate().success());
    let wider = PIPELINE.replace("AS hits,", "AS hits, sum(bytes) AS bytes,");
    place.write("pipeline.sql", &format!("{wider}{LATER}"));
    let running = Running::start(&place.setup()).await;
    let newer = running.status().await["system"]["definitions"].as_u64().unwrap();
    assert!(running.terminate().success());

    place.write("pipeline.sql", PIPELINE);
    let old = Running::start(&place.setup()).await;
    wait_until_present(&old, newer).await;
    assert_eq!(numbers(&old).await.0, json!(newer), "it claims no number");
    let log = old.log();
    assert!(log.contains("WARN") && log.contains(&format!("were replaced by definitions {newer} before")), "{log}");
    assert!(log.contains("`twofold apply --pipeline FILE`"), "{log}");

    // Commands without a pipeline work on the present definitions, not on the file of the process.
    let data = text(&place.path("data"));
    check(&twofold(&["batch", "run", "--full", "--view", "later", "--data-dir", &data]), 0, &["later: version "]);
    check(&twofold(&["verify", "later", "--data-dir", &data]), 0, &["1 groups computed from the master dataset"]);

    // As told: applied, and the process that runs goes over to them.
    check(&place.run(&["apply"], &[]), 0, &["are the present ones now", "measure bytes dropped"]);
    wait_until_present(&old, newer + 1).await;
    check(&place.run(&["apply"], &[]), 0, &["are the present ones already"]);
    let rows = old.rows("hits_by_page", &[("after", &token), ("timeout", "30s")]).await;
    assert_eq!(rows["rows"][0]["hits"], json!(1), "{rows:#}");
    assert!(old.terminate().success());
}
