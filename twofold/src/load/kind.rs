//! What a file holds, told by its first bytes. Pure.
//!
//! Guarantee: a kind that cannot be read is named with what to do, before anything of the file is sent.
//! Why so: lines cost themselves alone, whatever they hold, and objects that span lines do not; so a file counts as
//! lines unless its first object shows that it is none.

use std::fmt;

use serde::de::IgnoredAny;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// One object a line.
    JsonLines,
    /// Arrays of objects, or objects one after another, in whatever lines.
    JsonObjects,
    /// Rows of text below a row of keys.
    Csv {
        /// What stands between two fields.
        delimiter: u8,
    },
    /// Apache Parquet.
    Parquet,
    /// Arrow IPC, the file format (also called Feather).
    ArrowFile,
    /// Arrow IPC, the stream format.
    ArrowStream,
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::JsonLines => "JSON lines",
            Self::JsonObjects => "JSON objects and arrays",
            Self::Csv { delimiter: b'\t' } => "CSV with tabs",
            Self::Csv { delimiter: b';' } => "CSV with semicolons",
            Self::Csv { .. } => "CSV",
            Self::Parquet => "Parquet",
            Self::ArrowFile => "an Arrow file",
            Self::ArrowStream => "an Arrow stream",
        })
    }
}

/// A file of a kind that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is {what}{remedy}; what is read: JSON lines, JSON objects and arrays, CSV with a header row, Parquet and Arrow, \
     each plain or packed with gzip, zstd or bzip2"
)]
pub struct Unreadable {
    what: &'static str,
    remedy: &'static str,
}

/// A file of which one packing still left another.
pub const PACKED_TWICE: Unreadable = Unreadable { what: "packed twice", remedy: UNPACK };

const UNPACK: &str = " (unpack it first)";
const PIPE: &str = " (unpack it and pipe it in, with `-` in place of the file)";
const CONVERT: &str = " (convert it first, as `iconv -f UTF-16 -t UTF-8` does)";
const EXPORT: &str = " (export it as CSV)";

/// Files that are told by how they begin.
const UNREADABLE: [(&[u8], &str, &str); 25] = [
    (b"\xff\xfe\x00\x00", "text in UTF-32", CONVERT),
    (b"\xff\xfe", "text in UTF-16", CONVERT),
    (b"\xfe\xff", "text in UTF-16", CONVERT),
    (b"PK\x03\x04", "a zip archive", UNPACK),
    (b"PK\x05\x06", "an empty zip archive", ""),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a document of Microsoft Office", EXPORT),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", UNPACK),
    (b"\xfd7zXZ\x00", "a file packed with xz", PIPE),
    (b"\x04\x22\x4d\x18", "a file packed with lz4", PIPE),
    (b"\xff\x06\x00\x00sNaPpY", "a file packed with snappy", PIPE),
    (b"\x1f\x9d", "a file packed with compress", PIPE),
    (b"\x89PNG", "an image (PNG)", ""),
    (b"\xff\xd8\xff", "an image (JPEG)", ""),
    (b"GIF8", "an image (GIF)", ""),
    (b"II*\x00", "an image (TIFF)", ""),
    (b"MM\x00*", "an image (TIFF)", ""),
    (b"RIFF", "an image, a sound or a video (RIFF)", ""),
    (b"%PDF-", "a PDF document", ""),
    (b"\x7fELF", "a program", ""),
    (b"SQLite format 3\x00", "an SQLite database", EXPORT),
    (b"Obj\x01", "an Avro file", " (convert it to Parquet or JSON lines)"),
    (b"ORC", "an ORC file", " (convert it to Parquet)"),
    (b"FEA1", "a Feather file of version 1", " (write it as version 2)"),
    (b"PARE", "an encrypted Parquet file", ""),
];

impl FileKind {
    /// By the beginning of a file, unpacked and without a byte order mark; some thousand bytes of it, or all.
    ///
    /// # Errors
    /// If it is of a kind that cannot be read.
    pub fn of(head: &[u8]) -> Result<Self, Unreadable> {
        // Behind the mark: a header row may begin with these letters.
        if head.starts_with(b"PAR1") && head.iter().any(is_control) {
            return Ok(Self::Parquet);
        }
        if head.starts_with(b"ARROW1") {
            return Ok(Self::ArrowFile);
        }
        if head.starts_with(b"\xff\xff\xff\xff") {
            return Ok(Self::ArrowStream);
        }
        let text = head.trim_ascii_start();
        if let Some(unreadable) = unreadable(head, text) {
            return Err(unreadable);
        }
        match text.first() {
            None => Ok(Self::JsonLines),
            // The second begins a sequence of RFC 7464.
            Some(b'[' | 0x1e) => Ok(Self::JsonObjects),
            Some(b'{') if is_sequence(text) => Ok(Self::JsonObjects),
            Some(b'{') => Ok(Self::JsonLines),
            Some(_) => other_text(text),
        }
    }
}

