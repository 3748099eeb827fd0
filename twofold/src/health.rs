//! What keeps the roles of this process from going on, noted as it happens: sources that stopped, a log that does not
//! answer, a realtime store that takes nothing, files of TLS that cannot be used, definitions that cannot be run.
//!
//! Guarantee: from the moment that nothing archives a source any more, the collector of this process takes no events
//! of it; where it is archived by other processes, from the moment that these are known to have given it up.
//! Not here: since when, and what else is wrong (`status/troubles.rs`); what it means for a probe (`readiness.rs`); how
//! other processes tell of theirs (`notices.rs`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Error;
use batch_layer::BatchError;
use collector::{OpenSources, StoppedSource};
use event_log::EventLogError;
use lake::LakeError;
use positions::SourceName;
use records::RecordsError;
use serving_layer::{PartitionKey, ServingError};
use speed_layer::SpeedError;
use tokio::time::Instant;

/// The stage under which a topic that cannot be used is noted.
pub const TOPIC: &str = "topic";
/// The stages without which an event would be acknowledged and perhaps never counted.
const KEEPERS: [&str; 2] = [TOPIC, "archive"];

/// So long a refused write tells of the store: longer than a worker waits before it tries again. A partition that
/// another worker has taken over is not written to again, and must not be told of for ever.
const WRITE_TELLS: Duration = Duration::from_secs(60);

/// By source, then by stage: why it does not go on.
pub type Stops = BTreeMap<SourceName, BTreeMap<String, StoppedSource>>;

/// See the module.
#[derive(Debug, Default)]
pub struct Health {
    // Written when a role gives a source up or starts with it, here or elsewhere; read by status requests; held for a
    // copy only.
    stopped: Mutex<KnownStops>,
    // The collector's: told of each change of `stopped` while that is held, so that the two agree.
    open: Arc<OpenSources>,
    // Written and read once a second; held for a copy only.
    log: Mutex<Option<String>>,
    // That the log had no room for what was appended last. Written by the collector, read once a second; held for a
    // copy only.
    full_log: Mutex<Option<(Instant, String)>>,
    // Written by whoever follows the files of TLS, read once a second; held for a copy only.
    certificates: Mutex<Option<String>>,
    // Why the present definitions are not run here. Written by the loop that follows the registry, read once a second;
    // held for a copy only.
    refused_definitions: Mutex<Option<String>>,
    // The last write of each kind to each partition, where it was refused. Written by the speed layer; held for a copy
    // only.
    refused: Mutex<BTreeMap<(PartitionKey, Written), (Instant, RefusedWrite)>>,
}

/// Where sources have stopped.
#[derive(Debug, Default)]
struct KnownStops {
    here: Stops,
    elsewhere: Stops,
}

impl KnownStops {
    fn all(&self) -> Stops {
        let mut all = self.elsewhere.clone();
        for (source, stages) in &self.here {
            all.entry(source.clone()).or_default().extend(stages.clone());
        }
        all
    }
}

/// What was to be written. A full store that takes no states still takes an index that has not grown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Written {
    /// States.
    Blobs,
    /// An index.
    Index,
}

/// A write to the realtime store that was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedWrite {
    /// What the store said.
    pub reason: String,
    /// Whether it has no room.
    pub is_full: bool,
}

impl Health {
    /// The sources that take events, to be shared with the collector.
    pub fn open_sources(&self) -> Arc<OpenSources> {
        self.open.clone()
    }

    /// Notes that a source does not go on in one stage.
    pub fn stop_source(&self, source: &str, stage: &str, error: &Error) {
        let stop = StoppedSource { reason: format!("{error:#}"), way_out: way_out(source, error) };
        let mut stopped = self.stopped();
        stopped.here.entry(SourceName::new(source)).or_default().insert(stage.to_owned(), stop);
        self.tell_collector(&stopped);
    }

    /// Notes that a source goes on in one stage, or that this stage has nothing to do with it any more.
    pub fn clear_source(&self, source: &str, stage: &str) {
        let mut stopped = self.stopped();
        if let Some(stages) = stopped.here.get_mut(&SourceName::new(source)) {
            stages.remove(stage);
        }
        stopped.here.retain(|_, stages| !stages.is_empty());
        self.tell_collector(&stopped);
    }

    /// Notes in which stages sources do not go on in other processes, which are all that there are now.
    pub fn note_elsewhere(&self, stops: Stops) {
        let mut stopped = self.stopped();
        stopped.elsewhere = stops;
        self.tell_collector(&stopped);
    }

    /// Forgets the sources that are not there any more.
    pub fn keep_sources(&self, is_there: impl Fn(&str) -> bool) {
        let mut stopped = self.stopped();
        stopped.here.retain(|source, _| is_there(source.as_str()));
        stopped.elsewhere.retain(|source, _| is_there(source.as_str()));
        self.tell_collector(&stopped);
        lock(&self.refused).retain(|(key, _), _| is_there(key.source.as_str()));
    }

    /// The stages in which each stopped source stopped, in this process and in others.
    pub fn stops(&self) -> Stops {
        self.stopped().all()
    }

    /// Those of this process.
    pub fn stops_here(&self) -> Stops {
        self.stopped().here.clone()
    }

    /// Why each stopped source stopped, in one text.
    pub fn stopped_sources(&self) -> BTreeMap<String, String> {
        let stops = self.stops().into_iter();
        stops.map(|(source, stages)| (source.to_string(), describe_stages(&stages))).collect()
    }

