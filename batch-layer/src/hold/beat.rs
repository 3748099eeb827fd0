//! The object by which a holder says that it lives, and what a loop makes of it.

use std::time::Duration;

use lake::{Lake, LakeError};
use tokio::time::Instant;

/// Below the root of the lake.
const OBJECT: &str = "_hold/batch";

/// A hold that has not changed for so long is that of a process which died.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// What a holder puts. Two at once keep all loops waiting until the last of them has ended.
pub(super) struct Hold<'a> {
    lake: &'a Lake,
    holder: u128,
    beats: u64,
}

impl<'a> Hold<'a> {
    pub(super) fn new(lake: &'a Lake, holder: u128) -> Self {
        Self { lake, holder, beats: 0 }
    }

    /// Says that the holder lives.
    pub(super) async fn beat(&mut self) -> Result<(), LakeError> {
        self.beats += 1;
        let text = format!("{:032x} {}\n", self.holder, self.beats);
        self.lake.put(&self.lake.path(OBJECT), text.into()).await
    }

    pub(super) async fn release(self) -> Result<(), LakeError> {
        self.lake.delete_if_there(&self.lake.path(OBJECT)).await
    }
}

/// What a loop saw of the hold.
#[derive(Debug, Default)]
pub struct HoldWatch {
    /// The last content, and when it was seen first.
    seen: Option<(Vec<u8>, Instant)>,
}

impl HoldWatch {
    /// Whether a hold is in force: `found` is what its object holds at `now`, `None` where there is none.
    pub fn is_in_force(&mut self, found: Option<Vec<u8>>, now: Instant) -> bool {
        let Some(found) = found else {
            self.seen = None;
            return false;
        };
        match &self.seen {
            Some((seen, since)) if *seen == found => now.duration_since(*since) < PATIENCE,
            _ => {
                self.seen = Some((found, now));
                true
            }
        }
    }

    /// Looks whether a hold is in force. A store that does not answer holds nobody: the round will tell of it.
    pub async fn look(&mut self, lake: &Lake, now: Instant) -> bool {
        let path = lake.path(OBJECT);
        let Ok(found) = lake.get(&path).await else { return false };
        let is_there = found.is_some();
        let is_in_force = self.is_in_force(found.map(|bytes| bytes.to_vec()), now);
        if is_there && !is_in_force {
            tracing::warn!("a recompute by hand ended without saying so; going on without it");
            // Left there, it would only hold up the next start.
            let _ = lake.delete_if_there(&path).await;
        }
        is_in_force
    }
}
