//! The engine's journal: how far it is whole.
//!
//! ```text
//!  batch  1, number of entries (4 bytes), sequence number (8);  its entries;  3, checksum of the entries (8), "FJL" 3
//!  entry  2, kind (1), compression (1), keyspace (8), lengths of key (2), of value (4), of value here (4), key, value
//!         or  4, keyspace (8)
//! ```
//!
//! Guarantee: a batch is whole where every byte of it was written. Reads as far as it must, and holds one block of it.
//! Why so: the engine cuts off an end that lacks bytes, but refuses a folder whose journal ends in a batch with a hole,
//! which is what a power cut leaves when the disk wrote its blocks in another order. And it cuts without a word.
//!
//! # Source
//! fjall 3.1, entry.rs and batch_reader.rs in src/journal.

use std::io::{Error, ErrorKind, Read, Result};

use xxhash_rust::xxh3::Xxh3;

/// What the file `version` of a folder holds whose journals are read here; each batch ends in it, too.
pub const FORMAT: [u8; 4] = *b"FJL\x03";
const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const START_BYTES: u64 = 13;
const END_BYTES: u64 = 13;

/// Where the last of the batches ends that are whole and follow each other from the beginning.
///
/// # Errors
/// What the operating system says; never for what the journal holds.
pub fn whole_bytes(journal: &mut impl Read) -> Result<u64> {
    let mut whole = 0;
    while let Some(bytes) = unless_torn(read_batch(journal))? {
        whole += bytes;
    }
    Ok(whole)
}

/// Where the first whole batch begins in what lies behind the batches that are.
pub fn find_batch(torn: &[u8]) -> Option<usize> {
    let begins =
        |at: &usize| torn[*at] == START && matches!(torn.get(*at + START_BYTES as usize), Some(&(ITEM | CLEAR)));
    (0..torn.len()).filter(begins).find(|at| read_batch(&mut &torn[*at..]).is_ok())
}

/// Reads a batch; its length.
fn read_batch(journal: &mut impl Read) -> Result<u64> {
    expect(take(journal)?, [START])?;
    let count = u32::from_le_bytes(take(journal)?);
    take::<8>(journal)?;
    let mut bytes = START_BYTES + END_BYTES;
    let mut checksum = Xxh3::new();
    for _ in 0..count {
        bytes += read_entry(journal, &mut checksum)?;
    }
    expect(take(journal)?, [END])?;
    expect(take(journal)?, checksum.digest().to_le_bytes())?;
    expect(take(journal)?, FORMAT)?;
    Ok(bytes)
}

/// Reads an entry; its length.
fn read_entry(journal: &mut impl Read, checksum: &mut Xxh3) -> Result<u64> {
    let tag: [u8; 1] = take(journal)?;
    checksum.update(&tag);
    if tag == [CLEAR] {
        checksum.update(&take::<8>(journal)?);
        return Ok(9);
    }
    expect(tag, [ITEM])?;
    let head: [u8; 10] = take(journal)?;
    let key: [u8; 2] = take(journal)?;
    let value: [u8; 4] = take(journal)?;
    let value_here: [u8; 4] = take(journal)?;
    [&head[..], &key, &value, &value_here].into_iter().for_each(|part| checksum.update(part));
    let body = u64::from(u16::from_le_bytes(key)) + u64::from(u32::from_le_bytes(value_here));
    skip(journal, body, checksum)?;
    Ok(21 + body)
}

fn skip(journal: &mut impl Read, mut left: u64, checksum: &mut Xxh3) -> Result<()> {
    let mut block = [0; 4 << 10];
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        journal.read_exact(&mut block[..part])?;
        checksum.update(&block[..part]);
        left -= part as u64;
    }
    Ok(())
}

fn take<const N: usize>(journal: &mut impl Read) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    journal.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn expect<const N: usize>(found: [u8; N], expected: [u8; N]) -> Result<()> {
    if found == expected { Ok(()) } else { Err(Error::from(ErrorKind::InvalidData)) }
}

fn unless_torn(read: Result<u64>) -> Result<Option<u64>> {
    match read {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData) => Ok(None),
        Err(error) => Err(error),
    }
}
