//! Bodies that are plainly something else than events: files, images, tables, text of another encoding.
//!
//! Guarantee: pure; only what cannot be JSON as a whole is refused. Text is judged only where none of its lines begins
//! like an event or an array of them: one bad line never costs its neighbours.
//! Why so: a file that was sent by mistake would otherwise be stored as thousands of rejected rows.

use crate::form::unsupported;
use edge::Problem;

/// How files of a kind begin, and its name.
const BEGINNINGS: [(&[u8], &str); 19] = [
    (b"PAR1", "a Parquet file"),
    (b"Obj\x01", "an Avro file"),
    (b"ARROW1", "an Arrow file"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "gzip within what was inflated"),
    (b"\x28\xb5\x2f\xfd", "zstd within what was inflated"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x04\x22\x4d\x18", "an lz4 file"),
    (b"\xff\x06\x00\x00sNaPpY", "a snappy file"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"RIFF", "a WebP image or another RIFF file"),
    (b"%PDF-", "a PDF file"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\xff\xfe", "UTF-16 text, and JSON is UTF-8"),
    (b"\xfe\xff", "UTF-16 text, and JSON is UTF-8"),
];

/// Refuses what is plainly something else.
///
/// # Errors
/// 415 with the name of what it is.
pub(super) fn refuse_foreign(body: &[u8]) -> Result<(), Problem> {
    match kind_of(body) {
        None => Ok(()),
        Some(kind) => Err(unsupported(&format!("the body is not JSON but {kind}"))),
    }
}

fn kind_of(body: &[u8]) -> Option<&'static str> {
    let kind = BEGINNINGS.iter().find(|(beginning, _)| body.starts_with(beginning)).map(|(_, kind)| *kind);
    // Two ASCII characters of UTF-16, or one of UTF-32, hold a NUL.
    let has_nul = body.iter().take(4).any(|byte| *byte == 0);
    let of_bytes = || has_nul.then_some("text of another encoding than UTF-8, or binary data");
    kind.or_else(of_bytes).or_else(|| kind_of_text(body))
}

fn kind_of_text(body: &[u8]) -> Option<&'static str> {
    let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    if lines.clone().any(|line| matches!(line, [b'{' | b'[' | 0x1e, ..])) {
        return None;
    }
    let mut lines = lines;
    let (first, second) = (lines.next()?, lines.next());
    if first.starts_with(b"<") {
        return Some("XML or HTML");
    }
    let has_as_many = |separator: &u8| {
        let count = separators(first, *separator);
        count > 0 && second.is_some_and(|second| separators(second, *separator) == count)
    };
    b",;\t|".iter().any(has_as_many).then_some("a table of text (CSV)")
}

/// How many separators stand outside of quotes.
fn separators(line: &[u8], separator: u8) -> usize {
    let mut is_quoted = false;
    let is_separator = |byte: &&u8| {
        is_quoted ^= **byte == b'"';
        **byte == separator && !is_quoted
    };
    line.iter().filter(is_separator).count()
}
