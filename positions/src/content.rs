//! Telling contents apart by a hash, piece by piece.
//!
//! Guarantee: pure; the same bytes give the same hash, however they are cut into pieces, for good: it is stored.

use std::fmt;

use xxhash_rust::xxh3::Xxh3;

/// The hash of what was written to it: 128 bits, so that two contents with the same one are one content. Not proof
/// against somebody who makes two on purpose.
#[derive(Default)]
pub struct ContentHash(Xxh3);

impl ContentHash {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all bytes so far.
    pub fn finish(&self) -> u128 {
        self.0.digest128()
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentHash({:032x})", self.finish())
    }
}
