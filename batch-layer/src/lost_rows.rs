//! Rows whose file is gone, read from the log again, as far as that still holds them. An operator asks for it, by
//! `twofold lake repair`.
//!
//! ```text
//!  archived:  0 ..... [ lost file ) ........ end
//!  the log:                [ still there ........ ->      read again | the rest: a hole
//! ```
//!
//! In: a version of the master dataset, the files that are gone, the log. Out: [`Rescue`]: what can be brought back and
//! what cannot; carried out, it is one commit.
//! Guarantee: nothing is changed before it is carried out, and then on exactly the version that was looked at. Records
//! are decoded as the archive does it, so that they are the same rows again.
//! Memory: the rows of the lost files.
//! Not here: finding that files are gone (`damage.rs`), the facts of the commit (`records::master`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use event_log::{EventLog, EventLogError, LifeLog, Poll, PollLimit, Record};
use lake::DataFile;
use positions::{Erased, Hole, Offset, PartitionId};
use records::decode::{Decoder, leave_out};
use records::master::{MasterDataset, MasterSnapshot};
use records::registry::SchemaBook;
use views::SourceDefinition;

use crate::BatchError;

/// One read of the log.
const LIMIT: PollLimit = PollLimit { records: 10_000, bytes: 16 << 20, wait: Duration::from_millis(500) };

/// So many reads in a row may bring nothing before the log counts as one that does not answer.
const EMPTY_READS: usize = 60;

/// What can be brought back of files that are gone.
#[derive(Debug)]
pub struct Rescue {
    on: MasterSnapshot,
    files: Vec<DataFile>,
    rows: Vec<RecordBatch>,
    /// What the log does not hold any more either.
    pub lost: Vec<Hole>,
}

impl Rescue {
    /// How many rows the files held.
    pub fn rows_gone(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }

    /// How many rows were read from the log again.
    pub fn rows_read(&self) -> usize {
        self.rows.iter().map(RecordBatch::num_rows).sum()
    }
}

/// Reads from the log again what files held that are gone from `on`, without what was `erased`; changes nothing.
///
/// # Errors
/// The log or the store does not answer, or the topic is another one than the archived one.
pub async fn plan_rescue(
    log: Arc<dyn EventLog>,
    source: &Arc<SourceDefinition>,
    on: MasterSnapshot,
    files: Vec<DataFile>,
    erased: &Erased,
) -> Result<Rescue, BatchError> {
    let log = LifeLog::new(log, on.facts.life.clone());
    let book = SchemaBook::new(None);
    book.note(&on.facts.schemas);
    let (decoder, schemas) = (Decoder::new(Arc::clone(source)), book.schemas());
    let (mut rows, mut lost) = (Vec::new(), Vec::new());
    for gap in on.offsets_lost(&files).await? {
        let low = low_of(&log, &source.topic, gap.partition).await?;
        if let Some(known) = on.facts.partitions.get(&gap.partition).filter(|_| low < gap.to) {
            log.check_fingerprint(&source.topic, gap.partition, &known.archived.end).await?;
        }
        let from = low.clamp(gap.from, gap.to);
        lost.extend(Hole { to: from, ..gap }.within(gap.from, gap.to));
        for mut records in read(&log, &source.topic, Hole { from, ..gap }).await? {
            leave_out(&decoder, &schemas, erased, &mut records)?;
            rows.push(decoder.decode_with(&schemas, &records)?.0);
        }
    }
    Ok(Rescue { on, files, rows, lost })
}

/// Commits what was planned.
///
/// # Errors
/// [`BatchError::Records`] with a conflict: somebody committed since; plan again. Others as those of the store.
pub async fn carry_out(master: &MasterDataset, rescue: &Rescue, nonce: u128) -> Result<MasterSnapshot, BatchError> {
    Ok(master.replace_lost(&rescue.on, &rescue.files, &rescue.rows, &rescue.lost, nonce).await?)
}

/// The first offset of a partition that can be read; where the partition is gone, none can.
async fn low_of(log: &LifeLog, topic: &str, partition: PartitionId) -> Result<Offset, EventLogError> {
    if !log.partitions(topic).await?.contains(&partition) {
        return Ok(Offset(i64::MAX));
    }
    Ok(log.bounds(topic, partition).await?.low)
}

/// The records of a range that the log holds, in the portions in which they were read.
async fn read(log: &LifeLog, topic: &str, range: Hole) -> Result<Vec<Vec<Record>>, EventLogError> {
    let mut portions = Vec::new();
    if range.from >= range.to {
        return Ok(portions);
    }
    let mut consumer = log.consumer(topic, None).await?;
    consumer.seek(&BTreeMap::from([(range.partition, range.from)])).await?;
    let (mut next, mut empty_reads) = (range.from, 0);
    while next < range.to && empty_reads < EMPTY_READS {
        let Poll::Records(mut records) = consumer.poll(LIMIT).await? else { continue };
        records.retain(|record| record.partition == range.partition && record.offset >= next);
        let Some(last) = records.last() else {
            // Markers of transactions may stand at the end, which are no records.
            if consumer.take_ends().contains_key(&range.partition) {
                return Ok(portions);
            }
            empty_reads += 1;
            continue;
        };
        (next, empty_reads) = (last.offset.next(), 0);
        records.retain(|record| record.offset < range.to);
        if !records.is_empty() {
            portions.push(records);
        }
    }
    if next < range.to {
        return Err(EventLogError::Unreachable(format!("nothing comes of topic {topic} from offset {next} on")));
    }
    Ok(portions)
}
