//! The parts that a benchmark runs on, built as a system builds them: those inside the process, then the real ones.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use event_log::EventLog;
use records::master::MasterDataset;
use serving_layer::RealtimeStore;
use tests::parts::{Kind, Parts};
use twofold::config::{Config, ConfigInputs};
use twofold::data_dir::DataDir;
use twofold::role::Roles;
use twofold::run::Supervisor;
use twofold::wiring::SharedComponents;
use views::{Pipeline, SourceDefinition};

use crate::data::PIPELINE;

/// Both kinds, the embedded one first.
pub const KINDS: [Kind; 2] = [Kind::Embedded, Kind::Real];

/// Events that go through the log of a kind.
pub fn events_for(_kind: Kind) -> usize {
    1_000_000
}

/// Log, lake and realtime store of one kind, with names of their own; gone when it goes out of scope.
pub struct BenchParts {
    wired: SharedComponents,
    pipeline: Pipeline,
    // Holds the task that closes the log.
    _supervisor: Supervisor,
    _parts: Parts,
    _folder: tempfile::TempDir,
}

impl BenchParts {
    /// Starts or finds the parts; `None` where real ones cannot be had.
    pub async fn of(kind: Kind) -> Option<Self> {
        let parts = Parts::of(kind).await?;
        let folder = tempfile::tempdir().unwrap();
        let pipeline = Pipeline::read(&parts.pipeline(PIPELINE), &BTreeMap::new()).unwrap();
        let flags = vec![("system.data_dir".to_owned(), folder.path().display().to_string())];
        let config =
            Config::read(ConfigInputs { environment: parts.settings(), flags, ..ConfigInputs::default() }).unwrap();
        let data_dir = DataDir::open(&config.system.data_dir).unwrap();
        let mut supervisor = Supervisor::new(Arc::default(), Duration::from_secs(10));
        let wired = SharedComponents::open(config, &Roles::all(), &data_dir, &mut supervisor).await.unwrap();
        for source in &pipeline.sources {
            wired.log().unwrap().ensure_topic(&source.topic, source.partitions_at_creation()).await.unwrap();
        }
        Some(Self { wired, pipeline, _supervisor: supervisor, _parts: parts, _folder: folder })
    }

    /// The source, with the name of its topic here.
    pub fn source(&self) -> Arc<SourceDefinition> {
        self.pipeline.sources[0].clone()
    }

    /// The definitions.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// Where tables live.
    pub fn lake(&self) -> &lake::Lake {
        &self.wired.lake
    }

    /// The master dataset of the source.
    pub fn master(&self) -> MasterDataset {
        MasterDataset::new(&self.wired.lake, self.source())
    }

    /// The event log.
    pub fn log(&self) -> Arc<dyn EventLog> {
        self.wired.log().unwrap()
    }

    /// The realtime store.
    pub fn store(&self) -> Arc<dyn RealtimeStore> {
        self.wired.store().unwrap()
    }
}
