//! CSV to events: the header row gives the keys, every row below it is one object.
//!
//! | field | in the event |
//! |---|---|
//! | empty | left out; `""` is an empty text where the column is VARCHAR or not declared |
//! | of a VARCHAR column | a text, whatever it looks like |
//! | of a BOOLEAN column | `true` or `false`, in letters of either case; else a text |
//! | of a JSON column | as it is where it is JSON, but for line breaks; else a text |
//! | of another declared column | a number, `true` or `false` where it is one in JSON; else a text |
//! | of a key that the source does not declare | the same, but a text where it stands in quotes |
//!
//! Guarantee: memory is bounded by one row; a row with more or fewer fields than the header is reported and skipped.
//! Bytes that are not UTF-8 are passed on, for the collector to reject.
//! Why so: CSV has no types, so what a column takes decides first, and how the field is written second. Rows are taken
//! apart by `csv-core`, field by field, since whole rows of the crate `csv` have no bound and forget the quotes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead};

use anyhow::{Context, Result, bail};
use csv_core::{ReadFieldResult, Reader, ReaderBuilder};
use serde::de::IgnoredAny;

use super::event::{Event, Place, ReadError};

/// The rows of a stream below its header.
pub struct Rows<R> {
    records: Records<R>,
    columns: Vec<Column>,
    last: Option<Place>,
    is_ended: bool,
}

/// A column of the file.
struct Column {
    /// As JSON, with the colon; none: it has no name and is left out.
    key: Option<Vec<u8>>,
    reading: Reading,
}

/// How the fields of a column are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Text,
    Boolean,
    Json,
    Literal,
    ByLook,
}

impl<R: BufRead> Rows<R> {
    /// Reads the header. `declared` is the type of each column that the source declares, as SQL names it.
    ///
    /// # Errors
    /// If there is no usable header row, or the stream fails.
    pub fn open(input: R, delimiter: u8, declared: &BTreeMap<String, String>, max_bytes: usize) -> Result<Self> {
        let parser = ReaderBuilder::new().delimiter(delimiter).build();
        let mut records = Records { input, parser, line: 1, max_bytes };
        let header = records.read().context("cannot read the header row")?.context("there is no header row")?;
        let names = header.fields().map(|(name, _)| read_name(name)).collect::<Result<Vec<_>>>()?;
        check_header(&names)?;
        let column = |name: &String| Column {
            key: (!name.is_empty()).then(|| {
                let mut key = Vec::new();
                write_text(&mut key, name.as_bytes());
                key.push(b':');
                key
            }),
            reading: reading_of(declared.get(name).map(String::as_str)),
        };
        Ok(Self { records, columns: names.iter().map(column).collect(), last: None, is_ended: false })
    }

    fn event(&self, record: &Record) -> Result<Event, ReadError> {
        let place = Place::Line(record.line);
        let (found, expected) = (record.ends.len(), self.columns.len());
        if found != expected {
            let reason = format!("{found} fields, where the header row has {expected}");
            return Err(ReadError::LeftOut { place, reason });
        }
        let mut json = vec![b'{'];
        for (column, (field, is_quoted)) in self.columns.iter().zip(record.fields()) {
            let Some(key) = &column.key else { continue };
            if field.is_empty() && !(is_quoted && matches!(column.reading, Reading::Text | Reading::ByLook)) {
                continue;
            }
            if json.len() > 1 {
                json.push(b',');
            }
            json.extend_from_slice(key);
            write_field(&mut json, field, is_quoted, column.reading);
        }
        json.push(b'}');
        Ok(Event { place, json })
    }
}

impl<R: BufRead> Iterator for Rows<R> {
    type Item = Result<Event, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_ended {
            return None;
        }
        match self.records.read() {
            Ok(Some(record)) => {
                self.last = Some(Place::Line(record.line));
                Some(self.event(&record))
            }
            Ok(None) => None,
            Err(error) => {
                self.is_ended = true;
                Some(Err(ReadError::Ended { after: self.last, reason: error.to_string() }))
            }
        }
    }
}

fn read_name(field: &[u8]) -> Result<String> {
    let name = std::str::from_utf8(field).context("the header row is not UTF-8")?;
    Ok(name.trim().to_owned())
}

fn check_header(names: &[String]) -> Result<()> {
    let mut seen = BTreeSet::new();
    for name in names.iter().filter(|name| !name.is_empty()) {
        if !seen.insert(name) {
            bail!("the header row names `{name}` twice: each key must stand there once");
        }
        if is_number(name.as_bytes()) {
            bail!("CSV needs a header row with the keys of the events, and the first row holds `{name}`");
        }
    }
    Ok(())
}

