//! The configuration: every setting of every crate, read once, checked, typed.
//!
//! ```text
//!  default.toml < file < environment < flags --MergedConfig--> one value per key --Reader--> Config
//! ```
//!
//! Guarantee: an unknown key, a wrong type or a value out of range is refused by its key, all of them at once; so are
//! limits that are right one by one and can never work together (`limits.rs`).
//! Not here: reading configuration files or the environment (`commands.rs` does), while files that secrets are in, and
//! certificates of Redis, are read here; what settings are used for (the crates).

mod address;
mod ballista;
mod error;
mod layer_sections;
mod layers;
mod limits;
mod notify;
mod origins;
mod pass_through;
pub mod quantity;
mod read;
mod reader;
mod realtime;
mod schedule_keys;
mod schedules;
mod secret;
mod secret_files;
mod sections;
mod strays;
mod workflow_section;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) use address::{is_header_text, is_http_url};
pub use ballista::{BallistaSection, Engine};
pub use error::{ConfigError, ConfigProblem};
pub use layers::{DEFAULTS, ENVIRONMENT_PREFIX};
pub use notify::{NoticeKind, NotifySettings, OpenLineageSettings, WebhookSettings};
pub use schedules::{ScheduleSettings, WrittenSchedule};
pub use secret::Secret;
pub use strays::stray_variables;
pub use workflow_section::WorkflowSection;

use batch_layer::BatchSettings;
use batch_layer::archive::ArchiveSettings;
use collector::CollectorSettings;
use edge::{Audit, ConnectionSettings};
use event_log::embedded::EmbeddedSettings;
use event_log::kafka::KafkaSettings;
use query_gateway::GatewaySettings;
use serving_layer::redis::RedisSettings;
use speed_layer::SpeedSettings;
use url::Url;

/// What is laid over the defaults.
#[derive(Clone, Debug, Default)]
pub struct ConfigInputs {
    /// Texts over the defaults, the weakest first: name and TOML. A configuration file, or presets of a command.
    pub files: Vec<(String, String)>,
    /// Environment variables; those that are not settings are passed over.
    pub environment: Vec<(String, String)>,
    /// Key and value of each flag that was given.
    pub flags: Vec<(String, String)>,
}

/// All settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// The process as a whole.
    pub system: SystemSettings,
    /// Who may reach its port.
    pub access: AccessSettings,
    /// Where events are kept.
    pub log: LogSettings,
    /// Where tables live.
    pub lake: LakeSection,
    /// Where realtime views live.
    pub realtime: RealtimeSettings,
    /// Who tells the schemas of Avro and Protobuf payloads; `None`: nobody.
    pub schema_registry: Option<SchemaRegistrySettings>,
    /// Events over HTTP into the log.
    pub collector: CollectorSettings,
    /// Log to master dataset.
    pub archive: ArchiveSettings,
    /// Master dataset to batch views.
    pub batch: BatchSettings,
    /// Who computes large groups, and how.
    pub ballista: BallistaSection,
    /// When batch views are computed.
    pub schedules: ScheduleSettings,
    /// How this process takes part in runs.
    pub workflow: WorkflowSection,
    /// Who is told of runs.
    pub notify: NotifySettings,
    /// Log to realtime views.
    pub speed: SpeedSettings,
    /// Both views to answers.
    pub gateway: GatewaySettings,
}

/// Settings of the process as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemSettings {
    /// The data directory.
    pub data_dir: PathBuf,
    /// Where collector and gateway listen.
    pub listen: SocketAddr,
    /// What that port allows its clients.
    pub connections: ConnectionSettings,
    /// Where that port finds what it speaks TLS with; `None`: it speaks plain HTTP.
    pub tls: Option<TlsSettings>,
    /// The longest ordered shutdown.
    pub shutdown_deadline: Duration,
    /// How long a replaced definition of a view is computed on beside the present one; zero: not at all.
    pub keep_replaced: Duration,
}

/// Who may reach the port of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessSettings {
    /// How they are known.
    pub mode: AccessMode,
    /// Keys, tokens and certificates, and what they may do; where the mode is `Keys`.
    pub file: Option<PathBuf>,
    /// Which requests the log tells of, with who made them.
    pub audit: Audit,
}

/// How it is known who may ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessMode {
    /// Whoever is on this machine may, and the port is reached from nowhere else.
    #[default]
    Local,
    /// By what each request shows.
    Keys,
    /// Whoever reaches the port may.
    Open,
}

impl SystemSettings {
    /// The scheme of the port's URL.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

/// The files that the port speaks TLS with, each of them PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The certificate, and behind it those up to its authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authorities of clients; `None`: clients are asked for no certificate.
    pub client_ca: Option<PathBuf>,
    /// Whether a client without a certificate is refused.
    pub is_client_required: bool,
}

/// Which event log is used.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// Whether the log inside this process is used; then most of `kafka` does not count.
    pub is_embedded: bool,
    /// The log inside this process; its folder is that of the data directory.
    pub embedded: EmbeddedSettings,
    /// The client.
    pub kafka: KafkaSettings,
}

/// Where tables live, and how they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LakeSection {
    /// Where.
    pub location: LakeLocation,
    /// How.
    pub tables: lake::LakeSettings,
}

impl LakeSection {
    /// Whether the tables are a part of the data directory.
    pub fn is_in_data_dir(&self) -> bool {
        self.location == LakeLocation::Folder(None)
    }
}

/// Where tables live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LakeLocation {
    /// A folder; `None`: inside the data directory.
    Folder(Option<PathBuf>),
    /// An object store that speaks S3.
    S3(S3Settings),
}

/// An object store that speaks S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Settings {
    /// The bucket.
    pub bucket: String,
    /// Folder within the bucket, without slashes at its ends; may be empty.
    pub prefix: String,
    /// `None`: AWS.
    pub endpoint: Option<String>,
    /// The region.
    pub region: String,
    /// Key id and secret; `None`: as the environment of the process says.
    pub credentials: Option<(String, Secret)>,
    /// Whether the endpoint may be plain http.
    pub allow_http: bool,
}

/// Where realtime views live.
#[derive(Clone, Debug)]
pub enum RealtimeSettings {
    /// In this process.
    Memory {
        /// When so much is in use, realtime stands still.
        limit_bytes: u64,
    },
    /// On a Redis server.
    Redis(RedisSettings),
}

/// A registry of schemas that speaks the protocol of Confluent's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaRegistrySettings {
    /// Where it is.
    pub url: Url,
    /// User and password; `None`: it asks for none.
    pub credentials: Option<(String, Secret)>,
    /// Longest time until a whole answer.
    pub timeout: Duration,
}
