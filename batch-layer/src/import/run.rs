//! Reading one file: parts of it are decoded and written while it is read on.
//!
//! ```text
//!  portions --> open part --> decoded, on a task of its own --> encoded, on another --> a file of the master dataset
//!               full: the next one, beside those that are still worked on
//! ```
//!
//! Guarantee: at most as many parts are worked on as the components say. A file that cannot be read to its end, or is
//! given up, leaves nothing that anybody sees.
//! Why two tasks for a part: a file of one part, a day of history, would otherwise be read, decoded and encoded by one
//! processor after the other.

use std::sync::Arc;

use positions::Offset;
use records::RecordsError;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::{JoinError, JoinSet};

use super::components::FileId;
use super::part::{PART_RECORDS, PartSize, Portion, Work, Written, decode_part, write_part};
use super::reading::{FileOutcome, Reading};
use super::session::Import;
use crate::BatchError;

/// For each part that is worked on, how many others may be done before their turn.
const WAITING: usize = 4;

/// What waits within one part, before decoding and behind it: no more than the part is, as every portion has a record.
const WITHIN_PART: usize = PART_RECORDS;

/// A part that was worked on, with its number in the file.
type Done = Result<(usize, Written), RecordsError>;

/// The part that portions go to now; dropped, it is whole.
struct OpenPart {
    portions: Sender<Portion>,
    size: PartSize,
}

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
    let (mut parts, mut open): (JoinSet<Done>, Option<OpenPart>) = (JoinSet::new(), None);
    let (mut next, mut number, mut is_whole) = (reading.archived.end.offset, 0, true);
    while let Some(portion) = portions.recv().await {
        let portion = portion.map_err(not_imported)?;
        if portion.records() == 0 {
            continue;
        }
        let mut part = match open.take() {
            Some(part) => part,
            None => {
                let workers = components.workers.max(1);
                make_room(&mut parts, &mut reading, workers, &mut told).await?.map_err(not_imported)?;
                let (part, nonce) = (number, components.ids.next_id());
                number += 1;
                begin(&mut parts, Arc::clone(&work), (part, next), nonce)
            }
        };
        next = Offset(next.0 + portion.records() as i64);
        part.size.add(&portion);
        if part.portions.send(portion).await.is_err() {
            // It has failed, and says why once it is taken.
            is_whole = false;
            break;
        }
        open = Some(part).filter(|part| !part.size.is_full());
    }
    drop(open);
    while !parts.is_empty() {
        take(&mut parts, &mut reading).await?.map_err(not_imported)?;
        told(reading.outcome.records);
    }
    if !is_whole {
        return Err(RecordsError::Unusable("a part of a file ended before the file did".to_owned()).into());
    }
    Ok(import.take(file, reading))
}

/// Begins a part with its number, whose first record has this offset.
fn begin(parts: &mut JoinSet<Done>, work: Arc<Work>, (number, first): (usize, Offset), nonce: u128) -> OpenPart {
    let (portions, receiver) = mpsc::channel(WITHIN_PART);
    parts.spawn(async move { Ok((number, decode_and_write(work, first, nonce, receiver).await?)) });
    OpenPart { portions, size: PartSize::default() }
}

async fn decode_and_write(
    work: Arc<Work>,
    first: Offset,
    nonce: u128,
    portions: Receiver<Portion>,
) -> Result<Written, RecordsError> {
    let (rows, decoded) = mpsc::channel(WITHIN_PART);
    // Ends with this one.
    let mut decoding = JoinSet::new();
    let shared = Arc::clone(&work);
    decoding.spawn(async move { decode_part(&shared, first, portions, rows).await });
    let file = write_part(&work, first, nonce, decoded).await?;
    match decoding.join_next().await {
        Some(Ok(decoded)) => Ok(Written { file, ..decoded? }),
        Some(Err(failed)) => Err(not_written(&failed)),
        None => Ok(Written { file, ..Written::default() }),
    }
}

/// Waits until another part may be worked on; the inner error says why the file is given up.
async fn make_room(
    parts: &mut JoinSet<Done>,
    reading: &mut Reading,
    workers: usize,
    told: &mut impl FnMut(u64),
) -> Result<Result<(), String>, BatchError> {
    // Behind one part that takes long, not all others may wait in memory.
    while parts.len() >= workers || (reading.waiting() >= WAITING * workers && !parts.is_empty()) {
        if let Err(reason) = take(parts, reading).await? {
            return Ok(Err(reason));
        }
        told(reading.outcome.records);
    }
    Ok(Ok(()))
}

/// Takes the next part that is done; the inner error says why the file is given up.
async fn take(parts: &mut JoinSet<Done>, reading: &mut Reading) -> Result<Result<(), String>, BatchError> {
    match parts.join_next().await {
        Some(Ok(done)) => {
            let (number, written) = done?;
            Ok(reading.take(number, written))
        }
        Some(Err(failed)) => Err(not_written(&failed).into()),
        None => Ok(Ok(())),
    }
}

fn not_written(failed: &JoinError) -> RecordsError {
    RecordsError::Unusable(format!("a part of a file was not written: {failed}"))
}
