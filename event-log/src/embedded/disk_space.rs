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

fn try_to_write(file: &Path, bytes: usize) -> std::io::Result<()> {
    let mut file = File::create(file)?;
    for _ in 0..bytes.div_ceil(BLOCK.len()) {
        file.write_all(&BLOCK)?;
    }
    Ok(())
}
