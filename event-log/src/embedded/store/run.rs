//! Where the embedded log waits for its folder, and for its engine.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use super::Store;
use super::mend::mend;

/// Between two looks whether flushes have caught up.
const PAUSE: Duration = Duration::from_millis(1);
/// A process that has just ended may hold the folder a moment longer.
const OPEN_ATTEMPTS: usize = 50;
const OPEN_PAUSE: Duration = Duration::from_millis(100);
/// The engine's lock of the folder.
pub const LOCK: &str = "lock";

/// Waits while flushes are behind. Blocks.
///
/// # Errors
/// `Poisoned` where they will never catch up, because the disk has failed.
pub fn wait_until_ready(store: &Store) -> fjall::Result<()> {
    while store.is_behind() {
        if store.is_dead() {
            return Err(fjall::Error::Poisoned);
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Opens the folder, waiting a while for whoever holds it. Blocks.
pub fn open(folder: &Path, is_synced: bool) -> fjall::Result<Store> {
    let mut attempts = OPEN_ATTEMPTS;
    loop {
        attempts -= 1;
        match mend_alone(folder, is_synced).and_then(|()| Store::open(folder)) {
            Err(fjall::Error::Locked) if attempts > 0 => std::thread::sleep(OPEN_PAUSE),
            outcome => return outcome,
        }
    }
}

/// Mends the folder under the lock that the engine takes, too: what another process is writing looks torn.
fn mend_alone(folder: &Path, is_synced: bool) -> fjall::Result<()> {
    let lock = match File::options().write(true).open(folder.join(LOCK)) {
        Ok(lock) => lock,
        // Nobody has opened it before.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    match lock.try_lock() {
        Ok(()) => Ok(mend(folder, is_synced)?),
        Err(TryLockError::WouldBlock) => Err(fjall::Error::Locked),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}
