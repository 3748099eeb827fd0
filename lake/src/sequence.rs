//! A numbered, append-only series of small objects, for what several processes must agree on.
//!
//! ```text
//!  load() --> History (newest snapshot, entries behind it) --> the caller's state
//!  append(after n, entry) --> one conditional put of n + 1 --> Appended | Conflict: somebody else was first
//!  after(n)  --> what others appended since
//!
//!  <folder>/0000000007.json            an entry: {"nonce": ..., "entry": any JSON}
//!  <folder>/0000000007.snapshot.json   what the entries up to 7 add up to: any JSON
//!  <folder>/0000000007.cut.json        entries below 7 were deleted, or may be at any moment
//! ```
//!
//! Guarantee: numbers start at 1 and have no gaps; a number is given once. An append succeeds only directly after the
//! number that its writer has read, so a writer that has not seen an entry cannot append behind it: whoever fences
//! others off (a new leader with a higher epoch) appends an entry that says so. On an unknown outcome, append again
//! with the same nonce: an entry that is there already is recognised.
//! Why so: the store's refusal to overwrite is the only arbiter, as for commits of tables; a local file system can
//! create on condition, but not replace, so no object is ever overwritten. That an entry was cut away frees its
//! number for a writer who slept; therefore a mark is put before the first deletion and stays, and whoever has put an
//! entry looks for a mark above it afterwards. Snapshots alone would not tell: they may be younger than the entry.
//! Not here: what entries mean, who may append, when a snapshot is due; names and listing (`listing.rs`), deleting
//! (`cut.rs`).

mod cut;
mod listing;
mod number;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::store::Put;
use crate::{Lake, LakeError};
use listing::Listing;

pub use number::{MAX_NUMBER, Number};

/// The largest entry or snapshot, in bytes of JSON. What is larger goes into an object of its own, which the entry
/// names.
pub const MAX_BYTES: usize = 4 << 20;

/// Entries that are read at the same time.
const CONCURRENT_READS: usize = 8;

/// How often a listing is repeated that shows a gap: others append and cut while it runs.
const MAX_LISTINGS: usize = 5;

/// How an append ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a conflict is no error, but nothing was appended"]
pub enum Append {
    /// The entry has this number.
    Appended(Number),
    /// Another entry has the number: read what is new, decide again.
    Conflict {
        /// The newest number.
        newest: Number,
    },
}

/// An entry, or a snapshot up to an entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbered {
    /// Its number.
    pub number: Number,
    path: Path,
    value: Value,
}

impl Numbered {
    /// What was stored.
    ///
    /// # Errors
    /// [`LakeError::Corrupt`]: it is not of this type.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, LakeError> {
        T::deserialize(&self.value).map_err(|error| LakeError::corrupt(&self.path, error))
    }
}

/// What a reader has to apply, in this order.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// Replaces the reader's state.
    pub snapshot: Option<Numbered>,
    /// Follow on the snapshot, or on what the reader has.
    pub entries: Vec<Numbered>,
    /// The last number of all this: what to append after, and what to go on reading after.
    pub newest: Number,
}

/// One sequence. Cheap to clone; holds nothing that was read.
#[derive(Clone, Debug)]
pub struct Sequence {
    lake: Lake,
    folder: String,
    path: Path,
}

/// An entry as an object. One that looks otherwise is an entry without a nonce, whole.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Envelope<E> {
    nonce: String,
    entry: E,
}

impl Lake {
    /// A sequence by its folder below the root. Does no IO.
    pub fn sequence(&self, folder: &str) -> Sequence {
        Sequence { lake: self.clone(), folder: folder.to_owned(), path: self.path(folder) }
    }
}

