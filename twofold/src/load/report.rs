//! What became of the events of files, counted and in words. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;

use positions::PositionToken;

use super::event::Place;

/// What became of the events of one file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FileReport {
    /// The file, as it was named.
    pub name: String,
    /// What it was read as, once that is known.
    pub kind: String,
    /// Good events in the log.
    pub accepted: u64,
    /// Events that are not good, counted: also those that could not be sent.
    pub rejected: u64,
    /// The first of them, and what is wrong.
    pub findings: Vec<(Place, String)>,
    /// Bytes that were read, as the file holds them.
    pub bytes: u64,
    /// The events that were under way when loading ended early: the first, the last, and how many of these are not
    /// known to be stored.
    pub open: Option<(Place, Place, usize)>,
}

/// What became of the events of all files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadReport {
    /// Each file that was begun, in order; the last one is the one that loading is at, or ended with.
    pub files: Vec<FileReport>,
    /// Files that were not begun when loading ended early.
    pub not_begun: Vec<String>,
    /// By column, the values of accepted events that are NULL because the column cannot take them.
    pub unreadable: BTreeMap<String, u64>,
    /// Covers every stored event.
    pub token: PositionToken,
    /// Events that were sent again although they may have been stored the first time.
    pub repeated: u64,
    /// Whether the source names event ids, so that copies count once.
    pub has_ids: bool,
}

/// Of one file, and of one of which nothing was accepted, whose findings are mostly one and the same.
const MAX_FINDINGS: usize = 20;
const MAX_ALIKE: usize = 3;
/// Of all files.
const MAX_LINES: usize = 100;

impl LoadReport {
    /// Begins a file: what is noted from now on is of this one.
    pub fn begin(&mut self, name: String) {
        self.files.push(FileReport { name, ..FileReport::default() });
    }

    /// Notes good events that the log holds.
    pub fn accept(&mut self, events: u64, token: &PositionToken) {
        self.token.merge(token);
        self.current().accepted += events;
    }

    /// Notes values that were lost, by column.
    pub fn note_unreadable(&mut self, counts: &BTreeMap<String, u64>) {
        for (column, count) in counts {
            *self.unreadable.entry(column.clone()).or_default() += count;
        }
    }

    /// Notes an event that is not good.
    pub fn reject(&mut self, place: Place, error: String) {
        let file = self.current();
        file.rejected += 1;
        if file.findings.len() < MAX_FINDINGS {
            file.findings.push((place, error));
        }
    }

    /// The file that loading is at.
    pub fn current(&mut self) -> &mut FileReport {
        if self.files.is_empty() {
            self.begin(String::new());
        }
        self.files.last_mut().expect("there is one now")
    }

    /// Good events of all files.
    pub fn accepted(&self) -> u64 {
        self.files.iter().map(|file| file.accepted).sum()
    }

    /// Events of all files that are not good.
    pub fn rejected(&self) -> u64 {
        self.files.iter().map(|file| file.rejected).sum()
    }

    /// In words, where no event was accepted: how many there were, and what is wrong with the first.
    pub fn describe_failure(&self) -> Option<String> {
        if self.accepted() > 0 {
            return None;
        }
        let first = self.files.iter().find_map(|file| file.findings.first().map(|finding| (file, finding)));
        let Some((file, (place, error))) = first else { return Some("there was no event to load".to_owned()) };
        let (rejected, name, kind) = (self.rejected(), &file.name, &file.kind);
        Some(format!("all {rejected} events were rejected; {name}, read as {kind}, {place}: {error}"))
    }

    /// Whether nothing was sent yet.
    pub fn is_empty(&self) -> bool {
        self.accepted() == 0 && self.rejected() == 0 && self.files.iter().all(|file| file.open.is_none())
    }

    /// The report in words.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        let mut lines = MAX_LINES;
        for file in &self.files {
            let counts = describe_counts(file.accepted, file.rejected, file.bytes);
            let _ = writeln!(text, "{} ({}): {counts}", file.name, file.kind);
            describe_findings(&mut text, file, &mut lines);
        }
        if self.files.len() > 1 {
            let bytes = self.files.iter().map(|file| file.bytes).sum();
            let counts = describe_counts(self.accepted(), self.rejected(), bytes);
            let _ = writeln!(text, "{} files: {counts}", self.files.len());
        }
        for (column, count) in &self.unreadable {
            let _ = writeln!(text, "{count} values of column {column} are NULL: the column cannot take them");
        }
        self.describe_doubts(&mut text);
        let _ = writeln!(text, "token {}", self.token.encode());
        text
    }

    /// What is not known to be stored or may be stored twice, and whether loading again mends it.
    fn describe_doubts(&self, text: &mut String) {
        for file in &self.files {
            let Some((first, last, events)) = file.open else { continue };
            let _ = writeln!(
                text,
                "loading of {} ended early: all events before {first} are answered for; from {first} to {last}, \
                 {events} are not known to be stored",
                file.name
            );
            text.push_str(if self.has_ids {
                "it is safe to load the file again: events are known by their id, each counts once\n"
            } else {
                "it is NOT safe to load the whole file again: the source names no event id, each event would count twice\n"
            });
        }
        if let Some(first) = self.not_begun.first() {
            let _ = writeln!(text, "not begun: {} files, from {first} on", self.not_begun.len());
        }
        if self.repeated > 0 && !self.has_ids {
            let _ = writeln!(
                text,
                "{} events were sent again after an answer was lost and may count twice: the source names no event id",
                self.repeated
            );
        }
    }
}

fn describe_counts(accepted: u64, rejected: u64, bytes: u64) -> String {
    format!("{accepted} events accepted, {rejected} rejected, {bytes} bytes read")
}

/// Takes what it writes from the number of lines that are left.
fn describe_findings(text: &mut String, file: &FileReport, lines: &mut usize) {
    let most = if file.accepted == 0 { MAX_ALIKE } else { MAX_FINDINGS };
    let shown = file.findings.len().min(most).min(*lines);
    *lines -= shown;
    for (place, error) in &file.findings[..shown] {
        let _ = writeln!(text, "  {}, {place}: {error}", file.name);
    }
    if file.rejected > shown as u64 {
        let _ = writeln!(text, "  and {} more", file.rejected - shown as u64);
    }
}
