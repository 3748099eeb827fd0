//! What the gateway cannot know, gathered in the background and shown by `/v1/status`.
//!
//! In: the log's bounds, the archive's progress, the embedded log's size, the registry, stopped sources, what other
//! processes tell. Out: a board that requests read, and what is told to them.
//! Guarantee: a status request asks no broker and no store; the board is about a second old.

mod hindrances;
pub mod run;
mod run_troubles;
mod trouble_book;
mod troubles;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use batch_layer::archive::{ArchiveState, ArchiveStatus};
use collector::OpenSources;
use event_log::{EventLog, EventLogError, LifeLog};
use positions::{Offset, PartitionId, SourceName, ViewName};
use query_gateway::{Gateway, PartitionFacts, StatusSource, SystemFacts, Trouble, UnseenColumn};
use records::master::MasterSnapshot;
use serde_json::{Value, json};
use tokio::sync::watch;
use views::SourceDefinition;

use crate::definitions::{Definitions, Registered};
use crate::health::Health;
use crate::lives::Lives;
use crate::notices::{Found, Notices};
use crate::role::{Role, Roles};
use crate::wiring::SharedComponents;
use crate::workflow::looks::Looks;
use crate::workflow::outcomes::{failing_views, is_computing};
use crate::workflow::tables::Tables;

pub use trouble_book::TroubleBook;

/// The ends of all partitions of a source in the log, summed.
const LOG_END: &str = "twofold_event_log_end_offsets";
/// Whether a source has stopped, here or elsewhere.
const STOPPED: &str = "twofold_source_stopped";
/// How far the archive of this process has come in them, summed.
const ARCHIVE_END: &str = "twofold_archive_end_offsets";

/// Where the facts come from.
pub struct FactSuppliers {
    /// What the roles of this process share.
    pub shared: SharedComponents,
    /// The definitions of the moment.
    pub definitions: Definitions,
    /// The sources that take events: they are told of the lives of their topics.
    pub open: Arc<OpenSources>,
    /// Which lives those are.
    pub lives: Arc<Lives>,
    /// What the registry of definitions said last.
    pub registered: watch::Receiver<Registered>,
    /// What the roles of this process tell of themselves.
    pub progress: Arc<Progress>,
    /// What was found here of views that are computed each interval.
    pub looks: Arc<Looks>,
    /// What was found here of tables.
    pub tables: Arc<Tables>,
    /// Stopped sources.
    pub health: Arc<Health>,
    /// What other processes tell, and are told.
    pub notices: Arc<Notices>,
    /// What this process does.
    pub roles: Roles,
    /// The gateway of this process, where it has one.
    pub gateway: Option<watch::Receiver<Arc<Gateway>>>,
    /// Since when what is wrong has been known.
    pub book: TroubleBook,
}

/// What archives of this process tell of themselves. They come and go with their sources.
#[derive(Debug, Default)]
pub struct Progress {
    // Changed when a role starts or stops, copied by the gathering loop.
    archives: RwLock<BTreeMap<SourceName, watch::Receiver<ArchiveStatus>>>,
}

impl Progress {
    /// Notes the archive of a source.
    pub fn add_archive(&self, source: SourceName, archive: watch::Receiver<ArchiveStatus>) {
        self.archives.write().unwrap_or_else(PoisonError::into_inner).insert(source, archive);
    }

    /// Forgets the archive of a source: it was stopped.
    pub fn remove_archive(&self, source: &SourceName) {
        self.archives.write().unwrap_or_else(PoisonError::into_inner).remove(source);
    }

    fn archives(&self) -> BTreeMap<SourceName, ArchiveStatus> {
        let archives = self.archives.read().unwrap_or_else(PoisonError::into_inner);
        archives.iter().map(|(source, archive)| (source.clone(), archive.borrow().clone())).collect()
    }
}

/// The last facts.
#[derive(Debug, Default)]
pub struct StatusBoard {
    // Replaced by the gathering loop, cloned by requests.
    facts: watch::Sender<SystemFacts>,
}

#[async_trait]
impl StatusSource for StatusBoard {
    async fn facts(&self) -> SystemFacts {
        self.facts.borrow().clone()
    }
}

impl StatusBoard {
    /// Puts new facts up.
    pub fn put(&self, facts: SystemFacts) {
        self.facts.send_replace(facts);
    }

