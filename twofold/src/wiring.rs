//! Builds what the roles of a process share: clock, ids, stores, log.
//!
//! Guarantee: each function checks that what it opens can be used before anything is started on it.
//! Not here: which role gets what (`topology`).

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use event_log::EventLog;
use event_log::embedded::{EmbeddedLog, EmbeddedSettings};
use event_log::kafka::{KafkaLog, KafkaSettings};
use lake::Lake;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::local::LocalFileSystem;
use object_store::{ObjectStore, RetryConfig};
use positions::{Clock, IdSource};
use records::registry::SchemaRegistry;
use serving_layer::memory::MemoryStore;
use serving_layer::redis::{RedisSettings, RedisStore};
use serving_layer::{RealtimeStore, ServingError};
use tracing::warn;
use workflow::Workflow;

use crate::access::run::keep_rules;
use crate::access::{self, AccessProblems, OpenedAccess};
use crate::config::{Config, LakeLocation, LakeSection, RealtimeSettings, S3Settings, is_header_text, is_http_url};
use crate::data_dir::DataDir;
use crate::environment::{RandomIds, SystemClock};
use crate::role::{Role, Roles};
use crate::run::Supervisor;
use crate::schema_registry;
use crate::stage::Stage;
use crate::store_answers::{StoreClock, StoreConnector};

/// What the roles of one process share.
#[derive(Clone)]
pub struct SharedComponents {
    /// All settings.
    pub config: Arc<Config>,
    /// How its port knows who asks.
    pub access: edge::Access,
    /// What is wrong with what that rests on.
    pub access_problems: AccessProblems,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Random ids.
    pub ids: Arc<dyn IdSource>,
    /// Tables.
    pub lake: Lake,
    /// Runs, as this process reads and changes them.
    pub workflow: Workflow,
    /// Who tells schemas; `None` where none is configured.
    pub registry: Option<Arc<dyn SchemaRegistry>>,
    /// The event log; `None` where no role of this process uses it.
    pub log: Option<Arc<dyn EventLog>>,
    /// The Kafka brokers; empty where the log is embedded, or none is used.
    pub brokers: String,
    /// Realtime views; `None` where no role of this process uses them.
    pub store: Option<Arc<dyn RealtimeStore>>,
    /// The embedded log, where it is the one; the same as `log`.
    pub embedded: Option<EmbeddedLog>,
}