impl Sequence {
    /// Appends an entry directly after `after`, the last number that its writer has read. `nonce` is drawn for this
    /// entry: appending again with the same nonce asks whether it is there, and appends it if not.
    ///
    /// A writer that sleeps behind its put for longer than the grace of a cut may be told of a conflict although the
    /// entry was appended; the state that it reads next holds it.
    ///
    /// # Errors
    /// [`LakeError::Unreachable`]: it is unknown whether the entry was appended; try again with the same nonce.
    /// [`LakeError::Full`]: nothing was appended. [`LakeError::Refused`]: the entry is too large.
    pub async fn append<E: Serialize + Sync>(
        &self,
        after: Number,
        entry: &E,
        nonce: u128,
    ) -> Result<Append, LakeError> {
        let number = after.next();
        if number > MAX_NUMBER {
            return Err(LakeError::refused(&self.folder, format!("{MAX_NUMBER} is the last number of a sequence")));
        }
        let nonce = format!("{nonce:032x}");
        let bytes = self.encode(&Envelope { nonce: nonce.clone(), entry })?;
        let path = self.entry_path(number);
        let put = self.lake.put_new(&path, bytes.into()).await;
        if let Err(error @ (LakeError::Full { .. } | LakeError::Unusable { .. })) = put {
            return Err(error);
        }
        if !matches!(put, Ok(Put::New)) {
            // Refused, or unknown: the object says whose entry it is.
            let found = self.lake.get(&path).await?;
            let is_ours = found.as_ref().is_some_and(|bytes| nonce_of(bytes).as_ref() == Some(&nonce));
            match put {
                Err(error) if found.is_none() => return Err(error),
                _ if !is_ours => return self.conflict().await,
                _ => {}
            }
        }
        // The number may be free because it was cut away while this writer slept: then there is a mark above it.
        let listing = self.list(number).await?;
        if listing.cut().is_some_and(|cut| cut > number) {
            return self.conflict().await;
        }
        Ok(Append::Appended(number))
    }

    /// Everything: the newest snapshot, and the entries behind it. One listing, and a request for each entry.
    ///
    /// # Errors
    /// [`LakeError::Corrupt`]: an entry is missing or broken. [`LakeError::Unreachable`]: try again.
    pub async fn load(&self) -> Result<History, LakeError> {
        self.read(None).await
    }