    /// Tells of each time that facts are put up.
    pub fn subscribe(&self) -> watch::Receiver<SystemFacts> {
        self.facts.subscribe()
    }
}

impl FactSuppliers {
    /// Gathers the facts of this moment. Asks the log for the bounds of each partition.
    pub async fn gather(&self) -> SystemFacts {
        let (mut partitions, archives) = (BTreeMap::new(), self.progress.archives());
        let mut silence = None;
        for source in &self.definitions.current().pipeline.sources {
            let facts = self.partition_facts(source, archives.get(&source.name), &mut silence).await;
            // Only who reads the log knows which of its offsets can be read: a collector alone would tell another end.
            if self.roles.has(Role::Archive) || self.roles.has(Role::Speed) {
                tell_offsets(LOG_END, &source.name, facts.values().map(|facts| facts.produced));
            }
            tell_offsets(ARCHIVE_END, &source.name, facts.values().map(archived_end));
            partitions.insert(source.name.clone(), facts);
        }
        self.health.note_log(silence);
        self.tell_stopped();
        let unseen = archives.iter().map(|(source, archive)| (source.clone(), unseen_columns(archive)));
        let failing = self.failing_views();
        let (troubles, told) = self.troubles(&archives, &failing).await;
        let with_rows = archives.iter().filter(|(_, archive)| archive.facts.rows > 0);
        self.notices.tell(Found { problems: told, with_rows: with_rows.map(|(source, _)| source.clone()).collect() });
        let heard = self.notices.heard();
        SystemFacts {
            partitions,
            unseen: unseen.collect(),
            standstills: self.standstills(&archives, &heard),
            troubles: beside(troubles, heard.problems),
            others: self.other_facts(&archives, &failing),
        }
    }

    /// The gateway that answers at this moment, where this process has one.
    fn current_gateway(&self) -> Option<Arc<Gateway>> {
        self.gateway.as_ref().map(|gateway| gateway.borrow().clone())
    }

    fn tell_stopped(&self) {
        let stops = self.health.stops();
        for source in &self.definitions.current().pipeline.sources {
            let is_stopped = if stops.contains_key(&source.name) { 1.0 } else { 0.0 };
            metrics::gauge!(STOPPED, "source" => source.name.to_string()).set(is_stopped);
        }
    }

    async fn partition_facts(
        &self,
        source: &Arc<SourceDefinition>,
        archive: Option<&ArchiveStatus>,
        silence: &mut Option<String>,
    ) -> BTreeMap<PartitionId, PartitionFacts> {
        let mut facts: BTreeMap<PartitionId, PartitionFacts> = BTreeMap::new();
        // How far files were imported, the archive knows only as of its own last commit.
        for (partition, archived) in archive.into_iter().flat_map(|archive| archive.facts.of_log()) {
            facts.entry(*partition).or_default().archived = Some(archived.archived.end.offset);
        }
        let Some(log) = self.shared.log.as_ref().filter(|_| silence.is_none()) else { return facts };
        // What cannot be asked now is shown as unknown, not as an error: the layers tell of their own trouble.
        let partitions = match log.partitions(&source.topic).await {
            Err(EventLogError::Unreachable(reason)) => {
                // For this time: asked for every other source, it would keep silent as long again.
                *silence = Some(reason);
                return facts;
            }
            partitions => partitions.unwrap_or_default(),
        };
        // Without the life nothing can be said of the log's offsets.
        if let Ok(life) = self.lives.of(source).await {
            self.open.note_life(&source.name, life.clone());
            let log = LifeLog::new(log.clone(), life);
            for partition in partitions {
                let end = log.readable_end(&source.topic, partition).await;
                facts.entry(partition).or_default().produced = end.ok();
            }
        }
        facts
    }

