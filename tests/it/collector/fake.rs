//! A log that stores in memory and misbehaves on demand.

use std::collections::BTreeSet;
use std::sync::Mutex;

use async_trait::async_trait;
use event_log::{EventLog, EventLogError, LogBounds, LogConsumer, NewRecord};
use positions::{Offset, PartitionId};
use tokio::sync::Semaphore;

/// What the log does with records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// Stores them.
    #[default]
    Well,
    /// Cannot be reached.
    Down,
    /// Stores every other one.
    Half,
    /// Stores each, and answers once it may (`FakeLog::turns`).
    Slow,
    /// Stores the first, and says nothing of the others.
    Silent,
    /// Finds records that hold the word `never` too large.
    Narrow,
    /// Refuses records that hold the word `never`, for good.
    Strict,
    /// Has room for the first of several, and for none that comes alone.
    Full,
    /// Stores what is not an object, and cannot be reached for the rest.
    Perverse,
}

impl Mood {
    /// Why the record at a place of the request, which has so many, is not stored.
    fn refusal(self, (at, count): (usize, usize), record: &NewRecord) -> Option<EventLogError> {
        let is_never = record.payload.windows(5).any(|part| part == b"never");
        match self {
            Self::Down => Some(EventLogError::Unreachable("no broker answers".to_owned())),
            Self::Half if at % 2 == 1 => Some(EventLogError::Unreachable("no broker answers".to_owned())),
            Self::Narrow if is_never => Some(EventLogError::TooLarge { bytes: 2, limit_bytes: 1 }),
            Self::Strict if is_never => Some(EventLogError::Refused("not this one".to_owned())),
            Self::Perverse if record.payload.starts_with(b"{") => {
                Some(EventLogError::Unreachable("no broker answers".to_owned()))
            }
            Self::Full if at > 0 || count == 1 => Some(EventLogError::Overloaded("no room".to_owned())),
            _ => None,
        }
    }
}

/// Two partitions; a record without a key goes to the first, one with a key by its length.
pub struct FakeLog {
    pub mood: Mutex<Mood>,
    pub turns: Semaphore,
    appends: Semaphore,
    pub stored: Mutex<Vec<(PartitionId, Offset, NewRecord)>>,
}

impl Default for FakeLog {
    fn default() -> Self {
        Self { mood: Mutex::default(), turns: Semaphore::new(0), appends: Semaphore::new(0), stored: Mutex::default() }
    }
}

impl FakeLog {
    pub fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// Waits until an append has begun.
    pub async fn asked(&self) {
        self.appends.acquire().await.unwrap().forget();
    }

    /// The payloads, in the order in which they came.
    pub fn payloads(&self) -> Vec<String> {
        let stored = self.stored.lock().unwrap();
        stored.iter().map(|(_, _, record)| String::from_utf8_lossy(&record.payload).into_owned()).collect()
    }

    fn store(&self, record: NewRecord) -> (PartitionId, Offset) {
        let mut stored = self.stored.lock().unwrap();
        let partition = PartitionId(record.key.as_ref().map_or(0, |key| key.len() as i32 % 2));
        let offset = Offset(stored.iter().filter(|(other, _, _)| *other == partition).count() as i64);
        stored.push((partition, offset, record));
        (partition, offset)
    }
}

#[async_trait]
impl EventLog for FakeLog {
    async fn ensure_topic(&self, _topic: &str, _partitions: i32) -> Result<(), EventLogError> {
        Ok(())
    }

    async fn partitions(&self, _topic: &str) -> Result<BTreeSet<PartitionId>, EventLogError> {
        Ok(BTreeSet::from([PartitionId(0), PartitionId(1)]))
    }

    async fn bounds(&self, _topic: &str, _partition: PartitionId) -> Result<LogBounds, EventLogError> {
        Ok(LogBounds { low: Offset(0), high: Offset(0) })
    }

    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Vec<Result<(PartitionId, Offset), EventLogError>> {
        assert_eq!(topic, "clicks");
        // In this order: who waits for an append may set the mood of the next one.
        let mood = *self.mood.lock().unwrap();
        self.appends.add_permits(1);
        if mood == Mood::Slow {
            self.turns.acquire().await.unwrap().forget();
        }
        let count = if mood == Mood::Silent { 1 } else { records.len() };
        let mut answers = Vec::new();
        for (at, record) in records.into_iter().take(count).enumerate() {
            answers.push(mood.refusal((at, count), &record).map_or_else(|| Ok(self.store(record)), Err));
        }
        answers
    }

    async fn consumer(&self, _topic: &str, _group: Option<&str>) -> Result<Box<dyn LogConsumer>, EventLogError> {
        Err(EventLogError::Unusable("the fake log is not read".to_owned()))
    }
}
