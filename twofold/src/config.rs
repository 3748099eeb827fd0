//! The configuration: every setting of every crate, read once, checked, typed.
//!
//! ```text
//!  default.toml < file < environment < flags --Layers--> one value per key --Reader--> Config (settings per crate)
//! ```
//!
//! Guarantee: an unknown key, a wrong type or a value out of range is refused by its key, all of them at once; so are
//! limits that are right one by one and can never work together (`limits.rs`).
//! Not here: reading files or the environment (`commands.rs` does); what settings are used for (the crates).

mod error;
mod layer_sections;
mod layers;
mod limits;
pub mod quantity;
mod reader;
mod sections;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use error::{ConfigError, ConfigProblem};
pub use layers::{DEFAULTS, ENVIRONMENT_PREFIX};
pub use sections::Secret;

use batch_layer::BatchSettings;
use batch_layer::archive::ArchiveSettings;
use collector::CollectorSettings;
use event_log::embedded::EmbeddedSettings;
use event_log::kafka::KafkaSettings;
use layers::Layers;
use query_gateway::GatewaySettings;
use reader::Reader;
use serving_layer::redis::RedisSettings;
use speed_layer::SpeedSettings;

/// What the layers over the defaults say.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Texts over the defaults, the weakest first: name and TOML. A configuration file, or presets of a command.
    pub files: Vec<(String, String)>,
    /// Environment variables; those that are no setting are passed over.
    pub environment: Vec<(String, String)>,
    /// Key and value of each flag that was given.
    pub flags: Vec<(String, String)>,
}

/// All settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// The process as a whole.
    pub system: SystemSettings,
    /// Where events are kept.
    pub log: LogSettings,
    /// Where tables live.
    pub lake: LakeSettings,
    /// Where realtime views live.
    pub realtime: RealtimeSettings,
    /// Events over HTTP into the log.
    pub collector: CollectorSettings,
    /// Log to master dataset.
    pub archive: ArchiveSettings,
    /// Master dataset to batch views.
    pub batch: BatchSettings,
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
    /// The longest ordered shutdown.
    pub shutdown_deadline: Duration,
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
pub struct LakeSettings {
    /// Where.
    pub location: LakeLocation,
    /// How.
    pub tables: lake::LakeSettings,
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

impl Config {
    /// Lays the sources over the defaults and reads every setting.
    ///
    /// # Errors
    /// Everything that is wrong, by key.
    pub fn read(sources: Sources) -> Result<Self, ConfigError> {
        let layers = Layers::defaults();
        let layers = sources.files.iter().fold(layers, |layers, (name, text)| layers.with_file(name, text));
        let layers = layers.with_environment(sources.environment);
        let layers = sources.flags.iter().fold(layers, |layers, (key, text)| layers.with_flag(key, text));
        let reader = Reader::new(layers.finish()?);
        let config = sections::read_all(&reader);
        // Only then: a wrong value reads as zero, which breaks every limit.
        reader.finish()?;
        limits::check_limits(&reader, &config);
        reader.finish()?;
        Ok(config)
    }

    /// Keys of the defaults that nothing reads: a defect, which a test looks for.
    pub fn unread_default_keys() -> Vec<String> {
        let reader = Reader::new(Layers::defaults().finish().expect("the defaults have the types of the defaults"));
        let _ = sections::read_all(&reader);
        reader.unread_keys()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::read(Sources::default()).expect("the embedded defaults are valid: a test reads them")
    }
}
