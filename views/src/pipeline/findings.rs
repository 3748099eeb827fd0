//! Collecting what is wrong, so that a reader of the messages fixes a file in one go.

use crate::error::{Finding, PipelineError};
use crate::nearest::did_you_mean;

/// What was found wrong so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    found: Vec<Finding>,
}

impl Findings {
    /// Adds a finding, unless it is there already.
    pub(super) fn add(&mut self, line: usize, text: &str, message: impl Into<String>, hint: impl Into<String>) {
        let finding = Finding { line, text: shortened(text), message: message.into(), hint: hint.into() };
        if !self.found.contains(&finding) {
            self.found.push(finding);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.found.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Everything in the order of the lines; `Ok` where nothing is wrong.
    pub(super) fn finish(mut self) -> Result<(), PipelineError> {
        if self.found.is_empty() {
            return Ok(());
        }
        self.found.sort_by_key(|finding| finding.line);
        Err(PipelineError(self.found))
    }
}

/// One line of at most 80 characters.
fn shortened(text: &str) -> String {
    const MAX_CHARS: usize = 80;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= MAX_CHARS {
        return line;
    }
    line.chars().take(MAX_CHARS - 3).chain("...".chars()).collect()
}

/// The known name that is nearest to an unknown one, as the start of a hint; then all that is known.
pub(super) fn known_names<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 20;
    let mut known: Vec<&str> = known.collect();
    known.sort_unstable();
    known.dedup();
    let mut hint = did_you_mean(unknown, &known).map_or(String::new(), |nearest| format!("{nearest} "));
    let rest = known.len().saturating_sub(SHOWN);
    known.truncate(SHOWN);
    hint.push_str(&format!("known: {}", known.join(", ")));
    if rest > 0 {
        hint.push_str(&format!(" and {rest} more"));
    }
    hint
}
