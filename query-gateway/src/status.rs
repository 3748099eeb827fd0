//! `/v1/status`: how far every part of the system is, per source and partition and per view.
//!
//! Guarantee: reads memory and what the binary injects; asks a store only where no refresh loop runs, or has read it
//! yet. What the gateway cannot know comes through [`StatusSource`], so it needs no access to Kafka or the master
//! dataset.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use positions::{Counters, Offset, PartitionId, SourceName, ViewName};
use serde::Serialize;
use views::SourceDefinition;

use crate::envelope::Envelope;
use crate::exactness::told::ExactnessStatus;
use crate::json::instant;
use crate::refresh::SourceReader;
use crate::rejected::RejectedStatus;
use crate::served::{Served, ServedView, SourceState};
use crate::trouble::{Standstill, Trouble};

/// What is known of one partition outside the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionFacts {
    /// The next offset that a producer will write, where known.
    pub produced: Option<Offset>,
    /// How far the master dataset reaches, where known.
    pub archived: Option<Offset>,
}

/// What is known of the system outside the gateway.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SystemFacts {
    /// By source and partition. Where `produced` of any is known, these are all that the topic has.
    pub partitions: BTreeMap<SourceName, BTreeMap<PartitionId, PartitionFacts>>,
    /// By source, the columns that nothing was read for, where that is known.
    pub unseen: BTreeMap<SourceName, Vec<UnseenColumn>>,
    /// What is wrong, here and in the layers that run in this process.
    pub troubles: Vec<Trouble>,
    /// By source, what keeps its realtime views from going on, where that is known.
    pub standstills: BTreeMap<SourceName, Standstill>,
    /// Other facts worth showing, by name: the version, the size of the embedded log, running recomputes.
    pub others: BTreeMap<String, serde_json::Value>,
}

/// A declared column that no archived record has given a value since the archive started, while keys came that may be
/// meant for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnseenColumn {
    /// The column.
    pub column: String,
    /// The keys, each with how many of the payloads that were looked at had it.
    pub keys: BTreeMap<String, u64>,
    /// What to write into the pipeline file.
    pub way_out: String,
}

/// Where facts about the rest of the system come from.
#[async_trait]
pub trait StatusSource: Send + Sync + 'static {
    /// The present facts. Called about twice a second and at each status request, so cheap or cached.
    async fn facts(&self) -> SystemFacts;
}

/// Knows nothing: for a gateway that runs alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoStatus;

#[async_trait]
impl StatusSource for NoStatus {
    async fn facts(&self) -> SystemFacts {
        SystemFacts::default()
    }
}

/// The answer of `/v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// When it was put together, RFC 3339.
    pub at: Option<String>,
    /// In the order of the pipeline file.
    pub sources: Vec<SourceStatus>,
    /// In the order of the pipeline file.
    pub views: Vec<ViewStatus>,
    /// Everything that is wrong, as far as this process knows.
    pub problems: Vec<Trouble>,
    /// Other facts that the binary reports.
    pub system: BTreeMap<String, serde_json::Value>,
}

/// One source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceStatus {
    /// Its name.
    pub source: String,
    /// The topic it reads.
    pub topic: String,
    /// `lambda`, or `kappa`: no batch views of it are computed.
    pub mode: &'static str,
    /// Why the realtime store cannot be read; null if it can.
    pub problem: Option<String>,
    /// What was rejected, in all partitions, and where to look; null where nothing was.
    pub rejected: Option<RejectedStatus>,
    /// Columns that nothing was read for, where an archive in this process found near keys; empty otherwise.
    pub unseen_columns: Vec<UnseenColumn>,
    /// By number.
    pub partitions: Vec<PartitionStatus>,
}

/// One partition: offsets are the next not covered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartitionStatus {
    /// The partition.
    pub partition: PartitionId,
    /// What producers have written, where known.
    pub produced: Option<Offset>,
    /// What is in the master dataset, where known.
    pub archived: Option<Offset>,
    /// What the batch views of all views of the source cover.
    pub batched: Offset,
    /// What the realtime views cover; null without an index.
    pub realtime: Option<Offset>,
    /// Records produced and in no answer yet, where known.
    pub lag: Option<i64>,
    /// When the realtime head was last known to be right.
    pub as_of: Option<String>,
    /// Records counted by batch and realtime together.
    pub rows: u64,
    /// Of these, rejected.
    pub rejected: u64,
    /// Of these, late.
    pub late: u64,
    /// Of these, left out as copies.
    pub copies: u64,
    /// Offsets lost before they were archived.
    pub holes: u64,
}