fn reading_of(data_type: Option<&str>) -> Reading {
    match data_type {
        None => Reading::ByLook,
        Some("VARCHAR") => Reading::Text,
        Some("BOOLEAN") => Reading::Boolean,
        Some("JSON") => Reading::Json,
        Some(_) => Reading::Literal,
    }
}

/// One row, its fields behind each other.
#[derive(Default)]
struct Record {
    line: u64,
    text: Vec<u8>,
    // Where each field ends, and whether it stood in quotes.
    ends: Vec<(usize, bool)>,
}

impl Record {
    /// About what it takes in the file.
    fn size_bytes(&self) -> usize {
        self.text.len() + self.ends.len()
    }

    fn fields(&self) -> impl Iterator<Item = (&[u8], bool)> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(end, _)| *end));
        starts.zip(&self.ends).map(move |(start, (end, is_quoted))| (&self.text[start..*end], *is_quoted))
    }
}

/// The rows of a stream, the header among them.
struct Records<R> {
    input: R,
    parser: Reader,
    // Of the next byte, from 1.
    line: u64,
    max_bytes: usize,
}

impl<R: BufRead> Records<R> {
    fn read(&mut self) -> io::Result<Option<Record>> {
        if !self.pass_line_ends()? {
            return Ok(None);
        }
        let mut record = Record { line: self.line, ..Record::default() };
        let mut output = [0; 4_096];
        let mut is_quoted = None;
        while record.size_bytes() <= self.max_bytes {
            let input = self.input.fill_buf()?;
            let field_is_quoted = *is_quoted.get_or_insert(input.first() == Some(&b'"'));
            let (result, read, written) = self.parser.read_field(input, &mut output);
            self.line += input[..read].iter().filter(|byte| **byte == b'\n').count() as u64;
            self.input.consume(read);
            record.text.extend_from_slice(&output[..written]);
            match result {
                ReadFieldResult::InputEmpty | ReadFieldResult::OutputFull => {}
                ReadFieldResult::Field { record_end } => {
                    record.ends.push((record.text.len(), field_is_quoted));
                    is_quoted = None;
                    // Also here, so that it makes no difference in which pieces the row came.
                    if record_end && record.size_bytes() <= self.max_bytes {
                        return Ok(Some(record));
                    }
                }
                ReadFieldResult::End => return Ok(None),
            }
        }
        let (line, limit) = (record.line, self.max_bytes);
        let reason = format!("the row at line {line} is longer than {limit} bytes: is a quote open in it?");
        Err(io::Error::new(io::ErrorKind::InvalidData, reason))
    }

    /// Whether a row follows.
    fn pass_line_ends(&mut self) -> io::Result<bool> {
        loop {
            match self.input.fill_buf()?.first() {
                None => return Ok(false),
                Some(b'\r') => self.input.consume(1),
                Some(b'\n') => {
                    self.input.consume(1);
                    self.line += 1;
                }
                Some(_) => return Ok(true),
            }
        }
    }
}

fn write_field(json: &mut Vec<u8>, field: &[u8], is_quoted: bool, reading: Reading) {
    if reading == Reading::Json && serde_json::from_slice::<IgnoredAny>(field).is_ok() {
        // Outside of its strings only: inside, JSON has none. An event is one line.
        json.extend(field.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
        return;
    }
    let is_word = |word: &[u8]| match reading {
        Reading::Boolean => field.eq_ignore_ascii_case(word),
        _ => field == word,
    };
    let is_literal = match reading {
        Reading::Text | Reading::Json => false,
        Reading::Boolean | Reading::Literal => true,
        Reading::ByLook => !is_quoted,
    };
    match [&b"true"[..], b"false"].into_iter().find(|word| is_word(word)) {
        Some(word) if is_literal => json.extend_from_slice(word),
        None if is_literal && is_number(field) => json.extend_from_slice(field),
        _ => write_text(json, field),
    }
}

/// Whether this is a number as JSON writes it (RFC 8259, 6).
fn is_number(text: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits(text);
    if whole == 0 || (whole > 1 && text[0] == b'0') {
        return false;
    }
    let mut rest = &text[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let length = digits(fraction);
        if length == 0 {
            return false;
        }
        rest = &fraction[length..];
    }
    let Some(exponent) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) else { return rest.is_empty() };
    let exponent = exponent.strip_prefix(b"+").or_else(|| exponent.strip_prefix(b"-")).unwrap_or(exponent);
    !exponent.is_empty() && digits(exponent) == exponent.len()
}

fn write_text(json: &mut Vec<u8>, text: &[u8]) {
    json.push(b'"');
    for byte in text {
        match byte {
            b'"' | b'\\' => json.extend_from_slice(&[b'\\', *byte]),
            0..0x20 => json.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => json.push(*byte),
        }
    }
    json.push(b'"');
}
