//! A Redis server of one test: started on a free loopback port with a scratch folder, ended with the test.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::certificates::Certificates;
use crate::process::free_port;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server. What it holds is written to disk only where it is durable.
pub struct RedisServer {
    child: Option<Child>,
    port: u16,
    tls_port: Option<u16>,
    // Where the nodes of a cluster talk to each other.
    bus_port: Option<u16>,
    arguments: Vec<String>,
    folder: TempDir,
}

impl RedisServer {
    /// A single server.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// A server that writes each change to its append-only file before it answers, and reads it at a restart.
    pub async fn start_durable() -> Self {
        Self::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await
    }

    /// A server that also speaks TLS, with the certificate of this name, to clients that show one of its authority.
    pub async fn start_tls(certificates: &Certificates, name: &str) -> Self {
        let port = free_port();
        let mut server = Self::start_with(&as_texts(&tls_arguments(port, certificates, name))).await;
        server.tls_port = Some(port);
        server
    }

    /// A node of a cluster that has no other nodes and no slots yet. What it holds is on disk before it answers. With
    /// certificates the cluster speaks TLS, to who shows one, too.
    pub(crate) async fn start_node(certificates: Option<&Certificates>) -> Self {
        let (bus, tls) = (free_port(), certificates.map(|_| free_port()));
        let words = "--cluster-enabled yes --cluster-node-timeout 2000 --appendonly yes --appendfsync always";
        let mut arguments: Vec<String> = words.split(' ').map(str::to_owned).collect();
        arguments.extend(["--cluster-port".to_owned(), bus.to_string()]);
        if let (Some(port), Some(certificates)) = (tls, certificates) {
            arguments.extend(tls_arguments(port, certificates, "server"));
            arguments.extend(["--tls-cluster".to_owned(), "yes".to_owned()]);
        }
        let mut server = Self::start_with(&as_texts(&arguments)).await;
        (server.bus_port, server.tls_port) = (Some(bus), tls);
        server
    }

    async fn start_with(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let folder = TempDir::new().unwrap();
        let mut server = Self { child: None, port: free_port(), tls_port: None, bus_port: None, arguments, folder };
        server.restart().await;
        server
    }

    /// Where clients find it.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Where clients with TLS find it.
    pub fn tls_url(&self) -> String {
        format!("rediss://127.0.0.1:{}/", self.tls_port.expect("a server with TLS"))
    }

    /// Where a user of this server finds it, whose password is `open-sesame`.
    pub fn url_of(&self, user: &str) -> String {
        self.url().replace("redis://", &format!("redis://{user}:open-sesame@"))
    }

    /// Lets a user in who may do what these rules say, and nothing else.
    pub async fn let_in(&self, user: &str, rules: &str) {
        let mut words = vec!["ACL", "SETUSER", user, "reset", "on", ">open-sesame"];
        words.extend(rules.split(' '));
        self.run::<()>(&words).await;
    }

    /// Runs a command as an operator does.
    pub async fn run<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_run(words).await.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// The same, where it may be refused.
    pub async fn try_run<T: redis::FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        command.query_async(&mut self.connection().await?).await
    }

    /// Where the clients of a cluster find this node, and its other nodes.
    pub(crate) fn ports(&self) -> (String, String) {
        let bus = self.bus_port.expect("a node of a cluster");
        (self.tls_port.unwrap_or(self.port).to_string(), bus.to_string())
    }

    /// Ends the server at once, as a crash does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Copies what a durable server has on disk, as a backup does; it goes on meanwhile.
    pub fn back_up(&self) -> TempDir {
        let backup = TempDir::new().unwrap();
        copy_folder(self.folder.path(), backup.path());
        backup
    }

    /// Ends the server, puts a backup in the place of its data and starts it again.
    pub async fn restore(&mut self, backup: &TempDir) {
        self.kill();
        std::fs::remove_dir_all(self.folder.path().join("appendonlydir")).unwrap();
        copy_folder(backup.path(), self.folder.path());
        self.restart().await;
    }

    /// Starts the server again on the same port: empty, or as it was where it is durable.
    pub async fn restart(&mut self) {
        self.kill();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"]).arg(self.port.to_string());
        command.arg("--dir").arg(self.folder.path()).args(&self.arguments);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.child = Some(child.expect("redis-server is not on PATH: `make test` installs it"));
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = self.connection().await {
            assert!(Instant::now() < deadline, "redis-server does not answer on port {}: {error}", self.port);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A connection for what only the test does.
    pub async fn connection(&self) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
        let mut connection = redis::Client::open(self.url())?.get_multiplexed_async_connection().await?;
        redis::cmd("PING").exec_async(&mut connection).await?;
        Ok(connection)
    }

    /// Sets one configuration parameter.
    pub async fn configure(&self, name: &str, value: &str) {
        let mut connection = self.connection().await.unwrap();
        redis::cmd("CONFIG").arg("SET").arg(name).arg(value).exec_async(&mut connection).await.unwrap();
    }

    /// Forgets all keys.
    pub async fn wipe(&self) {
        redis::cmd("FLUSHALL").exec_async(&mut self.connection().await.unwrap()).await.unwrap();
    }
}

fn tls_arguments(port: u16, certificates: &Certificates, name: &str) -> Vec<String> {
    let (certificate, key) = (certificates.path(&format!("{name}.pem")), certificates.path(&format!("{name}.key")));
    let authority = certificates.path("ca.pem");
    let files = [("--tls-ca-cert-file", authority), ("--tls-cert-file", certificate), ("--tls-key-file", key)];
    let settings = [("--tls-port", port.to_string()), ("--tls-auth-clients", "yes".to_owned())];
    files.into_iter().chain(settings).flat_map(|(name, value)| [name.to_owned(), value]).collect()
}

fn as_texts(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir_all(&to).unwrap();
            copy_folder(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
