//! A file to its events: unpacked, told by its first bytes, and read by the reader of its kind.
//!
//! ```text
//!  file, pipe --> gzip, zstd, bzip2 or none --> kind --> lines, objects, rows of CSV, of Parquet, of Arrow --> events
//! ```
//!
//! Guarantee: only the first bytes are read before the kind is known, and a kind that cannot be read is an error then.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;

use super::columns::{ColumnBatches, ColumnRows};
use super::compression::Compression;
use super::csv::Rows;
use super::event::Events;
use super::files::Input;
use super::kind::{FileKind, PACKED_TWICE};
use super::lines::Lines;
use super::objects::Objects;

/// How much of a stream is looked at to tell what it is.
const HEAD_BYTES: u64 = 64 << 10;
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// A stream whose kind is known.
pub struct Opened {
    /// What it holds.
    pub kind: FileKind,
    /// How it is packed.
    pub compression: Option<Compression>,
    stream: Box<dyn Read>,
    // Where the bytes of the stream lie as they are, for readers that jump.
    path: Option<PathBuf>,
    bar: ProgressBar,
}

/// What is read of a stream: one by one, or in columns.
pub enum Contents {
    /// Events as text.
    Events(Events),
    /// Rows of columns.
    Batches(ColumnBatches),
}

/// Opens an input; `bar` follows what is read of it.
///
/// # Errors
/// If it cannot be read, or is of a kind that is not read.
pub fn open(input: &Input, bar: &ProgressBar) -> Result<Opened> {
    let Input::File(path) = input else {
        return open_stream(Box::new(bar.wrap_read(io::stdin())), bar);
    };
    let file = File::open(path).with_context(|| format!("cannot open {input}"))?;
    let facts = file.metadata().with_context(|| format!("cannot open {input}"))?;
    if facts.is_dir() {
        bail!("{input} is a directory: name its files, as in `{}`", path.join("*").display());
    }
    let opened = open_stream(Box::new(bar.wrap_read(file)), bar).with_context(|| format!("cannot load {input}"))?;
    let path = (facts.is_file() && opened.compression.is_none()).then(|| path.clone());
    Ok(Opened { path, ..opened })
}

/// Tells what a stream is.
///
/// # Errors
/// If it is of a kind that is not read. That it fails is for its reader to say.
pub fn open_stream(stream: Box<dyn Read>, bar: &ProgressBar) -> Result<Opened> {
    let mut head = Head::read(stream);
    let compression = Compression::of(&head.bytes);
    if let Some(compression) = compression {
        head = Head::read(compression.unpack(head.rejoin()).with_context(|| format!("cannot unpack {compression}"))?);
        if Compression::of(&head.bytes).is_some() {
            return Err(PACKED_TWICE.into());
        }
    }
    if head.bytes.starts_with(BYTE_ORDER_MARK) {
        head.bytes.drain(..BYTE_ORDER_MARK.len());
    }
    let kind = FileKind::of(&head.bytes)?;
    Ok(Opened { kind, compression, stream: head.rejoin(), path: None, bar: bar.clone() })
}

impl Opened {
    /// What it is, in words.
    pub fn describe(&self) -> String {
        match self.compression {
            Some(compression) => format!("{} in {compression}", self.kind),
            None => self.kind.to_string(),
        }
    }

    /// Whether [`Self::events`] reads no more than a page or two.
    pub fn is_cheap(&self) -> bool {
        !matches!(self.kind, FileKind::Parquet | FileKind::ArrowFile) || self.path.is_some()
    }

    /// Its events, each of at most `max_bytes` as it stands in the file; `declared` is the type of each column of the
    /// source, as SQL names it. A Parquet or Arrow file that is packed, or comes through a pipe, is first unpacked into
    /// a temporary file.
    ///
    /// # Errors
    /// If what is said of the events at the beginning or end of the file cannot be read.
    pub fn events(self, declared: &BTreeMap<String, String>, max_bytes: usize) -> Result<Events> {
        Ok(match self.kind {
            FileKind::JsonLines => Box::new(Lines::new(BufReader::new(self.stream), max_bytes)),
            FileKind::JsonObjects => Box::new(Objects::new(BufReader::new(self.stream), max_bytes)),
            FileKind::Csv { delimiter } => {
                Box::new(Rows::open(BufReader::new(self.stream), delimiter, declared, max_bytes)?)
            }
            FileKind::Parquet => {
                let bar = self.bar.clone();
                Box::new(ColumnRows::of_parquet(self.into_file()?, &bar)?)
            }
            FileKind::ArrowFile => {
                let bar = self.bar.clone();
                Box::new(ColumnRows::of_arrow_file(self.into_file()?, &bar)?)
            }
            FileKind::ArrowStream => Box::new(ColumnRows::of_arrow_stream(self.stream)?),
        })
    }

    /// The same, but of columns the rows as they are, `rows` at a time of Parquet.
    ///
    /// # Errors
    /// As [`Self::events`].
    pub fn contents(self, declared: &BTreeMap<String, String>, max_bytes: usize, rows: usize) -> Result<Contents> {
        let bar = self.bar.clone();
        Ok(match self.kind {
            FileKind::Parquet => {
                Contents::Batches(ColumnRows::of_parquet_by(self.into_file()?, &bar, rows)?.into_batches())
            }
            FileKind::ArrowFile => {
                Contents::Batches(ColumnRows::of_arrow_file(self.into_file()?, &bar)?.into_batches())
            }
            FileKind::ArrowStream => Contents::Batches(ColumnRows::of_arrow_stream(self.stream)?.into_batches()),
            _ => Contents::Events(self.events(declared, max_bytes)?),
        })
    }

    fn into_file(mut self) -> Result<File> {
        if let Some(path) = self.path {
            return File::open(&path).with_context(|| format!("cannot open {}", path.display()));
        }
        let mut file = tempfile::tempfile().context("cannot make a temporary file to unpack to")?;
        io::copy(&mut self.stream, &mut file).context("cannot unpack it to a temporary file")?;
        file.rewind().context("cannot read the temporary file")?;
        Ok(file)
    }
}

/// The beginning of a stream, and what is behind it.
struct Head {
    bytes: Vec<u8>,
    rest: Box<dyn Read>,
}

impl Head {
    fn read(mut stream: Box<dyn Read>) -> Self {
        let mut bytes = Vec::new();
        match stream.by_ref().take(HEAD_BYTES).read_to_end(&mut bytes) {
            Ok(_) => Self { bytes, rest: stream },
            Err(error) => Self { bytes, rest: Box::new(Failed(Some(error))) },
        }
    }

    /// The whole stream again.
    fn rejoin(self) -> Box<dyn Read> {
        Box::new(Cursor::new(self.bytes).chain(self.rest))
    }
}

/// What is left of a stream that failed: the reason, for whoever reads on.
struct Failed(Option<io::Error>);

impl Read for Failed {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}
