//! Whether a start could use the folder of the embedded log, found out without opening it.
//!
//! Guarantee: a folder that is not there is not made, and nothing is left behind in one that is.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;

use super::disk_space::{free_bytes, try_folder};
use super::store::run::LOCK;
use crate::EventLogError;

/// Checks that the folder can be written and that no other process holds it: the bytes that are free on its disk.
pub(super) fn check_folder(folder: &Path) -> Result<u64, EventLogError> {
    check_lock(folder)
        .and_then(|is_free| if is_free { try_folder(folder) } else { Err(ErrorKind::WouldBlock.into()) })
        .and_then(|()| free_bytes(folder))
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
