//! Collecting problems, so that a reader of the messages fixes a file in one go.

use std::cmp::Reverse;

use crate::{Problem, Problems};

/// The problems found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    problems: Vec<Problem>,
}

impl Findings {
    /// Notes a problem.
    pub(super) fn add(&mut self, line: usize, text: &str, message: impl Into<String>, hint: impl Into<String>) {
        let problem = Problem { line, text: shortened(text), message: message.into(), hint: hint.into() };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.problems.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// Everything in the order of the lines, or nothing to complain about.
    pub(super) fn finish(mut self) -> Result<(), Problems> {
        if self.problems.is_empty() {
            return Ok(());
        }
        self.problems.sort_by_key(|problem| problem.line);
        Err(Problems(self.problems))
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

/// The known word that is nearest to an unknown one, as the start of a hint; then all that is known.
pub(super) fn known_names<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 20;
    let mut known: Vec<&str> = known.collect();
    known.sort_unstable();
    known.dedup();
    // Letters are forgotten more often than added: of two equally near names the longer one is meant.
    let nearest = known.iter().min_by_key(|name| (distance(unknown, name), Reverse(name.len()))).copied();
    let close = nearest.filter(|name| distance(unknown, name) <= 1 + unknown.len() / 4);
    let mut hint = close.map_or(String::new(), |name| format!("did you mean `{name}`? "));
    let rest = known.len().saturating_sub(SHOWN);
    known.truncate(SHOWN);
    hint.push_str(&format!("known: {}", known.join(", ")));
    if rest > 0 {
        hint.push_str(&format!(" and {rest} more"));
    }
    hint
}

/// Edit distance without regard to case.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.to_lowercase().chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (column, compared) in other.iter().enumerate() {
            let substituted = diagonal + usize::from(letter != *compared);
            diagonal = row[column + 1];
            row[column + 1] = substituted.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}
