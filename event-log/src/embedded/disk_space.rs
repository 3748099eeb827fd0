//! Whether a write failed because the disk is full: the storage engine does not always say so.
//!
//! In: the folder of its records, and how much was to be stored. Guarantee: leaves nothing behind; costs nothing until
//! an append has failed.

use std::fs::File;
use std::io::Write;
use std::path::Path;

/// The name of the file that is written and removed again.
const TRIAL: &str = "room.tmp";
/// Written in addition to what was to be stored: the storage engine needs some space for itself.
const RESERVE_BYTES: usize = 1 << 20;
static BLOCK: [u8; 64 << 10] = [0; 64 << 10];

/// Why `bytes` cannot be written to the folder now; `None` if they can. Blocks: it tries.
pub(super) fn find_shortage(folder: &Path, bytes: usize) -> Option<String> {
    let file = folder.join(TRIAL);
    let tried = try_to_write(&file, bytes.saturating_add(RESERVE_BYTES));
    let _ = std::fs::remove_file(&file);
    tried.err().map(|error| format!("{bytes} bytes do not fit into {}: {error}", folder.display()))
}

/// Writes to the folder as a start would, and removes it again.
pub(super) fn try_folder(folder: &Path) -> std::io::Result<()> {
    let file = folder.join(TRIAL);
    let tried = try_to_write(&file, RESERVE_BYTES);
    let _ = std::fs::remove_file(&file);
    tried
}

/// Bytes that are free where the folder is.
pub(super) fn free_bytes(folder: &Path) -> std::io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Why a flush may not fit into the folder beside `bytes`; `None` if it does. It writes again what the journals hold.
pub(super) fn find_little_room(folder: &Path, bytes: u64) -> Option<String> {
    let needed = bytes.saturating_add(journal_bytes(folder).ok()?);
    let left = free_bytes(folder).ok()?;
    (left < needed).then(|| {
        let folder = folder.display();
        format!("{left} bytes are left in {folder}, {needed} may be needed: No space left on device")
    })
}

fn journal_bytes(folder: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for file in std::fs::read_dir(folder)? {
        let file = file?;
        if file.path().extension().is_some_and(|extension| extension == "jnl") {
            bytes += file.metadata()?.len();
        }
    }
    Ok(bytes)
}

fn try_to_write(file: &Path, bytes: usize) -> std::io::Result<()> {
    let mut file = File::create(file)?;
    for _ in 0..bytes.div_ceil(BLOCK.len()) {
        file.write_all(&BLOCK)?;
    }
    Ok(())
}
