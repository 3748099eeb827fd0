//! The lines of one chunk that are not stored yet, and what became of all lines so far. Pure.

use crate::load::lines::Chunk;
use anyhow::Result;
use bytes::{Bytes, BytesMut};
use positions::PositionToken;

use crate::client::Receipt;

/// What became of the lines of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadReport {
    /// Good events in the log.
    pub accepted: u64,
    /// Lines that are not good events, counted.
    pub rejected: u64,
    /// The first of them: number of the line in the file, from 1, and what is wrong.
    pub findings: Vec<(u64, String)>,
    /// Covers every stored line.
    pub token: PositionToken,
    /// Lines that were sent again although they may have been stored the first time.
    pub repeated: u64,
    /// The lines that were under way when loading ended early: the first, the last, and how many of these are not known
    /// to be stored.
    pub open: Option<(u64, u64, usize)>,
    /// Whether the source names event ids, so that copies count once.
    pub has_ids: bool,
}

const MAX_FINDINGS: usize = 20;

impl LoadReport {
    /// Notes a line that is not a good event.
    pub fn reject(&mut self, line: u64, error: String) {
        self.rejected += 1;
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push((line, error));
        }
    }

    /// Whether no line was read yet.
    pub fn is_empty(&self) -> bool {
        self.accepted == 0 && self.rejected == 0 && self.open.is_none()
    }

    /// The report in words.
    pub fn describe(&self) -> String {
        format!("{}{}token {}\n", self.describe_lines(), self.describe_doubts(), self.token.encode())
    }

    fn describe_lines(&self) -> String {
        let mut text = format!("{} events accepted, {} lines rejected\n", self.accepted, self.rejected);
        for (line, error) in &self.findings {
            text.push_str(&format!("  line {line}: {error}\n"));
        }
        if self.rejected > self.findings.len() as u64 {
            text.push_str(&format!("  and {} more\n", self.rejected - self.findings.len() as u64));
        }
        text
    }

    /// What is not known to be stored or may be stored twice, and whether loading again mends it.
    fn describe_doubts(&self) -> String {
        let mut text = String::new();
        if let Some((first, last, lines)) = self.open {
            text.push_str(&format!(
                "loading ended early: all lines before {first} are answered for; of lines {first} to {last}, {lines} are \
                 not known to be stored\n"
            ));
            text.push_str(if self.has_ids {
                "it is safe to load the file again: events are known by their id, each counts once\n"
            } else {
                "it is NOT safe to load the whole file again: the source names no event id, each line would count again\n"
            });
        }
        if self.repeated > 0 && !self.has_ids {
            text.push_str(&format!(
                "{} lines were sent again after an answer was lost and may count twice: the source names no event id\n",
                self.repeated
            ));
        }
        text
    }
}

/// Lines that the collector has not said to be stored: number in the file, and text with its line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending(Vec<(u64, Bytes)>);

impl Pending {
    /// All lines of a chunk that are not empty.
    pub fn new(chunk: &Chunk) -> Self {
        let lines = chunk.bytes.split_inclusive(|byte| *byte == b'\n').map(|line| chunk.bytes.slice_ref(line));
        let numbered = (chunk.first_line..).zip(lines);
        Self(numbered.filter(|(_, line)| !line.trim_ascii().is_empty()).collect())
    }

    /// Whether nothing is left to send.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many lines are left.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The numbers of the first and the last line that are left, and how many there are.
    pub fn range(&self) -> Option<(u64, u64, usize)> {
        Some((self.0.first()?.0, self.0.last()?.0, self.0.len()))
    }

    /// The body that sends them all.
    pub fn body(&self) -> Bytes {
        let mut body = BytesMut::new();
        self.0.iter().for_each(|(_, line)| body.extend_from_slice(line));
        body.freeze()
    }

    /// Takes what the collector says about the lines of [`Self::body`]; those it is not sure about stay.
    ///
    /// # Errors
    /// If its token is not a token.
    pub fn note_receipt(&mut self, receipt: &Receipt, report: &mut LoadReport) -> Result<()> {
        report.accepted += receipt.accepted;
        report.token.merge(&PositionToken::decode(&receipt.token)?);
        let mut left = Vec::new();
        for error in &receipt.errors {
            let Some((number, line)) = self.0.get(error.index) else { continue };
            match error.stored {
                Some(_) => report.reject(*number, error.error.clone()),
                None => left.push((*number, line.clone())),
            }
        }
        self.0 = left;
        Ok(())
    }
}
