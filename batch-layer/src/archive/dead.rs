//! The topic `<topic>.dead`, where the settings ask for it: every record that the archive rejects, as it came.
//!
//! ```text
//!  sealed commit --its rejected rows--> <topic>.dead --once acknowledged--> the commit itself
//! ```
//!
//! In: the rows of a commit. Out: records with their payloads, without a key and without a correction of the client's
//! clock, dated by when they are appended. Of a
//! record with several events it is those that are rejected; where the first of them is, the record as a whole. What
//! was erased is not among them.
//! Guarantee: at least once. The commit that holds them follows their acknowledgement, so a kill in between, a second
//! archiver or a lost acknowledgement doubles them, and none is left out. What the log refuses for good, or did not
//! take in [`ATTEMPTS`], is given up and counted, since good records are not to wait for bad ones; it is in the master
//! dataset all the same.
//! Not here: the waits between attempts (`run.rs`), where a record came from and why it was rejected
//! (`records::master`, which knows each by its payload).
//! Why before the commit: behind it a kill would lose them, and nothing would tell which.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, BinaryArray};
use arrow::record_batch::RecordBatch;
use event_log::{EventLog, EventLogError, NewRecord};
use positions::{Offset, PartitionId, Stone, TimestampMicros};
use records::RecordsError;
use records::decode::{payloads, rejected_rows};
use views::SourceDefinition;

use crate::BatchError;
use crate::metrics::{self, ARCHIVE_DEAD, ARCHIVE_DEAD_MISSED};

/// So many failures in a row, each followed by a wait of the archive, give the records of a commit up. From then on
/// each commit tries once, until an append succeeds.
const ATTEMPTS: u32 = 5;
/// Records of one request to the log.
const RECORDS_AT_A_TIME: usize = 1_000;
/// No further record joins a request that has so many bytes.
const BYTES_AT_A_TIME: usize = 1 << 20;

/// A row: the number of its batch, and its own in that.
type Place = (usize, usize);

/// The name of the topic of rejected records beside a source's own.
pub fn dead_topic(topic: &str) -> String {
    format!("{topic}.dead")
}

/// See the module.
pub(crate) struct DeadTopic {
    log: Arc<dyn EventLog>,
    source: Arc<SourceDefinition>,
    topic: String,
    /// Whether the topic is known to exist.
    is_there: bool,
    /// Rejected rows of the commit at hand that are not appended yet; `None`: nobody has looked for them.
    left: Option<Vec<Place>>,
    /// Failed attempts in a row, also those for earlier commits.
    failures: u32,
}

impl DeadTopic {
    /// The dead topic of a source. Does no IO; the topic is made before the first append.
    pub fn new(log: Arc<dyn EventLog>, source: Arc<SourceDefinition>) -> Self {
        let topic = dead_topic(&source.topic);
        Self { log, source, topic, is_there: false, left: None, failures: 0 }
    }

    /// Appends the rejected rows of the commit at hand, as far as an earlier attempt has not.
    ///
    /// # Errors
    /// [`BatchError::DeadTopic`]: try again with the same rows after a while.
    pub async fn append(&mut self, batches: &[RecordBatch], now: TimestampMicros) -> Result<(), BatchError> {
        let payloads: Vec<&BinaryArray> = batches.iter().map(payloads).collect::<Result<_, _>>()?;
        let mut left = match self.left.take() {
            Some(left) => left,
            None => rejected_places(batches, &payloads)?,
        };
        let outcome = match self.append_all(&payloads, &mut left, now).await {
            Ok(()) => Ok(()),
            Err(error) => self.note_failure(&mut left, error),
        };
        self.left = Some(left);
        outcome
    }

    /// The commit at hand is done; the next rows are those of another one.
    pub fn finish_commit(&mut self) {
        self.left = None;
    }

    async fn append_all(
        &mut self,
        payloads: &[&BinaryArray],
        left: &mut Vec<Place>,
        now: TimestampMicros,
    ) -> Result<(), EventLogError> {
        if left.is_empty() {
            return Ok(());
        }
        self.make_topic().await?;
        while !left.is_empty() {
            let records = first_records(payloads, left, now);
            let places: Vec<Place> = left.drain(..records.len()).collect();
            let answers = self.log.append(&self.topic, records).await;
            self.take_answers(places, answers, left)?;
        }
        self.failures = 0;
        Ok(())
    }

