//! What ends a speed worker, or one of its steps, by what the caller should do.

use event_log::EventLogError;
use positions::{Incarnation, IndexRefusal, Offset, PartitionId};
use records::RecordsError;
use serving_layer::ServingError;
use views::DefinitionError;

/// An error of the speed layer.
#[derive(Debug, thiserror::Error)]
pub enum SpeedError {
    /// The log failed; see its variants.
    #[error(transparent)]
    Log(#[from] EventLogError),
    /// Decoding or the master dataset failed; see its variants.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// A store of views failed; see its variants.
    #[error(transparent)]
    Serving(#[from] ServingError),
    /// A view's plan cannot be built or run.
    #[error("view {view}: {error}")]
    View {
        /// The view.
        view: String,
        /// Why not.
        error: DefinitionError,
    },
    /// Another worker owns the partition: start it again from the store.
    #[error("partition {partition}: {refusal}")]
    Refused {
        /// The partition.
        partition: PartitionId,
        /// What the index says.
        refusal: IndexRefusal,
    },
    /// The realtime store has lost the index or a blob: start the partition again from the least serving cut.
    #[error("partition {partition}: the realtime store has lost {part}")]
    Lost {
        /// The partition.
        partition: PartitionId,
        /// What is gone.
        part: StoredPart,
    },
    /// The realtime store holds bytes that cannot be read: replace them as if they were gone.
    #[error("partition {partition}: {part} cannot be read: {error}")]
    Unreadable {
        /// The partition.
        partition: PartitionId,
        /// What cannot be read.
        part: StoredPart,
        /// Why not.
        error: ServingError,
    },
    /// Other writers won the swap again and again: try again later.
    #[error("partition {partition}: the index kept changing")]
    Contended {
        /// The partition.
        partition: PartitionId,
    },
    /// Records have left the log and are not in the master dataset yet: wait for the archive.
    #[error("partition {partition}: records from offset {from} have expired and are not archived up to {to}")]
    NotArchived {
        /// The partition.
        partition: PartitionId,
        /// The first record that is missing.
        from: Offset,
        /// Where the missing records end.
        to: Offset,
    },
    /// The master dataset has begun another life of the topic: this worker starts again with it.
    #[error("the topic is in life {} by now, this worker read life {}; starting again", present.0, own.0)]
    NextLife {
        /// The life that the worker reads.
        own: Incarnation,
        /// The life of the master dataset.
        present: Incarnation,
    },
    /// The source is in kappa mode, and its topic was reset: what former lives held would be in no answer.
    #[error(
        "source {source_name} is mode 'kappa' and its topic is in life {}: a replay reads the first life alone; write mode \
         'lambda', or read the topic as another source", present.0
    )]
    LaterLife {
        /// The source.
        source_name: String,
        /// The life of the master dataset.
        present: Incarnation,
    },
    /// A view has no batch version of the present life of the topic: wait for the batch layer.
    #[error("not every view has a batch version of life {} of the topic yet", incarnation.0)]
    NotPublished {
        /// The present life.
        incarnation: Incarnation,
    },
    /// What decoding returned lacks a column or rows: a defect.
    #[error("batch: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// The query engine failed while the master dataset was read.
    #[error("query engine: {0}")]
    Engine(#[from] datafusion::error::DataFusionError),
}

/// What the realtime store keeps of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredPart {
    /// The index: a partition that starts again finds out by itself that it is gone.
    Index,
    /// A blob that the index names: the index must be replaced, since it promises what is not there.
    Blob,
}

impl std::fmt::Display for StoredPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Index => "the index",
            Self::Blob => "a blob",
        })
    }
}

impl SpeedError {
    /// An error of reading `part`: damaged bytes are the partition's, everything else is the store's.
    pub(crate) fn of_stored(partition: PartitionId, part: StoredPart, error: ServingError) -> Self {
        match error {
            ServingError::Corrupt { .. } => Self::Unreadable { partition, part, error },
            error => Self::Serving(error),
        }
    }

    /// Whether the source must stop until an operator has acted: going on would mix two topics, or fail for ever.
    pub fn is_fatal(&self) -> bool {
        matches!(
            self,
            Self::LaterLife { .. }
                | Self::Log(EventLogError::AnotherTopic { .. } | EventLogError::Unusable(_))
                | Self::Records(RecordsError::Unusable(_))
                | Self::Serving(ServingError::Unusable { .. })
        )
    }
}
