//! What an archive tells about itself.

use std::collections::BTreeMap;

use lake::Version;
use positions::TimestampMicros;
use records::master::MasterFacts;
use views::path_of_key;

/// Whether the archive makes progress.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ArchiveState {
    /// The table has not been opened yet.
    #[default]
    Starting,
    /// Records are read and committed.
    Running,
    /// Log or object store fails: the same step is tried again, nothing is dropped, nothing more is read. Or partitions
    /// wait for a schema: they are tried again, the others go on.
    Retrying {
        /// What failed, for people to read.
        error: String,
    },
    /// The archive has stopped: on shutdown, or for an error that an operator must look at.
    Stopped {
        /// The error; `None` after a shutdown.
        error: Option<String>,
    },
}

/// What the archive of one source has done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchiveStatus {
    /// Whether it makes progress.
    pub state: ArchiveState,
    /// Version of the table; `None` before it was opened.
    pub version: Option<Version>,
    /// The facts of that version: positions, counters, holes.
    pub facts: MasterFacts,
    /// Rows read and not yet committed, those of the commit in flight included.
    pub pending_rows: u64,
    /// Their payload bytes.
    pub pending_bytes: usize,
    /// When this archive committed last.
    pub committed_at: Option<TimestampMicros>,
    /// By declared column, the values of archived events that are NULL because the column cannot take them, since this
    /// archive started.
    pub unreadable: BTreeMap<String, u64>,
    /// As of the last commit, the declared columns that nothing was read for, while it may have come under other keys.
    pub unseen: Vec<UnseenColumn>,
}

/// A declared column that no row has given a value since this archive started, while keys came that may be meant for
/// it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnseenColumn {
    /// The column.
    pub column: String,
    /// The keys, at least one, each with how many of the payloads that were looked at had it.
    pub keys: BTreeMap<String, u64>,
}

impl UnseenColumn {
    /// What makes the column read the most frequent of the keys, in the words of a pipeline file.
    pub fn way_out(&self) -> String {
        let frequent = self.keys.iter().max_by_key(|(_, payloads)| **payloads);
        let key = frequent.map(|(key, _)| key.as_str()).unwrap_or_default();
        let by_path = format!("write OPTIONS (path = '{}') behind the type of the column", path_of_key(key));
        // What cannot be the name of a column can be a path nevertheless.
        let is_name = !key.starts_with('_') && !key.contains(|letter: char| " ,;{}()=\"`".contains(letter));
        if is_name { format!("declare the column as \"{key}\", in double quotes, or {by_path}") } else { by_path }
    }
}
