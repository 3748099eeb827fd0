//! What came of an import, file by file, and in words.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use batch_layer::import::FileOutcome;
use positions::{PartitionId, PositionToken};

use super::portions::LeftOut;

/// Files, and rejected records, that are told one by one.
const MAX_LINES: usize = 20;

/// What came of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in.
    Imported {
        /// Its records and rows.
        rows: FileOutcome,
        /// What could not even be kept.
        left_out: LeftOut,
    },
    /// It was in before.
    Skipped,
    /// It is not, for this reason.
    Failed(String),
}

/// What came of all files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// By name; those that were not come to are not named.
    pub files: BTreeMap<String, Outcome>,
    /// Where the rows are.
    pub partition: Option<PartitionId>,
    /// For who waits until a view has the rows.
    pub token: PositionToken,
    /// How long it took.
    pub took: Duration,
}

impl ImportReport {
    /// In a few words, for the list of runs.
    pub fn brief(&self) -> String {
        let failed = self.failed().count();
        format!("{} files imported, {} in before, {failed} not imported", self.imported(), self.skipped())
    }

    /// Files that are in by this import.
    pub fn imported(&self) -> usize {
        self.files.values().filter(|outcome| matches!(outcome, Outcome::Imported { .. })).count()
    }

    /// Files that were in before.
    pub fn skipped(&self) -> usize {
        self.files.values().filter(|outcome| **outcome == Outcome::Skipped).count()
    }

    /// Files that are not in, and why.
    pub fn failed(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().filter_map(|(name, outcome)| match outcome {
            Outcome::Failed(reason) => Some((name.as_str(), reason.as_str())),
            _ => None,
        })
    }

    /// Rows that are in by this import, rejected ones among them, and how many these are.
    pub fn rows(&self) -> (u64, u64) {
        let outcomes = self.imported_files().map(|(_, rows, _)| (rows.rows, rows.rejected));
        outcomes.fold((0, 0), |(rows, rejected), (more, bad)| (rows + more, rejected + bad))
    }

    /// The report in words.
    pub fn describe(&self) -> String {
        let (rows, rejected) = self.rows();
        let seconds = self.took.as_secs_f64().max(0.001);
        let rate = rows as f64 / seconds;
        let mut text = format!(
            "{} files imported: {rows} rows, {rejected} of them rejected, in {seconds:.1} s ({rate:.0} rows a second)",
            self.imported(),
        );
        if let Some(partition) = self.partition.filter(|_| rows > 0) {
            let _ = write!(text, ", partition {partition}");
        }
        text.push('\n');
        if self.skipped() > 0 {
            let _ = writeln!(text, "{} files skipped: they are in already", self.skipped());
        }
        let mut lines = MAX_LINES;
        for (name, rows, left_out) in self.imported_files() {
            describe_bad(&mut text, name, rows, left_out, &mut lines);
        }
        let failed: Vec<_> = self.failed().collect();
        if !failed.is_empty() {
            let _ = writeln!(text, "{} files are not in:", failed.len());
        }
        for (_, reason) in failed.iter().take(MAX_LINES) {
            let _ = writeln!(text, "  {reason}");
        }
        if failed.len() > MAX_LINES {
            let _ = writeln!(text, "  and {} more", failed.len() - MAX_LINES);
        }
        if rows > 0 {
            let _ =
                writeln!(text, "views have them from their next batch version on; `twofold batch run` makes one now");
            let _ = writeln!(text, "token {}", self.token.encode());
        }
        text
    }

    fn imported_files(&self) -> impl Iterator<Item = (&str, &FileOutcome, &LeftOut)> {
        self.files.iter().filter_map(|(name, outcome)| match outcome {
            Outcome::Imported { rows, left_out } => Some((name.as_str(), rows, left_out)),
            _ => None,
        })
    }
}

/// What of a file is in no answer; takes what it writes from the number of lines that are left.
fn describe_bad(text: &mut String, name: &str, rows: &FileOutcome, left_out: &LeftOut, lines: &mut usize) {
    let findings = rows.findings.iter().map(|finding| format!("record {}: {}", finding.record, finding.reason));
    let told: Vec<String> = findings.chain(left_out.told.iter().cloned()).take(*lines).collect();
    *lines -= told.len();
    for line in &told {
        let _ = writeln!(text, "  {name}, {line}");
    }
    let all = rows.rejected + left_out.count;
    if all > told.len() as u64 && !told.is_empty() {
        let _ = writeln!(text, "  and {} more in {name}", all - told.len() as u64);
    }
}
