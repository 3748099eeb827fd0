//! `twofold up` over TLS: how commands find it, what it refuses to start with, how it follows its files.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::authority::{Authority, Pair};
use crate::cli::check;
use crate::support::process::{DEADLINE, binary, free_port};

const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, page VARCHAR NOT NULL)
STORED AS JSON LOCATION 'kafka://hits' OPTIONS (event_time 'time', event_id 'id', partitions '1');
CREATE MATERIALIZED VIEW by_page AS SELECT page, count(*) AS hits FROM hits GROUP BY page;
";

/// A folder with a pipeline, certificates and a place for data.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.write("pipeline.sql", PIPELINE);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// In one step, as who replaces certificates does.
    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path("new"), text).unwrap();
        std::fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    fn write_pair(&self, pair: &Pair) {
        self.write("server.pem", &pair.certificate);
        self.write("server.key", &pair.key);
    }

    fn up(&self, listen: &str, settings: &[(&str, &str)]) -> Command {
        let mut command = Command::new(binary());
        command.args(["up", "--listen", listen]).stdin(Stdio::null());
        command.arg("--pipeline").arg(self.path("pipeline.sql")).arg("--data-dir").arg(self.path("data"));
        for (key, file) in settings {
            let value = if *file == "true" { PathBuf::from(file) } else { self.path(file) };
            command.env(format!("TWOFOLD_SYSTEM__TLS_{key}"), value);
        }
        command
    }

    fn start(&self, settings: &[(&str, &str)]) -> Server {
        let port = free_port();
        let log = std::fs::File::create(self.path("log")).unwrap();
        let mut command = self.up(&format!("127.0.0.1:{port}"), settings);
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        Server { child, url: format!("https://127.0.0.1:{port}"), log: self.path("log") }
    }

    /// `twofold status` with these arguments.
    fn status(&self, arguments: &[&Path]) -> Output {
        let mut command = Command::new(binary());
        command.args(["status", "--json", "--data-dir"]).arg(self.path("data")).args(arguments);
        command.stdin(Stdio::null()).output().unwrap()
    }
}

const PAIR: [(&str, &str); 2] = [("CERTIFICATE", "server.pem"), ("KEY", "server.key")];

