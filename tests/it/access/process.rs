//! Who may ask a process: what it starts with, what it takes in while it runs, and how commands show a key.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use positions::Clock;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;
use twofold::access::{check_listen, doubt};
use twofold::config::{Config, ConfigInputs};
use twofold::environment::SystemClock;

use super::signer::{Signer, key_set};
use super::{Answer, key_of};
use crate::support::process::{DEADLINE, Running, Setup, binary};

const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (id VARCHAR, time TIMESTAMP, page VARCHAR) STORED AS JSON
LOCATION 'kafka://hits' OPTIONS (event_time 'time', event_id 'id', partitions '1');
CREATE MATERIALIZED VIEW v AS SELECT page, count(*) AS n FROM hits GROUP BY page;
";

const EVENT: &str = r#"{"id":"1","time":"2026-01-05T10:00:00Z","page":"a"}"#;

fn grants() -> String {
    let (ann, writer) = (key_of(1).1, key_of(2).1);
    format!(
        "[grants.all]\nread = ['*']\nwrite = ['*']\noperate = true\n[grants.writer]\nwrite = ['hits']\n\
         [[keys]]\nname = 'ann'\nhash = '{ann}'\ngrant = 'all'\n\
         [[keys]]\nname = 'shop'\nhash = '{writer}'\ngrant = 'writer'\n"
    )
}

/// A system that asks for keys.
struct Keyed {
    running: Running,
    file: PathBuf,
    setup: Setup,
    _folder: TempDir,
}

impl Keyed {
    async fn start(text: &str) -> Self {
        Self::start_with(text, &[]).await
    }

    async fn start_with(text: &str, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("access.toml");
        std::fs::write(&file, text).unwrap();
        let setup = Setup::new(folder.path(), PIPELINE, Vec::new());
        let setup = setup.with("ACCESS__MODE", "keys").with("ACCESS__FILE", file.to_str().unwrap());
        let setup = settings.iter().fold(setup, |setup, (key, value)| setup.with(key, value));
        let running = Running::start(&setup).await;
        Self { running, file, setup, _folder: folder }
    }

    async fn ask(&self, path: &str, shown: &str) -> Answer {
        Answer::of(reqwest::Client::new().get(format!("{}{path}", self.running.address)).bearer_auth(shown)).await
    }

