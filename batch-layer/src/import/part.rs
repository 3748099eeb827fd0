//! Parts of files: what becomes one file of the master dataset.
//!
//! Guarantee: rows keep the order in which they were read; what comes out says what the records were read as, in that
//! order.

use arrow::record_batch::RecordBatch;
use futures::stream;
use lake::DataFile;
use positions::{Counters, Offset, PartitionId, RecordMark, TimestampMicros};
use records::RecordsError;
use records::decode::{self, ImportDecoder, ImportPlace, RowClass};
use records::master::{MasterDataset, MasterSnapshot};
use tokio::sync::mpsc::{Receiver, Sender};

/// Records of one part: more are a part of their own.
pub const PART_RECORDS: usize = 500_000;

/// Bytes of one part as it was read: more are a part of their own.
pub const PART_BYTES: usize = 64 << 20;

/// About what one part takes while it is read, decoded and written, what others wait for it with included: measured.
pub const PART_MEMORY_BYTES: usize = 4 * PART_BYTES;

/// The next records of a file.
#[derive(Clone, Debug)]
pub enum Portion {
    /// Each a payload of its own, as text.
    Events(Vec<Vec<u8>>),
    /// Rows of a file of columns; timestamps of all zones in UTC.
    Rows(RecordBatch),
}

impl Portion {
    /// How many records they are.
    pub fn records(&self) -> usize {
        match self {
            Self::Events(payloads) => payloads.len(),
            Self::Rows(rows) => rows.num_rows(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Events(payloads) => payloads.iter().map(Vec::len).sum(),
            Self::Rows(rows) => rows.get_array_memory_size(),
        }
    }
}

/// How much a part holds so far.
#[derive(Debug, Default)]
pub(super) struct PartSize {
    records: usize,
    bytes: usize,
}

impl PartSize {
    pub(super) fn add(&mut self, portion: &Portion) {
        self.records += portion.records();
        self.bytes += portion.bytes();
    }

    pub(super) fn is_full(&self) -> bool {
        self.records >= PART_RECORDS || self.bytes >= PART_BYTES
    }
}

/// What all parts of a file have in common.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) master: MasterDataset,
    /// Has all columns of the source.
    pub(super) on: MasterSnapshot,
    pub(super) decoder: ImportDecoder,
    pub(super) partition: PartitionId,
    pub(super) now: TimestampMicros,
}

/// A part that is written, and what its records are.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) file: Option<DataFile>,
    pub(super) marks: Vec<RecordMark>,
    pub(super) counters: Counters,
    /// Of each record, why it or its first bad event was rejected; empty where none was.
    pub(super) rejections: Vec<Option<String>>,
}

/// Decodes the portions of a part, whose first record has the offset `first`, as they come; the rows go to whoever
/// writes them. What comes out names no file yet.
pub(super) async fn decode_part(
    work: &Work,
    first: Offset,
    mut portions: Receiver<Portion>,
    rows: Sender<RecordBatch>,
) -> Result<Written, RecordsError> {
    let mut place = ImportPlace { partition: work.partition, first, now: work.now };
    let mut written = Written::default();
    while let Some(portion) = portions.recv().await {
        let next = Offset(place.first.0 + portion.records() as i64);
        let decoded = match portion {
            Portion::Events(payloads) => vec![work.decoder.decode_events(place, payloads)?],
            Portion::Rows(batch) => work.decoder.decode_rows(place, &batch)?,
        };
        for batch in decoded {
            written.marks.extend(decode::marks(&batch)?);
            let classes = decode::classes(&batch)?.into_iter().map(RowClass::counters);
            written.counters = classes.fold(written.counters, |sum, of| sum + of);
            note_rejections(&batch, written.marks.len(), &mut written.rejections)?;
            if rows.send(batch).await.is_err() {
                // Who writes them has failed, and says why.
                return Ok(written);
            }
        }
        place.first = next;
        // Decoding is work for the processor: others get their turn between portions.
        tokio::task::yield_now().await;
    }
    Ok(written)
}

/// Writes the rows of a part, whose first record has the offset `first`, as they come. Nobody sees the file before a
/// commit names it.
pub(super) async fn write_part(
    work: &Work,
    first: Offset,
    nonce: u128,
    mut rows: Receiver<RecordBatch>,
) -> Result<Option<DataFile>, RecordsError> {
    let rows = stream::poll_fn(move |context| rows.poll_recv(context));
    work.master.write_imported(&work.on, nonce, (work.partition, first), rows).await
}

/// Notes the reason of each record of the batch that has one; `records` is how many there are with it.
fn note_rejections(
    batch: &RecordBatch,
    records: usize,
    rejections: &mut Vec<Option<String>>,
) -> Result<(), RecordsError> {
    if decode::rejected_rows(batch)?.is_empty() && rejections.is_empty() {
        return Ok(());
    }
    let ends = decode::record_ends(batch)?;
    // Records before the first bad one have no reason.
    rejections.resize(records - ends.len(), None);
    let reasons = decode::reasons(batch)?;
    let mut start = 0;
    for end in ends {
        let first = (start..end).find_map(|row| reasons.get(&row));
        rejections.push(first.cloned());
        start = end;
    }
    Ok(())
}
