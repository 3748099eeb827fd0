//! Who may ask for runs, which run is meant, and what is refused.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, header};
use edge::{Principal, Problem, ProblemKind};
use workflow::{Refused, RunId, WorkflowError};

use super::state::RunsRoute;
use crate::runs::asked::AskedError;

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
    // A browser speaks for whatever page it shows.
    if headers.contains_key(header::ORIGIN) {
        let detail = "runs are started and changed for no page of a browser, and this request has the header Origin";
        return Err(
            Problem::new(ProblemKind::Forbidden, detail).with_hint("ask with a command, such as `twofold runs start`")
        );
    }
    Ok(())
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

fn no_run(route: &RunsRoute, name: &str) -> Problem {
    let state = route.workflow().state();
    Problem::unknown("run", name, state.runs.keys().rev().take(NAMED).map(ToString::to_string))
}

/// What the journal refused, or the store.
pub(super) fn problem(route: &RunsRoute, error: WorkflowError) -> Problem {
    match error {
        WorkflowError::Refused(Refused::NoRun(run)) => no_run(route, &run.to_string()),
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

/// What is wrong with a request for runs.
pub(super) fn bad(error: AskedError) -> Problem {
    match error {
        AskedError::Unknown { what, name, known } => Problem::unknown(what, &name, known),
        AskedError::Bad(_) | AskedError::Range(_) => Problem::new(ProblemKind::BadRequest, error.to_string()),
    }
}
