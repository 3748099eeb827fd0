//! Having a file here, and what tells it from others.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use batch_layer::import::FileId;
use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStoreExt};
use positions::ContentHash;
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt;
use tokio::task::block_in_place;

use super::file::{ImportFile, Place};

/// How much of a file is read at a time.
const PIECE_BYTES: usize = 1 << 20;

/// A file that can be opened by its path.
pub enum Fetched {
    /// It was there.
    Path(PathBuf),
    /// A copy, which goes when this does.
    Copy(NamedTempFile),
}

impl Fetched {
    /// Its path.
    pub fn path(&self) -> &Path {
        match self {
            Self::Path(path) => path,
            Self::Copy(file) => file.path(),
        }
    }
}

/// What a file on a disk looks like, by which it is seen that somebody wrote to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looks {
    size: u64,
    modified: Option<SystemTime>,
}

impl Looks {
    /// As it is now.
    ///
    /// # Errors
    /// If it cannot be looked at.
    pub fn of(path: &Path) -> Result<Self> {
        let facts = path.metadata().with_context(|| format!("cannot open {}", path.display()))?;
        // Not every file system says when.
        Ok(Self { size: facts.len(), modified: facts.modified().ok() })
    }
}

/// How a file is known, and, of one on a disk, what it looked like before it was read for that. Where a table tells, it
/// is not.
///
/// # Errors
/// If it cannot be read.
pub fn identify(file: &ImportFile) -> Result<(FileId, Option<Looks>)> {
    let looks = match &file.place {
        Place::Disk(path) => Some(Looks::of(path)?),
        Place::Object(..) => None,
    };
    let identity = match (&file.identity, &file.place) {
        (Some(identity), _) => identity.clone(),
        (None, Place::Disk(path)) => {
            let hash = block_in_place(|| hash_of(path)).with_context(|| format!("cannot read {}", file.name))?;
            format!("content {hash:032x}")
        }
        (None, Place::Object(_, path)) => format!("object {path}"),
    };
    Ok((FileId { name: file.name.clone(), identity }, looks))
}

fn hash_of(path: &Path) -> std::io::Result<u128> {
    let (mut file, mut hash, mut piece) = (File::open(path)?, ContentHash::default(), vec![0; PIECE_BYTES]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hash.finish()),
            count => hash.update(&piece[..count]),
        }
    }
}

/// Makes a file one that can be opened by its path. An object is copied, piece by piece.
///
/// # Errors
/// If it cannot be read, or there is no room for the copy.
pub async fn fetch(file: &ImportFile) -> Result<Fetched> {
    let (store, path) = match &file.place {
        Place::Disk(path) => return Ok(Fetched::Path(path.clone())),
        Place::Object(store, path) => (store, path),
    };
    let copy = NamedTempFile::new().context("cannot make a temporary file to fetch to")?;
    let target = copy.reopen().context("cannot write the temporary file")?;
    let mut target = tokio::fs::File::from_std(target);
    let failed = || format!("cannot fetch {}", file.name);
    let found = store.get(path).await.with_context(failed)?;
    ensure!(is_as_listed(file, &found.meta), "another object has the name by now; run the command again");
    let mut pieces = found.into_stream();
    while let Some(piece) = pieces.try_next().await.with_context(failed)? {
        target.write_all(&piece).await.context("cannot write the temporary file")?;
    }
    target.flush().await.context("cannot write the temporary file")?;
    Ok(Fetched::Copy(copy))
}

/// Whether an object is still the one that was found, by all that was told both times. Those of tables never change.
fn is_as_listed(file: &ImportFile, found: &ObjectMeta) -> bool {
    if file.table.is_some() {
        return true;
    }
    // Listings may quote a tag otherwise.
    let tag = found.e_tag.as_deref().map(|tag| tag.trim_matches('"'));
    let is_tag = |told: &String| tag.is_none_or(|tag| told.trim_matches('"') == tag);
    file.size.is_none_or(|size| size == found.size) && file.e_tag.as_ref().is_none_or(is_tag)
}
