//! A container of the compose file as a process: its own command and environment, on the services of this test run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::services::Services;

use super::file;
use crate::support::process::{DEADLINE, binary, free_port};

/// Where the containers of one test stand.
pub struct Host {
    folder: tempfile::TempDir,
    services: Services,
    // Of the collector: the one address that other containers call by name.
    collector_port: u16,
}

impl Host {
    /// `None` where there are no services.
    pub fn new() -> Option<Self> {
        let services = Services::find()?;
        let folder = tempfile::tempdir().unwrap();
        let pipeline = folder.path().join("examples/demo/pipeline.sql");
        fs::create_dir_all(pipeline.parent().unwrap()).unwrap();
        fs::write(pipeline, services.pipeline(&file::read("examples/demo/pipeline.sql"))).unwrap();
        Some(Self { folder, services, collector_port: free_port() })
    }

    /// A value of the compose file as it is here: the names of machines, the paths in the image, and what must be this
    /// test's own. Everything else stays as it stands in the file.
    fn rewrite(&self, name: &str, port: u16, value: &str) -> String {
        let folder = self.folder.path().display();
        let replaced = [
            ("kafka:9092", self.services.kafka.clone()),
            ("http://s3:8333", self.services.s3.clone()),
            ("s3://twofold", format!("s3://{}/{}", self.services.s3_bucket, self.services.name)),
            ("redis://redis:6379/0", self.services.redis.clone()),
            ("http://collector:8080", format!("http://127.0.0.1:{}", self.collector_port)),
            ("0.0.0.0:8080", format!("127.0.0.1:{port}")),
            ("/examples", format!("{folder}/examples")),
            ("twofold-speed", self.services.named("speed")),
        ];
        let known = replaced.into_iter().find(|(theirs, _)| value.starts_with(theirs));
        match known {
            Some((theirs, ours)) => value.replacen(theirs, &ours, 1),
            None if value.starts_with("/data") => value.replacen("/data", &format!("{folder}/{name}"), 1),
            None => value.to_owned(),
        }
    }

    /// Our program in a container, with its environment.
    fn command(&self, name: &str, port: u16, container: &Value, words: &[String]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(words.iter().map(|word| self.rewrite(name, port, word)))
            // An image inherits nothing.
            .env_clear()
            .envs(file::environment(container).iter().map(|(key, value)| (key, self.rewrite(name, port, value))))
            .env("TWOFOLD_REALTIME__REDIS_PREFIX", &self.services.name)
            .stdin(Stdio::null());
        command
    }

    /// Starts a container that runs until it is stopped.
    pub fn start(&self, name: &str, container: &Value) -> Container {
        let port = if name == "collector" { self.collector_port } else { free_port() };
        let log = self.folder.path().join(name).with_extension("log");
        let output = fs::File::create(&log).unwrap();
        let child = self
            .command(name, port, container, &file::command(container))
            // A test has not the patience of a demonstration.
            .env("TWOFOLD_BATCH__INTERVAL", "1s")
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let health = self.command(name, port, container, &file::health_command());
        Container { child, log, address: format!("http://127.0.0.1:{port}"), health: health.into() }
    }

    /// Runs a container to its end.
    pub async fn run(&self, name: &str, container: &Value, more: &[&str]) -> Output {
        let mut command = tokio::process::Command::from(self.command(name, 0, container, &file::command(container)));
        let ended = command.args(more).kill_on_drop(true).output();
        tokio::time::timeout(DEADLINE, ended).await.expect("it ended by itself").unwrap()
    }

    /// Runs a container to its end whose command is a line of its shell, on the bucket and with the credentials of this
    /// test run.
    pub async fn run_shell(&self, container: &Value) -> Output {
        assert_eq!(container["entrypoint"], serde_json::json!(["sh", "-c"]));
        let Services { s3, s3_bucket, s3_access_key, s3_secret_key, .. } = &self.services;
        let line = file::command(container).concat();
        // `$$` is how the file writes `$`.
        let line = line.replace("$$", "$").replace("http://s3:8333/twofold", &format!("{s3}/{s3_bucket}"));
        let line = line.replace("twofold:twofold-demo", &format!("{s3_access_key}:{s3_secret_key}"));
        let ended = tokio::process::Command::new("sh").arg("-c").arg(line).kill_on_drop(true).output();
        tokio::time::timeout(DEADLINE, ended).await.expect("it ended by itself").unwrap()
    }
}

/// A running container. Killed when it goes out of scope.
pub struct Container {
    child: Child,
    log: PathBuf,
    pub address: String,
    // The health check of the image, in this container.
    health: tokio::process::Command,
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Container {
    pub fn log(&self) -> String {
        log_of(&self.log)
    }

    /// Waits until it is healthy as the image understands it.
    pub async fn wait_until_healthy(&mut self) {
        let deadline = Instant::now() + DEADLINE;
        while !self.health.output().await.unwrap().status.success() {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("it ended with {status}:\n{}", self.log());
            }
            assert!(Instant::now() < deadline, "never healthy:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What `docker compose stop` does; fails unless it ends in order.
    pub async fn stop(mut self) {
        assert!(Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap().success());
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return assert!(status.success(), "{status}\n{}", self.log()),
                None => assert!(Instant::now() < deadline, "did not stop:\n{}", self.log()),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn log_of(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
