//! What can go wrong in the batch layer, by what the caller should do.

use datafusion::error::DataFusionError;
use event_log::EventLogError;
use lake::{LakeError, Version, has_store_failed};
use positions::{DefinitionHash, PartitionId, SourceName, ViewName};
use records::RecordsError;
use serving_layer::ServingError;
use views::DefinitionError;

use crate::plan_engine::is_away;

/// An error of archive, reset or recompute.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The event log.
    #[error(transparent)]
    Log(#[from] EventLogError),
    /// Decoding, or the master dataset.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// The batch-view store.
    #[error(transparent)]
    Serving(ServingError),
    /// A view's plan.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// DataFusion refused or failed; also where memory and spill folder together do not suffice.
    #[error("query engine: {}", told(.0))]
    Engine(#[from] DataFusionError),
    /// DataFusion failed since the object store did not give it a file: try again.
    #[error("query engine: {0}")]
    Unread(#[source] DataFusionError),
    /// A partition that was archived is gone: the topic was created again with fewer partitions.
    #[error(
        "topic {topic} has no partition {partition} any more, which is archived up to offset {archived}; \
         `twofold source reset` begins the topic's next life"
    )]
    PartitionGone {
        /// The topic.
        topic: String,
        /// The partition.
        partition: PartitionId,
        /// How far it was archived.
        archived: i64,
    },
    /// The topic of a source that was to be reset is the one that is archived: leave it alone.
    #[error(
        "topic {topic} is the one that is archived: the records that source {name} was read to are in it, so there is \
         nothing to reset; if the source stopped, `twofold status` says why"
    )]
    TopicIsArchived {
        /// The topic.
        topic: String,
        /// The source.
        name: SourceName,
    },
    /// Rejected records are not in their topic yet, and the commit that holds them waits for it: try again.
    #[error("rejected records cannot be appended to topic {topic}: {error}")]
    DeadTopic {
        /// The topic.
        topic: String,
        /// What the log says.
        error: EventLogError,
    },
    /// The archive did not reach the end of the log that there was: events there might be of those to be erased.
    #[error(
        "source {name}: not everything that is in its log is archived yet, and nothing was erased; see what keeps its \
         archive with `twofold status`, then run the command again"
    )]
    NotArchived {
        /// The source.
        name: SourceName,
    },
    /// A condition that would choose other events than it says.
    #[error("`{text}`: {message}; {hint}")]
    Condition {
        /// Where in it.
        text: String,
        /// What is wrong with it.
        message: String,
        /// The way out.
        hint: String,
    },
    /// A view still holds what was erased.
    #[error("view {view} is not computed without what was erased: {reason}; run the command again to go on")]
    NotErased {
        /// The view.
        view: ViewName,
        /// Why not.
        reason: String,
    },
    /// A version was published from a master dataset that is not there any more: an older table took its place.
    #[error(
        "{folder} was computed from version {version} of {table}, which has not come so far: the table was moved, restored \
         or begun anew; put back the one that was there, or move {folder} out of the lake, and the view is computed again \
         from what there is"
    )]
    MasterBehind {
        /// The master dataset.
        table: String,
        /// The version that was read.
        version: Version,
        /// Where the view is.
        folder: String,
    },
    /// A range of buckets that cannot be computed of a view: ask for another one, or compute the view in full first.
    #[error("view {view}: {reason}")]
    RangeRefused {
        /// The view.
        view: ViewName,
        /// Why not, and what can be.
        reason: String,
    },
    /// A plan was made of another definition of a view than this process has: make a new plan.
    #[error(
        "view {view}: the plan of this recompute is of definition {hash}, which is not the present one; plan it anew"
    )]
    DefinitionChanged {
        /// The view.
        view: ViewName,
        /// The definition of the plan.
        hash: DefinitionHash,
    },
    /// A view was not published by a run of the workflow, in whichever process: what the run says.
    #[error("{0}")]
    InRun(String),
    /// A plan without views: make a new one.
    #[error("the plan of this recompute names no view; plan it anew")]
    EmptyPlan,
    /// A group was asked for that a plan has not got.
    #[error("group {group} of a recompute was asked for, whose plan has {groups}")]
    NoSuchGroup {
        /// The number that was asked for.
        group: usize,
        /// How many there are.
        groups: usize,
    },
    /// A view cannot be published yet, since nobody has computed one of its groups, or not each part of it, or some of
    /// it twice: compute it, and publish again.
    #[error(
        "view {view}: group {group} of its recompute is not computed as a whole and once, so that nothing is published"
    )]
    GroupMissing {
        /// The view.
        view: ViewName,
        /// The number of the group.
        group: usize,
    },
    /// A file is not imported, as a whole. Mend what is wrong with it, or what the reason names, and import it again.
    #[error("{file} is not imported: {reason}")]
    NotImported {
        /// The file.
        file: String,
        /// Why.
        reason: String,
    },
    /// Offset or partition number beyond what the removal of copies can name.
    #[error(
        "partition {partition} offset {offset}: copies are only found in the first 32768 partitions of a topic and of \
         imported files, below offset 2^48"
    )]
    PlaceTooLarge {
        /// The partition.
        partition: i32,
        /// The offset.
        offset: i64,
    },
}

impl From<ServingError> for BatchError {
    /// An engine that fails under a batch view fails within the bounds of this layer, and is told so.
    fn from(error: ServingError) -> Self {
        match error {
            ServingError::Engine(error) => Self::Engine(error),
            error => Self::Serving(error),
        }
    }
}

impl BatchError {
    /// Whether the same may succeed later: an unreachable log or store, machines that were lost, one that is full until
    /// somebody makes room, a schema that is not known yet, or a change by another tool until somebody leaves it out.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::DeadTopic { .. } | Self::Unread(_) => true,
            Self::Engine(error) => has_store_failed(error) || is_away(error),
            Self::Records(RecordsError::Engine(error)) => has_store_failed(error),
            Self::Log(EventLogError::Unreachable(_)) => true,
            Self::Serving(ServingError::Unreachable { .. } | ServingError::Refusing { .. }) => true,
            // Learned once the registry has it, or passed over once the source's definition says so.
            Self::Records(RecordsError::SchemaMissing { .. } | RecordsError::ArchivedSchemaMissing { .. }) => true,
            Self::Records(RecordsError::Lake(error)) | Self::Serving(ServingError::Lake(error)) => {
                error.is_transient() || matches!(error, LakeError::Full { .. } | LakeError::Foreign { .. })
            }
            _ => false,
        }
    }

    /// Whether memory and spill folder together do not suffice: for less of the same they may.
    pub fn is_over_limit(&self) -> bool {
        matches!(self, Self::Engine(error) if lacks_room(error))
    }
}

/// The advice of the engine itself, which names a setting of its own.
const ENGINE_ADVICE: &str = " Please try increasing the config: `datafusion.runtime.max_temp_directory_size`.";

/// What the engine says; where it lacks room, with the settings that give it some.
fn told(error: &DataFusionError) -> String {
    let said = error.to_string();
    let is_over_limit = lacks_room(error);
    let said = said.replace(ENGINE_ADVICE, "");
    match is_over_limit {
        true => format!("{}; raise `batch.memory` or `batch.spill_limit`", said.trim_end_matches('.')),
        false => said,
    }
}

/// By the words, since the limit of the spill folder is told as an input-output error like any other.
pub(crate) fn lacks_room(error: &DataFusionError) -> bool {
    let said = error.to_string();
    said.contains(ENGINE_ADVICE) || said.contains("Resources exhausted")
}
