//! What tasks are asked and what they give, as the journal holds it. Plain values.

use std::collections::BTreeMap;

use batch_layer::BatchError;
use batch_layer::recompute::{GroupOutput, GroupPart, Outcome, RecomputePlan};
use positions::{TimestampMicros, ViewName};
use records::RecordsError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serving_layer::ServingError;
use tracing::info;
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

/// Which group a task computes, or which part of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ComputeParameters {
    /// The task that chose.
    pub(super) choose: TaskId,
    /// The number of the plan among its plans.
    pub(super) plan: usize,
    /// The number of the group in the plan, where the task computes all of it: a version that knows no parts would
    /// compute the whole group for each, and so cannot read what a part is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) group: Option<usize>,
    /// What it computes; `None`: an older version planned it, and never divided anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) part: Option<GroupPart>,
}

/// What it gives.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct ComputedGroup {
    /// For publishing, where it is one group as a whole: a version that knows no parts would publish one of them for
    /// all, and so cannot read them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) output: Option<GroupOutput>,
    /// For publishing, where these are parts of a group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) parts: Vec<GroupOutput>,
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

impl ComputedGroup {
    /// What computing a group, or parts of it, gave.
    pub(super) fn of(mut outputs: Vec<GroupOutput>, failed: Faults) -> Self {
        let is_whole = matches!(outputs.as_slice(), [one] if one.part.is_none());
        let output = if is_whole { outputs.pop() } else { None };
        Self { output, parts: outputs, failed }
    }
}

impl Fault {
    pub(super) fn of(error: &BatchError) -> Self {
        let is_lasting =
            matches!(error, BatchError::Engine(_) | BatchError::Definition(_) | BatchError::PlaceTooLarge { .. });
        Self { reason: error.to_string(), is_lasting }
    }
}

/// Whether the same task may succeed later: also where another publisher was first, the lease is another's, or a file
/// could not be read while rows were computed.
pub(crate) fn is_transient(error: &BatchError) -> bool {
    error.is_retryable()
        || matches!(error, BatchError::Serving(ServingError::Conflict { .. } | ServingError::Withdrawn { .. }))
}

/// Whether a plan rests on what is not there any more: nothing can be published of it, and only a new one helps.
pub(super) fn is_obsolete(error: &BatchError) -> bool {
    is_overtaken(error) || matches!(error, BatchError::Records(RecordsError::VersionGone { .. }))
}

/// Whether another publisher was first.
pub(super) fn is_overtaken(error: &BatchError) -> bool {
    matches!(error, BatchError::Serving(ServingError::Conflict { .. }))
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

const NO_DATA: &str = "no data yet";
const NOTHING_NEW: &str = "nothing new";
const AWAITS_SILENCE: &str = " archived records wait for a silence";
const LOST_RACE: &str = "another publisher was first";

/// How a view ended, in words.
pub(super) fn describe(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Published(version) => format!("version {} published", version.number()),
        Outcome::NoData => NO_DATA.to_owned(),
        Outcome::NothingNew => NOTHING_NEW.to_owned(),
        Outcome::AwaitsSilence { records } => format!("{records}{AWAITS_SILENCE}"),
        Outcome::LostRace => LOST_RACE.to_owned(),
    }
}

/// What was told so; `None` where a version was published, which is there to be read.
pub(super) fn outcome_told(words: &str) -> Option<Outcome> {
    match words {
        NO_DATA => Some(Outcome::NoData),
        NOTHING_NEW => Some(Outcome::NothingNew),
        LOST_RACE => Some(Outcome::LostRace),
        _ => {
            let records = words.strip_suffix(AWAITS_SILENCE)?.parse().ok()?;
            Some(Outcome::AwaitsSilence { records })
        }
    }
}

/// Why nothing becomes of a former definition.
const OVER: &str = "its former definition answers no more";

/// What becomes of the views of a run of a former definition that is over.
pub(super) fn former_over(work: &Assignment) -> BTreeMap<ViewName, String> {
    info!(run = work.token.run.0, reason = OVER, "run ends without a version");
    work.run.views.iter().map(|(view, _)| (view.clone(), OVER.to_owned())).collect()
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