    /// Asks for the status until it is as wanted.
    async fn status_until(&self, shown: &str, what: &str, is_wanted: impl Fn(&Answer) -> bool) -> Answer {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let answer = self.ask("/v1/status", shown).await;
            if is_wanted(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{what}: {answer:?}\n{}", self.running.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Runs a command on this system's data directory.
    async fn command(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = tokio::process::Command::new(binary());
        command.args(arguments).args([Path::new("--data-dir"), &self.setup.data_dir]);
        command.envs(variables.iter().copied()).kill_on_drop(true).output().await.unwrap()
    }
}

fn text_of(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{}\n{out}\n{err}", output.status)
}

/// A start that is expected to be refused.
async fn refused_start(setup: &Setup, listen: &str) -> Output {
    let mut command = tokio::process::Command::new(binary());
    command.args(["up", "--listen", listen, "--pipeline"]).arg(&setup.pipeline);
    command.arg("--data-dir").arg(&setup.data_dir).envs(setup.settings.iter().cloned()).kill_on_drop(true);
    tokio::time::timeout(DEADLINE, command.output()).await.expect("it ended by itself").unwrap()
}

#[tokio::test]
async fn a_process_says_what_it_needs_before_it_lets_in_others() {
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::new(folder.path(), PIPELINE, Vec::new());
    let missing = folder.path().join("missing.toml").display().to_string();
    let there = folder.path().join("access.toml").display().to_string();
    std::fs::write(&there, grants()).unwrap();
    // An address that no machine has: who says what it needs comes as far as to listen.
    let elsewhere = "192.0.2.1:1";
    for (listen, settings, code, parts) in [
        (
            "0.0.0.0:0",
            vec![],
            2,
            vec!["`system.listen`", "`access.mode = \"none\"`", "`twofold key new`", "127.0.0.1:8080"],
        ),
        ("[::]:0", vec![("ACCESS__MODE", "local")], 2, vec!["`system.listen`"]),
        ("127.0.0.1:0", vec![("ACCESS__MODE", "keys")], 2, vec!["`access.file`"]),
        ("127.0.0.1:0", vec![("ACCESS__FILE", missing.as_str())], 2, vec!["`access.mode`", "must be `keys`"]),
        ("127.0.0.1:0", vec![("ACCESS__MODE", "open")], 2, vec!["`local`, `keys` or `none`"]),
        (
            "127.0.0.1:0",
            vec![("ACCESS__MODE", "keys"), ("ACCESS__FILE", missing.as_str())],
            1,
            vec!["`access.file`", "missing.toml"],
        ),
        ("127.0.0.1:0", vec![("SYSTEM__REJECTED_FROM_ANYWHERE", "true")], 2, vec!["`operate = true`"]),
        (
            elsewhere,
            vec![("ACCESS__MODE", "none")],
            1,
            vec!["WARN", "whoever reaches it may do everything", "cannot listen on 192.0.2.1:1"],
        ),
        (
            elsewhere,
            vec![("ACCESS__MODE", "keys"), ("ACCESS__FILE", there.as_str())],
            1,
            vec!["WARN", "plain HTTP", "`system.tls_certificate`", "cannot listen on 192.0.2.1:1"],
        ),
    ] {
        let setup = settings.iter().fold(setup.clone(), |setup, (key, value)| setup.with(key, value));
        let output = refused_start(&setup, listen).await;
        let text = text_of(&output);
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(parts.iter().all(|part| text.contains(part)), "{parts:?}: {text}");
    }
}

#[test]
fn an_address_that_others_reach_needs_a_word_in_writing() {
    let config = |listen: SocketAddr, mode: &str| {
        let flags = vec![("system.listen".to_owned(), listen.to_string()), ("access.mode".to_owned(), mode.to_owned())];
        Config::read(ConfigInputs { flags, ..ConfigInputs::default() }).unwrap()
    };
    for (listen, is_local) in [
        ("127.0.0.1:0", true),
        ("127.4.5.6:80", true),
        ("[::1]:80", true),
        ("[::ffff:127.0.0.1]:80", true),
        ("0.0.0.0:80", false),
        ("[::]:80", false),
        ("10.0.0.7:80", false),
        ("[::ffff:10.0.0.7]:80", false),
    ] {
        let listen: SocketAddr = listen.parse().unwrap();
        assert_eq!(check_listen(&config(listen, "local")).is_ok(), is_local, "{listen}");
        assert!(check_listen(&config(listen, "none")).is_ok(), "{listen}");
        assert_eq!(doubt(&config(listen, "none")).is_none(), is_local, "{listen}");
    }
}

#[tokio::test]
async fn commands_show_a_key_from_a_file_or_the_environment() {
    let system = Keyed::start(&grants()).await;
    let (ann, shop, wrong) = (key_of(1).0, key_of(2).0, key_of(9).0);
    let folder = tempfile::tempdir().unwrap();
    let (good, bad) = (folder.path().join("key"), folder.path().join("no-key"));
    std::fs::write(&good, format!("{ann}\n")).unwrap();
    std::fs::write(&bad, "two\nlines").unwrap();
    let (good, bad) = (good.to_str().unwrap(), bad.to_str().unwrap());
    for (arguments, variables, is_done, told) in [
        (vec!["status"], vec![("TWOFOLD_KEY", ann.as_str())], true, "hits"),
        (vec!["status", "--key-file", good], vec![("TWOFOLD_KEY", wrong.as_str())], true, "hits"),
        (vec!["status"], vec![("TWOFOLD_KEY_FILE", good)], true, "hits"),
        (vec!["query", "SELECT 1 AS one", "--key-file", good], vec![], true, "one"),
        (vec!["rejected", "hits", "--key-file", good], vec![], true, "hits"),
        (vec!["log", "tail", "hits", "--no-follow", "--key-file", good], vec![], true, ""),
        (vec!["log", "tail", "hits", "--no-follow"], vec![("TWOFOLD_KEY", shop.as_str())], false, "operate"),
        (vec!["status"], vec![], false, "401"),
        (vec!["status"], vec![("TWOFOLD_KEY", wrong.as_str())], false, "401"),
        (vec!["status", "--key-file", "/nothing/here"], vec![], false, "/nothing/here"),
        (vec!["status", "--key-file", bad], vec![], false, "no-key"),
    ] {
        let output = system.command(&arguments, &variables).await;
        let text = text_of(&output);
        assert_eq!(output.status.success(), is_done, "{arguments:?}: {text}");
        assert!(text.contains(told) && !text.contains("tf_"), "{arguments:?}: {text}");
        assert!(!text.contains("sets nothing"), "{text}");
    }
    let sent = reqwest::Client::new().post(format!("{}/v1/sources/hits/events", system.running.address));
    let sent = Answer::of(sent.bearer_auth(&shop).header("content-type", "application/json").body(EVENT)).await;
    assert_eq!(sent.status, 200, "{sent:?}");
    assert!(!system.running.log().contains("tf_"), "{}", system.running.log());
}

#[tokio::test]
async fn the_file_is_read_again_and_a_broken_one_leaves_in_force_what_was() {
    let system = Keyed::start(&grants()).await;
    let (ann, file) = (key_of(1).0, system.file.to_str().unwrap().to_owned());
    assert_eq!(system.ask("/v1/status", &ann).await.status, 200);

    let made = tokio::process::Command::new(binary())
        .args(["key", "new", "--name", "bob", "--grant", "all", "--file", &file])
        .output();
    let made = made.await.unwrap();
    assert!(made.status.success(), "{}", text_of(&made));
    let bob = String::from_utf8(made.stdout).unwrap().trim_end().to_owned();
    assert!(bob.starts_with("tf_") && bob.lines().count() == 1, "a file of it is one for `--key-file`: {bob}");
    assert!(!std::fs::read_to_string(&file).unwrap().contains(&bob), "the file holds no key");
    system.status_until(&bob, "the new key counts", |answer| answer.status == 200).await;

    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, "[grants.all\n").unwrap();
    let problem_of = |answer: &Answer| {
        let status: Value = serde_json::from_str(&answer.text).unwrap_or_default();
        let problems = status["problems"].as_array().cloned().unwrap_or_default();
        problems.into_iter().find(|problem| problem["kind"] == "access-unreadable")
    };
    let told = system.status_until(&bob, "the broken file is told of", |answer| problem_of(answer).is_some()).await;
    let told = problem_of(&told).unwrap();
    assert!(
        told["about"].as_str().unwrap().contains("access.toml") && told["problem"].as_str().unwrap().contains("line 1")
    );
    assert_eq!(system.ask("/v1/status", &ann).await.status, 200, "what was stays in force");

    std::fs::write(&file, good.replace("name = 'ann'", "name = 'ann-too'").replace(&key_of(1).1, &key_of(3).1))
        .unwrap();
    system.status_until(&ann, "a key that was taken out counts no more", |answer| answer.status == 401).await;
    let is_whole = |answer: &Answer| answer.status == 200 && problem_of(answer).is_none();
    system.status_until(&key_of(3).0, "the new one counts, and nothing is wrong", is_whole).await;

    // As long and as old as the file in whose place it comes.
    let (next, time) = (system.file.with_extension("next"), std::fs::metadata(&file).unwrap().modified().unwrap());
    std::fs::write(&next, std::fs::read_to_string(&file).unwrap().replace(&key_of(3).1, &key_of(4).1)).unwrap();
    std::fs::File::options().write(true).open(&next).unwrap().set_modified(time).unwrap();
    std::fs::rename(&next, &file).unwrap();
    let gone = |answer: &Answer| answer.status == 401;
    system.status_until(&key_of(3).0, "a key that a copy took out counts no more", gone).await;
}

async fn make_key(arguments: &[&str]) -> String {
    let mut command = tokio::process::Command::new(binary());
    text_of(&command.args(["key", "new"]).args(arguments).output().await.unwrap())
}

#[tokio::test]
async fn a_key_that_does_not_fit_into_the_file_leaves_it_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.toml");
    std::fs::write(&file, grants()).unwrap();
    let path = file.to_str().unwrap();
    for (arguments, told) in [
        (vec!["--name", "ann", "--grant", "all", "--file", path], "two keys of the name `ann`"),
        (vec!["--name", "bob", "--grant", "al", "--file", path], "did you mean `all`?"),
        (vec!["--name", "b b", "--grant", "all", "--file", path], "1 to 64 letters"),
        (vec!["--name", "bob", "--grant", "all", "--file", "/nothing/here"], "/nothing/here"),
        (vec!["--name", "bob", "--grant", "all", "--expires", "tomorrow", "--file", path], "`--expires`"),
    ] {
        let text = make_key(&arguments).await;
        assert!(text.contains(told) && !text.contains("tf_"), "{arguments:?}: {text}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), grants());
    let printed = make_key(&["--name", "bob", "--grant", "all", "--expires", "2999-01-31T00:00:00Z"]).await;
    assert!(printed.contains("tf_") && printed.contains("[[keys]]\nname = \"bob\""), "{printed}");
    let lines = &printed[printed.find("[[keys]]").unwrap()..];
    let lines = lines.split("\n\n").next().unwrap();
    assert!(twofold::access::file::AccessFile::read(&format!("[grants.all]\n{lines}\n")).is_ok(), "{lines}");
}

/// Where an issuer publishes its keys, and how often it was asked.
struct Issuer {
    url: String,
    keys: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
    _served: AbortOnDropHandle<()>,
}

impl Issuer {
    async fn publish(keys: String) -> Self {
        let (keys, asked) = (Arc::new(Mutex::new(keys)), Arc::new(AtomicUsize::new(0)));
        let (shown, counted) = (keys.clone(), asked.clone());
        let answer = move || {
            counted.fetch_add(1, Ordering::SeqCst);
            std::future::ready(shown.lock().unwrap().clone())
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let router = Router::new().route("/keys", get(answer));
        let served = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, keys, asked, _served: AbortOnDropHandle::new(served) }
    }
}

#[tokio::test]
async fn an_issuer_that_changes_its_keys_is_asked_again_and_not_more_than_that() {
    let [first, second, third] = [Signer::ec(), Signer::ec(), Signer::ec()];
    let issuer = Issuer::publish(key_set(&[first.public("1")])).await;
    let tokens = "[[tokens]]\nissuer = 'i'\naudience = 'twofold'\nclaim = 'role'\njwks = ";
    let system = Keyed::start(&format!("{}{tokens}'{}'\n", grants(), issuer.url)).await;
    let now = SystemClock.now().0 / 1_000_000;
    let claims = json!({ "iss": "i", "aud": "twofold", "sub": "ann", "exp": now + 3_600, "role": "all" });
    assert_eq!(system.ask("/v1/status", &first.token(Some("1"), &claims)).await.status, 200);
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1);

    *issuer.keys.lock().unwrap() = key_set(&[second.public("2")]);
    assert_eq!(system.ask("/v1/status", &second.token(Some("2"), &claims)).await.status, 200);
    assert_eq!(system.ask("/v1/status", &first.token(Some("1"), &claims)).await.status, 401, "it was withdrawn");
    for number in 0..20 {
        let unknown = third.token(Some(&number.to_string()), &claims);
        assert_eq!(system.ask("/v1/status", &unknown).await.status, 401);
    }
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 2, "a stranger cannot have it asked again and again");
}

