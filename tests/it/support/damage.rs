//! Bytes that were whole once: what bit rot, torn writes and careless copying make of them.

use rand::Rng;
use rand::rngs::StdRng;

/// The longest piece that is cut out, doubled, zeroed or taken from elsewhere.
const PIECE_BYTES: usize = 40;

/// Damages bytes in one to three places; `other` is where foreign pieces come from.
pub fn damage(bytes: &mut Vec<u8>, other: &[u8], random: &mut StdRng) {
    for _ in 0..random.random_range(1..4) {
        damage_once(bytes, other, random);
    }
}

fn damage_once(bytes: &mut Vec<u8>, other: &[u8], random: &mut StdRng) {
    let (from, to) = piece_of(bytes, random);
    match random.random_range(0..9) {
        0 | 1 if from < bytes.len() => bytes[from] ^= 1 << random.random_range(0..8),
        2 if from < bytes.len() => bytes[from] = random.random(),
        3 => drop(bytes.drain(from..to)),
        4 => bytes.truncate(from),
        5 => {
            let piece = bytes[from..to].to_vec();
            drop(bytes.splice(to..to, piece));
        }
        6 | 7 => {
            let (begin, end) = piece_of(other, random);
            drop(bytes.splice(from..to, other[begin..end].iter().copied()));
        }
        _ => bytes[from..to].fill(0),
    }
}

fn piece_of(bytes: &[u8], random: &mut StdRng) -> (usize, usize) {
    let from = random.random_range(0..=bytes.len());
    (from, random.random_range(from..=bytes.len().min(from + PIECE_BYTES)))
}
