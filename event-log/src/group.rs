//! Groups inside one process: the members of a group share the partitions of a topic.
//!
//! Guarantee: at any moment every partition belongs to exactly one member, decided by the members and the number of
//! partitions alone. A member learns of a change at its next poll; until then two may read the same partition, which
//! the speed layer's compare-and-append makes harmless.
//! Not here: groups across processes, which are the broker's (`kafka/consumer.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use positions::PartitionId;
use tokio::sync::watch;

type GroupKey = (String, String);

/// The groups of one process; clones share them.
#[derive(Clone, Debug)]
pub struct LocalGroups {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    // Written by joins and leaves, read at every poll of a member; held for a map look-up, never across an await.
    members: Mutex<BTreeMap<GroupKey, Members>>,
    // Counts joins and leaves, so that a waiting poll wakes up for them.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Members {
    next: u64,
    present: BTreeSet<u64>,
}

impl Default for LocalGroups {
    fn default() -> Self {
        Self { shared: Arc::new(Shared { members: Mutex::default(), changes: watch::Sender::new(0) }) }
    }
}

impl LocalGroups {
    /// Enters a group for one topic; dropping the membership leaves it.
    pub fn join(&self, topic: &str, group: &str) -> Membership {
        let key = (topic.to_owned(), group.to_owned());
        let id = {
            let mut groups = self.lock();
            let members = groups.entry(key.clone()).or_default();
            members.next += 1;
            let id = members.next;
            members.present.insert(id);
            id
        };
        let changes = self.shared.changes.subscribe();
        self.shared.changes.send_modify(|count| *count += 1);
        Membership { groups: self.clone(), key, id, changes, told: None }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<GroupKey, Members>> {
        // The map is consistent after every statement, so a panic elsewhere does not spoil it.
        self.shared.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One member's place in its group.
#[derive(Debug)]
pub struct Membership {
    groups: LocalGroups,
    key: GroupKey,
    id: u64,
    changes: watch::Receiver<u64>,
    /// What this member was told last.
    told: Option<BTreeSet<PartitionId>>,
}

impl Membership {
    /// The partitions that are this member's now, of a topic that has `count`; `None` where it was told so already.
    pub fn news(&mut self, count: usize) -> Option<BTreeSet<PartitionId>> {
        let now = self.assignment(count);
        if self.told.as_ref() == Some(&now) {
            return None;
        }
        self.told = Some(now.clone());
        Some(now)
    }

    /// The partitions that are this member's now, of a topic that has `count`.
    pub fn assignment(&self, count: usize) -> BTreeSet<PartitionId> {
        let groups = self.groups.lock();
        let Some(members) = groups.get(&self.key) else { return BTreeSet::new() };
        let Some(place) = members.present.iter().position(|id| *id == self.id) else { return BTreeSet::new() };
        share(place, members.present.len(), count)
    }

    /// Returns when members have come or gone since the last call.
    pub async fn changed(&mut self) {
        // The sender lives as long as `groups`, which this membership holds: an error cannot happen.
        let _ = self.changes.changed().await;
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if let Some(members) = self.groups.lock().get_mut(&self.key) {
            members.present.remove(&self.id);
        }
        self.groups.shared.changes.send_modify(|count| *count += 1);
    }
}

/// The partitions of the member at `place` among `members`: every `members`-th one.
fn share(place: usize, members: usize, count: usize) -> BTreeSet<PartitionId> {
    (place..count).step_by(members).map(partition).collect()
}

/// The partition at an index; topics have far fewer than `i32::MAX`.
pub(crate) fn partition(index: usize) -> PartitionId {
    PartitionId(i32::try_from(index).expect("a topic has fewer than i32::MAX partitions"))
}
