//! Twofold as a user runs it: the binary as a process of its own, asked over HTTP.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The longest that any condition of these tests is waited for.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Why a fail point may be missing.
pub const FAIL_POINTS_MISSING: &str = "is it built with `--features twofold/failpoints`, as `make test` does?";

/// On a record with this text the decoder panics, in a build with fail points (`records/src/decode/rows.rs`).
pub const DECODER_PANIC: &str = "panic in the decoder";

/// The roles as processes of their own, each with the words of its command.
pub const ROLES: [(&str, &[&str]); 5] = [
    ("collector", &["collector"]),
    ("archive", &["archive"]),
    ("speed", &["speed"]),
    ("batch", &["batch", "loop"]),
    ("gateway", &["gateway"]),
];

/// The binary that `make test` builds beside this test's own executable.
pub fn binary() -> PathBuf {
    let mut folder = std::env::current_exe().unwrap();
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop();
    }
    let binary = folder.join("twofold");
    assert!(binary.exists(), "{} is missing: run `cargo build -p twofold` first", binary.display());
    binary
}

/// A free port on loopback.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Bytes of memory that a process held at most since its start, as the operating system counts them.
pub fn memory_peak(process: u32) -> u64 {
    memory(process, "VmHWM:")
}

/// Bytes of memory that a process holds now.
pub fn memory_now(process: u32) -> u64 {
    memory(process, "VmRSS:")
}

/// Time on processors that a process has used since its start, as the operating system counts it.
pub fn cpu_now(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // Fields 14 and 15 of all, in hundredths of a second; the second one, a name in brackets, may hold spaces.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

fn memory(process: u32, field: &str) -> u64 {
    try_memory(process, field).unwrap()
}

/// `None`: there is no such process any more.
fn try_memory(process: u32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1_024)
}

/// How to start a system.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The pipeline file.
    pub pipeline: PathBuf,
    /// The data directory.
    pub data_dir: PathBuf,
    /// Settings as environment variables.
    pub settings: Vec<(String, String)>,
}

impl Setup {
    /// A system that has its pipeline file and its data in `folder`.
    pub fn new(folder: &Path, pipeline: &str, settings: Vec<(String, String)>) -> Self {
        let file = folder.join("pipeline.sql");
        std::fs::write(&file, pipeline).unwrap();
        Self { pipeline: file, data_dir: folder.join("data"), settings }
    }

    /// The same system on another data directory beside this one: for a role in a process of its own.
    pub fn beside(&self, name: &str) -> Self {
        Self { data_dir: self.data_dir.with_file_name(name), ..self.clone() }
    }

