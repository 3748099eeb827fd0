//! JSON arrays and objects one after another to events, in whatever lines they stand.
//!
//! ```text
//!  bytes --> outside: [ ] , and blanks --> inside: one element, by brackets and quotes --> event on one line
//! ```
//!
//! Guarantee: memory is bounded by one element, however long the array is; an element that is too long is reported and
//! skipped. Elements that stand in one line are given byte for byte; of others, line ends and the blanks behind them
//! become one blank. Whether an element is a good event is for the collector to say.
//! Why so: only brackets and quotes are read here, since a broken element in sound brackets then costs itself alone.
//! Where brackets or quotes themselves are broken, objects one after another go on with the next line that begins with
//! an object; inside of an array nothing shows where to go on, so the file ends there.

use std::io::{self, BufRead, ErrorKind};

use super::event::{Event, Place, ReadError};
use super::lines::{read_line, too_long};

/// Far beyond what the collector takes.
const MAX_DEPTH: usize = 1_024;

/// The elements of a stream.
#[derive(Debug)]
pub struct Objects<R> {
    input: R,
    max_bytes: usize,
    // Of the next byte, from 1.
    line: u64,
    // Elements so far.
    number: u64,
    // Inside of an array: what came last.
    array: Option<Last>,
    whole: Option<Place>,
    is_ended: bool,
}

/// What came last in an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Bracket,
    Comma,
    Element,
}

type Found = Option<Result<Event, ReadError>>;

impl<R: BufRead> Objects<R> {
    /// Elements of at most `max_bytes`. Nothing is read yet.
    pub fn new(input: R, max_bytes: usize) -> Self {
        Self { input, max_bytes, line: 1, number: 0, array: None, whole: None, is_ended: false }
    }

    fn read_next(&mut self) -> io::Result<Found> {
        loop {
            let Some(byte) = self.peek()? else {
                return match self.array {
                    None => Ok(None),
                    Some(_) => Err(self.broken("the file ends inside of an array")),
                };
            };
            match (byte, self.array) {
                (b' ' | b'\t' | b'\r' | b'\n' | 0x1e, _) => self.pass(byte),
                // Blank for whoever trims a line, so that one with nothing else would be an empty event.
                (0x0c, None) => self.pass(byte),
                (b'[', None) => self.pass_to(byte, Some(Last::Bracket)),
                (b']', Some(Last::Comma)) => return Ok(self.note_missing()),
                (b']', Some(_)) => self.pass_to(byte, None),
                (b',', Some(Last::Element)) => self.pass_to(byte, Some(Last::Comma)),
                (b',', Some(_)) => {
                    self.pass_to(byte, Some(Last::Comma));
                    return Ok(self.note_missing());
                }
                (b',', None) => self.pass(byte),
                (b'}', Some(_)) => return Err(self.broken("`}` closes nothing")),
                (_, Some(_)) | (b'{', None) => return self.read_element().map(Some),
                (_, None) => return self.read_text().map(Some),
            }
        }
    }

    fn peek(&mut self) -> io::Result<Option<u8>> {
        Ok(self.input.fill_buf()?.first().copied())
    }

    fn pass(&mut self, byte: u8) {
        self.input.consume(1);
        self.line += u64::from(byte == b'\n');
    }

    fn pass_to(&mut self, byte: u8, array: Option<Last>) {
        self.pass(byte);
        self.array = array;
    }

    fn next_place(&mut self) -> Place {
        self.number += 1;
        Place::Element { number: self.number, line: self.line }
    }

    /// A comma with nothing behind or before it; what closes the array is read next.
    fn note_missing(&mut self) -> Found {
        self.array = self.array.map(|last| if last == Last::Comma { Last::Element } else { last });
        let place = self.next_place();
        Some(Err(ReadError::LeftOut { place, reason: "nothing stands beside a comma of the array".to_owned() }))
    }

    fn read_element(&mut self) -> io::Result<Result<Event, ReadError>> {
        let place = self.next_place();
        let mut scan = Scan::new(self.max_bytes);
        let end = loop {
            let buffer = self.input.fill_buf()?;
            if buffer.is_empty() {
                self.line += scan.line_ends;
                return Err(self.broken(&format!("the file ends inside of {place}")));
            }
            let (used, end) = scan.read(buffer);
            self.input.consume(used);
            if let Some(end) = end {
                break end;
            }
        };
        self.line += scan.line_ends;
        if let Err(reason) = end {
            return self.leave_broken(place, reason).map(Err);
        }
        self.array = self.array.map(|_| Last::Element);
        self.whole = Some(place);
        if scan.is_too_long {
            return Ok(Err(ReadError::LeftOut { place, reason: too_long(self.max_bytes) }));
        }
        Ok(Ok(Event { place, json: scan.json }))
    }

