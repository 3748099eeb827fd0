//! The realtime-view store in Redis (7.0 or later, or Valkey): for several processes and machines.
//!
//! All keys of a partition carry one hash tag, `{twofold:<prefix>:<source>:<partition>}`, so that Redis Cluster keeps
//! them on one node: `...:index` holds the index (see `redis/form.rs`), `...:blob:<run>:<view>` a blob.
//!
//! Guarantee: one script compares the stamp, replaces the index and sets which blobs expire, atomically. A blob is
//! written with a time to live and kept only by the swap that names it; a swap that names a missing blob is refused.
//! What Redis has no memory for is refused (`noeviction`), never evicted. Every other failure is `Unreachable`: retry.
//! Not here: what an index says (`positions::Index`), retries with backoff (the speed layer).
//! Why the old index is read before the script runs: its stamp names it for ever, so what follows from it still holds
//! in the script, which can then declare every key it touches, as a cluster demands.

mod error;
mod form;
mod probe;
mod swap;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use positions::{Index, IndexStamp};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, ErrorKind, IntoConnectionInfo, ProtocolVersion, RedisError, Script, ServerErrorKind, Value};
use tracing::{info, warn};

pub use crate::config::RedisSettings;

use crate::ServingError;
use crate::realtime::{BlobChange, BlobKey, PartitionKey, RealtimeStore, Swap};
use error::{STORE, is_out_of_memory, refused, unreachable, unusable};
use form::{decode_index, encode_index, escape};
use swap::{DISCARD, SWAP, read_swap_reply};

/// Blobs fetched by one command: bounds the size of a reply.
const BLOBS_PER_READ: usize = 32;
/// Bytes written by one pipeline: bounds the time until its reply.
const BYTES_PER_WRITE: usize = 8 * 1024 * 1024;

/// A realtime store in Redis. Clones share one connection, which is made again whenever it is lost.
#[derive(Clone)]
pub struct RedisStore {
    // A handle onto one multiplexed connection: cloned per call, because commands need it mutable.
    connection: ConnectionManager,
    prefix: String,
    swap: Script,
    discard: Script,
}

impl RedisStore {
    /// Connects, and checks that this Redis will not evict views.
    ///
    /// # Errors
    /// [`ServingError::Unreachable`]: try again. [`ServingError::Unusable`]: wrong URL, older than 7.0, or a
    /// `maxmemory-policy` that evicts keys which never expire.
    pub async fn connect(settings: RedisSettings) -> Result<Self, ServingError> {
        let address = settings.url.as_str().into_connection_info().map_err(unusable)?;
        let protocol = address.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = Client::open(address.set_redis_settings(protocol)).map_err(unusable)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(settings.connect_timeout))
            .set_response_timeout(Some(settings.response_timeout))
            .set_number_of_retries(1)
            .set_max_delay(settings.reconnect_pause)
            .set_pipeline_buffer_size(settings.pipeline_commands);
        let connection = ConnectionManager::new_with_config(client, config).await.map_err(refused)?;
        let store =
            Self { connection, prefix: settings.prefix, swap: Script::new(SWAP), discard: Script::new(DISCARD) };
        store.check_server().await?;
        Ok(store)
    }

    async fn check_server(&self) -> Result<(), ServingError> {
        let mut connection = self.connection.clone();
        let facts: Result<String, RedisError> = redis::cmd("INFO").query_async(&mut connection).await;
        let facts = match facts {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => {
                warn!("redis connected; INFO is not permitted, so its version and maxmemory-policy are not checked");
                return Ok(());
            }
            facts => facts.map_err(unreachable)?,
        };
        let version = info_field(&facts, "redis_version").unwrap_or("unknown");
        let major = version.split('.').next().and_then(|major| major.parse().ok());
        if major.is_none_or(|major: u32| major < 7) {
            return Err(ServingError::Unusable {
                store: STORE,
                reason: format!("version {version}, 7.0 or later is needed"),
            });
        }
        let policy = info_field(&facts, "maxmemory_policy").unwrap_or("unknown");
        let is_limited = info_field(&facts, "maxmemory").is_some_and(|limit| limit != "0");
        match policy {
            "noeviction" => info!(version, policy, "redis connected"),
            policy if is_limited && policy.starts_with("allkeys") => {
                let reason = format!("maxmemory-policy is {policy}, which evicts views; set it to noeviction");
                return Err(ServingError::Unusable { store: STORE, reason });
            }
            policy => warn!(version, policy, "redis connected; set maxmemory-policy to noeviction"),
        }
        Ok(())
    }

    fn tag(&self, partition: &PartitionKey) -> String {
        let (prefix, source) = (escape(&self.prefix), escape(partition.source.as_str()));
        format!("{{twofold:{prefix}:{source}:{}}}", partition.partition)
    }

    fn index_key(&self, partition: &PartitionKey) -> String {
        format!("{}:index", self.tag(partition))
    }

    fn blob_key(&self, partition: &PartitionKey, key: &BlobKey) -> String {
        format!("{}:blob:{}:{}", self.tag(partition), key.run, key.view)
    }

    async fn read_bytes(&self, key: &str) -> Result<Option<Vec<u8>>, ServingError> {
        redis::cmd("GET").arg(key).query_async(&mut self.connection.clone()).await.map_err(unreachable)
    }

    async fn write_blobs(
        &self,
        partition: &PartitionKey,
        blobs: &[(BlobKey, Bytes)],
        time_to_live: Duration,
    ) -> Result<(), ServingError> {
        let mut pipeline = redis::pipe();
        for (key, bytes) in blobs {
            // NX: blobs never change, and one that the index names must not begin to expire.
            let name = self.blob_key(partition, key);
            pipeline.cmd("SET").arg(name).arg(&bytes[..]).arg("NX").arg("PX").arg(millis(time_to_live)).ignore();
        }
        match pipeline.exec_async(&mut self.connection.clone()).await {
            Ok(()) => Ok(()),
            Err(error) if is_out_of_memory(&error) => Err(self.full().await),
            Err(error) => Err(unreachable(error)),
        }
    }

    async fn full(&self) -> ServingError {
        let facts: Result<String, RedisError> =
            redis::cmd("INFO").arg("memory").query_async(&mut self.connection.clone()).await;
        // Not permitted, or not answered: that the store is full is sure all the same.
        let facts = facts.ok();
        let number = |name| info_field(facts.as_deref()?, name)?.parse().ok();
        ServingError::Full { used_bytes: number("used_memory"), limit_bytes: number("maxmemory") }
    }

    async fn run_swap(
        &self,
        partition: &PartitionKey,
        expected: Option<IndexStamp>,
        next: &Index,
        change: &BlobChange,
        grace: Duration,
    ) -> Result<Swap, ServingError> {
        let mut call = self.swap.key(self.index_key(partition));
        for key in change.kept.iter().chain(&change.dropped) {
            call.key(self.blob_key(partition, key));
        }
        let expected = expected.map(|stamp| stamp.to_string()).unwrap_or_default();
        call.arg(expected).arg(encode_index(next)).arg(change.kept.len()).arg(millis(grace));
        let reply: Vec<Value> = call.invoke_async(&mut self.connection.clone()).await.map_err(unreachable)?;
        read_swap_reply(&reply, change)
    }
}

