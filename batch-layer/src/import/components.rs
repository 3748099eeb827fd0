//! What an import works with, and how a file is known. Values.

use std::sync::Arc;

use positions::{Clock, IdSource};
use records::master::MasterDataset;
use views::SourceDefinition;

/// What an import works with.
#[derive(Clone)]
pub struct ImportComponents {
    /// Where the rows go.
    pub master: MasterDataset,
    /// The source.
    pub source: Arc<SourceDefinition>,
    /// Tells when a file is imported: no event of it may be later than the source allows.
    pub clock: Arc<dyn Clock>,
    /// Names files.
    pub ids: Arc<dyn IdSource>,
    /// Parts that are decoded and written at a time, at least one.
    pub workers: usize,
    /// A file is given up after so many rejected records in a row; 0: never.
    pub give_up_after_bad: u64,
    /// Whether rejected records are kept, with their reason. If not, a file that has any is not imported.
    pub keeps_rejected: bool,
}

/// A file as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileId {
    /// What it is called.
    pub name: String,
    /// What tells it from all others, whatever it is called.
    pub identity: String,
}