    /// Outside of arrays only: on to the next line that begins with an object.
    fn leave_broken(&mut self, place: Place, reason: &str) -> io::Result<ReadError> {
        if self.array.is_some() {
            return Err(self.broken(&format!("{place} is broken: {reason}")));
        }
        loop {
            self.input.skip_until(b'\n')?;
            self.line += 1;
            if matches!(self.peek()?, None | Some(b'{')) {
                return Ok(ReadError::LeftOut { place, reason: reason.to_owned() });
            }
        }
    }

    /// A line that holds something else, for the collector to reject.
    fn read_text(&mut self) -> io::Result<Result<Event, ReadError>> {
        let place = self.next_place();
        let mut json = read_line(&mut self.input, self.max_bytes)?;
        self.line += 1;
        if json.len() > self.max_bytes {
            return Ok(Err(ReadError::LeftOut { place, reason: too_long(self.max_bytes) }));
        }
        json.truncate(json.trim_ascii_end().len());
        Ok(Ok(Event { place, json }))
    }

    fn broken(&self, reason: &str) -> io::Error {
        io::Error::new(ErrorKind::InvalidData, format!("{reason}, at line {}", self.line))
    }
}

impl<R: BufRead> Iterator for Objects<R> {
    type Item = Result<Event, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_ended {
            return None;
        }
        self.read_next().unwrap_or_else(|error| {
            self.is_ended = true;
            Some(Err(ReadError::Ended { after: self.whole, reason: error.to_string() }))
        })
    }
}

/// Reading one element: which brackets are open, and what it holds so far.
struct Scan {
    json: Vec<u8>,
    max_bytes: usize,
    is_too_long: bool,
    // What closes each open bracket.
    closing: Vec<u8>,
    is_in_text: bool,
    is_escaped: bool,
    is_behind_line_end: bool,
    line_ends: u64,
}

/// What one byte means for an element.
enum Step {
    More,
    /// The element ends with it.
    Last,
    /// The element ended before it.
    Behind,
    Broken(&'static str),
}

impl Scan {
    fn new(max_bytes: usize) -> Self {
        Self {
            json: Vec::new(),
            max_bytes,
            is_too_long: false,
            closing: Vec::new(),
            is_in_text: false,
            is_escaped: false,
            is_behind_line_end: false,
            line_ends: 0,
        }
    }

    /// How many bytes of these belong to the element, and whether it ended, whole or broken.
    fn read(&mut self, bytes: &[u8]) -> (usize, Option<Result<(), &'static str>>) {
        for (at, byte) in bytes.iter().enumerate() {
            let step = if self.is_in_text { self.step_in_text(*byte) } else { self.step(*byte) };
            match step {
                Step::More => {}
                Step::Last => return (at + 1, Some(Ok(()))),
                Step::Behind => return (at, Some(Ok(()))),
                Step::Broken(reason) => return (at, Some(Err(reason))),
            }
        }
        (bytes.len(), None)
    }

    fn step_in_text(&mut self, byte: u8) -> Step {
        match byte {
            b'\n' => return Step::Broken("a text does not end in its line"),
            _ if self.is_escaped => self.is_escaped = false,
            b'\\' => self.is_escaped = true,
            b'"' => self.is_in_text = false,
            _ => {}
        }
        self.keep(byte);
        Step::More
    }

    fn step(&mut self, byte: u8) -> Step {
        match byte {
            // A number or a word has no bracket of its own.
            b'}' | b']' | b',' | b' ' | b'\t' | b'\r' | b'\n' if self.closing.is_empty() => return Step::Behind,
            b'"' => self.is_in_text = true,
            b'{' => self.closing.push(b'}'),
            b'[' => self.closing.push(b']'),
            b'}' | b']' => {
                if self.closing.pop() != Some(byte) {
                    return Step::Broken("a bracket closes another one than was opened");
                }
                if self.closing.is_empty() {
                    self.keep(byte);
                    return Step::Last;
                }
            }
            b'\r' | b'\n' => {
                self.line_ends += u64::from(byte == b'\n');
                self.keep_blank();
                return Step::More;
            }
            b' ' | b'\t' if self.is_behind_line_end => return Step::More,
            _ => {}
        }
        if self.closing.len() > MAX_DEPTH {
            return Step::Broken("nested too deep");
        }
        self.keep(byte);
        Step::More
    }

    fn keep_blank(&mut self) {
        if !self.is_behind_line_end {
            self.keep(b' ');
            self.is_behind_line_end = true;
        }
    }

    fn keep(&mut self, byte: u8) {
        self.is_behind_line_end = false;
        if self.json.len() < self.max_bytes {
            self.json.push(byte);
        } else {
            self.is_too_long = true;
        }
    }
}
