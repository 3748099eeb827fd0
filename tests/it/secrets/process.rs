//! A process that was given secrets in every way, with everything that it shows searched for them.

use std::process::{Command, Stdio};

use super::{Files, SECRET};
use crate::support::process::{Running, Setup, binary};

const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, page VARCHAR NOT NULL)
STORED AS JSON LOCATION 'kafka://hits' OPTIONS (event_time 'time', event_id 'id', partitions '1');
CREATE MATERIALIZED VIEW by_page AS SELECT page, count(*) AS hits FROM hits GROUP BY page;
";

/// The values differ in their ends, so that the one that is told can be named.
fn secret(number: usize) -> String {
    format!("{SECRET}-{number}")
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_process_shows_holds_a_secret() {
    let files = Files::new();
    let setup = Setup::new(files.0.path(), PIPELINE, Vec::new())
        .with("LAKE__ACCESS_KEY_ID", "key")
        .with("LAKE__SECRET_ACCESS_KEY", &secret(1))
        .with("SCHEMA_REGISTRY__URL", "http://127.0.0.1:1")
        .with("SCHEMA_REGISTRY__USER", "me")
        .with("SCHEMA_REGISTRY__PASSWORD_FILE", &files.write("registry", &secret(2)))
        .with("LOG__PROPERTIES__SASL_PASSWORD", &secret(3))
        .with("LOG__PROPERTIES__SSL_KEY_PASSWORD_FILE", &files.write("kafka", &secret(4)))
        .with("LOG", "debug,twofold=trace");
    let running = Running::start(&setup).await;
    let token = running.post("hits", &[r#"{"id":"1","time":"2026-01-05T10:00:00Z","page":"/"}"#]).await;
    running.rows("by_page", &[("after", &token)]).await;

    let process = running.process_id();
    let mut shown = vec![("ps".to_owned(), std::fs::read(format!("/proc/{process}/cmdline")).unwrap())];
    for path in ["/v1/status", "/metrics", "/readyz", "/healthz", "/", "/v1/views", "/no-such-route"] {
        let answer = reqwest::get(format!("{}{path}", running.address)).await.unwrap();
        shown.push((path.to_owned(), answer.bytes().await.unwrap().to_vec()));
    }
    for arguments in [vec!["--help"], vec!["up", "--help"], vec!["doctor", "--help"], vec!["status", "--help"]] {
        let mut command = Command::new(binary());
        command.env("TWOFOLD_ADDRESS", format!("http://me:{SECRET}@127.0.0.1:1")).env("TWOFOLD_KEY", SECRET);
        let output = command.args(&arguments).envs(setup.settings.iter().cloned()).stdin(Stdio::null()).output();
        shown.push((arguments.join(" "), output.unwrap().stdout));
    }
    // With a broken setting beside them, and while the data directory is taken.
    for broken in [("TWOFOLD_SPEED__TICK", "soon"), ("TWOFOLD_SCHEMA_REGISTRY__URL", "nowhere"), ("X", "y")] {
        let mut command = Command::new(binary());
        command.arg("doctor").arg("--pipeline").arg(&setup.pipeline).arg("--data-dir").arg(&setup.data_dir);
        command.envs(setup.settings.iter().cloned()).env(broken.0, broken.1).stdin(Stdio::null());
        let output = command.output().unwrap();
        shown.push((format!("doctor with {}", broken.0), [output.stdout, output.stderr].concat()));
    }
    shown.push(("log".to_owned(), running.log().into_bytes()));
    for entry in std::fs::read_dir(&setup.data_dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            shown.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    for (place, bytes) in shown {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(SECRET), "{place} tells a secret:\n{text}");
    }
}
