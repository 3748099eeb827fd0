//! What the gateway cannot know, gathered in the background and shown by `/v1/status`.
//!
//! In: the log's bounds, the archive's progress, the embedded log's size, stopped sources. Out: a board that requests read.
//! Guarantee: a status request asks no broker and no store; the board is about a second old.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use batch_layer::archive::{ArchiveState, ArchiveStatus};
use batch_layer::run::BatchStatus;
use positions::{Offset, PartitionId, SourceName};
use query_gateway::{PartitionFacts, StatusSource, SystemFacts};
use serde_json::{Value, json};
use tokio::sync::watch;
use views::SourceDefinition;

use crate::health::Health;
use crate::wiring::Parts;

/// The ends of all partitions of a source in the log, summed.
const LOG_END: &str = "twofold_event_log_end_offsets";
/// How far the archive of this process has come in them, summed.
const ARCHIVE_END: &str = "twofold_archive_end_offsets";

/// Where the facts come from.
pub struct FactSources {
    /// Stopped sources.
    pub health: Arc<Health>,
    /// Progress of each archive in this process.
    pub archives: BTreeMap<SourceName, watch::Receiver<ArchiveStatus>>,
    /// The batch loop of this process.
    pub batch: Option<watch::Receiver<BatchStatus>>,
    parts: Parts,
}

/// The last facts.
#[derive(Debug, Default)]
pub struct StatusBoard {
    // Replaced by the gathering loop, cloned by requests.
    facts: RwLock<SystemFacts>,
}

#[async_trait]
impl StatusSource for StatusBoard {
    async fn facts(&self) -> SystemFacts {
        self.facts.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl StatusBoard {
    /// Puts new facts up.
    pub fn put(&self, facts: SystemFacts) {
        *self.facts.write().unwrap_or_else(PoisonError::into_inner) = facts;
    }
}

impl FactSources {
    /// The facts about `parts`; roles add theirs.
    pub fn new(parts: &Parts, health: Arc<Health>) -> Self {
        Self { health, archives: BTreeMap::new(), batch: None, parts: parts.clone() }
    }

    /// Gathers the facts of this moment. Asks the log for the bounds of each partition.
    pub async fn gather(&self) -> SystemFacts {
        let mut partitions = BTreeMap::new();
        for source in &self.parts.pipeline.sources {
            let facts = self.partition_facts(source).await;
            tell_offsets(LOG_END, &source.name, facts.values().map(|facts| facts.produced));
            tell_offsets(ARCHIVE_END, &source.name, facts.values().map(|facts| facts.archived));
            partitions.insert(source.name.clone(), facts);
        }
        SystemFacts { partitions, others: self.other_facts() }
    }

    async fn partition_facts(&self, source: &SourceDefinition) -> BTreeMap<PartitionId, PartitionFacts> {
        let mut facts: BTreeMap<PartitionId, PartitionFacts> = BTreeMap::new();
        if let Some(archive) = self.archives.get(&source.name) {
            for (partition, archived) in &archive.borrow().facts.partitions {
                facts.entry(*partition).or_default().archived = Some(archived.archived.end.offset);
            }
        }
        if let Some(log) = &self.parts.log {
            // What cannot be asked now is shown as unknown, not as an error: the layers tell of their own trouble.
            for partition in log.partitions(&source.topic).await.unwrap_or_default() {
                let bounds = log.bounds(&source.topic, partition).await;
                facts.entry(partition).or_default().produced = bounds.ok().map(|bounds| bounds.high);
            }
        }
        facts
    }

    fn other_facts(&self) -> BTreeMap<String, Value> {
        let mut facts = BTreeMap::from([
            ("version".to_owned(), json!(env!("CARGO_PKG_VERSION"))),
            ("definitions".to_owned(), json!(self.parts.definitions.0)),
            ("stopped_sources".to_owned(), json!(self.health.stopped_sources())),
        ]);
        if !self.parts.brokers.is_empty() {
            facts.insert("brokers".to_owned(), json!(self.parts.brokers));
        }
        if let Some(log) = &self.parts.embedded {
            facts.insert("embedded_log_bytes".to_owned(), json!(log.size_bytes()));
        }
        for (source, archive) in &self.archives {
            facts.insert(format!("archive of {source}"), describe_archive(&archive.borrow()));
        }
        if let Some(batch) = &self.batch {
            facts.insert("batch".to_owned(), describe_batch(&batch.borrow()));
        }
        facts
    }
}

/// A sum that lacks a partition would be a lag that is none: then the last one stays.
fn tell_offsets(name: &'static str, source: &SourceName, offsets: impl Iterator<Item = Option<Offset>>) {
    let known: Option<Vec<i64>> = offsets.map(|offset| Some(offset?.0)).collect();
    if let Some(known) = known.filter(|known| !known.is_empty()) {
        metrics::gauge!(name, "source" => source.to_string()).set(known.iter().sum::<i64>() as f64);
    }
}

fn describe_archive(status: &ArchiveStatus) -> Value {
    let (state, error) = match &status.state {
        ArchiveState::Starting => ("starting", None),
        ArchiveState::Running => ("running", None),
        ArchiveState::Retrying { error } => ("retrying", Some(error)),
        ArchiveState::Stopped { error } => ("stopped", error.as_ref()),
    };
    json!({
        "state": state,
        "error": error,
        "version": status.version,
        "rows": status.facts.rows,
        "pending_rows": status.pending_rows,
        "pending_bytes": status.pending_bytes,
    })
}

fn describe_batch(status: &BatchStatus) -> Value {
    let errors: BTreeMap<&str, &String> = status.errors.iter().map(|(view, error)| (view.as_str(), error)).collect();
    let files: BTreeMap<&str, usize> =
        status.master_files.iter().map(|(source, files)| (source.as_str(), *files)).collect();
    json!({ "running": status.is_running, "errors": errors, "master_files": files })
}