#[async_trait]
impl RealtimeStore for RedisStore {
    async fn read_index(&self, partition: &PartitionKey) -> Result<Option<Index>, ServingError> {
        let key = self.index_key(partition);
        self.read_bytes(&key).await?.map(|bytes| decode_index(&bytes, &key)).transpose()
    }

    async fn put_blobs(
        &self,
        partition: &PartitionKey,
        blobs: Vec<(BlobKey, Bytes)>,
        time_to_live: Duration,
    ) -> Result<(), ServingError> {
        let mut first = 0;
        while first < blobs.len() {
            let mut size_bytes = 0;
            let fits = |(_, bytes): &&(BlobKey, Bytes)| {
                size_bytes += bytes.len();
                size_bytes <= BYTES_PER_WRITE
            };
            let last = first + blobs[first..].iter().take_while(fits).count().max(1);
            self.write_blobs(partition, &blobs[first..last], time_to_live).await?;
            first = last;
        }
        Ok(())
    }

    async fn get_blobs(&self, partition: &PartitionKey, keys: &[BlobKey]) -> Result<Vec<Option<Bytes>>, ServingError> {
        let mut found = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(BLOBS_PER_READ) {
            let mut command = redis::cmd("MGET");
            for key in chunk {
                command.arg(self.blob_key(partition, key));
            }
            let blobs: Vec<Option<Vec<u8>>> =
                command.query_async(&mut self.connection.clone()).await.map_err(unreachable)?;
            found.extend(blobs.into_iter().map(|blob| blob.map(Bytes::from)));
        }
        Ok(found)
    }

    async fn swap_index(
        &self,
        partition: &PartitionKey,
        expected: Option<IndexStamp>,
        next: &Index,
        grace: Duration,
    ) -> Result<Swap, ServingError> {
        let stored = self.read_index(partition).await?;
        if stored.as_ref().map(|index| index.stamp) != expected {
            return Ok(Swap::Lost(stored));
        }
        let change = BlobChange::between(stored.as_ref(), next);
        self.run_swap(partition, expected, next, &change, grace).await
    }

    async fn discard_corrupt_index(&self, partition: &PartitionKey) -> Result<(), ServingError> {
        let key = self.index_key(partition);
        let Some(bytes) = self.read_bytes(&key).await? else { return Ok(()) };
        if decode_index(&bytes, &key).is_ok() {
            return Ok(());
        }
        // Compared once more in the script: another worker may have replaced it in between.
        let mut call = self.discard.key(&key);
        call.arg(bytes).invoke_async::<i64>(&mut self.connection.clone()).await.map(drop).map_err(unreachable)
    }
}

fn info_field<'a>(facts: &'a str, name: &str) -> Option<&'a str> {
    facts.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn millis(span: Duration) -> u64 {
    // Redis refuses an expiry of 0.
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX).clamp(1, i64::MAX as u64 / 2)
}
