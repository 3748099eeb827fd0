//! `POST /v1/runs`: starts runs.
//!
//! In: a body of JSON, and the header `Idempotency-Key`. Out: a run for each source that is meant, and whether it is
//! new.
//! Guarantee: what is wrong with the request is told before anything is started. A request that was sent twice with one
//! key has started its runs once.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use edge::{Principal, Problem, ProblemKind};
use positions::{format_span, parse_span};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;
use workflow::Start;

use super::refusals::{bad, check_command, problem};
use super::state::RunsRoute;
use crate::runs::asked::{Asked, AskedError, AskedRange};
use crate::runs::instant::parse_instant;
use crate::workflow::specs::runs_of;

/// Bytes of a body: the names of all views of a large pipeline.
pub(super) const MAX_BODY_BYTES: usize = 64 << 10;
const KEY_HEADER: &str = "idempotency-key";
const HINT: &str = "send `{\"views\": [\"NAME\"]}`, or `{}` for all views";

/// What is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Body {
    source: Option<String>,
    views: Vec<String>,
    full: bool,
    from: Option<String>,
    to: Option<String>,
    only_missing: bool,
    max_concurrent: Option<u32>,
    retries: Option<u32>,
    deadline: Option<String>,
}

impl Body {
    fn asked(self, idempotency_key: Option<String>) -> Result<Asked, AskedError> {
        let range = self.range()?;
        let deadline = self.deadline.as_deref().map(span).transpose()?;
        let Self { source, views, full, max_concurrent, retries, .. } = self;
        Ok(Asked { source, views, full, range, max_concurrent, retries, deadline, idempotency_key })
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
    let body = read_body(request, route.config().gateway.read_timeout).await?;
    let asked = body.asked(key).map_err(bad)?;
    let pipeline = route.pipeline();
    let request = asked.request(&pipeline).map_err(bad)?;
    let runs = runs_of(&pipeline, &request, route.config());
    let runs = runs.map_err(|error| Problem::new(ProblemKind::BadRequest, format!("{error:#}")))?;
    let _place = route.place()?;
    let mut told = Vec::new();
    let mut is_any_new = false;
    for (spec, tasks) in runs {
        let source = spec.source.clone();
        let start = route.workflow().start(spec, &tasks).await.map_err(|error| problem(&route, error))?;
        let is_new = matches!(start, Start::Started(_));
        is_any_new |= is_new;
        told.push(json!({ "run": start.run(), "source": source, "started": is_new }));
    }
    let status = if is_any_new { StatusCode::CREATED } else { StatusCode::OK };
    let told: Value = json!({ "runs": told });
    Ok((status, Json(told)).into_response())
}

fn check_json(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = given.split(';').next().unwrap_or_default().trim();
    if name.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let detail = format!("the body is said to be `{given}`");
    let problem = Problem::new(ProblemKind::UnsupportedMediaType, detail).with_known(["application/json"]);
    Err(problem.with_hint("send `Content-Type: application/json`"))
}

fn key_of(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut given = headers.get_all(KEY_HEADER).iter();
    let Some(key) = given.next() else { return Ok(None) };
    let is_one = given.next().is_none();
    let key = key.to_str().ok().filter(|_| is_one).map(str::to_owned);
    let refused = || Problem::new(ProblemKind::BadRequest, "the header Idempotency-Key must be there once, as text");
    key.map(Some).ok_or_else(refused)
}

async fn read_body(request: Request, limit: Duration) -> Result<Body, Problem> {
    let read = timeout(limit, Bytes::from_request(request, &())).await.map_err(|_| {
        let detail = format!("the body was not complete within {}", format_span(limit));
        Problem::new(ProblemKind::SlowBody, detail).with_hint("raise `gateway.read_timeout` for slow lines")
    })?;
    let bytes = read.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(ProblemKind::TooLarge, format!("the body is larger than {MAX_BODY_BYTES} bytes"))
        }
        _ => Problem::new(ProblemKind::BadBody, rejection.body_text()).with_hint(HINT),
    })?;
    let refused = |why: String| Problem::new(ProblemKind::BadBody, why).with_hint(HINT);
    // A list would be read as the members in their order.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(refused("the body is no JSON object".to_owned()));
    }
    serde_json::from_slice(&bytes).map_err(|error| refused(error.to_string()))
}
