//! Before the engine opens a folder: cuts off the torn end of its last journal, which a power cut or a kill leaves.
//!
//! Guarantee: no whole commit is cut off where every commit was synced: then nothing whole can follow a torn one, and a
//! folder where it does is damaged in what was acknowledged, and refused unchanged. Where commits are not synced, the
//! first torn one ends the log, as a power cut may. What is cut off is logged.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Error, ErrorKind, Read, Result, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use tracing::warn;

use super::journal::{FORMAT, find_batch, whole_bytes};

const BLOCK_BYTES: usize = 64 << 10;
/// Compared as a whole: what a new journal holds is mostly this.
static ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

/// Mends the last journal of a folder that this process alone holds; those before it were synced as a whole. Blocks.
///
/// # Errors
/// Where the folder cannot be read or written, or is damaged in what was acknowledged.
pub fn mend(folder: &Path, is_synced: bool) -> Result<()> {
    let has_format = std::fs::read(folder.join("version")).is_ok_and(|version| version == FORMAT);
    match last_journal(folder)? {
        Some(journal) if has_format => mend_journal(&journal, is_synced),
        _ => Ok(()),
    }
}

fn mend_journal(path: &Path, is_synced: bool) -> Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let whole = whole_bytes(&mut BufReader::with_capacity(BLOCK_BYTES, &file))?;
    file.seek(SeekFrom::Start(whole))?;
    let torn = read_without_zeros(&mut file)?;
    if torn.is_empty() {
        return Ok(());
    }
    if is_synced && let Some(at) = find_batch(&torn) {
        return Err(damaged(path, whole, whole + at as u64));
    }
    file.set_len(whole)?;
    file.sync_all()?;
    warn!(
        journal = %path.display(), at = whole, bytes = torn.len(),
        "the embedded log ended in a torn commit, which was cut off: a power cut or a kill came before its acknowledgement"
    );
    Ok(())
}

/// What is left to read, without the zeros at its end: a journal is made with room to grow.
fn read_without_zeros(file: &mut File) -> Result<Vec<u8>> {
    let (mut found, mut zeros) = (Vec::new(), 0);
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let bytes = file.read(&mut block)?;
        if bytes == 0 {
            return Ok(found);
        }
        if block[..bytes] == ZEROS[..bytes] {
            zeros += bytes;
            continue;
        }
        let last = block[..bytes].iter().rposition(|byte| *byte != 0).unwrap_or_default();
        found.resize(found.len() + zeros, 0);
        found.extend(&block[..=last]);
        zeros = bytes - last - 1;
    }
}

fn last_journal(folder: &Path) -> Result<Option<PathBuf>> {
    let mut last = None;
    for file in std::fs::read_dir(folder)? {
        let path = file?.path();
        let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jnl"));
        if let Some(number) = name.and_then(|name| name.parse::<u64>().ok()) {
            last = last.max(Some((number, path)));
        }
    }
    Ok(last.map(|(_, path)| path))
}

fn damaged(journal: &Path, at: u64, follows: u64) -> Error {
    let text = format!(
        "{} is damaged at byte {at}, and what follows from byte {follows} on is whole: what was acknowledged is \
         damaged, which no power cut does to a log that syncs. Restore the folder from a copy; or start once with \
         log.embedded_sync = false, which gives up everything from there on (what was archived is in the lake)",
        journal.display()
    );
    Error::new(ErrorKind::InvalidData, text)
}