fn unreadable(head: &[u8], text: &[u8]) -> Option<Unreadable> {
    let holds = |part: &[u8]| head.windows(part.len()).any(|window| window == part);
    if head.starts_with(b"PK\x03\x04") && (holds(b"[Content_Types].xml") || holds(b"xl/")) {
        return Some(Unreadable { what: "an Excel workbook or another Office document", remedy: EXPORT });
    }
    // Marks of letters alone may begin a text as well.
    let is_text = !head.iter().any(is_control);
    let is_letters = |start: &[u8]| start.iter().all(|byte| byte.is_ascii_graphic());
    for &(start, what, remedy) in &UNREADABLE {
        if head.starts_with(start) && !(is_text && is_letters(start)) {
            return Some(Unreadable { what, remedy });
        }
    }
    if text.starts_with(b"<") {
        return Some(Unreadable { what: "XML or HTML", remedy: "" });
    }
    if head.get(257..262) == Some(&b"ustar"[..]) {
        return Some(Unreadable { what: "a tar archive", remedy: UNPACK });
    }
    is_utf16(head).then_some(Unreadable { what: "text in UTF-16", remedy: CONVERT })
}

/// Without its mark: every other byte of the first two letters is zero.
fn is_utf16(head: &[u8]) -> bool {
    let zeros = |pair: &[u8]| (pair[0] == 0, pair[1] == 0);
    head.len() >= 4 && zeros(&head[..2]) == zeros(&head[2..4]) && [(true, false), (false, true)].contains(&zeros(head))
}

fn is_control(byte: &u8) -> bool {
    *byte < b' ' && !b"\t\n\r\x0c\x1e".contains(byte)
}

/// Whether a text that begins with an object holds objects that are not one a line.
fn is_sequence(text: &[u8]) -> bool {
    let (first, rest) = split_line(text);
    if let Some(behind) = behind_value(first) {
        return first[behind..].trim_ascii_start().starts_with(b"{");
    }
    if rest.is_empty() {
        return false;
    }
    let is_torn_line = || lines_of(rest).any(is_object);
    behind_value(text).is_some() || (!is_torn_line() && is_within_object(first))
}

/// Whether a line stops where an object goes on: behind a comma or an opening bracket.
fn is_within_object(line: &[u8]) -> bool {
    matches!(line.trim_ascii_end().last(), Some(b',' | b'[' | b'{'))
}

/// Lines that begin neither with an object nor with an array: CSV, lines of which the first is torn, or nothing of use.
fn other_text(text: &[u8]) -> Result<FileKind, Unreadable> {
    let (first, rest) = split_line(text);
    if lines_of(rest).any(is_object) {
        return Ok(FileKind::JsonLines);
    }
    if text.iter().any(is_control) {
        return Err(Unreadable { what: "data of an unknown kind, and no text", remedy: "" });
    }
    let delimiter = delimiter_of(first);
    let unknown = Unreadable { what: "text that is neither JSON nor CSV with a header row", remedy: "" };
    delimiter.map(|delimiter| FileKind::Csv { delimiter }).ok_or(unknown)
}

/// What stands most often between the fields of a header.
fn delimiter_of(header: &[u8]) -> Option<u8> {
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    let mut is_quoted = false;
    for byte in header {
        is_quoted ^= *byte == b'"';
        counts.iter_mut().filter(|(delimiter, _)| delimiter == byte && !is_quoted).for_each(|(_, count)| *count += 1);
    }
    // The first of equals.
    let most = counts.iter().map(|(_, count)| *count).max().filter(|most| *most > 0)?;
    counts.iter().find(|(_, count)| *count == most).map(|(delimiter, _)| *delimiter)
}

/// The first line without its end, and all lines behind it.
fn split_line(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| *byte == b'\n');
    let end = end.unwrap_or(text.len());
    (&text[..end], text.get(end + 1..).unwrap_or_default())
}

fn lines_of(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
}

fn is_object(line: &[u8]) -> bool {
    line.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(line).is_ok()
}

/// Where the value ends that a text begins with; none where it is broken, or longer than the text.
fn behind_value(text: &[u8]) -> Option<usize> {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    Some(values.byte_offset())
}