    /// The entries after `known`; where they were cut away, everything, beginning with a snapshot. One small listing
    /// where nothing is new.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub async fn after(&self, known: Number) -> Result<History, LakeError> {
        self.read(Some(known)).await
    }

    /// The newest entry alone, for a series whose entries each say everything. One listing and one request.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub async fn last(&self) -> Result<Option<Numbered>, LakeError> {
        let newest = self.newest().await?;
        if newest == Number(0) {
            return Ok(None);
        }
        let path = self.entry_path(newest);
        let entry = self.read_object(newest, path.clone(), true).await?;
        // The newest entry is never cut away.
        entry.map(Some).ok_or_else(|| LakeError::corrupt(&path, "the object is missing"))
    }

    /// All entries that are still there, oldest first, also those that a snapshot stands for: whoever deletes what
    /// entries name asks for these. Every entry appended before the call that no cut deletes meanwhile is among them.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub async fn entries(&self) -> Result<Vec<Numbered>, LakeError> {
        let listing = self.list(Number(0)).await?;
        let reads = futures::stream::iter(listing.entries)
            .map(|number| self.read_object(number, self.entry_path(number), true))
            .buffered(CONCURRENT_READS);
        // One that a cut has just deleted is left out.
        reads.try_filter_map(|entry| async move { Ok(entry) }).try_collect().await
    }

    /// The newest number; 0 where nothing was appended yet. One listing.
    ///
    /// # Errors
    /// [`LakeError::Unreachable`]: try again.
    pub async fn newest(&self) -> Result<Number, LakeError> {
        Ok(self.list(Number(0)).await?.newest())
    }

    /// Whether there is an entry directly after `known`: a hint that [`Self::after`] has something to read, for a
    /// request that is cheaper than a listing. What was cut away meanwhile it does not see.
    ///
    /// # Errors
    /// [`LakeError::Unreachable`]: try again.
    pub async fn has_next(&self, known: Number) -> Result<bool, LakeError> {
        Ok(self.lake.head(&self.entry_path(known.next())).await?.is_some())
    }

    /// Stores what the entries up to `number` add up to, so that opening needs no entry below. The caller has applied
    /// them all; of two snapshots of one number the first stays, for they say the same.
    ///
    /// # Errors
    /// [`LakeError::Refused`]: the state is too large. [`LakeError::Unreachable`], [`LakeError::Full`]: try again, or
    /// do without.
    pub async fn write_snapshot<S: Serialize + Sync>(&self, number: Number, state: &S) -> Result<(), LakeError> {
        let bytes = self.encode(state)?;
        self.lake.put_new(&self.snapshot_path(number), bytes.into()).await.map(|_| ())
    }

    async fn conflict(&self) -> Result<Append, LakeError> {
        Ok(Append::Conflict { newest: self.newest().await? })
    }

    async fn read(&self, known: Option<Number>) -> Result<History, LakeError> {
        let mut missing = None;
        for _ in 0..MAX_LISTINGS {
            let mut listing = self.list(known.unwrap_or_default()).await?;
            let follows = known.filter(|known| listing.cut().is_none_or(|cut| cut <= known.next()));
            if known.is_some() && follows.is_none() {
                listing = self.list(Number(0)).await?;
            }
            let (base, snapshot) = match follows {
                Some(known) => (known, None),
                None => match listing.snapshot() {
                    Some(number) => (number, self.read_object(number, self.snapshot_path(number), false).await?),
                    None => (Number(0), None),
                },
            };
            // A snapshot that a cut behind a newer one has just deleted.
            let is_whole = snapshot.is_some() || follows.is_some() || listing.snapshot().is_none();
            let newest = listing.newest().max(base);
            let entries = self.read_entries(base, newest).await?;
            if is_whole && entries.len() as u64 == newest.0 - base.0 {
                return Ok(History { snapshot, entries, newest });
            }
            missing = Some(Number(base.0 + entries.len() as u64 + 1));
        }
        let missing = missing.unwrap_or_default();
        Err(LakeError::corrupt(self.entry_path(missing), "the object is missing"))
    }

    /// The entries after `base`, up to `newest` or the first that is missing.
    async fn read_entries(&self, base: Number, newest: Number) -> Result<Vec<Numbered>, LakeError> {
        let mut reads = futures::stream::iter((base.next().0..=newest.0).map(Number))
            .map(|number| self.read_object(number, self.entry_path(number), true))
            .buffered(CONCURRENT_READS);
        let mut entries = Vec::new();
        while let Some(Some(entry)) = reads.try_next().await? {
            entries.push(entry);
        }
        Ok(entries)
    }

    async fn read_object(&self, number: Number, path: Path, is_entry: bool) -> Result<Option<Numbered>, LakeError> {
        let Some(bytes) = self.lake.get(&path).await? else { return Ok(None) };
        let value = match serde_json::from_slice::<Envelope<Value>>(&bytes) {
            Ok(envelope) if is_entry => envelope.entry,
            _ => serde_json::from_slice(&bytes).map_err(|error| LakeError::corrupt(&path, error))?,
        };
        Ok(Some(Numbered { number, path, value }))
    }

    async fn list(&self, from: Number) -> Result<Listing, LakeError> {
        Listing::read(&self.lake, &self.path, from).await
    }

    fn encode<T: Serialize>(&self, value: &T) -> Result<Vec<u8>, LakeError> {
        let refused = |reason: String| LakeError::refused(&self.folder, reason);
        let bytes = serde_json::to_vec(value).map_err(|error| refused(format!("it cannot be stored: {error}")))?;
        match bytes.len() {
            0..=MAX_BYTES => Ok(bytes),
            size => Err(refused(format!("an entry of a sequence has at most {MAX_BYTES} bytes, got {size}"))),
        }
    }

    fn entry_path(&self, number: Number) -> Path {
        listing::path(&self.path, number, listing::ENTRY)
    }

    fn snapshot_path(&self, number: Number) -> Path {
        listing::path(&self.path, number, listing::SNAPSHOT)
    }
}

fn nonce_of(bytes: &[u8]) -> Option<String> {
    serde_json::from_slice::<Envelope<serde::de::IgnoredAny>>(bytes).ok().map(|envelope| envelope.nonce)
}
