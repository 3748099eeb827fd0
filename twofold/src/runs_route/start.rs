//! `POST /v1/runs`: starts runs, or says what they would compute.
//!
//! In: a body of JSON, and the header `Idempotency-Key`. Out: a run for each source that is meant, and whether it is
//! new; of a dry run, what the command shows: what would be computed, or what is due of housekeeping.
//! Guarantee: what is wrong with the request is told before anything is started, also a range that views cannot be
//! computed of as they are now. A request that was sent twice with one key has started its runs once.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use edge::{Principal, Problem, ProblemKind};
use positions::{format_span, parse_span};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;
use views::Pipeline;
use workflow::{RunSpec, Start, TaskSpec};

use super::refusals::{bad, check_command, problem, unplanned};
use super::state::RunsRoute;
use crate::json_body::{JsonBody, check_json};
use crate::runs::asked::{Asked, AskedError, AskedRange};
use crate::runs::dry_housekeeping::dry_housekeeping;
use crate::runs::dry_run::{DryRun, check_ranges, dry_run};
use crate::runs::instant::parse_instant;

/// Bytes of a body: the names of all views of a large pipeline.
pub(super) const MAX_BODY_BYTES: usize = 64 << 10;
/// The longest planning of a dry run.
const PLANNING_LIMIT: Duration = Duration::from_secs(30);
const KEY_HEADER: &str = "idempotency-key";
const BODY: JsonBody = JsonBody {
    most_bytes: MAX_BODY_BYTES,
    hint: "send `{\"views\": [\"NAME\"]}`, or `{}` for all views",
    hint_if_larger: None,
};

/// What is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Body {
    source: Option<String>,
    views: Vec<String>,
    full: bool,
    housekeeping: bool,
    from: Option<String>,
    to: Option<String>,
    only_missing: bool,
    max_concurrent: Option<u32>,
    retries: Option<u32>,
    deadline: Option<String>,
    dry_run: bool,
}

impl Body {
    fn asked(self, idempotency_key: Option<String>) -> Result<Asked, AskedError> {
        let range = self.range()?;
        let deadline = self.deadline.as_deref().map(span).transpose()?;
        let Self { source, views, full, housekeeping, max_concurrent, retries, .. } = self;
        Ok(Asked { source, views, full, range, housekeeping, max_concurrent, retries, deadline, idempotency_key })
    }

    fn range(&self) -> Result<Option<AskedRange>, AskedError> {
        let instant = |name: &str, text: &str| {
            parse_instant(text).map_err(|expected| AskedError::Bad(format!("`{name}` {expected}")))
        };
        match (&self.from, &self.to) {
            (Some(from), Some(to)) => {
                let (from, to) = (instant("from", from)?, instant("to", to)?);
                Ok(Some(AskedRange { from, to, only_missing: self.only_missing }))
            }
            (None, None) if self.only_missing => {
                Err(AskedError::Bad("`only_missing` is of a range: give `from` and `to`, too".to_owned()))
            }
            (None, None) => Ok(None),
            _ => Err(AskedError::Bad("a range has `from` and `to`: give both, or none".to_owned())),
        }
    }
}

fn span(text: &str) -> Result<Duration, AskedError> {
    parse_span(text).map_err(|error| AskedError::Bad(format!("`deadline` {}", error.refusal(text))))
}

pub(super) async fn start(
    State(route): State<RunsRoute>,
    principal: Principal,
    request: Request,
) -> Result<Response, Problem> {
    check_command(&principal, request.headers())?;
    edge::no_parameters(request.uri())?;
    check_json(request.headers())?;
    let key = key_of(request.headers())?;
    let body: Body = BODY.read(request, route.config().gateway.read_timeout).await?;
    let is_dry = body.dry_run;
    let asked = body.asked(key).map_err(bad)?;
    let pipeline = route.pipeline();
    let runs = asked.runs(&pipeline, route.config()).map_err(bad)?;
    let _place = route.place()?;
    if is_dry && asked.housekeeping {
        return look(&route, &pipeline, &runs).await;
    }
    if is_dry {
        return plan(&route, &pipeline, &runs).await;
    }
    let checked = check_ranges(route.planning(), &pipeline, &runs).await;
    checked.map_err(|error| unplanned(&error, error.to_string()))?;
    start_all(&route, runs).await
}

/// Starts them, or finds those that do the same already.
async fn start_all(route: &RunsRoute, runs: Vec<(RunSpec, Vec<TaskSpec>)>) -> Result<Response, Problem> {
    let mut told = Vec::new();
    let mut is_any_new = false;
    for (spec, tasks) in runs {
        let source = spec.source.clone();
        let start = route.workflow().start(spec, &tasks).await.map_err(|error| problem(route, error))?;
        let is_new = matches!(start, Start::Started(_));
        is_any_new |= is_new;
        told.push(json!({ "run": start.run(), "source": source, "started": is_new }));
    }
    let status = if is_any_new { StatusCode::CREATED } else { StatusCode::OK };
    let told: Value = json!({ "runs": told });
    Ok((status, Json(told)).into_response())
}

/// Says what they would compute, as `twofold runs backfill` does.
async fn plan(route: &RunsRoute, pipeline: &Pipeline, runs: &[(RunSpec, Vec<TaskSpec>)]) -> Result<Response, Problem> {
    let _planner = route.planner()?;
    let overview = route.workflow().overview().await.map_err(|error| problem(route, error))?;
    let planned = timeout(PLANNING_LIMIT, dry_run(route.planning(), pipeline, runs, &overview)).await;
    let planned = planned.map_err(|_| timed_out("`twofold runs backfill` plans for as long as it takes"))?;
    let DryRun { plans, nothing_to_do } = planned.map_err(|failed| unplanned(&failed.error, failed.to_string()))?;
    if let Some(error) = nothing_to_do.iter().find_map(|undone| undone.error.as_ref()) {
        return Err(unplanned(error, error.to_string()));
    }
    Ok(Json(json!({ "started": false, "plans": plans, "nothing_to_do": nothing_to_do })).into_response())
}

/// Says what housekeeping would find to do, as `twofold runs start --housekeeping --dry-run` does.
async fn look(
    route: &RunsRoute,
    pipeline: &Arc<Pipeline>,
    runs: &[(RunSpec, Vec<TaskSpec>)],
) -> Result<Response, Problem> {
    let _planner = route.planner()?;
    let former = route.former();
    let looked = timeout(PLANNING_LIMIT, dry_housekeeping(route.planning(), pipeline, &former, runs)).await;
    let looked =
        looked.map_err(|_| timed_out("`twofold runs start --housekeeping --dry-run` looks for as long as it takes"))?;
    let housekeeping = looked.map_err(|failed| unplanned(&failed.error, failed.to_string()))?;
    Ok(Json(json!({ "started": false, "housekeeping": housekeeping })).into_response())
}

fn timed_out(hint: &str) -> Problem {
    let detail = format!("planning took longer than {}", format_span(PLANNING_LIMIT));
    Problem::new(ProblemKind::TimedOut, detail).with_hint(hint)
}

fn key_of(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut given = headers.get_all(KEY_HEADER).iter();
    let Some(key) = given.next() else { return Ok(None) };
    let is_one = given.next().is_none();
    let key = key.to_str().ok().filter(|_| is_one).map(str::to_owned);
    let refused = || Problem::new(ProblemKind::BadRequest, "the header Idempotency-Key must be there once, as text");
    key.map(Some).ok_or_else(refused)
}
