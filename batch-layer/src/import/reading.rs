//! What has been read of one file: its parts put back into their order, and what they add to the partition. Pure.
//!
//! Guarantee: positions move record by record, as an archive moves them; a file of a wrong kind ends with one error.

use std::collections::BTreeMap;

use lake::DataFile;
use positions::{Archived, BorderRule, Counters};

use super::components::ImportComponents;
use super::part::Written;

/// Rejected records of a file that are told with their reason.
const MAX_FINDINGS: usize = 5;

/// A rejected record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its number in the file, from 1.
    pub record: u64,
    /// Why it, or the first bad event in it, was rejected.
    pub reason: String,
}

/// What came of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileOutcome {
    /// Records: lines, rows or objects of the file.
    pub records: u64,
    /// Rows: events and what was rejected.
    pub rows: u64,
    /// Rejected ones among them.
    pub rejected: u64,
    /// The first of these.
    pub findings: Vec<Finding>,
}

/// The parts of a file so far.
#[derive(Debug)]
pub(super) struct Reading {
    rule: BorderRule,
    limit: u64,
    keeps_rejected: bool,
    /// Behind the parts that were taken.
    pub(super) archived: Archived,
    pub(super) counters: Counters,
    pub(super) files: Vec<DataFile>,
    pub(super) outcome: FileOutcome,
    /// The number of the next part.
    next: usize,
    /// Parts that came before their turn.
    waiting: BTreeMap<usize, Written>,
    /// Rejected records since the last good one.
    bad: u64,
}

impl Reading {
    /// Nothing yet, of a file whose records go behind `archived`.
    pub(super) fn new(components: &ImportComponents, archived: Archived) -> Self {
        Self {
            rule: components.source.border,
            limit: components.give_up_after_bad,
            keeps_rejected: components.keeps_rejected,
            archived,
            counters: Counters::default(),
            files: Vec::new(),
            outcome: FileOutcome::default(),
            next: 0,
            waiting: BTreeMap::new(),
            bad: 0,
        }
    }

    /// Takes the part with this number, counted from 0.
    ///
    /// # Errors
    /// Why the file is given up, in words.
    pub(super) fn take(&mut self, number: usize, written: Written) -> Result<(), String> {
        self.waiting.insert(number, written);
        while let Some(written) = self.waiting.remove(&self.next) {
            self.next += 1;
            self.fold(written)?;
        }
        Ok(())
    }

    /// Parts that came before their turn.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn fold(&mut self, written: Written) -> Result<(), String> {
        let mut reasons = written.rejections.into_iter();
        for mark in &written.marks {
            self.archived = self.archived.advance(mark, &self.rule);
            self.outcome.records += 1;
            self.judge(reasons.next().flatten())?;
        }
        self.counters += written.counters;
        self.outcome.rows += written.counters.rows;
        self.outcome.rejected += written.counters.rejected;
        self.files.extend(written.file);
        Ok(())
    }

    fn judge(&mut self, rejection: Option<String>) -> Result<(), String> {
        let Some(reason) = rejection else {
            self.bad = 0;
            return Ok(());
        };
        self.bad += 1;
        let record = self.outcome.records;
        if !self.keeps_rejected {
            return Err(format!(
                "record {record}: {reason}; `--on-error refuse` takes no file with rejected records, `--on-error keep` \
                 keeps them with their reason"
            ));
        }
        if self.outcome.findings.len() < MAX_FINDINGS {
            self.outcome.findings.push(Finding { record, reason: reason.clone() });
        }
        if self.limit > 0 && self.bad >= self.limit {
            let (limit, first) = (self.limit, record + 1 - self.bad);
            return Err(format!(
                "{limit} records in a row were rejected, from {first} to {record}; the last one: {reason}; \
                 --give-up-after-bad {limit} says when to end, 0 is never"
            ));
        }
        Ok(())
    }
}
