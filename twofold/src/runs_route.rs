//! `/v1/runs`: runs shown, watched, started and commanded over HTTP.
//!
//! ```text
//!  GET  /v1/runs, /v1/runs/{run}            what is known, read at that moment
//!  GET  /v1/runs/{run}/events               each change, from the one reader of this process (feed.rs, run.rs)
//!  POST /v1/runs                            start.rs: a body --> runs
//!  POST /v1/runs/{run}/pause|resume|...     one entry in the journal
//! ```
//!
//! Guarantee: all of it is for who may operate the system, and what changes anything for no page of a browser. Bounded
//! in requests at one time, streams, tasks that are told, and bytes of a body. Every process reaches the lake, so each
//! has the routes, whatever its roles: it need not do the tasks itself.

mod events;
mod feed;
mod refusals;
pub mod run;
mod start;
mod state;

use std::collections::BTreeMap;

use axum::extract::{DefaultBodyLimit, FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use axum::routing::{get, post};
use axum::{Json, Router};
use edge::{Parameters, Principal, Problem, ProblemKind};
use positions::TimestampMicros;
use serde_json::{Value, json};
use workflow::{Overview, Refused, RunId, WorkflowError};

use crate::runs::buckets::grids_of;
use crate::runs::filter::{RunsFilter, STATES};
use crate::runs::instant::parse_instant;
use crate::runs::view::{RunDetails, RunView, RunsView, run_view, runs_view};

pub use feed::RunsFeed;
pub use state::RunsRoute;

use refusals::{RunPath, check_command, check_look, path_run, problem};

const LIST: &str = "/v1/runs";
const ONE: &str = "/v1/runs/{run}";
const EVENTS: &str = "/v1/runs/{run}/events";
const PAUSE: &str = "/v1/runs/{run}/pause";
const RESUME: &str = "/v1/runs/{run}/resume";
const CANCEL: &str = "/v1/runs/{run}/cancel";
const RETRY: &str = "/v1/runs/{run}/retry";
const PAUSE_ALL: &str = "/v1/runs/pause";
const RESUME_ALL: &str = "/v1/runs/resume";

/// The routes in words, for answers that name the routes of a process.
pub const ROUTES: [&str; 10] = [
    "GET /v1/runs",
    "POST /v1/runs",
    "GET /v1/runs/{run}",
    "GET /v1/runs/{run}/events",
    "POST /v1/runs/{run}/pause",
    "POST /v1/runs/{run}/resume",
    "POST /v1/runs/{run}/cancel",
    "POST /v1/runs/{run}/retry",
    "POST /v1/runs/pause",
    "POST /v1/runs/resume",
];

const DEFAULT_RUNS: usize = 50;
/// Runs of an answer at most.
pub const MAX_RUNS: usize = 1_000;
const DEFAULT_TASKS: usize = 100;
/// Tasks of an answer at most: as many as a run has.
pub const MAX_TASKS: usize = workflow::MAX_TASKS;

/// The routes.
pub fn runs_router(route: RunsRoute) -> Router {
    let router = Router::new()
        .route(LIST, get(list).post(start::start).layer(DefaultBodyLimit::max(start::MAX_BODY_BYTES)))
        .route(ONE, get(show))
        .route(EVENTS, get(events::events))
        .route(PAUSE, post(pause))
        .route(RESUME, post(resume))
        .route(CANCEL, post(cancel))
        .route(RETRY, post(retry))
        .route(PAUSE_ALL, post(pause_all))
        .route(RESUME_ALL, post(resume_all));
    edge::refuse_other_methods(router, &ROUTES).with_state(route)
}

async fn list(State(route): State<RunsRoute>, principal: Principal, uri: Uri) -> Result<Json<RunsView>, Problem> {
    check_look(&principal)?;
    let mut parameters = Parameters::of(&uri)?;
    let limit = parameters.number::<usize>("limit", 1..=MAX_RUNS)?.unwrap_or(DEFAULT_RUNS);
    let filter = RunsFilter {
        state: parameters.one_of("state", &STATES)?.unwrap_or_default(),
        source: parameters.take("source")?,
        view: parameters.take("view")?,
        since: parameters.take("since")?.as_deref().map(instant).transpose()?,
        before: parameters.number("before", 1..=u64::MAX)?,
    };
    parameters.finish()?;
    let _place = route.place()?;
    let overview = route.workflow().overview().await.map_err(|error| problem(&route, error))?;
    Ok(Json(runs_view(&overview, limit, &filter)))
}

fn instant(text: &str) -> Result<TimestampMicros, Problem> {
    parse_instant(text).map_err(|expected| Problem::new(ProblemKind::BadRequest, format!("`since` {expected}")))
}

async fn show(
    State(route): State<RunsRoute>,
    principal: Principal,
    run: RunPath,
    uri: Uri,
) -> Result<Json<RunDetails>, Problem> {
    check_look(&principal)?;
    let id = path_run(run)?;
    let mut parameters = Parameters::of(&uri)?;
    let limit = parameters.number::<usize>("tasks", 0..=MAX_TASKS)?.unwrap_or(DEFAULT_TASKS);
    parameters.finish()?;
    let _place = route.place()?;
    let failed = |error| problem(&route, error);
    let overview = route.workflow().overview().await.map_err(failed)?;
    let run = route.workflow().run(id).await.map_err(failed)?;
    let grids = grids_of(route.workflow(), &route.pipeline(), &run).await.map_err(failed)?;
    Ok(Json(RunDetails::new(&overview, &run, limit, grids)))
}

async fn pause(State(route): State<RunsRoute>, Commanded(id): Commanded) -> Result<Json<RunView>, Problem> {
    after(&route, id, route.workflow().pause(Some(id)).await)
}

async fn resume(State(route): State<RunsRoute>, Commanded(id): Commanded) -> Result<Json<RunView>, Problem> {
    after(&route, id, route.workflow().resume(Some(id)).await)
}

async fn cancel(State(route): State<RunsRoute>, Commanded(id): Commanded) -> Result<Json<RunView>, Problem> {
    after(&route, id, route.workflow().cancel(id).await)
}

async fn retry(State(route): State<RunsRoute>, Commanded(id): Commanded) -> Result<Json<RunView>, Problem> {
    after(&route, id, route.workflow().retry(id).await)
}

async fn pause_all(
    State(route): State<RunsRoute>,
    principal: Principal,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    check_command(&principal, &headers)?;
    edge::no_parameters(&uri)?;
    route.workflow().pause(None).await.map_err(|error| problem(&route, error))?;
    Ok(Json(json!({ "paused": true })))
}

async fn resume_all(
    State(route): State<RunsRoute>,
    principal: Principal,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    check_command(&principal, &headers)?;
    edge::no_parameters(&uri)?;
    route.workflow().resume(None).await.map_err(|error| problem(&route, error))?;
    Ok(Json(json!({ "paused": false })))
}

/// The run that a command is for, which whoever asks may give.
struct Commanded(RunId);

impl FromRequestParts<RunsRoute> for Commanded {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, route: &RunsRoute) -> Result<Self, Problem> {
        let principal = Principal::from_request_parts(parts, route).await?;
        check_command(&principal, &parts.headers)?;
        edge::no_parameters(&parts.uri)?;
        path_run(Path::from_request_parts(parts, route).await).map(Self)
    }
}

/// The run behind a command: as this process knows it, without asking who works at it.
fn after(route: &RunsRoute, id: RunId, done: Result<(), WorkflowError>) -> Result<Json<RunView>, Problem> {
    done.map_err(|error| problem(route, error))?;
    let overview = Overview { state: route.workflow().state(), processes: BTreeMap::new() };
    let gone = || problem(route, WorkflowError::Refused(Refused::NoRun(id)));
    let run = overview.state.run(id).ok_or_else(gone)?;
    Ok(Json(run_view(&overview, run)))
}
