//! The list of what was erased of a source: places alone, no word of any event.
//!
//! It lies beside the lake (`lake::Lake::beside`), so that a table which is built again from the log, because it was
//! lost or because another topic took its place, leaves out what was erased before.
//! In: places. Out: all places so far, and how many entries they were.
//! Guarantee: places are only added. On return they are in; after an error some of them may be.
//! Not here: what is left of a record (`decode/erase.rs`), in which order stores follow (`batch-layer`, erase).

use lake::sequence::{Append, Number, Sequence};
use lake::{Lake, LakeError};
use positions::{Erased, ErasedRecord, IdSource, SourceName};

/// Places in one entry: about two megabytes of JSON.
const PLACES: usize = 20_000;

/// How often an entry is tried behind those of others.
const ATTEMPTS: usize = 16;

/// The list of one source. Cheap to clone; holds nothing that was read.
#[derive(Clone, Debug)]
pub struct ErasedList {
    entries: Sequence,
}

impl ErasedList {
    /// That of a source. Does no IO.
    pub fn new(lake: &Lake, source: &SourceName) -> Self {
        Self { entries: lake.beside().sequence(&format!("erased/{source}")) }
    }

    /// All that was erased. One listing where nothing was, and a request for each entry.
    ///
    /// # Errors
    /// [`LakeError::Unreachable`]: try again. [`LakeError::Corrupt`]: an entry is missing or broken.
    pub async fn load(&self) -> Result<Erased, LakeError> {
        Ok(self.refresh(&Erased::default()).await?.unwrap_or_default())
    }

    /// As [`Self::load`], given what was read before; `None` where nothing was erased since.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub async fn refresh(&self, known: &Erased) -> Result<Option<Erased>, LakeError> {
        let history = self.entries.after(Number(known.number)).await?;
        if history.entries.is_empty() {
            return Ok(None);
        }
        let mut erased = known.clone();
        erased.number = history.newest.0;
        for entry in &history.entries {
            entry.read::<Vec<ErasedRecord>>()?.into_iter().for_each(|record| erased.add(record));
        }
        Ok(Some(erased))
    }

    /// Adds places; returns all.
    ///
    /// # Errors
    /// As [`Self::load`]; [`LakeError::Full`] where there is no room.
    pub async fn add(&self, records: &[ErasedRecord], ids: &dyn IdSource) -> Result<Erased, LakeError> {
        let mut rest = records;
        while !rest.is_empty() {
            let mut places = 0;
            let fits = |record: &&ErasedRecord| {
                places += 1 + record.items.len();
                places <= PLACES
            };
            let count = rest.iter().take_while(fits).count().max(1);
            self.append(&rest[..count], ids.next_id()).await?;
            rest = &rest[count..];
        }
        self.load().await
    }

    async fn append(&self, records: &[ErasedRecord], nonce: u128) -> Result<(), LakeError> {
        let mut after: Number = self.entries.newest().await?;
        for _ in 0..ATTEMPTS {
            match self.entries.append(after, &records, nonce).await? {
                Append::Appended(_) => return Ok(()),
                Append::Conflict { newest } => after = newest,
            }
        }
        let reason = "others keep adding to the list of what was erased; run the command again".to_owned();
        Err(LakeError::Refused { table: "erased".to_owned(), reason })
    }
}
