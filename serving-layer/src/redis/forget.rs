//! Removing all keys of a partition: the index first, then blobs, also those that no index names any more.
//!
//! Guarantee: on return the partition has no index, and no blob that was there at the call. On retry the next call goes
//! on.
//! Why the keys are looked for: blobs of merged and dropped runs are named by nothing, and live until their time is up.
//! Why a script looks: by the index that it names, it runs on the node of a cluster that holds the partition.

use super::RedisStore;
use crate::ServingError;
use crate::realtime::PartitionKey;

/// Keys that one step of the search looks at: bounds how long others wait for it.
const KEYS_AT_ONCE: &str = "1000";

impl RedisStore {
    pub(super) async fn forget_all(&self, partition: &PartitionKey) -> Result<(), ServingError> {
        // A tag has no letter that means something in a pattern.
        let (index, pattern) = ([self.index_key(partition)], format!("{}:blob:*", self.tag(partition)));
        let mut cursor = "0".to_owned();
        loop {
            let arguments = [pattern.as_bytes(), cursor.as_bytes(), KEYS_AT_ONCE.as_bytes()];
            let next = self.connection.clone().run(&self.forget, &index, &arguments).await;
            cursor = next.map_err(|error| self.errors.passing(error))?;
            if cursor == "0" {
                return Ok(());
            }
        }
    }
}
