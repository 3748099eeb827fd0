//! What tasks are asked and what they give, as the journal holds it. Plain values.

use std::collections::BTreeMap;
use std::error::Error;

use batch_layer::BatchError;
use batch_layer::recompute::{GroupOutput, Outcome, RecomputePlan};
use lake::LakeError;
use positions::{TimestampMicros, ViewName};
use records::RecordsError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serving_layer::ServingError;
use workflow::{Assignment, TaskError, TaskId};

/// Why a view could not be computed or published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fault {
    /// In words.
    pub(super) reason: String,
    /// Whether it stays as long as definition and limits do, whatever becomes of the data.
    pub(super) is_lasting: bool,
}

/// By view.
pub(super) type Faults = BTreeMap<ViewName, Fault>;

/// What a task that chooses is asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ChooseParameters {
    /// How many such tasks led to this one.
    pub(super) round: u32,
    /// These views of the run; empty: all.
    pub(super) views: Vec<ViewName>,
    /// Views that failed already, which the last publication of this round tells.
    pub(super) failed: Faults,
}

/// What it gives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Chosen {
    /// When, by the clock of whoever chose: for the log alone.
    pub(super) at: TimestampMicros,
    /// How many such tasks led to this one.
    pub(super) round: u32,
    /// One for each cut.
    pub(super) plans: Vec<RecomputePlan>,
    /// Views of which nothing is to be computed, and why.
    pub(super) skipped: BTreeMap<ViewName, String>,
    /// Views that cannot be computed.
    pub(super) failed: Faults,
}

/// Which group a task computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ComputeParameters {
    /// The task that chose.
    pub(super) choose: TaskId,
    /// The number of the plan among its plans.
    pub(super) plan: usize,
    /// The number of the group in the plan.
    pub(super) group: usize,
}

/// What it gives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ComputedGroup {
    /// For publishing.
    pub(super) output: GroupOutput,
    /// Views of which there is none.
    pub(super) failed: Faults,
}

/// What a task publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PublishParameters {
    /// The task that chose.
    pub(super) choose: TaskId,
    /// The number of the plan among its plans.
    pub(super) plan: usize,
    /// The publication before it: one tells the next what failed.
    pub(super) before: Option<TaskId>,
    /// Whether it is the last one, which fails where anything did.
    pub(super) is_last: bool,
}

/// What it gives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Published {
    /// What became of each view.
    pub(super) views: BTreeMap<ViewName, String>,
    /// What failed so far, told by the last publication.
    pub(super) failed: Faults,
}

impl Fault {
    pub(super) fn of(error: &BatchError) -> Self {
        let is_lasting =
            matches!(error, BatchError::Engine(_) | BatchError::Definition(_) | BatchError::PlaceTooLarge { .. });
        Self { reason: error.to_string(), is_lasting }
    }
}

/// How the engine begins what an object store said.
const STORE_SAID: &str = "Object Store error:";

/// Whether the same task may succeed later: also where another publisher was first, the lease is another's, or a file
/// could not be read while rows were computed.
pub(super) fn is_transient(error: &BatchError) -> bool {
    error.is_retryable()
        || has_store_failed(error)
        || matches!(error, BatchError::Serving(ServingError::Conflict { .. } | ServingError::Withdrawn { .. }))
}

fn has_store_failed(error: &BatchError) -> bool {
    let BatchError::Engine(engine) = error else { return false };
    // The reader of Parquet's metadata keeps what the store said as text alone.
    if engine.to_string().contains(STORE_SAID) {
        return true;
    }
    let first: &(dyn Error + 'static) = error;
    let mut causes = std::iter::successors(Some(first), |cause| (*cause).source());
    let is_of_store = |cause: &(dyn Error + 'static)| match cause.downcast_ref::<LakeError>() {
        Some(error) => error.is_transient() || matches!(error, LakeError::Full { .. }),
        None => cause.is::<object_store::Error>(),
    };
    causes.any(is_of_store)
}

/// Whether a plan rests on what is not there any more: nothing can be published of it, and only a new one helps.
pub(super) fn is_obsolete(error: &BatchError) -> bool {
    matches!(
        error,
        BatchError::Serving(ServingError::Conflict { .. }) | BatchError::Records(RecordsError::VersionGone { .. })
    )
}

/// The failure of a whole task.
pub(super) fn task_error(error: &BatchError, work: &Assignment) -> TaskError {
    match is_transient(error) {
        true => TaskError::Transient { reason: error.to_string() },
        false => lasting_error(error.to_string(), Fault::of(error).is_lasting, work),
    }
}

/// The failure of a task of which these views failed.
pub(super) fn views_error(failed: &Faults, work: &Assignment) -> TaskError {
    let told: Vec<String> = failed.iter().map(|(view, fault)| format!("view {view}: {}", fault.reason)).collect();
    lasting_error(told.join("; "), failed.values().any(|fault| fault.is_lasting), work)
}

/// A failure that nobody repeats by himself. What rests on data, which may be mended, keeps no later run of a schedule
/// from starting: its cause is this run's alone.
pub(super) fn lasting_error(reason: String, is_lasting: bool, work: &Assignment) -> TaskError {
    let cause_key = if is_lasting { work.run.cause_key.clone() } else { Some(format!("run {}", work.run_key)) };
    TaskError::Permanent { reason, cause_key }
}

/// How a view ended, in words.
pub(super) fn describe(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Published(version) => format!("version {} published", version.number()),
        Outcome::NoData => "no data yet".to_owned(),
        Outcome::NothingNew => "nothing new".to_owned(),
        Outcome::AwaitsSilence { records } => format!("{records} archived records wait for a silence"),
        Outcome::LostRace => "another publisher was first".to_owned(),
    }
}

/// A value of the journal as what it stands for.
pub(super) fn read<T: DeserializeOwned>(value: &Value) -> Result<T, TaskError> {
    T::deserialize(value).map_err(|error| TaskError::Permanent {
        reason: format!(
            "the task is not one that this version of Twofold knows: {error}; start another run of the same work"
        ),
        cause_key: Some("version".to_owned()),
    })
}

/// What is stored as a value of the journal.
pub(super) fn stored(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("tasks and what they give are plain data")
}