impl SharedComponents {
    /// Opens what `roles` need, and starts the log where it is embedded.
    ///
    /// # Errors
    /// The first component that cannot be used, by its name.
    pub async fn open(config: Config, roles: &Roles, data_dir: &DataDir, supervisor: &mut Supervisor) -> Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let lake = open_lake(&config.lake, data_dir).await?;
        let store = if roles.has(Role::Speed) {
            Some(open_written_store(&config.realtime, &clock).await?)
        } else if roles.use_store() {
            Some(open_store(&config.realtime, &clock).await?)
        } else {
            None
        };
        let registry = schema_registry::configured(&config)?;
        let OpenedAccess { access, problems: access_problems, keeper } = access::open(&config, clock.clone()).await?;
        if let Some(keeper) = keeper {
            let token = supervisor.token(Stage::Gateway);
            supervisor.start(Stage::Gateway, "access file", keep_rules(keeper, token));
        }
        let ids: Arc<dyn IdSource> = Arc::new(RandomIds);
        let workflow = Workflow::new(&lake, Arc::clone(&clock), Arc::clone(&ids));
        let mut shared = Self {
            config: Arc::new(config),
            access,
            access_problems,
            clock,
            ids,
            lake,
            workflow,
            registry,
            log: None,
            brokers: String::new(),
            store,
            embedded: None,
        };
        if roles.use_log() {
            shared.open_log(&data_dir.log(), supervisor).await?;
        }
        Ok(shared)
    }

    /// The log.
    ///
    /// # Errors
    /// If no role of this process was to use it: a defect.
    pub fn log(&self) -> Result<Arc<dyn EventLog>> {
        self.log.clone().context("this role needs the event log")
    }

    /// The realtime store.
    ///
    /// # Errors
    /// If no role of this process was to use it: a defect.
    pub fn store(&self) -> Result<Arc<dyn RealtimeStore>> {
        self.store.clone().context("this role needs the realtime store")
    }

    async fn open_log(&mut self, folder: &Path, supervisor: &mut Supervisor) -> Result<()> {
        let log: Arc<dyn EventLog> = if self.config.log.is_embedded {
            self.open_embedded(folder, supervisor).await?
        } else {
            self.connect_kafka(supervisor).await?
        };
        #[cfg(feature = "failpoints")]
        let log = crate::fail_points::around_log(log);
        self.log = Some(log);
        Ok(())
    }

    async fn connect_kafka(&mut self, supervisor: &mut Supervisor) -> Result<Arc<dyn EventLog>> {
        let settings = self.config.log.kafka.clone();
        self.brokers = settings.bootstrap_servers.clone();
        let log = connect_kafka(settings).await?;
        let (client, token) = (log.clone(), supervisor.token(Stage::Log));
        supervisor.start(Stage::Log, "log client", async move {
            token.cancelled().await;
            client.closed().await;
            Ok(())
        });
        Ok(Arc::new(log))
    }

    async fn open_embedded(&mut self, folder: &Path, supervisor: &mut Supervisor) -> Result<Arc<dyn EventLog>> {
        let settings = EmbeddedSettings { folder: folder.to_owned(), ..self.config.log.embedded.clone() };
        let log = open_embedded(settings).await?;
        let (closing, token) = (log.clone(), supervisor.token(Stage::Log));
        supervisor.start(Stage::Log, "embedded log", async move {
            token.cancelled().await;
            closing.close().await;
            Ok(())
        });
        self.embedded = Some(log.clone());
        Ok(Arc::new(log))
    }
}

/// Opens the embedded log.
///
/// # Errors
/// If its folder cannot be used, or another process holds it.
pub async fn open_embedded(settings: EmbeddedSettings) -> Result<EmbeddedLog> {
    let log = EmbeddedLog::open(settings, Arc::new(SystemClock), Arc::new(RandomIds)).await;
    log.context("cannot open the embedded log")
}

/// Connects to the brokers.
///
/// # Errors
/// If none of them answers, or they refuse this client.
pub async fn connect_kafka(settings: KafkaSettings) -> Result<KafkaLog> {
    KafkaLog::connect(settings).await.context("cannot connect to the event log")
}

/// Opens the tables' store and makes sure that it refuses a second creation of one object, and that no later version
/// has written what is in it.
///
/// # Errors
/// If the store cannot be reached, or ignores conditions: the commits of tables rest on them. If what is in it has
/// another format.
pub async fn open_lake(settings: &LakeSection, data_dir: &DataDir) -> Result<Lake> {
    let (store, root) = objects_of(settings, &data_dir.lake(), &Arc::default())?;
    let beside = match &settings.location {
        LakeLocation::Folder(None) => Some(open_beside(data_dir, settings)?),
        // Beside a place of the operator's choice may be nothing that is ours.
        LakeLocation::Folder(Some(_)) | LakeLocation::S3(_) => None,
    };
    let lake = Lake::with_place_beside(store, root, settings.tables, beside);
    lake.probe_conditional_put(RandomIds.next_id()).await.context("the object store cannot be used for tables")?;
    lake.check_format().await.context("the lake cannot be opened")?;
    Ok(lake)
}

/// Nothing ever stored tables in the folder that was named: a slip, since the command works on what a system left
/// there.
#[derive(Debug, thiserror::Error)]
#[error(
    "there is no lake in {}, which `lake.location` names: name that of the system, or start one with `twofold up`; nothing \
     was made", .folder.display()
)]
pub struct NoLake {
    folder: PathBuf,
}

/// As [`open_lake`], for work on what a system left: a folder that is not there is not made.
///
/// # Errors
/// As there, and [`NoLake`] where the folder is missing or empty.
pub async fn find_lake(settings: &LakeSection, data_dir: &DataDir) -> Result<Lake> {
    expect_lake(settings)?;
    open_lake(settings, data_dir).await
}

