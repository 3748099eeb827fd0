//! What an archive has to leave out of the log, read once for each session.
//!
//! In: the list of what was erased, and the facts of the table. Out: the list; and, for a table without rows, facts
//! that say so, since its rows will be without what the list names.
//! Not here: erasing (`../erase/`), which brings a table with rows into line.

use positions::{Erased, SourceName};
use records::RecordsError;
use records::master::{MasterDataset, MasterFacts};

use crate::BatchError;

/// Reads the list. Says so where an erasing was begun and not brought to its end.
pub(crate) async fn load_erased(
    master: &MasterDataset,
    source: &SourceName,
    facts: &mut MasterFacts,
) -> Result<Erased, BatchError> {
    let erased = master.erased().load().await.map_err(RecordsError::from)?;
    if facts.rows == 0 {
        facts.erased = erased.number;
    } else if facts.erased < erased.number {
        tracing::warn!(
            %source,
            "an erasing was begun and not finished: the master dataset still holds what was to be erased; \
             `twofold erase --source {source} --yes` goes on with it"
        );
    }
    Ok(erased)
}
