//! JSON lines to pieces that fit into a request: for loading a file, plain or gzip, of any size.
//!
//! In: a stream of bytes. Out: chunks of whole lines, in order, none larger than the limits.
//! Guarantee: memory is bounded by one chunk; a line that is too long is reported by its number and skipped, and the
//! lines around it are not lost. Reading is synchronous: call it where blocking is allowed.

use std::io::{BufRead, BufReader, Read};

use bytes::{Bytes, BytesMut};
use flate2::bufread::MultiGzDecoder;

/// Whole lines of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The number of its first line, from 1.
    pub first_line: u64,
    /// The lines as they are, each with its line end (the last of the stream may lack it).
    pub bytes: Bytes,
    /// How many lines there are, empty ones included.
    pub lines: usize,
}

/// Why a line or the rest of a stream cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LinesError {
    /// One line is longer than a chunk may be. The next call goes on behind it.
    #[error("line {line} is longer than {limit} bytes and was left out")]
    TooLong {
        /// Its number, from 1.
        line: u64,
        /// The limit.
        limit: usize,
    },
    /// The stream failed or its gzip is broken. Nothing follows.
    #[error("reading failed after line {line}: {source}")]
    Read {
        /// The last line that was read whole.
        line: u64,
        /// What the reader said.
        source: std::io::Error,
    },
}

/// An iterator over the chunks of a stream; gzip is recognised by its first two bytes.
#[derive(Debug)]
pub struct Chunks<R: Read> {
    input: Input<R>,
    max_bytes: usize,
    max_lines: usize,
    // Lines that were returned, or reported as too long.
    passed: u64,
    // What was read and did not fit into the chunk before.
    waiting: Option<Result<Vec<u8>, LinesError>>,
}

impl<R: Read> Chunks<R> {
    /// Chunks of at most `max_bytes` (line ends included) and `max_lines`, both at least 1. Nothing is read yet.
    pub fn new(input: R, max_bytes: usize, max_lines: usize) -> Self {
        let (max_bytes, max_lines) = (max_bytes.max(1), max_lines.max(1));
        Self { input: Input::Unread(input), max_bytes, max_lines, passed: 0, waiting: None }
    }

    /// The next line with its end, or why there is none. `line` is its number.
    fn read_line(&mut self, line: u64) -> Option<Result<Vec<u8>, LinesError>> {
        let limit = self.max_bytes;
        match self.try_read_line() {
            Ok(bytes) if bytes.is_empty() => None,
            Ok(bytes) if bytes.len() > limit => Some(Err(LinesError::TooLong { line, limit })),
            Ok(bytes) => Some(Ok(bytes)),
            Err(source) => {
                self.input = Input::Closed;
                Some(Err(LinesError::Read { line: line - 1, source }))
            }
        }
    }

    /// At most one byte more than the limit of a line; the rest of a longer line is skipped.
    fn try_read_line(&mut self) -> std::io::Result<Vec<u8>> {
        let Some(input) = self.input.open()? else { return Ok(Vec::new()) };
        let mut line = Vec::new();
        Read::take(&mut *input, self.max_bytes as u64 + 1).read_until(b'\n', &mut line)?;
        if line.len() > self.max_bytes && line.last() != Some(&b'\n') {
            input.skip_until(b'\n')?;
        }
        Ok(line)
    }
}

impl<R: Read> Iterator for Chunks<R> {
    type Item = Result<Chunk, LinesError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut bytes = BytesMut::new();
        let mut lines = 0;
        while lines < self.max_lines {
            let number = self.passed + lines as u64 + 1;
            match self.waiting.take().or_else(|| self.read_line(number)) {
                Some(Ok(line)) if bytes.len() + line.len() <= self.max_bytes => {
                    bytes.extend_from_slice(&line);
                    lines += 1;
                }
                Some(Err(error)) if lines == 0 => {
                    self.passed += 1;
                    return Some(Err(error));
                }
                None => break,
                other => {
                    self.waiting = other;
                    break;
                }
            }
        }
        let first_line = self.passed + 1;
        self.passed += lines as u64;
        (lines > 0).then(|| Ok(Chunk { first_line, bytes: bytes.freeze(), lines }))
    }
}

type WithStart<R> = std::io::Chain<std::io::Cursor<Vec<u8>>, R>;

/// The stream, opened at the first read because only its first bytes tell what it is.
#[derive(Debug)]
enum Input<R: Read> {
    Unread(R),
    Plain(BufReader<WithStart<R>>),
    Gzip(Box<BufReader<MultiGzDecoder<BufReader<WithStart<R>>>>>),
    Closed,
}

impl<R: Read> Input<R> {
    fn open(&mut self) -> std::io::Result<Option<&mut dyn BufRead>> {
        if let Self::Unread(_) = self
            && let Self::Unread(mut stream) = std::mem::replace(self, Self::Closed)
        {
            let mut start = Vec::new();
            stream.by_ref().take(2).read_to_end(&mut start)?;
            let is_gzip = start == [0x1f, 0x8b];
            let stream = BufReader::new(std::io::Cursor::new(start).chain(stream));
            *self = if is_gzip {
                Self::Gzip(Box::new(BufReader::new(MultiGzDecoder::new(stream))))
            } else {
                Self::Plain(stream)
            };
        }
        Ok(match self {
            Self::Plain(stream) => Some(stream),
            Self::Gzip(stream) => Some(stream),
            Self::Unread(_) | Self::Closed => None,
        })
    }
}
