//! Having a file here, and what tells it from others.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use batch_layer::import::FileId;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
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

/// How a file is known. One on a disk is read for it, unless a table tells.
///
/// # Errors
/// If it cannot be read.
pub fn identify(file: &ImportFile) -> Result<FileId> {
    let identity = match (&file.identity, &file.place) {
        (Some(identity), _) => identity.clone(),
        (None, Place::Disk(path)) => {
            let hash = block_in_place(|| hash_of(path)).with_context(|| format!("cannot read {}", file.name))?;
            format!("content {hash:032x}")
        }
        (None, Place::Object(_, path)) => format!("object {path}"),
    };
    Ok(FileId { name: file.name.clone(), identity })
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
    let mut pieces = store.get(path).await.with_context(failed)?.into_stream();
    while let Some(piece) = pieces.try_next().await.with_context(failed)? {
        target.write_all(&piece).await.context("cannot write the temporary file")?;
    }
    target.flush().await.context("cannot write the temporary file")?;
    Ok(Fetched::Copy(copy))
}
