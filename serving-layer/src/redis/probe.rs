//! Does once, to keys of its own, all that realtime views ask of a Redis server.
//!
//! Guarantee: a user who may do this may run the store; nothing is left behind, but for what expires within a minute,
//! also where the process is killed in between.
//! Not here: what the errors of a server mean (`error.rs`).

use std::time::Duration;

use bytes::Bytes;
use positions::{
    Counters, DefinitionHash, DefinitionNumber, Incarnation, Index, IndexStamp, PartitionId, Position, Run, RunId,
    RunView, SourceName, TimestampMicros,
};

use super::RedisStore;
use super::error::STORE;
use super::form::encode_index;
use crate::ServingError;
use crate::realtime::{BlobKey, PartitionKey, RealtimeStore, Swap};

/// A source's name cannot begin so.
const PROBE: &str = "_probe";
const BLOB: &[u8] = b"probe";
const MINUTE: Duration = Duration::from_secs(60);

impl RedisStore {
    /// Writes and reads a blob, and changes an index with the script of the store, under a name of `nonce`'s own. What
    /// the server's clock says, where it tells.
    ///
    /// # Errors
    /// As the store's calls have them; [`ServingError::Unusable`] where it does not give back what was written.
    pub async fn probe(&self, nonce: u128) -> Result<Option<TimestampMicros>, ServingError> {
        let partition = PartitionKey::new(&SourceName::new(format!("{PROBE}-{nonce:032x}")), PartitionId(0));
        let key = BlobKey { run: RunId(nonce), view: DefinitionHash(nonce) };
        self.put_blobs(&partition, vec![(key, Bytes::from_static(BLOB))], MINUTE).await?;
        let (with_blob, without) = (probe_index(nonce, vec![probe_run(key)]), probe_index(nonce ^ 1, Vec::new()));
        self.write_mortal(&self.index_key(&partition), &encode_index(&without), MINUTE).await?;
        self.probe_swap(&partition, without.stamp, &with_blob).await?;
        let probed = self.probe_stored(&partition, key, &with_blob).await;
        let emptied = self.probe_swap(&partition, with_blob.stamp, &without).await;
        let removed = self.remove_probe(&partition, &without).await;
        probed.and(emptied).and(removed)?;
        Ok(self.server_time().await)
    }

    async fn probe_swap(
        &self,
        partition: &PartitionKey,
        expected: IndexStamp,
        next: &Index,
    ) -> Result<(), ServingError> {
        match self.swap_index(partition, Some(expected), next, MINUTE).await? {
            Swap::Done => Ok(()),
            Swap::Lost(_) => Err(forgetful("an index")),
            Swap::MissingBlobs(_) => Err(forgetful("a blob")),
        }
    }

    async fn probe_stored(&self, partition: &PartitionKey, key: BlobKey, index: &Index) -> Result<(), ServingError> {
        let blobs = self.get_blobs(partition, &[key]).await?;
        if blobs.first().and_then(Option::as_deref) != Some(BLOB) {
            return Err(forgetful("a blob"));
        }
        if self.read_index(partition).await?.as_ref() != Some(index) { Err(forgetful("an index")) } else { Ok(()) }
    }

    async fn remove_probe(&self, partition: &PartitionKey, index: &Index) -> Result<(), ServingError> {
        let (key, bytes) = ([self.index_key(partition)], encode_index(index));
        let done = self.connection.clone().run::<i64>(&self.discard, &key, &[bytes.as_slice()]).await;
        done.map(drop).map_err(|error| self.errors.passing(error))
    }

    /// `None` also where the user may not ask.
    async fn server_time(&self) -> Option<TimestampMicros> {
        let told: Result<(i64, i64), _> = redis::cmd("TIME").query_async(&mut self.connection.clone()).await;
        let (seconds, micros) = told.ok()?;
        Some(TimestampMicros(seconds.checked_mul(1_000_000)?.checked_add(micros)?))
    }
}

fn probe_index(stamp: u128, runs: Vec<Run>) -> Index {
    let mut index = Index::new(IndexStamp(stamp), DefinitionNumber(0), probe_position(), TimestampMicros(0));
    index.runs = runs;
    index
}

fn probe_position() -> Position {
    Position::start(Incarnation::default())
}

fn probe_run(key: BlobKey) -> Run {
    let views = vec![RunView { view: key.view, rows: 1 }];
    Run {
        id: key.run,
        from: probe_position(),
        to: probe_position(),
        views,
        counters: Counters::default(),
        starts_at_border: true,
    }
}

fn forgetful(what: &str) -> ServingError {
    let reason = format!("it does not keep {what} that was just written: is it a replica, or does it evict keys?");
    ServingError::Unusable { store: STORE, reason }
}
