//! What a speed worker is made of, and its settings.

use std::sync::Arc;
use std::time::Duration;

use event_log::EventLog;
use positions::{Backoff, Clock, CurrentDefinitions, DefinitionHash, IdSource};
use records::master::MasterDataset;
use records::registry::SchemaRegistry;
use serving_layer::{BatchViewStore, RealtimeStore};
use views::{PlannedView, SourceDefinition};

/// What a speed worker of one source works with.
#[derive(Clone)]
pub struct SpeedComponents {
    /// Where events come from.
    pub log: Arc<dyn EventLog>,
    /// Where realtime views go.
    pub store: Arc<dyn RealtimeStore>,
    /// Where events are read that the log does not hold any more.
    pub master: MasterDataset,
    /// The source.
    pub source: Arc<SourceDefinition>,
    /// Where the schemas come from that payloads name; `None` where no registry is configured.
    pub registry: Option<Arc<dyn SchemaRegistry>>,
    /// All views of the source, former definitions among them. One of a source in kappa mode is alone: its generation
    /// has a worker of its own.
    pub views: Vec<SpeedView>,
    /// Tells the number of the set of definitions that the views belong to. Another set may follow while the worker
    /// lives, as long as source and views are the same in it.
    pub definitions: Arc<dyn CurrentDefinitions>,
    /// For as-of instants and pauses; decides nothing about what is counted.
    pub clock: Arc<dyn Clock>,
    /// Draws run ids and index stamps.
    pub ids: Arc<dyn IdSource>,
}

impl SpeedComponents {
    /// The generation that this worker keeps: the states of one view from the first record on, beside which there is no
    /// batch view. `None`: it keeps what lies above the batch views of a source.
    pub fn generation(&self) -> Option<DefinitionHash> {
        match self.views.as_slice() {
            [view] => view.definition.generation(),
            _ => None,
        }
    }

    /// Whether anybody needs what is kept of a view at this moment: a former definition ends once its successor
    /// answers.
    pub(crate) fn needs(&self, view: &SpeedView) -> bool {
        view.keeping == Keeping::Present || self.definitions.needs(view.definition.hash)
    }
}

/// What a speed worker does for a view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keeping {
    /// Runs hold it.
    #[default]
    Present,
    /// It is a former definition that answers until its successor does, over the same reading of the source: runs hold
    /// it until then.
    Former,
    /// As [`Self::Former`], but its source is read otherwise now: no new run holds it, and those that do stay for as
    /// long as its answers need them.
    Standing,
}

/// A view that a speed worker keeps.
#[derive(Clone, Debug)]
pub struct SpeedView {
    /// Its definition, with its plans.
    pub definition: PlannedView,
    /// Where its batch versions are published: their cuts are borders, and say what need not be kept.
    pub published: BatchViewStore,
    /// What is done for it.
    pub keeping: Keeping,
}

/// Settings of a speed worker.
#[derive(Clone, Debug)]
pub struct SpeedSettings {
    /// The consumer group that shares the partitions out; `None`: this worker reads all of them. That of a generation
    /// is called by its definition behind this name.
    pub group: Option<String>,
    /// Longest wait for a record: how often an idle worker looks whether anything is due.
    pub tick: Duration,
    /// Shortest time between two runs of a worker that keeps up: what comes meanwhile becomes one run. At most the
    /// tick.
    pub linger: Duration,
    /// A micro-batch ends after this many records.
    pub max_records: usize,
    /// A micro-batch ends after this many payload bytes.
    pub max_bytes: usize,
    /// This many runs of one size are merged into one.
    pub merge_fan_in: usize,
    /// Upper bound on the merges under way at a time, over all partitions. Each takes up to one core from the rest.
    pub merges_at_once: usize,
    /// How many files of the master dataset a start reads at a time. It reads a little of many small files, so it waits
    /// for their latency, which no number of cores shortens.
    pub files_at_once: usize,
    /// A blob that no index names yet expires after this.
    pub blob_time_to_live: Duration,
    /// A blob that no index names any more expires after this; longer than any reader takes to fetch it.
    pub grace: Duration,
    /// Runs are kept for this long after the batch version that covers them was seen.
    pub courtesy: Duration,
    /// How often published versions (and, without a group, partitions) are looked up.
    pub refresh: Duration,
    /// How many of the newest versions of each view are looked at for their cuts.
    pub retained_versions: usize,
    /// An index without new runs is marked as still right this often.
    pub touch: Duration,
    /// Pauses between attempts after failures.
    pub backoff: Backoff,
    /// Longest time to finish the micro-batch under way at shutdown.
    pub shutdown_deadline: Duration,
}

impl Default for SpeedSettings {
    fn default() -> Self {
        Self {
            group: None,
            tick: Duration::from_millis(200),
            linger: Duration::from_millis(50),
            max_records: 50_000,
            max_bytes: 16 * 1024 * 1024,
            merge_fan_in: 8,
            merges_at_once: 1,
            files_at_once: 16,
            blob_time_to_live: Duration::from_secs(300),
            grace: Duration::from_secs(60),
            courtesy: Duration::from_secs(10),
            refresh: Duration::from_secs(1),
            retained_versions: 4,
            touch: Duration::from_secs(1),
            backoff: Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(10) },
            shutdown_deadline: Duration::from_secs(10),
        }
    }
}
