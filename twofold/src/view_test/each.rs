//! One test through all its histories.
//!
//! In: a case, and how many histories of which seeds. Out: what became of each. Guarantee: a history that fails does
//! not keep the others from being tried.

use std::time::Duration;

use super::arrivals::{Arrivals, Rejected};
use super::case::Case;
use super::compare::{Difference, differences};
use super::history::{History, Kind};
use super::report::{CaseReport, Outcome, Tried};
use super::run::answer_after;

/// What is tried of each test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestPlan {
    /// Histories with a seed.
    pub runs: u64,
    /// The seed of the first of them; each further one has the next number.
    pub seed: u64,
    /// For one history.
    pub time_limit: Duration,
}

impl TestPlan {
    fn kinds(&self) -> impl Iterator<Item = Kind> {
        let (first, runs) = (self.seed, self.runs);
        let mixed = (0..runs).map(move |number| Kind::Mixed { seed: first.wrapping_add(number) });
        [Kind::Batch, Kind::Realtime].into_iter().chain(mixed)
    }
}

/// Tries a case.
pub async fn run_case(case: &Case, plan: &TestPlan) -> CaseReport {
    let (mut tried, mut rejected) = (Vec::new(), Vec::new());
    match Arrivals::of(case) {
        Ok(arrivals) => {
            for kind in plan.kinds() {
                tried.push(Tried { kind, outcome: try_kind(case, &arrivals, kind, plan.time_limit).await });
            }
            rejected = arrivals.rejected;
        }
        Err(error) => tried.push(Tried { kind: Kind::Batch, outcome: Outcome::Failed { error: format!("{error:#}") } }),
    }
    let unexpected = unexpected(case, &rejected);
    CaseReport {
        name: case.name.clone(),
        file: case.file.display().to_string(),
        line: case.line,
        view: case.view.name.to_string(),
        tried,
        rejected,
        has_unexpected: unexpected,
    }
}

/// Whether events were rejected of which the test says nothing: a slip in the events must not pass for a quiet view.
fn unexpected(case: &Case, rejected: &[Rejected]) -> bool {
    case.expected.rejected.is_none() && !rejected.is_empty()
}

async fn try_kind(case: &Case, arrivals: &Arrivals, kind: Kind, limit: Duration) -> Outcome {
    let history = History::of(arrivals, kind, case.view.source.horizon);
    match answer_after(&case.view, arrivals, &history, kind, limit).await {
        Ok(answered) => {
            let found: Vec<Difference> = differences(&case.view, &case.expected, &answered, kind, history.copies);
            if found.is_empty() { Outcome::Passed } else { Outcome::Differs { differences: found } }
        }
        Err(error) => Outcome::Failed { error: format!("{error:#}") },
    }
}
