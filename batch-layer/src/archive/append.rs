//! One append to the master dataset, behind compactions that came first.
//!
//! Guarantee: the rows are in the table once, or not at all; a conflict is reported only where somebody moved
//! positions.

use positions::IdSource;
use records::RecordsError;
use records::master::{MasterDataset, MasterSnapshot, Recount};

use super::Pending;

/// How often an append is tried in all: each further attempt follows a compaction that committed first.
const ATTEMPTS: usize = 8;

/// Appends on the newest version that holds the records that `sealed` continues. Where a compaction counted rows of
/// these anew, so do the facts of the commit.
///
/// Every append moves a position, notes a hole or begins a life: where none differs, nobody appended in between,
/// neither another archiver nor this one by a commit whose reply was lost. So the rows are in the table once.
pub(crate) async fn append(
    master: &MasterDataset,
    from: MasterSnapshot,
    sealed: &Pending,
    ids: &dyn IdSource,
) -> Result<MasterSnapshot, RecordsError> {
    let (mut on, mut facts) = (from, sealed.facts().clone());
    let mut left = ATTEMPTS;
    loop {
        left -= 1;
        let appended = master.append(&on, sealed.batches(), facts.clone(), ids.next_id()).await;
        let Err(conflict @ RecordsError::Conflict { .. }) = appended else { return appended };
        let newest = master.refresh(&on).await?;
        let is_behind = newest.snapshot.version() > on.snapshot.version() && left > 0;
        let recount = Recount::between(&on.facts, &newest.facts).filter(|_| is_behind);
        let Some(counted) = recount.and_then(|recount| recount.apply(&facts)) else { return Err(conflict) };
        (on, facts) = (newest, counted);
    }
}
