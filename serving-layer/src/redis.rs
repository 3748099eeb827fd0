//! The realtime-view store in Redis (7.0 or later, or Valkey): for several processes and machines.
//!
//! All keys of a partition carry one hash tag, `{twofold:<prefix>:<source>:<partition>}`, so that Redis Cluster keeps
//! them on one node: `...:index` holds the index (see `redis/form.rs`), `...:blob:<run>:<view>` a blob. Nothing but an
//! erasing scans keys, and no command or script touches those of two partitions.
//!
//! Guarantee: one script compares the stamp, replaces the index and sets which blobs expire, atomically. A blob is
//! written with a time to live and kept only by the swap that names it; a swap that names a missing blob is refused.
//! What Redis has no memory for is refused (`noeviction`), never evicted. Every other failure is `Unreachable`, or
//! `Refusing` with the way out: retry. A replica that takes over may lack the last writes: what it has is how they all
//! were a moment ago, an index with its blobs, and stamps tell whoever saw more.
//! Not here: what an index says (`positions::Index`), retries with backoff (the speed layer), reading certificates from
//! files (the binary).
//! Why the old index is read before the script runs: its stamp names it for ever, so what follows from it still holds
//! in the script, which can then declare every key it touches, as a cluster demands.

mod address;
mod connection;
mod error;
mod forget;
mod form;
mod probe;
mod rights;
mod server;
mod single;
mod swap;
mod tls;
mod way_out;

use std::time::Duration;
use std::{iter, slice};

use async_trait::async_trait;
use bytes::Bytes;
use positions::{Index, IndexStamp};
use redis::{ErrorKind, RedisError, ServerErrorKind, Value};
use tracing::{info, warn};

pub use crate::config::{RedisSettings, RedisTls};
pub use address::check_address;
pub use rights::{CLUSTER_COMMANDS, COMMANDS, acl_rules, key_pattern};
pub use way_out::{WayOut, way_out};

use crate::ServingError;
use crate::realtime::{BlobChange, BlobKey, PartitionKey, RealtimeStore, Swap};
use address::read_addresses;
use connection::{Connection, NamedScript};
use error::{ErrorReader, is_out_of_memory, unusable};
use form::{decode_index, encode_index, escape};
use rights::commands_on_keys;
use server::{check_mode, check_server, fullest, version};
use swap::{DISCARD, FORGET_SOME, MISSING_RIGHTS, SWAP, read_swap_reply};
use tls::read_certificates;
use way_out::add_commands;

/// Blobs fetched by one command: bounds the size of a reply.
const BLOBS_PER_READ: usize = 32;
/// Bytes written by one pipeline: bounds the time until its reply.
const BYTES_PER_WRITE: usize = 8 * 1024 * 1024;
/// What is written to see whether it can be is gone after this time.
const CHECK_LIVES: Duration = Duration::from_secs(1);

/// A realtime store in Redis. Clones share its connections, which are made again whenever they are lost.
#[derive(Clone)]
pub struct RedisStore {
    // A handle onto multiplexed connections: cloned per call, because commands need it mutable.
    connection: Connection,
    prefix: String,
    errors: ErrorReader,
    swap: NamedScript,
    discard: NamedScript,
    forget: NamedScript,
}

