//! Whether a start could use the folder of the embedded log, as far as that is found out without opening it.
//!
//! Guarantee: a folder that is not there is not made, and nothing is left behind in one that is.
//! Not here: whether what is in it is whole, which opening it tells.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;

use super::disk_space::{free_bytes, try_folder};
use super::store::run::LOCK;
use crate::EventLogError;

/// The file that the engine writes when all else is there.
const VERSION: &str = "version";
const KEYSPACES: &str = "keyspaces";
/// The keyspace that names the others.
const FIRST: &str = "0";
const JOURNAL: &str = ".jnl";

/// A folder that a start could write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FolderCheck {
    /// What is free on its disk.
    pub free_bytes: u64,
    /// Whether there is a log in it; else a start makes one.
    pub holds_log: bool,
}

/// Checks that the folder can be written and that no other process holds it.
pub(super) fn check_folder(folder: &Path) -> Result<FolderCheck, EventLogError> {
    check_lock(folder)
        .and_then(|is_free| if is_free { try_folder(folder) } else { Err(ErrorKind::WouldBlock.into()) })
        .and_then(|()| Ok(FolderCheck { free_bytes: free_bytes(folder)?, holds_log: holds_log(folder)? }))
        .map_err(|error| {
            let folder = folder.display();
            EventLogError::Unusable(match error.kind() {
                ErrorKind::WouldBlock => {
                    format!("folder {folder} of the embedded log is held by another process: stop it first")
                }
                _ => format!("folder {folder} of the embedded log: {error}"),
            })
        })
}

/// Whether the engine has made anything in the folder; what the file system keeps there is not its own.
fn holds_log(folder: &Path) -> std::io::Result<bool> {
    has_entry(folder, |name| [LOCK, VERSION, KEYSPACES].contains(&name) || name.ends_with(JOURNAL))
}

/// What a log lacks that the engine would make anew, without a word and with nothing in it.
pub(super) fn find_missing(folder: &Path) -> std::io::Result<Option<String>> {
    if !folder.join(VERSION).exists() {
        return Ok(None);
    }
    if !has_entry(folder, |name| name.ends_with(JOURNAL))? {
        return Ok(Some("its journal (`*.jnl`)".to_owned()));
    }
    let keyspaces = folder.join(KEYSPACES);
    if !keyspaces.is_dir() {
        return Ok(Some("its folder `keyspaces`".to_owned()));
    }
    // It is there before the others are.
    let is_named = has_entry(&keyspaces, |name| name != FIRST)?;
    for entry in std::fs::read_dir(&keyspaces)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let tables = path.join("tables");
        let is_begun = name == FIRST && is_named || tables.is_dir() && has_entry(&tables, |_| true)?;
        if is_begun && !path.join("current").exists() {
            return Ok(Some(format!("its file `{KEYSPACES}/{}/current`", name.to_string_lossy())));
        }
    }
    Ok(None)
}

fn has_entry(folder: &Path, is_meant: impl Fn(&str) -> bool) -> std::io::Result<bool> {
    for entry in std::fs::read_dir(folder)? {
        if is_meant(&entry?.file_name().to_string_lossy()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether nobody holds the folder. The lock is given back at once.
fn check_lock(folder: &Path) -> std::io::Result<bool> {
    let lock = match File::options().write(true).open(folder.join(LOCK)) {
        Ok(lock) => lock,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    match lock.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