/// One view.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ViewStatus {
    /// Its name.
    pub view: String,
    /// `served`, `being built` or `unavailable`.
    pub state: &'static str,
    /// Why it is not served.
    pub reason: Option<String>,
    /// The envelope that an answer would have now.
    pub envelope: Option<Envelope>,
    /// Why the batch versions cannot be listed; null if they can.
    pub problem: Option<String>,
    /// How the newest publication compared with what it replaced; null before the first.
    pub exactness: Option<ExactnessStatus>,
    /// Bytes of states in the memory of this gateway, by definition: of the one that answers, and of one that is being
    /// built; batch versions and what is merged of realtime. Absent where there are none, and to who does not operate.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub memory_bytes: BTreeMap<String, usize>,
}

/// [`ViewStatus::memory_bytes`] of a view.
pub(crate) fn memory_of(source: &SourceReader, view: &ViewName, state: &SourceState) -> BTreeMap<String, usize> {
    let readers = source.views().iter().filter(|reader| reader.view.name == *view);
    let bytes = readers.map(|reader| {
        let realtime = match state.views.get(&reader.view.hash) {
            Some(ServedView::Served(served)) => served.realtime.size_bytes(),
            _ => 0,
        };
        (reader.view.hash.to_string(), reader.versions.loaded_bytes() + realtime)
    });
    // What gave way holds nothing any more.
    bytes.filter(|(_, bytes)| *bytes > 0).collect()
}

/// The status of one source, from the last states of all that reads it and the facts about it.
pub(crate) fn source_status(
    source: &SourceDefinition,
    states: &[Arc<SourceState>],
    facts: &BTreeMap<PartitionId, PartitionFacts>,
    unseen_columns: Vec<UnseenColumn>,
) -> SourceStatus {
    let views = states.iter().flat_map(|state| state.views.values());
    let served: Vec<&Served> = views
        .filter_map(|view| match view {
            ServedView::Served(served) => Some(served.as_ref()),
            _ => None,
        })
        .collect();
    let indexes = states.iter().flat_map(|state| state.indexes.keys().copied());
    let mut partitions: std::collections::BTreeSet<PartitionId> = indexes.collect();
    partitions.extend(facts.keys());
    partitions.extend(served.iter().flat_map(|served| served.partitions.keys()));
    let partitions = partitions.into_iter().map(|partition| {
        let facts = facts.get(&partition).copied().unwrap_or_default();
        partition_status(partition, states, &served, facts)
    });
    let partitions: Vec<PartitionStatus> = partitions.collect();
    let rejected: u64 = partitions.iter().map(|partition| partition.rejected).sum();
    SourceStatus {
        source: source.name.to_string(),
        topic: source.topic.clone(),
        mode: source.mode.as_str(),
        problem: states.iter().find_map(|state| state.problem.clone()),
        rejected: RejectedStatus::of(source.name.as_str(), rejected),
        unseen_columns,
        partitions,
    }
}

fn partition_status(
    partition: PartitionId,
    states: &[Arc<SourceState>],
    served: &[&Served],
    facts: PartitionFacts,
) -> PartitionStatus {
    // Of several generations the one that is least far: what it is behind the others is still to be replayed.
    let indexes = states.iter().filter_map(|state| state.indexes.get(&partition)?.as_ref());
    let index = indexes.min_by_key(|index| index.head.offset);
    let cut = |served: &Served| served.partitions.get(&partition).map_or(Offset(0), |pin| pin.cut.offset);
    // Views of one source count the same records, so the one that is furthest speaks for all.
    let furthest = served.iter().max_by_key(|served| served.partitions.get(&partition).map(|pin| pin.head.offset));
    let counters = furthest.map(|served| counters(served, partition)).unwrap_or_default();
    let reached =
        furthest.and_then(|served| served.partitions.get(&partition)).map_or(Offset(0), |pin| pin.head.offset);
    PartitionStatus {
        partition,
        produced: facts.produced,
        archived: facts.archived,
        batched: served.iter().map(|served| cut(served)).min().unwrap_or_default(),
        realtime: index.map(|index| index.head.offset),
        lag: facts.produced.map(|produced| (produced.0 - reached.0).max(0)),
        as_of: index.and_then(|index| instant(index.as_of)),
        rows: counters.rows,
        rejected: counters.rejected,
        late: counters.late,
        copies: counters.copies,
        holes: counters.holes,
    }
}

fn counters(served: &Served, partition: PartitionId) -> Counters {
    let facts = served.version.as_ref().map(|version| &version.facts);
    let batch = facts.and_then(|facts| facts.counters.get(&partition)).copied().unwrap_or_default();
    batch + served.partitions.get(&partition).map(|pin| pin.counters).unwrap_or_default()
}
