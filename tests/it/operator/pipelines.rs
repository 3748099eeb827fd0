//! Two pipelines on one lake, one Kafka and one Redis: an old process follows a newer one, beside it and started again
//! behind it.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::services::Services;

use crate::support::process::{DEADLINE, Running, Setup};

const OLDER: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, page VARCHAR NOT NULL, n BIGINT)
STORED AS JSON LOCATION 'kafka://hits' OPTIONS (event_time 'time', event_id 'id', gap '500ms', partitions '2');
CREATE MATERIALIZED VIEW hits_by_page AS SELECT page, count(*) AS hits FROM hits GROUP BY page;
";
const EVENTS: i64 = 100;

/// Sends events from `first` on; the token.
async fn send(to: &Running, first: i64) -> String {
    let event = |n: i64| format!(r#"{{"id":"{n}","time":"2026-01-05T10:00:00Z","page":"/","n":{n}}}"#);
    let lines: Vec<String> = (first..first + EVENTS).map(event).collect();
    to.post("hits", &lines.iter().map(String::as_str).collect::<Vec<_>>()).await
}

/// Waits until the view answers by the newer definition, then checks the answer. A process that goes over to others
/// has their number in its status before its gateway answers by them.
async fn check_present(newer: &Running, token: &str, sent: i64) {
    let deadline = Instant::now() + DEADLINE;
    let answer = loop {
        let wanted = [("by", ""), ("after", token), ("timeout", "30s")];
        let (status, answer) = newer.try_rows("hits_by_page", &wanted).await;
        if status == 200 && answer["rows"][0].get("n").is_some() {
            break answer;
        }
        assert!(Instant::now() < deadline, "never built: {status} {answer}\n{}", newer.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let expected = json!([{ "hits": sent, "n": sent * (sent - 1) / 2 }]);
    assert_eq!(answer["rows"], expected, "{}\n{}", answer["envelope"], newer.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_pipelines_on_one_lake_the_newer_one_stays() {
    let Some(services) = Services::find() else { return };
    let place = tempfile::tempdir().unwrap();
    let setup = |name: &str, pipeline: &str| {
        let folder = place.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        Setup::new(&folder, &services.pipeline(pipeline), services.settings())
            .with_short_waits()
            .with("ARCHIVE__COMMIT_INTERVAL", "100ms")
            .with("BATCH__INTERVAL", "1s")
    };
    let older = setup("older", OLDER);
    let newer = setup("newer", &OLDER.replace("AS hits FROM", "AS hits, sum(n) AS n FROM"));
    let old = Running::start(&older).await;
    let token = send(&old, 0).await;
    let answer = old.rows("hits_by_page", &[("by", ""), ("after", &token), ("timeout", "30s")]).await;
    assert_eq!(answer["rows"], json!([{ "hits": EVENTS }]), "{}", answer["envelope"]);

    let new = Running::start(&newer).await;
    check_present(&new, &token, EVENTS).await;
    let number = new.status().await["system"]["definitions"].clone();
    // The one that runs goes over to them by itself.
    let deadline = Instant::now() + DEADLINE;
    while old.status().await["system"]["definitions"] != number {
        assert!(Instant::now() < deadline, "it does not follow\n{}", old.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    check_present(&old, &token, EVENTS).await;
    assert!(old.terminate().success());

    // The old one again, and last.
    let old = Running::start(&older).await;
    let log = old.log();
    assert!(log.contains(&format!("were replaced by definitions {number} before")), "{log}");
    assert_eq!(old.status().await["system"]["definitions"], number, "it follows the registry");
    let token = send(&new, EVENTS).await;
    check_present(&new, &token, 2 * EVENTS).await;
    let status = new.status().await;
    assert_eq!(status["system"]["definitions"], number, "{:#}", status["system"]);
    assert_eq!(status["system"].get("superseded"), None, "{:#}", status["system"]);
    let ready = reqwest::get(format!("{}/readyz", new.address)).await.unwrap().status();
    assert!(ready.is_success(), "{ready}");
    assert!(old.terminate().success());
    assert!(new.terminate().success());
}
