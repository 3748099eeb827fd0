//! JSON lines to events: one a line, lines with nothing but blanks are passed over.
//!
//! Guarantee: memory is bounded by one line; a line that is too long is reported by its number and skipped, and the
//! lines around it are not lost. What a line holds is not looked at: a broken one costs itself alone.

use std::io::{self, BufRead, Read};

use super::event::{Event, Place, ReadError};

/// The lines of a stream that are not blank.
#[derive(Debug)]
pub struct Lines<R> {
    input: R,
    max_bytes: usize,
    line: u64,
    is_ended: bool,
}

impl<R: BufRead> Lines<R> {
    /// Lines of at most `max_bytes`, line ends included. Nothing is read yet.
    pub fn new(input: R, max_bytes: usize) -> Self {
        Self { input, max_bytes, line: 0, is_ended: false }
    }

    fn end(&mut self, error: &io::Error) -> ReadError {
        self.is_ended = true;
        let after = (self.line > 0).then_some(Place::Line(self.line));
        ReadError::Ended { after, reason: error.to_string() }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Event, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_ended {
            let mut json = match read_line(&mut self.input, self.max_bytes) {
                Ok(line) => line,
                Err(error) => return Some(Err(self.end(&error))),
            };
            if json.is_empty() {
                self.is_ended = true;
                break;
            }
            self.line += 1;
            let place = Place::Line(self.line);
            if json.len() > self.max_bytes {
                return Some(Err(ReadError::LeftOut { place, reason: too_long(self.max_bytes) }));
            }
            json.truncate(json.trim_ascii_end().len());
            if !json.is_empty() {
                return Some(Ok(Event { place, json }));
            }
        }
        None
    }
}

/// What is wrong with an event that is longer than a limit.
pub fn too_long(max_bytes: usize) -> String {
    format!("longer than {max_bytes} bytes")
}

/// The next line with its end; nothing at the end of the stream. Of a line that is longer than the limit, one byte more
/// than the limit: its rest is skipped.
///
/// # Errors
/// Where the stream fails.
pub fn read_line(input: &mut impl BufRead, max_bytes: usize) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    Read::take(&mut *input, max_bytes as u64 + 1).read_until(b'\n', &mut line)?;
    if line.len() > max_bytes && line.last() != Some(&b'\n') {
        input.skip_until(b'\n')?;
    }
    Ok(line)
}
