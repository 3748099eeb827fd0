//! Where the embedded log waits for its folder, and for its engine.

use std::path::Path;
use std::time::Duration;

use super::Store;

/// Between two looks whether flushes have caught up.
const PAUSE: Duration = Duration::from_millis(1);
/// A process that has just ended may hold the folder a moment longer.
const OPEN_ATTEMPTS: usize = 30;
const OPEN_PAUSE: Duration = Duration::from_millis(100);

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
pub fn open(folder: &Path) -> fjall::Result<Store> {
    let mut attempts = OPEN_ATTEMPTS;
    loop {
        attempts -= 1;
        match Store::open(folder) {
            Err(fjall::Error::Locked) if attempts > 0 => std::thread::sleep(OPEN_PAUSE),
            outcome => return outcome,
        }
    }
}
