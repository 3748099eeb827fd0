//! What a layer under test stands in, all of it in this process: a pipeline, a clock that is moved by hand, ids of a
//! seed, a log and tables. Suites add their traffic, their faults and the truth that answers are held against.

use std::collections::BTreeMap;
use std::sync::Arc;

use event_log::memory::MemoryLog;
use lake::Lake;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use serving_layer::memory::MemoryStore;
use views::Pipeline;

use super::flaky_store::FlakyStore;
use super::seams::{ManualClock, SeededIds};

/// See the module.
pub struct Surroundings {
    pub pipeline: Arc<Pipeline>,
    pub clock: Arc<ManualClock>,
    pub ids: Arc<SeededIds>,
    pub log: MemoryLog,
    pub lake: Lake,
}

impl Surroundings {
    /// For a pipeline, at an instant in microseconds; the log has no topic yet.
    pub fn new(sql: &str, start: i64, seed: u64) -> Self {
        Self::on(Arc::new(InMemory::new()), sql, start, seed)
    }

    /// The same with tables on another store.
    pub fn on(objects: Arc<dyn ObjectStore>, sql: &str, start: i64, seed: u64) -> Self {
        let clock = Arc::new(ManualClock::at(start));
        Self {
            pipeline: Arc::new(Pipeline::read(sql, &BTreeMap::new()).unwrap()),
            log: MemoryLog::new(clock.clone()),
            clock,
            ids: Arc::new(SeededIds::new(seed)),
            lake: Lake::new(objects, Path::from("lake")),
        }
    }

    /// A realtime store that fails when it is told to, and the one below it, which never does.
    pub fn realtime(&self, limit_bytes: u64, seed: u64) -> (Arc<MemoryStore>, Arc<FlakyStore>) {
        let memory = Arc::new(MemoryStore::new(limit_bytes, self.clock.clone()));
        (memory.clone(), Arc::new(FlakyStore::new(memory, seed)))
    }
}