    /// Counts what was appended, and puts what may be appended later back to what is left.
    fn take_answers(
        &self,
        places: Vec<Place>,
        answers: Vec<Result<(PartitionId, Offset), EventLogError>>,
        left: &mut Vec<Place>,
    ) -> Result<(), EventLogError> {
        let (mut appended, mut ends, mut outcome) = (0, BTreeMap::new(), Ok(()));
        for (place, answer) in std::iter::zip(places, answers) {
            match answer {
                Ok((partition, offset)) => {
                    appended += 1;
                    let end = ends.entry(partition).or_insert(Offset(0));
                    *end = offset.next().max(*end);
                }
                Err(error @ (EventLogError::TooLarge { .. } | EventLogError::Refused(_))) => self.miss(1, &error),
                Err(error) => {
                    left.push(place);
                    outcome = Err(error);
                }
            }
        }
        metrics::count(ARCHIVE_DEAD, self.source.name.as_str(), appended);
        self.log.release(&self.topic, &ends);
        outcome
    }

    /// Makes sure that the topic exists, with as many partitions as that of the source was made with. What it holds may
    /// expire: the master dataset keeps it.
    async fn make_topic(&mut self) -> Result<(), EventLogError> {
        if self.is_there {
            return Ok(());
        }
        let partitions = match self.log.partitions(&self.topic).await {
            Err(EventLogError::Unusable(_)) => {
                self.log.ensure_topic(&self.topic, self.source.partitions_at_creation()).await?;
                self.log.partitions(&self.topic).await?
            }
            found => found?,
        };
        let mut ends = BTreeMap::new();
        for partition in partitions {
            ends.insert(partition, self.log.bounds(&self.topic, partition).await?.high);
        }
        self.log.release(&self.topic, &ends);
        self.is_there = true;
        Ok(())
    }

    /// Asks for another attempt, or gives up what is left.
    fn note_failure(&mut self, left: &mut Vec<Place>, error: EventLogError) -> Result<(), BatchError> {
        self.is_there = false;
        self.failures = self.failures.saturating_add(1);
        let may_pass =
            matches!(error, EventLogError::Unreachable(_) | EventLogError::Overloaded(_) | EventLogError::Full(_));
        if may_pass && self.failures < ATTEMPTS {
            return Err(BatchError::DeadTopic { topic: self.topic.clone(), error });
        }
        self.miss(left.len() as u64, &error);
        left.clear();
        Ok(())
    }

    fn miss(&self, records: u64, error: &EventLogError) {
        tracing::error!(
            source = %self.source.name, topic = self.topic, records, %error,
            "rejected records are not in their topic and will not be appended; the master dataset has them"
        );
        metrics::count(ARCHIVE_DEAD_MISSED, self.source.name.as_str(), records);
    }
}

/// Rejected rows, but for what was erased: of that there is a stone or nothing.
fn rejected_places(batches: &[RecordBatch], payloads: &[&BinaryArray]) -> Result<Vec<Place>, RecordsError> {
    let mut places = Vec::new();
    for (number, (batch, payloads)) in batches.iter().zip(payloads).enumerate() {
        let is_there = |row: &usize| payloads.is_valid(*row) && Stone::of(payloads.value(*row)).is_none();
        places.extend(rejected_rows(batch)?.into_iter().filter(is_there).map(|row| (number, row)));
    }
    Ok(places)
}

/// The records of the first of these rows, as many as one request may have, at least one.
fn first_records(payloads: &[&BinaryArray], left: &[Place], now: TimestampMicros) -> Vec<NewRecord> {
    let (mut records, mut bytes) = (Vec::new(), 0);
    for (batch, row) in left.iter().take(RECORDS_AT_A_TIME) {
        if bytes >= BYTES_AT_A_TIME {
            break;
        }
        let payload = payloads[*batch].value(*row);
        bytes += payload.len();
        records.push(NewRecord { key: None, payload: payload.to_vec().into(), timestamp: now, clock_shift: None });
    }
    records
}
