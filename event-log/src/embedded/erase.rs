//! Taking payloads out of a folder that nobody holds: records keep their places, and get another payload.
//!
//! ```text
//!  log/ --every entry, some chunks with other payloads--> log.erasing/
//!  log/ -> log.erased/, log.erasing/ -> log/, and log.erased/ is deleted
//! ```
//!
//! In: a folder, and what takes the place of a payload. Out: how many records were changed.
//! Guarantee: on return no file of the folder holds what was replaced. Killed at any step, the next opening finds the
//! folder as it was, or changed as a whole ([`settle`]).
//! Why a copy: the engine keeps what was overwritten in its journals and files until a merge happens to pass by.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::chunk::{ChunkBuilder, ChunkReader, Damaged};
use super::key::ChunkKey;
use super::store::{self, Entries, Store};
use crate::{EventLogError, NewRecord, Record};

/// What takes the place of the payload of a record of a topic; `None`: it stays.
pub type Replacement = Arc<dyn Fn(&str, &Record) -> Option<Bytes> + Send + Sync>;

/// Bytes that are committed together.
const COMMIT_BYTES: usize = 4 << 20;
/// Bytes between two flushes.
const FLUSH_BYTES: usize = 64 << 20;

/// Replaces payloads in the folder of a log that is closed. Keys of records in the same chunks are dropped: they chose
/// partitions, and nobody reads them.
///
/// # Errors
/// [`EventLogError::Unusable`]: the folder is held, damaged or cannot be written; it is as it was.
pub async fn replace_payloads(folder: &Path, replacement: Replacement) -> Result<u64, EventLogError> {
    let path = folder.to_owned();
    let replaced = tokio::task::spawn_blocking(move || rewrite(&path, &replacement)).await;
    let failed = |reason: String| {
        let folder = folder.display();
        EventLogError::Unusable(format!("folder {folder} of the embedded log cannot be rewritten: {reason}"))
    };
    replaced.map_err(|error| failed(error.to_string()))?.map_err(|error| match error {
        fjall::Error::Locked => failed("another process holds it; stop it first".to_owned()),
        error => failed(error.to_string()),
    })
}

fn rewrite(folder: &Path, replacement: &Replacement) -> fjall::Result<u64> {
    settle(folder)?;
    let old = store::run::open(folder, true)?;
    let topics = old.load()?;
    let names: BTreeMap<u32, &str> = topics.iter().map(|(name, topic)| (topic.number, name.as_str())).collect();
    let change = |key: &[u8], value: &Bytes| match ChunkKey::decode(key) {
        // What is left of a topic that was made again has no name: nobody reads it, and it is not copied.
        Some(chunk) => match names.get(&chunk.place.topic) {
            Some(name) => changed(name, &chunk, value, replacement).map(|(value, count)| (Some(value), count)),
            None => Ok((None, 1)),
        },
        None => Ok((Some(value.to_vec()), 0)),
    };
    let mut replaced = 0;
    for found in old.entries() {
        let (key, value) = found?;
        replaced += change(&key, &value)?.1;
    }
    if replaced == 0 {
        return Ok(0);
    }
    let (copy, before) = (beside(folder, COPY), beside(folder, BEFORE));
    remove(&copy)?;
    let new = Store::open(&copy)?;
    let (mut entries, mut bytes, mut unflushed) = (Entries::new(), 0, 0);
    for found in old.entries() {
        let (key, value) = found?;
        let Some(value) = change(&key, &value)?.0 else { continue };
        bytes += key.len() + value.len();
        entries.push((key, Some(value)));
        if bytes >= COMMIT_BYTES {
            store::run::wait_until_ready(&new)?;
            new.commit(&std::mem::take(&mut entries), false)?;
            unflushed += std::mem::take(&mut bytes);
        }
        if unflushed >= FLUSH_BYTES {
            unflushed = 0;
            new.flush()?;
        }
    }
    store::run::wait_until_ready(&new)?;
    new.commit(&entries, true)?;
    new.sync()?;
    // Both give their folders free.
    drop((old, new));
    std::fs::rename(folder, &before)?;
    std::fs::rename(&copy, folder)?;
    sync_parent(folder)?;
    remove(&before)?;
    Ok(replaced)
}

/// A chunk with other payloads, and how many of its records have one.
fn changed(topic: &str, key: &ChunkKey, value: &Bytes, replacement: &Replacement) -> fjall::Result<(Vec<u8>, u64)> {
    let damaged = |_: Damaged| Error::new(ErrorKind::InvalidData, format!("a chunk of topic {topic} is damaged"));
    let mut reader = ChunkReader::new(key, value.clone()).map_err(damaged)?;
    let (mut builder, mut count) = (ChunkBuilder::new(), 0);
    while let Some(record) = reader.read().map_err(damaged)? {
        let payload = replacement(topic, &record);
        count += u64::from(payload.is_some());
        builder.push(&NewRecord {
            key: None,
            // Events that are left of a record are read with it.
            clock_shift: record.clock_shift,
            payload: payload.unwrap_or(record.payload),
            timestamp: record.timestamp,
        });
    }
    Ok(if count == 0 { (value.to_vec(), 0) } else { (builder.into_body(), count) })
}

/// The copy in the making.
const COPY: &str = "erasing";
/// The folder as it was, on its way out.
const BEFORE: &str = "erased";

/// Ends what a kill left of a rewriting: a copy takes the folder's place once the folder was moved away for it, and is
/// dropped before that. Blocks.
pub(super) fn settle(folder: &Path) -> std::io::Result<()> {
    let (copy, before) = (beside(folder, COPY), beside(folder, BEFORE));
    if copy.exists() && before.exists() && !folder.exists() {
        std::fs::rename(&copy, folder)?;
        sync_parent(folder)?;
    }
    remove(&copy)?;
    remove(&before)
}

fn beside(folder: &Path, suffix: &str) -> PathBuf {
    let mut path = folder.as_os_str().to_owned();
    path.push(".");
    path.push(suffix);
    PathBuf::from(path)
}

fn remove(folder: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The names of a folder are durable once the folder above it is.
fn sync_parent(folder: &Path) -> std::io::Result<()> {
    match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}