impl RedisStore {
    /// Connects, and checks that this Redis will not evict views.
    ///
    /// # Errors
    /// [`ServingError::Unreachable`], [`ServingError::Refusing`]: try again. [`ServingError::Unusable`]: a wrong
    /// address, certificate, user or password, older than 7.0, a `maxmemory-policy` that evicts keys which never
    /// expire, or a cluster where `is_cluster` says otherwise.
    pub async fn connect(settings: RedisSettings) -> Result<Self, ServingError> {
        let addresses = read_addresses(&settings)
            .map_err(|reason| unusable(format!("the address in `realtime.store`: {reason}")))?;
        let certificates = read_certificates(&settings.tls).map_err(unusable)?;
        let errors = ErrorReader {
            prefix: settings.prefix.clone(),
            is_cluster: settings.is_cluster,
            is_encrypted: settings.url.starts_with("rediss://"),
        };
        let at_start = |error| errors.at_start(error);
        // Also of a cluster: one connection tells what is wrong in its own words, the client of a cluster in others.
        let mut connection =
            Connection::to_first(&addresses, certificates.as_ref(), &settings).await.map_err(at_start)?;
        let mut facts = permitted(connection.facts("default").await).map_err(at_start)?;
        for (_, facts) in facts.iter().flatten() {
            check_mode(facts, settings.is_cluster).map_err(unusable)?;
        }
        if settings.is_cluster {
            connection = Connection::to_cluster(addresses, certificates.as_ref(), &settings).await.map_err(at_start)?;
            facts = permitted(connection.facts("default").await).map_err(at_start)?;
        }
        check_servers(facts)?;
        Ok(Self {
            connection,
            prefix: settings.prefix,
            errors,
            swap: NamedScript::new(SWAP),
            discard: NamedScript::new(DISCARD),
            forget: NamedScript::new(FORGET_SOME),
        })
    }

    /// Whether the user may run every command of realtime views, and a write is taken: a key that expires at once.
    ///
    /// # Errors
    /// [`ServingError::Unusable`]: what will not go away by itself, such as a right that is missing or a replica.
    /// [`ServingError::Full`] and others: what a store that is in use may say as well.
    pub async fn check_writable(&self) -> Result<(), ServingError> {
        // No source has a partition of this name.
        let key = format!("{{twofold:{}::check}}:check", escape(&self.prefix));
        let mut connection = self.connection.clone();
        let rights: Vec<&[u8]> = commands_on_keys().map(str::as_bytes).collect();
        let missing = connection.run(&NamedScript::new(MISSING_RIGHTS), slice::from_ref(&key), &rights).await;
        let missing: Vec<String> = missing.map_err(|error| self.errors.at_start(error))?;
        if !missing.is_empty() {
            let advice = add_commands(&missing, &self.prefix, self.errors.is_cluster);
            return Err(unusable(format!("permission denied: {advice}")));
        }
        self.write_mortal(&key, b"check", CHECK_LIVES).await?;
        self.read_bytes(&key).await.map(drop)
    }

    /// Writes what a check needs, and what is gone after a time.
    async fn write_mortal(&self, key: &str, value: &[u8], lives: Duration) -> Result<(), ServingError> {
        let mut write = redis::cmd("SET");
        write.arg(key).arg(value).arg("PX").arg(millis(lives));
        match write.query_async::<()>(&mut self.connection.clone()).await {
            Ok(()) => Ok(()),
            Err(error) if is_out_of_memory(&error) => Err(self.full().await),
            Err(error) => Err(self.errors.at_start(error)),
        }
    }

    fn tag(&self, partition: &PartitionKey) -> String {
        let (prefix, source) = (escape(&self.prefix), escape(partition.source.as_str()));
        match partition.generation {
            // No escaped name has a colon, so no tag looks like another one.
            Some(generation) => format!("{{twofold:{prefix}:{source}:{generation}:{}}}", partition.partition),
            None => format!("{{twofold:{prefix}:{source}:{}}}", partition.partition),
        }
    }

    fn index_key(&self, partition: &PartitionKey) -> String {
        format!("{}:index", self.tag(partition))
    }

    fn blob_key(&self, partition: &PartitionKey, key: &BlobKey) -> String {
        format!("{}:blob:{}:{}", self.tag(partition), key.run, key.view)
    }