/// Looks whether there is a lake, where the settings name a folder for it.
///
/// # Errors
/// [`NoLake`] where the folder is missing or empty. If it cannot be read.
pub fn expect_lake(settings: &LakeSection) -> Result<()> {
    let LakeLocation::Folder(Some(folder)) = &settings.location else { return Ok(()) };
    let is_there = match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(error).with_context(|| format!("cannot read the lake in {}", folder.display())),
    };
    if is_there { Ok(()) } else { Err(NoLake { folder: folder.clone() }.into()) }
}

/// The tables' store, which was not asked anything yet, to be looked at; a folder is made, `in_data_dir` where the
/// settings name none. `clock` is told what the store's clock says.
///
/// # Errors
/// If no client can be made as the settings are, or no folder.
pub fn lake_of(settings: &LakeSection, in_data_dir: &Path, clock: &Arc<StoreClock>) -> Result<Lake> {
    let (store, root) = objects_of(settings, in_data_dir, clock)?;
    Ok(Lake::with_settings(store, root, settings.tables))
}

fn objects_of(
    settings: &LakeSection,
    in_data_dir: &Path,
    clock: &Arc<StoreClock>,
) -> Result<(Arc<dyn ObjectStore>, object_store::path::Path)> {
    let (store, prefix): (Arc<dyn ObjectStore>, &str) = match &settings.location {
        LakeLocation::Folder(_) => (Arc::new(open_folder(&lake_folder(settings, in_data_dir))?), ""),
        LakeLocation::S3(s3) => (Arc::new(open_s3(s3, clock)?), s3.prefix.as_str()),
    };
    #[cfg(feature = "failpoints")]
    let store = crate::fail_points::around_objects(store, prefix);
    Ok((store, object_store::path::Path::from(prefix)))
}

/// A bucket of the object store that the settings of the lake name, to read files from.
///
/// # Errors
/// If the lake is a folder, so that nothing says how buckets are reached; or no client can be made.
pub fn open_bucket(settings: &LakeSection, bucket: &str) -> Result<Arc<dyn ObjectStore>> {
    let LakeLocation::S3(s3) = &settings.location else {
        bail!(
            "objects are read with the endpoint and the keys of the lake, and `lake.location` names a folder; set \
             `lake.location` for this command, or copy the objects to a disk"
        );
    };
    let s3 = S3Settings { bucket: bucket.to_owned(), ..s3.clone() };
    Ok(Arc::new(open_s3(&s3, &Arc::default())?))
}

/// The folder of the tables, where they are in one: `in_data_dir` where the settings name none.
pub fn lake_folder(settings: &LakeSection, in_data_dir: &Path) -> PathBuf {
    match &settings.location {
        LakeLocation::Folder(Some(folder)) => folder.clone(),
        _ => in_data_dir.to_owned(),
    }
}

/// Where the lake of a data directory keeps what must outlive its tables.
fn open_beside(data_dir: &DataDir, settings: &LakeSection) -> Result<Lake> {
    let store = Arc::new(open_folder(&data_dir.beside_lake())?);
    Ok(Lake::with_settings(store, object_store::path::Path::default(), settings.tables))
}

fn open_folder(folder: &Path) -> Result<LocalFileSystem> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make folder {}", folder.display()))?;
    LocalFileSystem::new_with_prefix(folder).with_context(|| format!("cannot use folder {}", folder.display()))
}

/// So long the client of an S3 store repeats a request by itself. Then the layers know of it, say so in their status
/// and try again at their own pace; its default of three minutes would keep them in the dark.
const S3_RETRIES: Duration = Duration::from_secs(20);

