//! A Kafka-compatible broker inside this process, so that a laptop needs nothing installed.
//!
//! Guarantee: bound to the loopback interface only. A record that was acknowledged outlives the process, also when it
//! is killed; it may not outlive the machine losing power, because the storage syncs at its checkpoints, not at every
//! commit. Nothing is ever deleted: the file grows, and `size_bytes` says by how much.
//! Not here: the protocol, the storage engine (both tansu's), any second process writing to the same file.
//! Why so: the default way to run Twofold is the same code path as Apache Kafka, down to the client library.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

use crate::EventLogError;
use crate::group::LocalGroups;
use crate::kafka::{Compression, KafkaSettings};

mod probe;
mod run;

/// Where the embedded broker keeps its records, and where it listens.
#[derive(Clone, Debug)]
pub struct EmbeddedSettings {
    /// The folder of its file; created where it is missing.
    pub data_dir: PathBuf,
    /// The port on 127.0.0.1; `None` takes a free one, a different one at each start.
    pub port: Option<u16>,
}

/// A running broker. Dropping it stops it.
#[derive(Debug)]
pub struct EmbeddedBroker {
    address: SocketAddr,
    file: PathBuf,
    groups: LocalGroups,
    ended: CancellationToken,
    _stop: DropGuard,
}

/// The file of the records in the data directory.
const FILE: &str = "log.db";
/// How often another free port is tried when one was taken between choosing and binding.
const PORT_ATTEMPTS: usize = 5;

impl EmbeddedBroker {
    /// Starts the broker on a thread of its own and returns when it accepts connections.
    ///
    /// The same folder holds the same records at every start, also on another port.
    ///
    /// # Errors
    /// [`EventLogError::Unusable`] where the folder or the port cannot be used.
    pub async fn start(settings: EmbeddedSettings, stop: CancellationToken) -> Result<Self, EventLogError> {
        let folder = open_folder(&settings.data_dir)?;
        let mut attempts = if settings.port.is_some() { 1 } else { PORT_ATTEMPTS };
        loop {
            attempts -= 1;
            let address = choose_address(settings.port)?;
            match Self::start_at(address, &folder, stop.child_token()).await {
                Err(_) if attempts > 0 => {}
                outcome => return outcome,
            }
        }
    }

    async fn start_at(address: SocketAddr, folder: &Path, stop: CancellationToken) -> Result<Self, EventLogError> {
        let file = folder.join(FILE);
        let storage = StorageFolder::of(folder)?;
        let (ready, started) = oneshot::channel();
        let ended = CancellationToken::new();
        let stop_guard = stop.clone().drop_guard();
        run::spawn(run::Broker { address, storage, ready: Mutex::new(Some(ready)), stop, ended: ended.clone() })?;
        started.await.unwrap_or_else(|_| Err(unusable("the embedded broker ended before it listened")))?;
        Ok(Self { address, file, groups: LocalGroups::default(), ended, _stop: stop_guard })
    }

    /// What Kafka clients connect to: `127.0.0.1:PORT`.
    pub fn bootstrap_servers(&self) -> String {
        self.address.to_string()
    }

    /// Client settings that suit this broker; its clients share their groups inside this process.
    pub fn kafka_settings(&self) -> KafkaSettings {
        KafkaSettings {
            bootstrap_servers: self.bootstrap_servers(),
            // It stores records one by one: compressing them for a loopback connection only costs.
            compression: Compression::None,
            // It holds even a full answer back for a part of this time.
            fetch_wait: Duration::from_millis(50),
            idempotent: false,
            replication: Some(1),
            local_groups: Some(self.groups.clone()),
            records_folder: self.file.parent().map(Path::to_owned),
            ..KafkaSettings::default()
        }
    }

    /// The bytes that its file and the journal beside it take now.
    pub fn size_bytes(&self) -> u64 {
        ["", "-wal", "-shm"]
            .iter()
            .filter_map(|suffix| {
                let mut path = self.file.clone().into_os_string();
                path.push(suffix);
                std::fs::metadata(path).ok()
            })
            .map(|found| found.len())
            .sum()
    }

    /// Returns when the broker has ended and its file is closed: after the token was cancelled, or by itself after an
    /// error, which it logs.
    pub async fn stopped(&self) {
        self.ended.cancelled().await;
    }
}

fn open_folder(folder: &Path) -> Result<PathBuf, EventLogError> {
    std::fs::create_dir_all(folder)
        .and_then(|()| folder.canonicalize())
        .map_err(|error| unusable(&format!("folder {} of the embedded broker: {error}", folder.display())))
}

fn choose_address(port: Option<u16>) -> Result<SocketAddr, EventLogError> {
    // The broker does not tell which port it was given for 0, so a free one is looked for first.
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port.unwrap_or(0)));
    TcpListener::bind(wanted)
        .and_then(|listener| listener.local_addr())
        .map_err(|error| unusable(&format!("the embedded broker cannot listen on {wanted}: {error}")))
}

/// A folder as the storage engine can be told of it: it reads a URL and takes the path as it is spelled there, so that
/// a space would become `%20`.
#[derive(Debug)]
struct StorageFolder {
    url: Url,
    // Keeps the second name of a folder valid whose first one cannot be spelled in a URL.
    _open: Option<File>,
}

impl StorageFolder {
    fn of(folder: &Path) -> Result<Self, EventLogError> {
        if let Some(url) = storage_url(folder) {
            return Ok(Self { url, _open: None });
        }
        let open = File::open(folder).map_err(|error| unusable(&format!("folder {}: {error}", folder.display())))?;
        match open_name(&open).as_deref().and_then(storage_url) {
            Some(url) => Ok(Self { url, _open: Some(open) }),
            None => Err(unusable(&format!(
                "the embedded broker cannot use {}: on this system its path may hold letters, digits and -._~ only",
                folder.display()
            ))),
        }
    }
}

/// The URL of the file in a folder; `None` where it would spell the path differently.
fn storage_url(folder: &Path) -> Option<Url> {
    let file = folder.join(FILE);
    let path = file.to_str()?;
    let url = Url::parse(&format!("sqlite:///{path}")).ok()?;
    (url.path().strip_prefix('/') == Some(path) && url.query().is_none() && url.fragment().is_none()).then_some(url)
}

#[cfg(target_os = "linux")]
fn open_name(open: &File) -> Option<PathBuf> {
    use std::os::fd::AsRawFd;
    Some(PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd())))
}

#[cfg(not(target_os = "linux"))]
fn open_name(_open: &File) -> Option<PathBuf> {
    None
}

fn unusable(text: &str) -> EventLogError {
    EventLogError::Unusable(text.to_owned())
}
