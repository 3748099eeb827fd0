//! Reading one file: parts of it are decoded and written while it is read on.
//!
//! Guarantee: at most as many parts are worked on as the components say. A file that cannot be read to its end, or is
//! given up, leaves nothing that anybody sees.

use std::sync::Arc;

use positions::Offset;
use records::RecordsError;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;

use super::components::FileId;
use super::part::{Part, Portion, Written, write_part};
use super::reading::{FileOutcome, Reading};
use super::session::Import;
use crate::BatchError;

/// For each part that is worked on, how many others may be done before their turn.
const WAITING: usize = 4;

/// A part that was worked on, with its number in the file.
type Done = Result<(usize, Written), RecordsError>;

/// Reads a file into `import`: it is in with the next commit. `portions` ends where the file does; an error in it says
/// why the file cannot be read further. `told` hears of the records that are written.
///
/// # Errors
/// [`BatchError::NotImported`]: the file is left out, others may follow. Others are those of the store.
pub async fn read_file(
    import: &mut Import,
    file: FileId,
    mut portions: Receiver<Result<Portion, String>>,
    mut told: impl FnMut(u64),
) -> Result<FileOutcome, BatchError> {
    let not_imported = |reason: String| BatchError::NotImported { file: file.name.clone(), reason };
    let (work, mut reading) = import.begin();
    let (components, work) = (import.components().clone(), Arc::new(work));
    let (mut parts, mut part): (JoinSet<Done>, Part) = (JoinSet::new(), Part::default());
    let (mut next, mut number) = (reading.archived.end.offset, 0);
    loop {
        let portion = portions.recv().await;
        let is_end = portion.is_none();
        if let Some(portion) = portion {
            part.push(portion.map_err(not_imported)?);
        }
        if part.records > 0 && (is_end || part.is_full()) {
            let workers = components.workers.max(1);
            // Behind one part that takes long, not all others may wait in memory.
            while parts.len() >= workers || (reading.waiting() >= WAITING * workers && !parts.is_empty()) {
                take(&mut parts, &mut reading).await?.map_err(not_imported)?;
                told(reading.outcome.records);
            }
            let (part, nonce) = (std::mem::take(&mut part), components.ids.next_id());
            let (work, first) = (Arc::clone(&work), next);
            next = Offset(next.0 + part.records as i64);
            parts.spawn(async move { Ok((number, write_part(&work, part, first, nonce).await?)) });
            number += 1;
        }
        if is_end {
            break;
        }
    }
    while !parts.is_empty() {
        take(&mut parts, &mut reading).await?.map_err(not_imported)?;
        told(reading.outcome.records);
    }
    Ok(import.take(file, reading))
}

/// Takes the next part that is done; the inner error says why the file is given up.
async fn take(parts: &mut JoinSet<Done>, reading: &mut Reading) -> Result<Result<(), String>, BatchError> {
    match parts.join_next().await {
        Some(Ok(done)) => {
            let (number, written) = done?;
            Ok(reading.take(number, written))
        }
        Some(Err(failed)) => Err(RecordsError::Unusable(format!("a part of a file was not written: {failed}")).into()),
        None => Ok(Ok(())),
    }
}
