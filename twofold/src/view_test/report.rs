//! What came of tests, in words and as JSON.
//!
//! Guarantee: pure; whoever reads the words of a failure knows which rows differ, in which history, and how to run that
//! one again.

use std::fmt::Write;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use super::arrivals::Rejected;
use super::compare::Difference;
use super::expected::Row;
use super::history::Kind;

/// Differences of one history that are told in words.
const MAX_TOLD: usize = 10;

/// What became of a test.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CaseReport {
    /// Its name.
    pub name: String,
    /// The file that it stands in.
    pub file: String,
    /// The line there.
    pub line: usize,
    /// The view.
    pub view: String,
    /// In the order of trying.
    pub tried: Vec<Tried>,
    /// Events that could not be read.
    pub rejected: Vec<Rejected>,
    /// Whether there are such, and the test says nothing of them.
    pub has_unexpected: bool,
}

/// One history of a test.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tried {
    /// Which.
    #[serde(flatten)]
    pub kind: Kind,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What came of a history.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    /// The answer is as expected.
    Passed,
    /// It is not.
    Differs {
        /// In what.
        differences: Vec<Difference>,
    },
    /// There was none.
    Failed {
        /// Why.
        error: String,
    },
}

impl CaseReport {
    /// Whether all is as expected.
    pub fn has_passed(&self) -> bool {
        !self.has_unexpected && self.tried.iter().all(|tried| tried.outcome == Outcome::Passed)
    }
}

/// All of it as JSON.
pub fn reports_as_json(reports: &[CaseReport]) -> Value {
    let passed = reports.iter().filter(|report| report.has_passed()).count();
    let test = |report: &CaseReport| {
        let mut members = json!(report);
        members["passed"] = json!(report.has_passed());
        members
    };
    let tests: Vec<Value> = reports.iter().map(test).collect();
    json!({ "tests": tests, "passed": passed, "failed": reports.len() - passed })
}

/// One test in words. `pipeline`: as the command was given it.
pub fn describe_case(report: &CaseReport, pipeline: &Path) -> String {
    let CaseReport { name, file, line, view, tried, rejected, .. } = report;
    if report.has_passed() {
        return format!("ok    {name} (view {view}, {} histories)\n", tried.len());
    }
    let mut text = format!("FAIL  {name} (view {view}, {file}:{line})\n");
    if let Some(heading) = rejected_heading(report) {
        let _ = writeln!(text, "  {heading}:");
        for Rejected { place, reason } in rejected.iter().take(MAX_TOLD) {
            let _ = writeln!(text, "    {place}: {reason}");
        }
        tell_rest(&mut text, rejected.len());
    }
    let mut told: Vec<(&Outcome, String)> = Vec::new();
    let failed = tried.iter().filter(|tried| tried.outcome != Outcome::Passed);
    for Tried { kind, outcome } in failed {
        let history = describe_kind(*kind);
        match told.iter().find(|(known, _)| *known == outcome) {
            Some((_, first)) => {
                let _ = writeln!(text, "  {history}: the same as {first}");
            }
            None => {
                let _ = writeln!(text, "  {history}:");
                tell_outcome(&mut text, outcome);
                told.push((outcome, history));
            }
        }
    }
    text.push_str(&describe_way_back(report, pipeline));
    text
}

/// What stands above the events that could not be read, where a failure is about them.
fn rejected_heading(report: &CaseReport) -> Option<&'static str> {
    let is_count = |difference: &Difference| matches!(difference, Difference::Count { member: "rejected", .. });
    let is_miscounted = |tried: &Tried| match &tried.outcome {
        Outcome::Differs { differences } => differences.iter().any(is_count),
        Outcome::Passed | Outcome::Failed { .. } => false,
    };
    if report.has_unexpected {
        return Some("events could not be read, of which the test says nothing; `rejected = N` expects them");
    }
    let has_any = !report.rejected.is_empty();
    (has_any && report.tried.iter().any(is_miscounted)).then_some("events that could not be read")
}

/// How many passed, and of how many.
pub fn describe_total(reports: &[CaseReport]) -> String {
    let failed = reports.iter().filter(|report| !report.has_passed()).count();
    let noun = if reports.len() == 1 { "test" } else { "tests" };
    format!("\n{} {noun}, {} passed, {failed} failed\n", reports.len(), reports.len() - failed)
}

fn describe_kind(kind: Kind) -> String {
    match kind {
        Kind::Batch => "batch alone".to_owned(),
        Kind::Realtime => "realtime alone".to_owned(),
        Kind::Mixed { seed } => format!("both layers, seed {seed}"),
    }
}

fn tell_outcome(text: &mut String, outcome: &Outcome) {
    match outcome {
        Outcome::Passed => {}
        Outcome::Failed { error } => {
            let _ = writeln!(text, "    {}", error.replace('\n', "\n    "));
        }
        Outcome::Differs { differences } => {
            for difference in differences.iter().take(MAX_TOLD) {
                let _ = writeln!(text, "    {}", describe_difference(difference));
            }
            tell_rest(text, differences.len());
        }
    }
}

fn tell_rest(text: &mut String, count: usize) {
    if count > MAX_TOLD {
        let _ = writeln!(text, "    and {} more", count - MAX_TOLD);
    }
}

fn describe_difference(difference: &Difference) -> String {
    let row = |row: &Row| Value::Object(row.clone());
    match difference {
        Difference::Missing { row: missing } => format!("missing     {}", row(missing)),
        Difference::Unexpected { row: unexpected } => format!("unexpected  {}", row(unexpected)),
        Difference::Value { group, measure, class, expected, found } => {
            format!("differs     {group}: {measure} ({class}) is {found}, expected {expected}")
        }
        Difference::Count { member, expected, found } => {
            format!("counts      {member} is {found}, expected {expected}")
        }
    }
}

/// The command that tries the first history again that failed.
fn describe_way_back(report: &CaseReport, pipeline: &Path) -> String {
    let failed = report.tried.iter().find(|tried| tried.outcome != Outcome::Passed);
    let rest = match failed.map(|tried| tried.kind) {
        Some(Kind::Mixed { seed }) => format!("--seed {seed} --runs 1"),
        _ => "--runs 0".to_owned(),
    };
    let (pipeline, name) = (pipeline.display().to_string(), quoted(&report.name));
    let is_plain = |letter: char| letter.is_alphanumeric() || "._-/".contains(letter);
    let pipeline = if pipeline.chars().all(is_plain) { pipeline } else { quoted(&pipeline) };
    format!("  again: twofold test {pipeline} --only {name} {rest}\n")
}

/// One word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
