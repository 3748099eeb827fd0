//! Removing all keys of a partition: the index first, then blobs, also those that no index names any more.
//!
//! Guarantee: on return the partition has no index, and no blob that was there at the call. On retry the next call goes
//! on.
//! Why the keys are looked for: blobs of merged and dropped runs are named by nothing, and live until their time is up.

use redis::aio::ConnectionManager;

use super::error::unreachable;
use crate::ServingError;

/// Keys that one step of the search looks at.
const KEYS_AT_ONCE: usize = 1_000;

/// Removes the keys that begin with a hash tag, which has no letter that means something in a pattern.
pub(super) async fn forget(mut connection: ConnectionManager, tag: &str) -> Result<(), ServingError> {
    let index = format!("{tag}:index");
    redis::cmd("DEL").arg(index).query_async::<i64>(&mut connection).await.map_err(unreachable)?;
    let pattern = format!("{tag}:blob:*");
    let mut cursor = 0_u64;
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(KEYS_AT_ONCE);
        let (next, keys): (u64, Vec<String>) = scan.query_async(&mut connection).await.map_err(unreachable)?;
        if !keys.is_empty() {
            redis::cmd("DEL").arg(keys).query_async::<i64>(&mut connection).await.map_err(unreachable)?;
        }
        if next == 0 {
            return Ok(());
        }
        cursor = next;
    }
}
