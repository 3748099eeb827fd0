//! Rejected records as the process around the gateway reads them, for the table that SQL has of them.
//!
//! Why so: they are in the master dataset, which the gateway never reads; who reads it is passed in, like everything
//! that the gateway cannot know (`status.rs`).
//! Not here: the table itself (`rejected_table.rs`), where else they are shown (`rejected.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use positions::{Offset, PartitionId, SourceName, TimestampMicros};
use serde::Serialize;
use views::SourceDefinition;

/// What a query asks of the rejected records of one source.
#[derive(Clone, Debug)]
pub struct RejectedQuestion {
    /// The source.
    pub source: Arc<SourceDefinition>,
    /// Records of this kind of reason alone; all of them where it is none that there is.
    pub reason: Option<String>,
    /// Whether payloads are asked for.
    pub with_payloads: bool,
    /// Whether who asks may operate the system, and is no page of a browser.
    pub is_operator: bool,
}

/// The records, newest first, and how many of all they are.
#[derive(Clone, Debug)]
pub struct RejectedAnswer {
    /// As many as there are within the bounds of whoever reads them.
    pub records: Vec<RejectedRow>,
    /// What is to be said of them.
    pub extent: RejectedExtent,
}

/// One record that no event could be read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedRow {
    /// Its partition.
    pub partition: PartitionId,
    /// Its offset.
    pub offset: Offset,
    /// Its own timestamp.
    pub timestamp: TimestampMicros,
    /// The kind of reason.
    pub reason: &'static str,
    /// What quotes the record; `None` where it is withheld.
    pub words: Option<RejectedWords>,
}

/// Why a record was rejected, in words that quote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedWords {
    /// The column that the reason lies in, with the path inside it.
    pub column: Option<String>,
    /// The reason.
    pub error: String,
    /// How the payload begins; `None` where it was not asked for.
    pub payload: Option<RejectedPayload>,
}

/// How the payload of a record begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedPayload {
    /// As text.
    pub text: String,
    /// `utf-8`, or `base64` where the payload as a whole is no UTF-8.
    pub encoding: &'static str,
    /// Bytes of the whole payload.
    pub size_bytes: usize,
    /// Whether it has more than `text` shows.
    pub is_truncated: bool,
}

/// What an answer says of the rejected records of a source that it was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RejectedExtent {
    /// The source.
    pub source: String,
    /// Where records of one kind of reason alone were read, that kind.
    pub reason: Option<String>,
    /// How many records of the source were rejected and archived, since its start; of all kinds.
    pub total: u64,
    /// How many records were read.
    pub rows: usize,
    /// Whether these are all, so that what is counted over them is exact.
    pub complete: bool,
    /// The next offset of each partition that is archived.
    pub archived: BTreeMap<PartitionId, Offset>,
    /// Why words and payloads are NULL, where they are withheld.
    pub withheld: Option<&'static str>,
    /// What is not there: records that are not archived yet, and those beyond the bounds with the way to them.
    pub notes: Vec<String>,
}

/// Rejected records cannot be read now: ask again later.
#[derive(Clone, Debug, thiserror::Error)]
#[error("rejected records of source {name} cannot be read: {reason}")]
pub struct RejectedUnread {
    /// The source.
    pub name: SourceName,
    /// What the object store said, or how long it was waited for.
    pub reason: String,
}

/// Reads rejected records.
#[async_trait]
pub trait RejectedReader: Send + Sync + 'static {
    /// The newest rejected records of a source. Bounded in records, bytes of payloads, files and time.
    ///
    /// # Errors
    /// [`RejectedUnread`]: the object store failed, or was too slow.
    async fn read(&self, question: &RejectedQuestion) -> Result<RejectedAnswer, RejectedUnread>;
}
