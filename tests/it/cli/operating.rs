//! What an operator meets on a bad day: wrong settings by their names, passwords, signals, a log that nobody reads.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serving_layer::redis::acl_rules;

use super::{Place, check, text, twofold};
use crate::support::certificates::Certificates;
use crate::support::process::{DEADLINE, Running, Setup, binary, free_port};
use crate::support::redis::RedisServer;

const EVENT: &str = r#"{"id":"1","time":"2026-01-05T10:00:00Z","page":"/"}"#;

impl Place {
    /// `twofold COMMAND --pipeline .. --data-dir ..` with these variables, on a free port.
    fn run_with(&self, variables: &[(&str, &str)], command: &str) -> Output {
        self.command(command, "127.0.0.1:0").envs(variables.iter().copied()).output().unwrap()
    }

    fn command(&self, command: &str, listen: &str) -> Command {
        let mut child = Command::new(binary());
        let (pipeline, data) = (self.path("pipeline.sql"), self.path("data"));
        child.arg(command).arg("--pipeline").arg(pipeline).arg("--data-dir").arg(data).args(["--listen", listen]);
        child.stdin(Stdio::null());
        child
    }
}

fn signal(name: &str, child: &Child) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

/// Waits until the process ends by itself.
async fn ended(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < deadline, "it does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until_ready(child: &mut Child, listen: &str) {
    let deadline = Instant::now() + DEADLINE;
    while !reqwest::get(format!("http://{listen}/readyz")).await.is_ok_and(|answer| answer.status().is_success()) {
        assert_eq!(child.try_wait().unwrap(), None);
        assert!(Instant::now() < deadline, "never ready");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn a_variable_that_sets_nothing_is_told_with_the_one_that_was_meant() {
    let place = Place::new();
    let pipeline = text(&place.path("pipeline.sql"));
    let validate = |name: &str| {
        let mut command = Command::new(binary());
        command.args(["validate", &pipeline]).env(name, "1").stdin(Stdio::null()).output().unwrap()
    };
    let slip = "environment variable TWOFOLD_LOG_BROKERS sets nothing; did you mean `TWOFOLD_LOG__BROKERS`?";
    check(&validate("TWOFOLD_LOG_BROKERS"), 0, &["WARN", slip]);
    let heeded = validate("TWOFOLD_LOG__BROKERS");
    check(&heeded, 0, &[]);
    assert!(!String::from_utf8_lossy(&heeded.stderr).contains("BROKERS"), "{heeded:?}");
    let slip = "TWOFOLD_PIPELIN sets nothing; did you mean `TWOFOLD_PIPELINE`?";
    check(&validate("TWOFOLD_PIPELIN"), 0, &[slip]);
    for (slip, meant) in
        [("TWOFOLD_LISTEN", "TWOFOLD_SYSTEM__LISTEN"), ("twofold_log__brokers", "TWOFOLD_LOG__BROKERS")]
    {
        let told = format!("environment variable {slip} sets nothing; did you mean `{meant}`?");
        check(&validate(slip), 0, &["WARN", &told]);
    }
    // Commands that ask a system, too.
    let mut query = Command::new(binary());
    query.args(["query", "SELECT 1", "--address", "http://127.0.0.1:1"]).env("TWOFOLD_KEYFILE", "key");
    let asked = query.stdin(Stdio::null()).output().unwrap();
    check(&asked, 1, &["TWOFOLD_KEYFILE sets nothing; did you mean `TWOFOLD_KEY_FILE`?"]);
    // As Kubernetes names them for a service `twofold`.
    check(&validate("TWOFOLD_PORT"), 0, &["that set nothing: ", "TWOFOLD_PORT", "`TWOFOLD_<SECTION>__<KEY>`"]);
}

#[test]
fn an_endpoint_is_told_by_its_setting_until_only_the_store_is_missing() {
    let place = Place::new();
    let with = |endpoint: &str, more: &[(&str, &str)]| {
        let variables = [
            ("TWOFOLD_LAKE__LOCATION", "s3://bucket/lake"),
            ("TWOFOLD_LAKE__ENDPOINT", endpoint),
            ("TWOFOLD_LAKE__ACCESS_KEY_ID", "key"),
            ("TWOFOLD_LAKE__SECRET_ACCESS_KEY", "secret"),
        ];
        place.run_with(&[&variables[..], more].concat(), "doctor")
    };
    for endpoint in ["127.0.0.1:1", "localhost:1", "s3.example.org", "ftp://127.0.0.1:1"] {
        let expected = format!("must be `http://host:port` or `https://host:port`, got `{endpoint}`");
        check(&with(endpoint, &[]), 2, &["`lake.endpoint`", "TWOFOLD_LAKE__ENDPOINT", &expected]);
    }
    check(
        &with("http://127.0.0.1:1", &[]),
        2,
        &["`lake.allow_http`", "must be true where `lake.endpoint` is plain http"],
    );
    let allowed = with("http://127.0.0.1:1", &[("TWOFOLD_LAKE__ALLOW_HTTP", "true")]);
    check(&allowed, 1, &["FAIL  object store", "127.0.0.1:1", "Connection refused"]);
}

#[test]
fn what_is_no_address_of_a_system_is_told_as_that() {
    for address in ["", "x y", "http://", "ftp://x", "http://[", "::", "http://user:hidden@127.0.0.1:1"] {
        let output = twofold(&["status", "--address", address]);
        check(&output, 1, &["is no address: write `host:port`"]);
        assert!(!format!("{output:?}").contains("hidden"), "{output:?}");
    }
}

#[test]
fn a_cause_that_was_told_is_not_told_again() {
    let error = anyhow::anyhow!("connection refused").context("no answer: connection refused").context("not started");
    let told = twofold::commands::describe_error(&error);
    assert_eq!(told, "error: not started\n  because: no answer: connection refused");
    let known = anyhow::anyhow!("disk full").context("cannot write the file").context("not started");
    let told = twofold::commands::describe_error(&known);
    assert_eq!(told, "error: not started\n  because: cannot write the file\n  because: disk full");
}

/// The note that other commands read is JSON, which cannot hold the name.
#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_file_whose_name_is_no_text_runs() {
    let place = Place::new();
    let file = place.path("").join(OsStr::from_bytes(b"\xff.sql"));
    std::fs::copy(place.path("pipeline.sql"), &file).unwrap();
    let running = Running::start(&Setup { pipeline: file, ..place.setup() }).await;
    assert!(running.terminate().success());
}

#[test]
fn an_endpoint_of_the_environment_is_held_to_the_same_form() {
    for variable in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"] {
        let variables = [("TWOFOLD_LAKE__LOCATION", "s3://bucket/lake"), (variable, "127.0.0.1:1")];
        let expected = format!("{variable} must be `http://host:port`");
        check(&Place::new().run_with(&variables, "doctor"), 1, &[&expected]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_wants_another_password_is_told_as_that() {
    let place = Place::new();
    let server = RedisServer::start().await;
    let url = server.url();
    server.configure("requirepass", "open-sesame").await;
    let doctor = |url: &str| place.run_with(&[("TWOFOLD_REALTIME__STORE", url)], "doctor");
    let told =
        ["FAIL  realtime store", "authentication failed (", "`realtime.store`", "`redis://:PASSWORD@HOST:PORT/0`"];
    check(&doctor(&url), 1, &told);
    let wrong = doctor(&url.replace("redis://", "redis://:guess@"));
    check(&wrong, 1, &told);
    assert!(!format!("{wrong:?}").contains("guess"), "{wrong:?}");
    check(&doctor(&url.replace("redis://", "redis://:open-sesame@")), 0, &["ok    realtime store"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_over_tls_is_believed_by_the_authority_that_is_named() {
    let (place, certificates) = (Place::new(), Certificates::new());
    let server = RedisServer::start_tls(&certificates, "server").await;
    let (url, authority) = (server.tls_url(), certificates.path("ca.pem"));
    let (certificate, key) = (certificates.path("client.pem"), certificates.path("client.key"));
    let mut variables = vec![
        ("TWOFOLD_REALTIME__STORE", url.as_str()),
        ("TWOFOLD_REALTIME__TLS_CERTIFICATE", certificate.as_str()),
        ("TWOFOLD_REALTIME__TLS_KEY", key.as_str()),
    ];
    let told = ["FAIL  realtime store", "UnknownIssuer", "`realtime.tls_ca`"];
    check(&place.run_with(&variables, "doctor"), 1, &told);
    variables.push(("TWOFOLD_REALTIME__TLS_CA", authority.as_str()));
    check(&place.run_with(&variables, "doctor"), 0, &["ok    realtime store"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_names_the_right_that_its_user_of_redis_lacks() {
    let (place, server) = (Place::new(), RedisServer::start().await);
    server.let_in("twofold", &format!("{} -persist", acl_rules("default", false))).await;
    let url = server.url_of("twofold");
    let told = place.run_with(&[("TWOFOLD_REALTIME__STORE", url.as_str())], "up");
    check(&told, 1, &["permission denied", "add `+persist`", "`realtime.store`"]);
    assert!(!format!("{told:?}").contains("open-sesame"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_any_more_ends_nothing() {
    let place = Place::new();
    let listen = format!("127.0.0.1:{}", free_port());
    let mut child = place.command("up", &listen).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    log.read_line(&mut String::new()).unwrap();
    drop(log);
    until_ready(&mut child, &listen).await;
    // Each stage says that it has stopped.
    signal("-TERM", &child);
    assert!(ended(&mut child).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_ends_in_order() {
    let place = Place::new();
    let mut running = Running::start(&place.setup()).await;
    running.post("hits", &[EVENT]).await;
    running.signal("HUP");
    let status = running.wait_until_ended().await;
    let log = running.log();
    assert!(status.success() && log.contains("SIGHUP"), "{status}\n{log}");
    assert!(!place.path("data/run.json").exists());
    let running = Running::start(&place.setup()).await;
    running.wait_until_archived(1).await;
    assert!(running.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_that_is_to_be_ignored_is_ignored() {
    let place = Place::new();
    let listen = format!("127.0.0.1:{}", free_port());
    let up = place.command("up", &listen);
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(up.get_program()).args(up.get_args());
    let log = place.path("up.log");
    let output = std::fs::File::create(&log).unwrap();
    let mut child = command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap();
    until_ready(&mut child, &listen).await;
    signal("-HUP", &child);
    until_ready(&mut child, &listen).await;
    signal("-TERM", &child);
    assert!(ended(&mut child).await.success());
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("SIGTERM") && !log.contains("SIGHUP"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_asked_of_the_port_by_the_settings_of_the_process() {
    let place = Place::new();
    let running = Running::start(&place.setup()).await;
    let listen = running.address.strip_prefix("http://").unwrap().to_owned();
    let health = |listen: &str| {
        let mut command = Command::new(binary());
        command.arg("health").env("TWOFOLD_SYSTEM__LISTEN", listen).stdin(Stdio::null()).output().unwrap()
    };
    check(&health(&listen), 0, &["alive at http://", &listen]);
    // What a container listens on is no address to call.
    let (_, port) = listen.rsplit_once(':').unwrap();
    check(&health(&format!("0.0.0.0:{port}")), 0, &["alive at http://127.0.0.1:"]);
    assert!(running.terminate().success());
    check(&health(&listen), 1, &["nothing answers at ", &listen, "system.listen"]);
}