    /// Notes whether the log answers: `None` where it does, else why not.
    pub fn note_log(&self, problem: Option<String>) {
        *lock(&self.log) = problem;
    }

    /// Why the log does not answer, where it does not.
    pub fn log_problem(&self) -> Option<String> {
        lock(&self.log).clone()
    }

    /// Notes whether the log had room for what was appended: `None` where it had, else what it said.
    pub fn note_full_log(&self, reason: Option<String>) {
        *lock(&self.full_log) = reason.map(|reason| (Instant::now(), reason));
    }

    /// What the log said of its lack of room lately.
    pub fn full_log(&self) -> Option<String> {
        let known = lock(&self.full_log).clone().filter(|(noted_at, _)| noted_at.elapsed() < WRITE_TELLS);
        known.map(|(_, reason)| reason)
    }

    /// Notes what is wrong with the files that the port speaks TLS with; `None`: nothing.
    pub fn note_certificates(&self, problem: Option<String>) {
        *lock(&self.certificates) = problem;
    }

    /// What is wrong with them, if anything is.
    pub fn certificate_problem(&self) -> Option<String> {
        lock(&self.certificates).clone()
    }

    /// Notes why the present definitions of the registry are not run here; `None`: they are.
    pub fn note_refused_definitions(&self, problem: Option<String>) {
        *lock(&self.refused_definitions) = problem;
    }

    /// Why they are not, if so.
    pub fn refused_definitions(&self) -> Option<String> {
        lock(&self.refused_definitions).clone()
    }

    /// Notes how a write to the realtime store ended: `None` where it was done.
    pub fn note_write(&self, partition: &PartitionKey, written: Written, refused: Option<RefusedWrite>) {
        let (mut known, key) = (lock(&self.refused), (partition.clone(), written));
        if let Some(refused) = refused {
            known.insert(key, (Instant::now(), refused));
        } else {
            known.remove(&key);
        }
    }

    /// A refused write of each source whose realtime store took nothing of some partition lately.
    pub fn refused_writes(&self) -> BTreeMap<SourceName, RefusedWrite> {
        let known = lock(&self.refused);
        let telling = known.iter().filter(|(_, (noted_at, _))| noted_at.elapsed() < WRITE_TELLS);
        telling.map(|((key, _), (_, refused))| (key.source.clone(), refused.clone())).collect()
    }

    fn stopped(&self) -> MutexGuard<'_, KnownStops> {
        lock(&self.stopped)
    }

    fn tell_collector(&self, stopped: &KnownStops) {
        let all = stopped.all();
        let kept = all.iter().filter_map(|(source, stages)| Some((source.clone(), keeping_stop(stages)?.clone())));
        self.open.refuse(kept.collect());
    }
}

/// The stop among these for which nothing of the source is kept any more.
pub fn keeping_stop(stages: &BTreeMap<String, StoppedSource>) -> Option<&StoppedSource> {
    KEEPERS.iter().find_map(|stage| stages.get(*stage))
}

/// Why a source stopped in these stages.
pub fn describe_stages(stages: &BTreeMap<String, StoppedSource>) -> String {
    let reasons = stages.iter().map(|(stage, stop)| format!("{stage}: {}", stop.reason));
    reasons.collect::<Vec<_>>().join("; ")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an operator does about a source that stopped with this error.
fn way_out(source: &str, error: &Error) -> String {
    let of_archive = error.downcast_ref::<BatchError>();
    let of_speed = error.downcast_ref::<SpeedError>();
    if matches!(of_archive, Some(BatchError::Log(EventLogError::AnotherTopic { .. })))
        || matches!(of_speed, Some(SpeedError::Log(EventLogError::AnotherTopic { .. })))
    {
        return format!(
            "if the topic was replaced on purpose: stop the processes that archive it and keep it in realtime, run \
             `twofold source reset {source}`, start them again"
        );
    }
    if matches!(of_archive, Some(BatchError::Log(EventLogError::Unusable(_))))
        || matches!(of_speed, Some(SpeedError::Log(EventLogError::Unusable(_))))
    {
        return format!(
            "mend what the reason names, then start again what archives it and keeps it in realtime; where the topic was \
             deleted: a start makes it anew, then stop that, run `twofold source reset {source}`, and start it again"
        );
    }
    if is_of_a_table(of_archive, of_speed) {
        return format!(
            "run `twofold lake repair --source {source}`: it says what happened to the table, and mends it with --yes; then \
             start the processes again that archive it and keep it in realtime"
        );
    }
    "mend what the reason names, then start the processes again that archive it and keep it in realtime; or take the \
     source out of the pipeline file"
        .to_owned()
}

/// Whether objects of a table are broken.
fn is_of_a_table(of_archive: Option<&BatchError>, of_speed: Option<&SpeedError>) -> bool {
    let is_broken = |error: &LakeError| matches!(error, LakeError::Corrupt { .. });
    let of_archive = match of_archive {
        Some(BatchError::Records(RecordsError::Lake(error)) | BatchError::Serving(ServingError::Lake(error))) => {
            is_broken(error)
        }
        _ => false,
    };
    let of_speed = match of_speed {
        Some(SpeedError::Records(RecordsError::Lake(error)) | SpeedError::Serving(ServingError::Lake(error))) => {
            is_broken(error)
        }
        _ => false,
    };
    of_archive || of_speed
}