#[tokio::test]
async fn keys_of_an_issuer_in_a_file_are_those_that_it_holds_now() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let [first, second] = [Signer::ec(), Signer::ec()];
    let [before, after] = [&first, &second].map(|signer| key_set(&[signer.public("1")]));
    assert_eq!(before.len(), after.len(), "what it holds alone tells them apart");
    std::fs::write(&path, &before).unwrap();
    let tokens = "[[tokens]]\nissuer = 'i'\naudience = 'twofold'\nclaim = 'role'\njwks = ";
    let system = Keyed::start(&format!("{}{tokens}'{}'\n", grants(), path.display())).await;
    let exp = SystemClock.now().0 / 1_000_000 + 3_600;
    let claims = json!({ "iss": "i", "aud": "twofold", "sub": "ann", "exp": exp, "role": "all" });
    let [old, new] = [&first, &second].map(|signer| signer.token(Some("1"), &claims));
    assert_eq!(system.ask("/v1/status", &old).await.status, 200);

    std::fs::write(&path, &after).unwrap();
    system.status_until(&new, "the new key counts", |answer| answer.status == 200).await;
    assert_eq!(system.ask("/v1/status", &old).await.status, 401);
    std::fs::write(&path, "{").unwrap();
    let told = system.status_until(&new, "a broken file is told", |answer| answer.text.contains("access-unreadable"));
    assert_eq!(told.await.status, 200, "what was read before stays in force");
    std::fs::write(&path, &after).unwrap();
    system.status_until(&new, "a mended file is told", |answer| !answer.text.contains("access-unreadable")).await;
}