    /// The same with another setting: `with("SPEED__GROUP", "g")`.
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.settings.push((format!("TWOFOLD_{key}"), value.to_owned()));
        self
    }

    /// The same where failures are tried again soon, so that their tests end soon.
    pub fn with_short_waits(self) -> Self {
        let setup = ["ARCHIVE", "BATCH", "SPEED"]
            .iter()
            .fold(self, |setup, layer| setup.with(&format!("{layer}__RETRY_MAX"), "1s"));
        // What a killed process had taken of a run is another's soon.
        let of_runs = [
            ("BEAT", "200ms"),
            ("LEADER_PATIENCE", "3s"),
            ("LEASE_PATIENCE", "3s"),
            ("RETRY_MIN", "100ms"),
            ("RETRY_MAX", "500ms"),
        ];
        of_runs.iter().fold(setup, |setup, (key, value)| setup.with(&format!("WORKFLOW__{key}"), value))
    }

    /// The same as a process that dies at a fail point (`twofold/src/fail_points.rs`) when it comes there for the `nth`
    /// time.
    pub fn dying_at(self, point: &str, nth: usize) -> Self {
        self.at_fail_point(point, &format!("{}*off->return", nth - 1))
    }

    /// The same as a process whose first write at a fail point is held up: it goes on with what it knew before.
    pub fn held_up_at(self, point: &str, span: Duration) -> Self {
        self.at_fail_point(point, &format!("1*sleep({})", span.as_millis()))
    }

    /// The same as a process that takes some action at a fail point, in the syntax of `twofold/src/fail_points.rs`.
    pub fn at_fail_point(mut self, point: &str, action: &str) -> Self {
        self.settings.push(("FAILPOINTS".to_owned(), format!("{point}={action}")));
        self
    }

    fn command(&self, role: &[&str]) -> Command {
        self.command_of(&binary(), role)
    }

    fn command_of(&self, program: &Path, role: &[&str]) -> Command {
        // Tests may themselves run where hangups are ignored, under `nohup`, and a process inherits that.
        let mut command = Command::new("env");
        command
            .arg("--default-signal=HUP")
            .arg(program)
            .args(role)
            .args([Path::new("--pipeline"), &self.pipeline, Path::new("--data-dir"), &self.data_dir])
            .envs(self.settings.iter().cloned())
            .stdin(Stdio::null());
        command
    }

    /// A command beside this system that does not listen: what it wrote, and how it ended.
    pub async fn run_command(&self, words: &[&str]) -> Output {
        let mut command = tokio::process::Command::new(binary());
        command
            .args(words)
            .args([Path::new("--data-dir"), &self.data_dir])
            // Not every command takes it as a flag.
            .env("TWOFOLD_PIPELINE", &self.pipeline)
            .envs(self.settings.iter().cloned())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        tokio::time::timeout(DEADLINE, command.output()).await.expect("it ended by itself").unwrap()
    }

    /// As [`Self::run_command`], and the most memory that it was seen to hold, in bytes.
    pub async fn run_watched(&self, words: &[&str]) -> (Output, u64) {
        let mut command = self.command(words);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (process, deadline) = (child.id(), Instant::now() + DEADLINE);
        let mut peak = 0;
        while child.try_wait().unwrap().is_none() {
            // One that ends meanwhile holds nothing any more.
            peak = peak.max(try_memory(process, "VmHWM:").unwrap_or(0));
            assert!(Instant::now() < deadline, "{words:?} does not end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        (child.wait_with_output().unwrap(), peak)
    }

    /// A role that is expected to end by itself, within the patience of these tests: what it wrote, and how it ended.
    pub async fn run_to_its_end(&self, role: &[&str]) -> Output {
        let mut command = tokio::process::Command::from(self.command(role));
        command.args(["--listen", "127.0.0.1:0"]).kill_on_drop(true);
        tokio::time::timeout(DEADLINE, command.output()).await.expect("it ended by itself").unwrap()
    }
}

/// A running `twofold up`, or one role alone. Killed when it goes out of scope.
pub struct Running {
    setup: Setup,
    child: Child,
    /// `http://127.0.0.1:PORT`.
    pub address: String,
    client: reqwest::Client,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// Starts `up` and waits until it is ready.
    pub async fn start(setup: &Setup) -> Self {
        Self::start_role(setup, &["up"]).await
    }

    /// Starts one role and waits until it is ready.
    pub async fn start_role(setup: &Setup, role: &[&str]) -> Self {
        Self::try_start_role(setup, role).await.unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// Starts one role of another build and waits until it is ready.
    pub async fn start_role_of(program: &Path, setup: &Setup, role: &[&str]) -> Self {
        Self::spawn(setup, setup.command_of(program, role)).await.unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// Starts one role and waits until it is ready.
    ///
    /// # Errors
    /// How it ended instead, or that it was not ready in time, with its log.
    pub async fn try_start_role(setup: &Setup, role: &[&str]) -> Result<Self, String> {
        Self::spawn(setup, setup.command(role)).await
    }

    async fn spawn(setup: &Setup, mut command: Command) -> Result<Self, String> {
        let port = free_port();
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(setup.data_dir.with_extension("log")).unwrap();
        let child = command
            .args(["--listen", &format!("127.0.0.1:{port}")])
            // A machine that is busy with other tests is not a reason to give up waiting.
            .env("TWOFOLD_GATEWAY__DEFAULT_WAIT", "30s")
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let address = format!("http://127.0.0.1:{port}");
        let client = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
        let mut running = Self { setup: setup.clone(), child, address, client };
        running.wait_until_ready().await?;
        Ok(running)
    }

    async fn wait_until_ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("it ended with {status}:\n{}", self.log()));
            }
            let answer = self.client.get(format!("{}/readyz", self.address)).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(format!("not ready in time:\n{}", self.log()));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The process, for asking the operating system about it.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// How the process ended, if nobody killed it and it is gone nevertheless.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// How the process ends by itself, or because it was told to.
    pub async fn wait_until_ended(&mut self) -> std::process::ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What the process has written.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.setup.data_dir.with_extension("log")).unwrap_or_default()
    }

    /// SIGKILL: no chance to clean up.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal by its name: `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// SIGTERM, then waits for the ordered end.
    pub fn terminate(mut self) -> std::process::ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "did not stop in time:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Posts lines as NDJSON; the status and the body.
    pub async fn try_post(&self, source: &str, lines: &[&str]) -> reqwest::Result<(u16, Value)> {
        let request = self
            .client
            .post(format!("{}/v1/sources/{source}/events", self.address))
            .header("content-type", "application/x-ndjson")
            .body(lines.join("\n"));
        let answer = request.send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    }

    /// Posts lines that must all be taken; the position token.
    pub async fn post(&self, source: &str, lines: &[&str]) -> String {
        let (status, body) = self.try_post(source, lines).await.unwrap();
        assert_eq!(status, 200, "{body}");
        assert_eq!(body["accepted"], json!(lines.len()), "{body}");
        body["token"].as_str().unwrap().to_owned()
    }

    /// Asks for rows; the status and the body.
    pub async fn try_rows(&self, view: &str, query: &[(&str, &str)]) -> (u16, Value) {
        let url = format!("{}/v1/views/{view}/rows", self.address);
        let answer = self.client.get(url).query(query).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Asks for rows that must come.
    pub async fn rows(&self, view: &str, query: &[(&str, &str)]) -> Value {
        let (status, body) = self.try_rows(view, query).await;
        assert_eq!(status, 200, "{body}\n{}", self.log());
        body
    }

    /// Asks over SQL; the status and the body.
    pub async fn sql(&self, sql: &str) -> (u16, Value) {
        let url = format!("{}/v1/sql", self.address);
        let answer = self.client.post(url).json(&json!({ "sql": sql })).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// `GET /v1/status`.
    pub async fn status(&self) -> Value {
        self.client.get(format!("{}/v1/status", self.address)).send().await.unwrap().json().await.unwrap()
    }

    /// Waits until the archive holds this many records of the first source.
    pub async fn wait_until_archived(&self, records: i64) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let status = self.status().await;
            let partitions = status["sources"][0]["partitions"].as_array().unwrap();
            let archived: i64 = partitions.iter().filter_map(|partition| partition["archived"].as_i64()).sum();
            if archived == records {
                return;
            }
            assert!(Instant::now() < deadline, "not archived in time: {status:#}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// `twofold batch run` as its own process beside this one.
    pub async fn run_batch(&self, arguments: &[&str]) -> Output {
        let mut command = tokio::process::Command::from(self.setup.command(&["batch", "run"]));
        command.args(arguments).kill_on_drop(true).output().await.unwrap()
    }
}
