//! Who may ask for runs, which run is meant, and what is refused.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::HeaderMap;
use batch_layer::BatchError;
use edge::{Principal, Problem, ProblemKind};
use workflow::{Refused, RunId, WorkflowError};

use super::state::RunsRoute;
use crate::json_body::refuse_pages;
use crate::runs::asked::AskedError;
use crate::runs::view::gone;
use crate::workflow::is_transient;

/// Runs that are named to who asked for one that there is not.
const NAMED: usize = 10;

/// What a path names.
pub(super) type RunPath = Result<Path<String>, PathRejection>;

/// Refuses whoever may not see runs.
pub(super) fn check_look(principal: &Principal) -> Result<(), Problem> {
    principal.check_operates("runs are")
}

/// Refuses whoever may not change runs.
pub(super) fn check_command(principal: &Principal, headers: &HeaderMap) -> Result<(), Problem> {
    check_look(principal)?;
    refuse_pages(headers, "runs are started and changed", "ask with a command, such as `twofold runs start`")
}

/// The run that a path names; whether there is one, the journal says.
pub(super) fn path_run(path: RunPath) -> Result<RunId, Problem> {
    let text = edge::path_text(path)?;
    let refused = || {
        Problem::new(ProblemKind::BadRequest, format!("`{text}` is no number of a run"))
            .with_hint("`GET /v1/runs` names those that there are")
    };
    text.parse::<u64>().ok().filter(|number| *number > 0).map(RunId).ok_or_else(refused)
}

/// The newest runs; of one that there was, that it is not kept any more.
fn no_run(route: &RunsRoute, run: RunId) -> Problem {
    let state = route.workflow().state();
    let newest = state.runs.keys().rev().take(NAMED).map(ToString::to_string);
    let problem = Problem::unknown("run", &run.to_string(), newest);
    if run <= state.last_run { problem.with_hint(gone(run)) } else { problem }
}

/// What the journal refused, or the store.
pub(super) fn problem(route: &RunsRoute, error: WorkflowError) -> Problem {
    match error {
        WorkflowError::Refused(Refused::NoRun(run)) => no_run(route, run),
        WorkflowError::Refused(refused) => Problem::new(ProblemKind::Conflict, refused.to_string())
            .with_hint("`GET /v1/runs` and `twofold runs list` show how runs stand"),
        WorkflowError::TooLarge { .. } => Problem::new(ProblemKind::TooLarge, error.to_string()),
        WorkflowError::Contended => Problem::new(ProblemKind::Unavailable, error.to_string()).with_retry_after(1),
        WorkflowError::Lake(error) => {
            let detail = format!("the journal of runs cannot be read or written now: {error}");
            Problem::new(ProblemKind::Unavailable, detail).with_retry_after(5)
        }
    }
}

/// Why a range cannot be computed, or nothing be planned.
pub(super) fn unplanned(error: &BatchError, told: String) -> Problem {
    match is_transient(error) {
        true => Problem::new(ProblemKind::Unavailable, told).with_retry_after(5),
        false => Problem::new(ProblemKind::BadRequest, told),
    }
}

/// What is wrong with a request for runs.
pub(super) fn bad(error: AskedError) -> Problem {
    match error {
        AskedError::Unknown { what, name, known } => Problem::unknown(what, &name, known),
        AskedError::Bad(_) | AskedError::Range(_) => Problem::new(ProblemKind::BadRequest, error.to_string()),
    }
}
