//! Removing what no topic has any more, and what was released and is too old or too much.
//!
//! Guarantee: a removal that is cut off by a kill goes on after the next start.
//!
//! Not here: what may go (`../retention.rs`).

use std::sync::Arc;

use tracing::{info, warn};

use super::Writer;
use crate::EventLogError;
use crate::embedded::key::{ChunkKey, TopicPartition};
use crate::embedded::retention::{Keep, Oldest, choose};
use crate::embedded::store::{Entries, start_entry};
use crate::embedded::topics::Partition;

/// Chunks of a partition that are removed at once, and of topics that are gone together; appends wait for it.
pub(super) const REMOVED_CHUNKS: usize = 1_000;

impl Writer {
    /// Removes some of what is to go. `true` where more may be left to remove.
    pub fn retain(&mut self) -> bool {
        match self.remove_leftovers().and_then(|is_more| Ok(self.remove_old()? || is_more)) {
            Ok(is_more) => is_more,
            Err(error) => {
                warn!(%error, "old records were not removed");
                false
            }
        }
    }

    fn remove_leftovers(&mut self) -> Result<bool, EventLogError> {
        if !self.has_leftovers {
            return Ok(false);
        }
        let known = self.shared.topics().values().map(|topic| topic.number).collect();
        let keys = {
            let store = self.shared.store();
            let store = store.as_ref().ok_or_else(|| self.shared.unreachable())?;
            let found = store.leftovers(&known, REMOVED_CHUNKS);
            found.map_err(|error| self.shared.failed("look for topics that are gone", &error))?
        };
        if keys.is_empty() {
            self.has_leftovers = false;
            return Ok(false);
        }
        let entries: Entries = keys.into_iter().map(|key| (key, None)).collect();
        self.commit(&entries).map_err(|failure| failure.error())?;
        info!(entries = entries.len(), "records of a topic that is gone were removed");
        Ok(true)
    }

    fn remove_old(&mut self) -> Result<bool, EventLogError> {
        let settings = &self.shared.settings;
        let since = self.now() - i64::try_from(settings.retention.as_millis()).unwrap_or(i64::MAX);
        let keep = Keep { since, bytes: settings.max_bytes };
        let (places, kept) = {
            let topics = self.shared.topics();
            let all = topics.iter().flat_map(|(name, topic)| {
                let each = topic.partitions.iter().enumerate();
                each.map(move |(index, partition)| (name.clone(), topic.place(index), *partition))
            });
            let all: Vec<(String, TopicPartition, Partition)> = all.collect();
            let kept = all.iter().map(|(_, _, partition)| partition.kept()).sum();
            (all, kept)
        };
        // Mostly nothing may go, which the first chunk of each partition tells.
        if choose(&self.oldest(&places, 1)?, kept, keep).iter().all(|count| *count == 0) {
            return Ok(false);
        }
        let oldest = self.oldest(&places, REMOVED_CHUNKS)?;
        let counts = choose(&oldest, kept, keep);
        let mut is_more = false;
        for ((name, place, _), (oldest, count)) in std::iter::zip(places, std::iter::zip(oldest, counts)) {
            is_more |= count == REMOVED_CHUNKS;
            self.remove(&name, place, &oldest.chunks[..count])?;
        }
        Ok(is_more)
    }

    fn oldest(
        &self,
        places: &[(String, TopicPartition, Partition)],
        count: usize,
    ) -> Result<Vec<Oldest>, EventLogError> {
        let of_place = |(_, place, partition): &(String, TopicPartition, Partition)| {
            let may_go = partition.low < partition.released;
            let chunks = if may_go { self.keys(*place, partition.low, count)? } else { Vec::new() };
            Ok(Oldest { chunks, removed: partition.removed, released: partition.released })
        };
        places.iter().map(of_place).collect()
    }

    fn remove(&mut self, topic: &str, place: TopicPartition, chunks: &[ChunkKey]) -> Result<(), EventLogError> {
        let Some(last) = chunks.last() else { return Ok(()) };
        let mut entries: Entries = chunks.iter().map(|key| (key.encode(), None)).collect();
        entries.push(start_entry(last));
        let mut removed_bytes = 0;
        let shared = Arc::clone(&self.shared);
        let removal = shared.removal();
        // Told when it is true: a removal that failed has removed nothing.
        self.commit(&entries).map_err(|failure| failure.error())?;
        if let Some(partition) = shared.topics().get_mut(topic).and_then(|topic| topic.partition_mut(place.partition)) {
            removed_bytes = last.total.saturating_sub(partition.removed);
            partition.note_removed(last);
        }
        drop(removal);
        shared.tell_readers();
        info!(topic, partition = %place.partition, low = last.last + 1, "old records were removed");
        // What was removed takes room until files are merged, which a flush brings about.
        self.unflushed += removed_bytes;
        Ok(())
    }
}