/// Killed when it goes out of scope.
struct Server {
    child: Child,
    url: String,
    log: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until a client of its own, so on a connection of its own, gets such an answer.
    async fn until(&self, what: &str, authority: &Authority, path: &str, is_so: impl Fn(u16, &Value) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let client = authority.trusted_by().timeout(DEADLINE).build().unwrap();
            if let Ok(answer) = client.get(format!("{}{path}", self.url)).send().await {
                let status = answer.status().as_u16();
                if is_so(status, &answer.json().await.unwrap_or_default()) {
                    return;
                }
            }
            assert!(Instant::now() < deadline, "never: {what}\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn until_ready(&self, authority: &Authority) {
        self.until("ready", authority, "/readyz", |status, _| status == 200).await;
    }

    async fn until_said(&self, part: &str) {
        let deadline = Instant::now() + DEADLINE;
        while !self.said().contains(part) {
            assert!(Instant::now() < deadline, "`{part}` was never said:\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn has_certificate_problem(status: &Value) -> bool {
    status["problems"].as_array().is_some_and(|all| all.iter().any(|problem| problem["kind"] == "certificate"))
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_find_a_system_over_tls_and_say_what_keeps_them_from_it() {
    let (place, authority) = (Place::new(), Authority::new());
    place.write_pair(&authority.server());
    place.write("ca.pem", &authority.pem);
    let server = place.start(&PAIR);
    server.until_ready(&authority).await;
    server.until_said("is running at https://127.0.0.1:").await;
    check(&place.status(&[Path::new("--ca"), &place.path("ca.pem")]), 0, &["\"by_page\""]);
    check(&place.status(&[]), 1, &["its certificate is not believed here", "--ca FILE", "invalid peer certificate"]);
    check(&place.status(&[Path::new("--ca"), &place.path("pipeline.sql")]), 1, &["--ca ", "pipeline.sql"]);
    let plain = server.url.replace("https://", "http://");
    check(&place.status(&[Path::new("--address"), Path::new(&plain)]), 1, &["this port speaks TLS", "https://"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_shown_where_one_is_required() {
    let (place, authority) = (Place::new(), Authority::new());
    place.write_pair(&authority.server());
    place.write("ca.pem", &authority.pem);
    place.write("operator.pem", &authority.client("operator", &[]).both());
    let server = place.start(&[PAIR[0], PAIR[1], ("CLIENT_CA", "ca.pem"), ("CLIENT_REQUIRED", "true")]);
    let (ca, shown) = (place.path("ca.pem"), place.path("operator.pem"));
    let with = [Path::new("--ca"), ca.as_path(), Path::new("--client-certificate"), shown.as_path()];
    let deadline = Instant::now() + DEADLINE;
    while !place.status(&with).status.success() {
        assert!(Instant::now() < deadline, "never answered:\n{}", server.said());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // With TLS 1.3 the refusal comes behind the handshake: a client may see the end of the connection alone.
    for _ in 0..5 {
        check(&place.status(&with[..2]), 1, &["it wants a certificate of this client", "--client-certificate FILE"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_followed_and_broken_ones_change_nothing_and_are_told() {
    let (place, before, after) = (Place::new(), Authority::new(), Authority::new());
    place.write_pair(&before.server());
    let server = place.start(&PAIR);
    server.until_ready(&before).await;
    let pair = after.server();
    place.write_pair(&pair);
    server.until_ready(&after).await;

    place.write("server.pem", "nonsense");
    server.until("a problem", &after, "/v1/status", |_, status| has_certificate_problem(status)).await;
    server.until_said("`system.tls_certificate`").await;
    server.until_ready(&after).await;
    place.write("server.pem", &pair.certificate);
    server
        .until("no problem", &after, "/v1/status", |code, status| code == 200 && !has_certificate_problem(status))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_warned_of() {
    let (place, authority) = (Place::new(), Authority::new());
    place.write_pair(&authority.expired());
    let server = place.start(&PAIR);
    server.until_said("has expired at 2020-01-01T00:00:00Z: clients refuse it").await;
}

#[test]
fn a_start_with_files_that_cannot_be_used_is_refused_by_the_setting() {
    let (place, authority) = (Place::new(), Authority::new());
    place.write_pair(&authority.server());
    place.write("other.key", &authority.server().key);
    let refused = |settings: &[(&str, &str)], parts: &[&str]| {
        let output = place.up("127.0.0.1:0", settings).output().unwrap();
        check(&output, 2, parts);
        assert!(!place.path("data").exists(), "nothing was made");
    };
    refused(&[PAIR[0]], &["`system.tls_certificate`", "must be set together with `system.tls_key`"]);
    refused(&[PAIR[1]], &["`system.tls_key`", "must be set together with `system.tls_certificate`"]);
    refused(&[("CLIENT_CA", "server.pem")], &["`system.tls_client_ca`", "together with `system.tls_certificate`"]);
    let required = [PAIR[0], PAIR[1], ("CLIENT_REQUIRED", "true")];
    refused(&required, &["`system.tls_client_required`", "needs `system.tls_client_ca`"]);
    refused(&[PAIR[0], ("KEY", "other.key")], &["`system.tls_key`", "other.key", "name two that belong together"]);
    refused(&[PAIR[0], ("KEY", "gone.key")], &["`system.tls_key`", "gone.key", "No such file", "name a PEM file"]);
    refused(&[("CERTIFICATE", "pipeline.sql"), PAIR[1]], &["`system.tls_certificate`", "BEGIN CERTIFICATE"]);
    refused(&[PAIR[0], ("KEY", "server.pem")], &["`system.tls_key`", "BEGIN PRIVATE KEY"]);
    let no_ca = [PAIR[0], PAIR[1], ("CLIENT_CA", "pipeline.sql")];
    refused(&no_ca, &["`system.tls_client_ca`", "pipeline.sql", "certificates of authorities"]);
}
