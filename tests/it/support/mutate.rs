//! Texts that are nearly right: what random bytes would never reach.

use rand::Rng;
use rand::rngs::StdRng;

/// Pieces that parsers and planners treat apart from others.
const PIECES: [&str; 40] = [
    "\0",
    "'",
    "\"",
    "(",
    ")",
    ",",
    ";",
    "--",
    "/*",
    "\\",
    "%",
    "%00",
    "%ff",
    "&",
    "=",
    "..",
    "-",
    "*",
    "1e999",
    "9223372036854775808",
    "-1",
    "0",
    "NULL",
    "''",
    "\u{feff}",
    "é",
    "\u{10ffff}",
    " NOT ",
    " IN (",
    " ORDER BY ",
    " GROUP BY ",
    " UNION ",
    "INTERVAL '9999999 years'",
    "CAST(NULL AS INT)",
    "0001-01-01T00:00:00Z",
    "ARRAY[",
    "MEASURE(",
    "count(*)",
    "[[[[[[[[",
    "((((((((",
];

/// A text made of one of `corpus` by a few random changes.
pub fn mutated(corpus: &[&str], random: &mut StdRng) -> String {
    let mut bytes = corpus[random.random_range(0..corpus.len())].as_bytes().to_vec();
    for _ in 0..random.random_range(1..4) {
        change(&mut bytes, corpus, random);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn change(bytes: &mut Vec<u8>, corpus: &[&str], random: &mut StdRng) {
    let from = random.random_range(0..=bytes.len());
    let to = random.random_range(from..=bytes.len()).min(from + 30);
    match random.random_range(0..6) {
        0 => drop(bytes.drain(from..to)),
        1 => {
            let piece = bytes[from..to].to_vec();
            drop(bytes.splice(to..to, piece));
        }
        2 | 3 => drop(bytes.splice(from..from, PIECES[random.random_range(0..PIECES.len())].bytes())),
        4 => {
            let other = corpus[random.random_range(0..corpus.len())].as_bytes();
            let begin = random.random_range(0..=other.len());
            let end = random.random_range(begin..=other.len()).min(begin + 30);
            drop(bytes.splice(from..to, other[begin..end].iter().copied()));
        }
        _ if from < bytes.len() => bytes[from] ^= 1 << random.random_range(0..8),
        _ => bytes.push(b' '),
    }
}