/// Where addresses may come from that are no settings of ours, and that the client does not check.
const ADDRESSES: [(AmazonS3ConfigKey, &str); 5] = [
    (AmazonS3ConfigKey::Endpoint, "AWS_ENDPOINT_URL"),
    (AmazonS3ConfigKey::S3Endpoint, "AWS_ENDPOINT_URL_S3"),
    (AmazonS3ConfigKey::StsEndpoint, "AWS_ENDPOINT_URL_STS"),
    (AmazonS3ConfigKey::MetadataEndpoint, "AWS_METADATA_ENDPOINT"),
    (AmazonS3ConfigKey::ContainerCredentialsFullUri, "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
];

/// The same of what becomes a part of a header.
const HEADERS: [(AmazonS3ConfigKey, &str); 2] =
    [(AmazonS3ConfigKey::AccessKeyId, "AWS_ACCESS_KEY_ID"), (AmazonS3ConfigKey::Token, "AWS_SESSION_TOKEN")];

fn open_s3(settings: &S3Settings, clock: &Arc<StoreClock>) -> Result<object_store::aws::AmazonS3> {
    let mut builder = match &settings.credentials {
        Some((key, secret)) => AmazonS3Builder::new().with_access_key_id(key).with_secret_access_key(&secret.0),
        None => AmazonS3Builder::from_env(),
    };
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    for (key, variable) in ADDRESSES {
        let address = builder.get_config_value(&key);
        ensure!(
            address.as_deref().is_none_or(is_http_url),
            "environment variable {variable} must be `http://host:port` or `https://host:port`"
        );
    }
    for (key, variable) in HEADERS {
        let text = builder.get_config_value(&key);
        ensure!(
            text.as_deref().is_none_or(is_header_text),
            "environment variable {variable} must be letters, digits and signs without blanks"
        );
    }
    builder
        .with_bucket_name(&settings.bucket)
        .with_region(&settings.region)
        .with_allow_http(settings.allow_http)
        .with_retry(RetryConfig { retry_timeout: S3_RETRIES, ..RetryConfig::default() })
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_http_connector(StoreConnector::new(clock))
        .build()
        .with_context(|| format!("cannot use bucket {}", settings.bucket))
}

/// Opens the realtime store.
///
/// # Errors
/// If Redis cannot be reached, or would lose data by its settings.
pub async fn open_store(settings: &RealtimeSettings, clock: &Arc<dyn Clock>) -> Result<Arc<dyn RealtimeStore>> {
    match settings {
        RealtimeSettings::Memory { limit_bytes } => Ok(open_memory(*limit_bytes, clock)),
        RealtimeSettings::Redis(redis) => Ok(shared(connect_redis(redis).await?)),
    }
}

/// Opens the realtime store for a role that writes it: one that will never take a write is refused, such as a replica,
/// or Redis with a user who lacks rights. One that has no room, or is still reading its data, is not.
///
/// # Errors
/// As those of [`open_store`], and if nothing can be written until an operator acts.
pub async fn open_written_store(settings: &RealtimeSettings, clock: &Arc<dyn Clock>) -> Result<Arc<dyn RealtimeStore>> {
    let redis = match settings {
        RealtimeSettings::Memory { limit_bytes } => return Ok(open_memory(*limit_bytes, clock)),
        RealtimeSettings::Redis(redis) => connect_redis(redis).await?,
    };
    match redis.check_writable().await {
        Ok(()) => {}
        Err(error @ ServingError::Unusable { .. }) => return Err(error).context(CANNOT_USE_REDIS),
        Err(error) => warn!(%error, "nothing can be written to the realtime store yet"),
    }
    Ok(shared(redis))
}

const CANNOT_USE_REDIS: &str = "cannot use Redis as the realtime store";

async fn connect_redis(settings: &RedisSettings) -> Result<RedisStore> {
    RedisStore::connect(settings.clone()).await.context(CANNOT_USE_REDIS)
}

fn open_memory(limit_bytes: u64, clock: &Arc<dyn Clock>) -> Arc<dyn RealtimeStore> {
    shared(MemoryStore::new(limit_bytes, Arc::clone(clock)))
}

fn shared(store: impl RealtimeStore) -> Arc<dyn RealtimeStore> {
    let store: Arc<dyn RealtimeStore> = Arc::new(store);
    #[cfg(feature = "failpoints")]
    let store = crate::fail_points::around_store(store);
    store
}
