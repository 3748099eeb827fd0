//! An old process that starts again beside newer definitions: it takes no number, says so, and is not ready until it is
//! told to apply them.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{PIPELINE, Place, check, text, twofold};
use crate::support::process::{DEADLINE, Running, binary, free_port};

/// A process that may never be ready. Killed when it goes out of scope.
struct Old(Child);

impl Drop for Old {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Old {
    fn start(place: &Place, listen: &str) -> Self {
        let setup = place.setup();
        let log = std::fs::File::create(place.path("old.log")).unwrap();
        let mut command = Command::new(binary());
        command.arg("up").arg("--pipeline").arg(&setup.pipeline).arg("--data-dir").arg(&setup.data_dir);
        command.args(["--listen", listen]).envs(setup.settings).stdin(Stdio::null());
        Self(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap())
    }
}

async fn ask(listen: &str, path: &str) -> (u16, Value) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Ok(answer) = reqwest::get(format!("http://{listen}{path}")).await {
            return (answer.status().as_u16(), answer.json().await.unwrap());
        }
        assert!(Instant::now() < deadline, "nothing answers at {listen}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What the status says of definitions: those of the process, and the present ones.
async fn numbers(listen: &str) -> (Value, Value) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let (_, status) = ask(listen, "/v1/status").await;
        let system = &status["system"];
        if system["registry"]["definitions"].is_u64() {
            return (system["definitions"].clone(), system["registry"]["definitions"].clone());
        }
        assert!(Instant::now() < deadline, "the registry is not told: {status:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_process_does_not_win_by_starting_last() {
    let place = Place::new();
    let event = r#"{"id":"1","time":"2026-01-05T10:00:00Z","page":"/","bytes":7}"#;
    let running = Running::start(&place.setup()).await;
    let token = running.post("hits", &[event]).await;
    running.wait_until_archived(1).await;
    assert!(running.terminate().success());
    place.write("pipeline.sql", &PIPELINE.replace("AS hits,", "AS hits, sum(bytes) AS bytes,"));
    let running = Running::start(&place.setup()).await;
    let newer = running.status().await["system"]["definitions"].as_u64().unwrap();
    assert!(running.terminate().success());

    place.write("pipeline.sql", PIPELINE);
    let listen = format!("127.0.0.1:{}", free_port());
    let old = Old::start(&place, &listen);
    let told = format!("were replaced by definitions {newer} before it started");
    let (status, readiness) = ask(&listen, "/readyz").await;
    let problems = readiness["problems"].to_string();
    assert!(status == 503 && problems.contains(&told), "{status} {readiness}");
    assert!(problems.contains("`twofold apply --pipeline FILE`"), "{problems}");
    assert_eq!(numbers(&listen).await, (json!(1), json!(newer)), "it claims no number");
    let (_, system) = ask(&listen, "/v1/status").await;
    let listed = system["problems"].as_array().unwrap().iter().find(|problem| problem["kind"] == "superseded");
    let listed = listed.unwrap_or_else(|| panic!("it is no problem: {system:#}"));
    assert!(listed["problem"].as_str().unwrap().contains(&told) && listed["since"].is_string(), "{listed}");
    assert!(listed["way_out"].as_str().unwrap().contains("`twofold apply --pipeline FILE`"), "{listed}");
    let log = std::fs::read_to_string(place.path("old.log")).unwrap();
    assert!(log.contains("ERROR") && log.contains(&told), "{log}");
    let data = text(&place.path("data"));
    check(&twofold(&["status", "--data-dir", &data]), 0, &[&told, "another process has registered definitions"]);
    drop(old);

    // As told: applied, then started again.
    check(&place.run(&["apply"], &[]), 0, &["are the present ones now: start the processes again"]);
    let running = Running::start(&place.setup()).await;
    let status = running.status().await;
    assert!(status["system"]["definitions"].as_u64() > Some(newer), "{status:#}");
    assert_eq!(status["system"].get("superseded"), None, "{status:#}");
    check(&place.run(&["apply"], &[]), 0, &["are the present ones already"]);
    let rows = running.rows("hits_by_page", &[("after", &token), ("timeout", "30s")]).await;
    assert_eq!(rows["rows"][0]["hits"], json!(1), "{rows:#}");
    assert!(running.terminate().success());
}