    async fn read_bytes(&self, key: &str) -> Result<Option<Vec<u8>>, ServingError> {
        let found = redis::cmd("GET").arg(key).query_async(&mut self.connection.clone()).await;
        found.map_err(|error| self.errors.passing(error))
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
            Err(error) => Err(self.errors.passing(error)),
        }
    }

    async fn full(&self) -> ServingError {
        // Not permitted, or not answered: that the store is full is sure all the same.
        let facts = self.connection.clone().facts("memory").await.unwrap_or_default();
        let (used_bytes, limit_bytes) = fullest(&facts);
        ServingError::Full { used_bytes, limit_bytes }
    }

    async fn run_swap(
        &self,
        partition: &PartitionKey,
        expected: Option<IndexStamp>,
        next: &Index,
        change: &BlobChange,
        grace: Duration,
    ) -> Result<Swap, ServingError> {
        let blobs = change.kept.iter().chain(&change.dropped).map(|key| self.blob_key(partition, key));
        let keys: Vec<String> = iter::once(self.index_key(partition)).chain(blobs).collect();
        let expected = expected.map(|stamp| stamp.to_string()).unwrap_or_default();
        let (next_bytes, kept) = (encode_index(next), change.kept.len().to_string());
        let grace = millis(grace).to_string();
        let arguments = [expected.as_bytes(), next_bytes.as_slice(), kept.as_bytes(), grace.as_bytes()];
        let reply = self.connection.clone().run(&self.swap, &keys, &arguments).await;
        let reply: Vec<Value> = reply.map_err(|error| self.errors.passing(error))?;
        match read_swap_reply(&reply, change)? {
            // Sent twice, since the first reply was lost with its connection.
            Swap::Lost(Some(stored)) if stored.stamp == next.stamp => Ok(Swap::Done),
            outcome => Ok(outcome),
        }
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
            let blobs = command.query_async(&mut self.connection.clone()).await;
            let blobs: Vec<Option<Vec<u8>>> = blobs.map_err(|error| self.errors.passing(error))?;
            found.extend(blobs.into_iter().map(|blob| blob.map(Bytes::from)));
        }
        Ok(found)
    }

    async fn has_blobs(&self, partition: &PartitionKey, keys: &[BlobKey]) -> Result<Vec<bool>, ServingError> {
        let mut found = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(BLOBS_PER_READ) {
            let mut pipeline = redis::pipe();
            for key in chunk {
                pipeline.cmd("EXISTS").arg(self.blob_key(partition, key));
            }
            let blobs = pipeline.query_async(&mut self.connection.clone()).await;
            let blobs: Vec<i64> = blobs.map_err(|error| self.errors.passing(error))?;
            found.extend(blobs.into_iter().map(|blob| blob > 0));
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
        let outcome = self.connection.clone().run::<i64>(&self.discard, &[key], &[bytes.as_slice()]).await;
        outcome.map(drop).map_err(|error| self.errors.passing(error))
    }

    async fn forget(&self, partition: &PartitionKey) -> Result<(), ServingError> {
        self.forget_all(partition).await
    }
}

/// `None` where the user may not ask.
fn permitted<T>(facts: Result<T, RedisError>) -> Result<Option<T>, RedisError> {
    match facts {
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => Ok(None),
        facts => facts.map(Some),
    }
}

/// Each server by its address, where it has one.
fn check_servers(facts: Option<Vec<(String, String)>>) -> Result<(), ServingError> {
    let Some(facts) = facts else {
        warn!("redis connected; INFO is not permitted, so its version and maxmemory-policy are not checked");
        return Ok(());
    };
    for (address, facts) in &facts {
        let named = |reason: String| {
            if address.is_empty() { reason } else { format!("node {address}: {reason}") }
        };
        let (version, advice) = (version(facts), check_server(facts).map_err(|reason| unusable(named(reason)))?);
        match advice {
            Some(advice) => warn!(version, "redis connected; {}", named(advice)),
            None => info!(version, address, "redis connected"),
        }
    }
    Ok(())
}

fn millis(span: Duration) -> u64 {
    // Redis refuses an expiry of 0.
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX).clamp(1, i64::MAX as u64 / 2)
}
