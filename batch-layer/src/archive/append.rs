//! One append to the master dataset, behind compactions that came first.
//!
//! Guarantee: the rows are in the table once, or not at all; a conflict is reported only where somebody moved
//! positions.

use positions::IdSource;
use records::RecordsError;
use records::master::{MasterDataset, MasterSnapshot};

use super::Pending;

/// How often an append is tried in all: each further attempt follows a compaction that committed first.
const ATTEMPTS: usize = 8;

/// Appends on the newest version whose facts are those that `sealed` continues.
///
/// Facts only ever change with an append, and never back: equal facts mean that nobody appended in between, neither
/// another archiver nor this one by a commit whose reply was lost. So the rows are in the table once.
pub(crate) async fn append(
    master: &MasterDataset,
    from: MasterSnapshot,
    sealed: &Pending,
    ids: &dyn IdSource,
) -> Result<MasterSnapshot, RecordsError> {
    let mut on = from;
    let mut left = ATTEMPTS;
    loop {
        left -= 1;
        let appended = master.append(&on, sealed.batches(), sealed.facts().clone(), ids.next_id()).await;
        let Err(conflict @ RecordsError::Conflict { .. }) = appended else { return appended };
        let newest = master.refresh(&on).await?;
        let is_behind = newest.snapshot.version() > on.snapshot.version() && newest.facts == on.facts;
        if !is_behind || left == 0 {
            return Err(conflict);
        }
        on = newest;
    }
}