    fn other_facts(
        &self,
        archives: &BTreeMap<SourceName, ArchiveStatus>,
        failing: &BTreeMap<ViewName, String>,
    ) -> BTreeMap<String, Value> {
        let mut facts = BTreeMap::from([
            ("version".to_owned(), json!(env!("CARGO_PKG_VERSION"))),
            ("definitions".to_owned(), json!(self.definitions.current().number.0)),
            ("stopped_sources".to_owned(), json!(self.health.stopped_sources())),
        ]);
        if !self.shared.brokers.is_empty() {
            facts.insert("brokers".to_owned(), json!(self.shared.brokers));
        }
        if let Some(log) = &self.shared.embedded {
            facts.insert("embedded_log_bytes".to_owned(), json!(log.size_bytes()));
        }
        facts.extend(describe_registry(&self.registered.borrow()).map(|registry| ("registry".to_owned(), registry)));
        facts.extend(self.definitions.current().superseded().map(|why| ("superseded".to_owned(), json!(why))));
        for (source, archive) in archives {
            facts.insert(format!("archive of {source}"), describe_archive(archive, self.lives.newest(source).as_ref()));
        }
        if self.roles.has(Role::Batch) {
            facts.insert("batch".to_owned(), self.describe_batch(failing));
        }
        facts
    }

    /// Runs as this process read them last, in whichever process their tasks are done.
    fn describe_batch(&self, failing: &BTreeMap<ViewName, String>) -> Value {
        let state = self.shared.workflow.state();
        json!({
            "running": is_computing(&state),
            "paused": state.is_paused,
            "errors": failing,
            "master_files": self.tables.found().master_files,
        })
    }

    /// The views that could not be computed, or not even looked at, the last time, and why; none where this process has
    /// no batch role.
    fn failing_views(&self) -> BTreeMap<ViewName, String> {
        if !self.roles.has(Role::Batch) {
            return BTreeMap::new();
        }
        let (workflow, set) = (&self.shared.workflow, self.definitions.current());
        let mut failing = self.looks.correct(failing_views(&workflow.state(), &set));
        // Nothing is begun then, and what is at work cannot be reported.
        if let Some(reason) = workflow.unreachable() {
            for view in set.pipeline.views.iter().filter(|view| view.source.is_recomputed()) {
                failing.entry(view.name.clone()).or_insert_with(|| reason.clone());
            }
        }
        failing
    }
}

/// What was found here, and behind it what others found and nobody here did.
fn beside(here: Vec<Trouble>, elsewhere: Vec<Trouble>) -> Vec<Trouble> {
    let mut all = here;
    for trouble in elsewhere {
        if !all.iter().any(|known| known.kind == trouble.kind && known.about == trouble.about) {
            all.push(trouble);
        }
    }
    all
}

/// How far a partition is archived; one that never held a record is whole.
fn archived_end(facts: &PartitionFacts) -> Option<Offset> {
    facts.archived.or_else(|| facts.produced.filter(|end| end.0 == 0))
}

/// A sum that lacks a partition would show a lag that does not exist: then the last one stays.
fn tell_offsets(name: &'static str, source: &SourceName, offsets: impl Iterator<Item = Option<Offset>>) {
    let known: Option<Vec<i64>> = offsets.map(|offset| Some(offset?.0)).collect();
    if let Some(known) = known.filter(|known| !known.is_empty()) {
        metrics::gauge!(name, "source" => source.to_string()).set(known.iter().sum::<i64>() as f64);
    }
}

fn describe_registry(registered: &Registered) -> Option<Value> {
    let number = registered.number?;
    Some(json!({ "definitions": number.0, "being_built": registered.being_built }))
}

fn unseen_columns(archive: &ArchiveStatus) -> Vec<UnseenColumn> {
    let told = archive.unseen.iter().map(|found| UnseenColumn {
        column: found.column.clone(),
        keys: found.keys.clone(),
        way_out: found.way_out(),
    });
    told.collect()
}

/// An archive that has nothing to commit does not learn that what it archived was read again since, and is counted
/// otherwise: of the same records, the newest version of the table tells.
fn describe_archive(status: &ArchiveStatus, newest: Option<&MasterSnapshot>) -> Value {
    let is_recounted = |newest: &&MasterSnapshot| {
        Some(newest.snapshot.version()) > status.version && newest.facts.is_of_same_records(&status.facts)
    };
    let facts = newest.filter(is_recounted).map_or(&status.facts, |newest| &newest.facts);
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
        "rows": facts.rows,
        "rejected": facts.rejected(),
        "pending_rows": status.pending_rows,
        "pending_bytes": status.pending_bytes,
        "unreadable_values": status.unreadable,
        "unseen_columns": unseen_columns(status),
    })
}
