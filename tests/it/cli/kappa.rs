//! Commands that could do nothing for a source in kappa mode, on a process of its own: refused, with the way out.

use serde_json::Value;

use crate::support::parts::{Kind, Parts};
use crate::support::process::{Running, Setup};

const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, page VARCHAR)
STORED AS JSON LOCATION 'kafka://hits' OPTIONS (event_time 'time', event_id 'id', partitions '2', mode 'kappa');
CREATE UNBOUNDED EXTERNAL TABLE twins (id VARCHAR NOT NULL, time TIMESTAMP NOT NULL)
STORED AS JSON LOCATION 'kafka://hits' OPTIONS (event_time 'time', event_id 'id', partitions '2', mode 'kappa');
CREATE MATERIALIZED VIEW by_page AS SELECT page, count(*) AS hits FROM hits GROUP BY page;
";
const EVENT: &str = r#"{"id":"1","time":"2026-01-05T10:00:00Z","page":"/"}"#;

/// Fails unless a command fails with these words.
async fn check(setup: &Setup, command: &[&str], words: &[&str]) {
    let output = setup.run_command(command).await;
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!output.status.success(), "{command:?}: {told}");
    for words in words {
        assert!(told.contains(words), "{command:?}: {words:?} is not in:\n{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_do_nothing_in_kappa_mode_is_refused_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let parts = Parts::of(Kind::Embedded).await.unwrap();
    let setup = Setup::new(folder.path(), &parts.pipeline(PIPELINE), parts.settings());
    let running = Running::start(&setup).await;
    let token = running.post("hits", &[EVENT]).await;
    let answer = running.rows("by_page", &[("after", &token), ("timeout", "30s")]).await;
    assert_eq!((&answer["rows"][0]["hits"], &answer["envelope"]["version"]), (&1.into(), &Value::Null), "{answer:#}");
    assert!(running.log().contains("each start replays the log"), "{}", running.log());

    let shown: Value = serde_json::from_slice(&setup.run_command(&["views", "--json"]).await.stdout).unwrap();
    assert!(shown[0]["holds"].is_null() && shown[0]["memory_bytes"].as_u64().unwrap() > 0, "{shown:#}");

    let file = folder.path().join("more.jsonl");
    std::fs::write(&file, EVENT).unwrap();
    let import = ["import", "--source", "hits", file.to_str().unwrap()];
    check(&setup, &import, &["source hits is mode 'kappa'", "`twofold load`"]).await;
    check(&setup, &["batch", "run", "--view", "by_page"], &["view `by_page`", "change its definition"]).await;
    check(&setup, &["batch", "run"], &["there is no view to compute", "mode 'kappa'"]).await;
    check(&setup, &["runs", "start", "--view", "by_page"], &["view `by_page`", "mode 'kappa'"]).await;
    check(
        &setup,
        &["verify", "by_page"],
        &["view by_page has no batch versions", "`twofold explain by_page --receipt`"],
    )
    .await;
    assert!(running.terminate().success());
    check(&setup, &["source", "reset", "hits"], &["a replay reads one life of a topic", "another name"]).await;
    let told = setup.run_command(&["erase", "--source", "hits", "--where", "page = '/'"]).await.stdout;
    let told = String::from_utf8(told).unwrap();
    assert!(told.contains("1 events match") && told.contains("source twins reads the same topic"), "{told}");
}
