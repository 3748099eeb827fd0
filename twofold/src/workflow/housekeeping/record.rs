//! What the last clean-up of a source found: by it, the next one is known to be due or not.
//!
//! In: versions of tables, an instant. Out: whether anything can be deleted now that could not be then.
//! Guarantee: the decision is pure. A quiet source is cleaned once more when everything that is old there has been out
//! of use for the whole grace, and then no more. A record that is lost costs one clean-up that finds nothing.
//! Why an object and no note of the journal: whoever cleans writes it, also where nobody leads.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use lake::{Lake, LakeError, Version};
use positions::{SourceName, TimestampMicros};
use serde::{Deserialize, Serialize};

/// What a clean-up found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleanRecord {
    /// When it ended, by the clock of whoever did it.
    pub at: TimestampMicros,
    /// When a clean-up found these versions first.
    pub since: TimestampMicros,
    /// The newest version of each table, by its folder.
    pub versions: BTreeMap<String, Version>,
}

impl CleanRecord {
    /// The record of a clean-up that has just ended, behind `last`.
    pub fn after(last: Option<&Self>, versions: BTreeMap<String, Version>, now: TimestampMicros) -> Self {
        let same = last.filter(|last| last.versions == versions);
        Self { at: now, since: same.map_or(now, |same| same.since), versions }
    }

    /// Whether another one may find something, `interval` behind this one at the earliest: tables have changed, or what
    /// they replaced has been out of use for `grace` since.
    pub fn is_due(
        &self,
        versions: &BTreeMap<String, Version>,
        now: TimestampMicros,
        (interval, grace): (Duration, Duration),
    ) -> bool {
        let is_settled_at = |at: TimestampMicros| at.micros_since(self.since) > positions::micros(grace);
        let has_changed = self.versions != *versions;
        self.is_interval_over(now, interval) && (has_changed || is_settled_at(now) && !is_settled_at(self.at))
    }

    /// Whether `interval` has passed since. A clock that was set back has nobody wait for it.
    pub fn is_interval_over(&self, now: TimestampMicros, interval: Duration) -> bool {
        now < self.at || now.micros_since(self.at) >= positions::micros(interval)
    }
}

/// The last record of a source; `None` where there is none that can be read.
pub(super) async fn last_record(lake: &Lake, source: &SourceName) -> Result<Option<CleanRecord>, LakeError> {
    let bytes = lake.get(&lake.path(&name_of(source))).await?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

pub(super) async fn put_record(lake: &Lake, source: &SourceName, record: &CleanRecord) -> Result<(), LakeError> {
    let bytes = serde_json::to_vec(record).expect("a record is plain data");
    lake.put(&lake.path(&name_of(source)), Bytes::from(bytes)).await
}

fn name_of(source: &SourceName) -> String {
    format!("_workflow/housekeeping/{source}.json")
}