/// Whether the other end still waits for an answer to what it sent.
async fn is_waited_for(stream: &TcpStream) -> bool {
    stream.readable().await.unwrap();
    let mut request = [0; 4096];
    loop {
        match stream.try_read(&mut request) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}

#[tokio::test]
async fn an_issuer_that_keeps_silent_holds_up_no_change_of_keys() {
    let system = Keyed::start(&grants()).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut is_ahead = false;
    // Again where this machine was so slow that the question was given up meanwhile.
    for round in 0..3 {
        let (key, hash) = key_of(10 + round);
        let jwks = format!("http://{}/{round}", silent.local_addr().unwrap());
        let tokens = "[[tokens]]\nissuer = 'i'\naudience = 'twofold'\nclaim = 'role'\njwks = ";
        let text = format!("{}{tokens}'{jwks}'\n", grants().replace(&key_of(1).1, &hash));
        std::fs::write(&system.file, text).unwrap();
        system.status_until(&key, "the new key counts", |answer| answer.status == 200).await;
        assert_eq!(system.ask("/v1/status", &key_of(1).0).await.status, 401);
        let (question, _) = silent.accept().await.unwrap();
        is_ahead |= is_waited_for(&question).await;
    }
    assert!(is_ahead, "keys change before an issuer is waited for");
}

#[tokio::test]
async fn the_audit_log_tells_who_asked_for_what_and_shows_no_credential() {
    // However little is logged beside it.
    let system = Keyed::start_with(&grants(), &[("ACCESS__AUDIT", "all"), ("LOG", "error")]).await;
    let (ann, wrong) = (key_of(1).0, key_of(9).0);
    assert_eq!(system.ask(&format!("/v1/views/{ann}/rows"), &ann).await.status, 404, "a key in a wrong place");
    assert_eq!(system.ask(&format!("/v1/views/{}", "x".repeat(9_000)), &ann).await.status, 404);
    let asked = system.ask("/v1/views/v/rows?page=secret-page", &ann).await.status.to_string();
    assert_eq!(system.ask("/v1/views/v/rows", &wrong).await.status, 401);
    assert_eq!(system.ask("/healthz", &ann).await.status, 200);
    let log = system.running.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("audit") && line.contains("request")).collect();
    let has = |parts: &[&str]| lines.iter().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(has(&["ann", "GET", "/v1/views/v/rows", &asked, "127.0.0.1"]), "{log}");
    assert!(has(&["unknown", "GET", "/v1/views/v/rows", "401"]), "{log}");
    assert!(has(&["ann", "/v1/views/(key)/rows", "404"]), "{log}");
    assert!(has(&["ann", "/v1/views/xxx", "xxx..."]) && !log.contains(&"x".repeat(300)), "{log}");
    assert!(!has(&["/healthz"]) && !log.contains("secret-page") && !log.contains("tf_"), "{log}");
}
