//! `/v1/definitions`: the definitions of the registry shown, planned and applied over HTTP.
//!
//! ```text
//!  GET  /v1/definitions     the present set, and which of its views are built
//!  POST /v1/definitions     a body --> a plan --> an entry of the registry
//! ```
//!
//! Guarantee: all of it is for who may operate the system, and what changes anything for no page of a browser. One body
//! at a time, of bounded size; what is wrong with it is told before anything is changed. The processes that run go over
//! to what was applied by themselves, this one too.
//! Not here: the plan (`definition_plan.rs`), following (`following.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, Uri};
use axum::routing::get;
use axum::{Json, Router};
use edge::{Principal, Problem, ProblemKind};
use lake::Lake;
use positions::DefinitionNumber;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use serving_layer::ServingError;
use serving_layer::registry::{Applied, Defined, DefinitionRegistry, DefinitionSet, Flip};
use tokio::sync::{Semaphore, watch};
use views::{Pipeline, PipelineError};
use workflow::Workflow;

use crate::config::Config;
use crate::definition_plan::Planner;
use crate::definitions::Registered;
use crate::json_body::{JsonBody, check_json, refuse_pages};
use crate::role::Roles;
use crate::runnable::check_sources;
use crate::trial::try_pipeline;

/// The route.
pub const ROUTE: &str = "/v1/definitions";
/// The routes in words, for answers that name the routes of a process.
pub const ROUTES: [&str; 2] = ["GET /v1/definitions", "POST /v1/definitions"];

/// Bytes of a body: the text of a pipeline and its static files, as JSON.
const MAX_BODY_BYTES: usize = 16 << 20;
const BODY: JsonBody = JsonBody {
    most_bytes: MAX_BODY_BYTES,
    hint: "send `{\"pipeline\": \"CREATE ...\", \"static_files\": {\"NAME.csv\": \"...\"}}`",
    hint_if_larger: Some("apply large static files with `twofold apply`"),
};

#[derive(Clone)]
struct DefinitionsRoute {
    config: Arc<Config>,
    roles: Roles,
    registry: DefinitionRegistry,
    planner: Planner,
    /// Told of what was applied here, so that this process follows without looking.
    registered: watch::Sender<Registered>,
    /// A body is planned, and its views are run: one at a time.
    place: Arc<Semaphore>,
}

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    pipeline: String,
    #[serde(default)]
    static_files: BTreeMap<String, String>,
    /// Say what it would do, and change nothing.
    #[serde(default)]
    plan_only: bool,
    /// The set that whoever asks has planned on; without it, the one that is present now.
    #[serde(default)]
    planned_on: Option<DefinitionNumber>,
    #[serde(default)]
    flip: Flip,
}

/// The routes over the lake of a process with these settings and roles; `registered` is what it follows.
pub fn definitions_router(
    lake: &Lake,
    workflow: &Workflow,
    (config, roles): (Arc<Config>, Roles),
    registered: watch::Sender<Registered>,
) -> Router {
    let planner = Planner::new(lake, workflow, &config.batch.recompute);
    let (registry, place) = (DefinitionRegistry::new(lake), Arc::new(Semaphore::new(1)));
    let state = DefinitionsRoute { config, roles, registry, planner, registered, place };
    let routes = get(show).post(apply).layer(DefaultBodyLimit::max(MAX_BODY_BYTES));
    edge::refuse_other_methods(Router::new().route(ROUTE, routes), &ROUTES).with_state(state)
}

async fn show(State(route): State<DefinitionsRoute>, principal: Principal, uri: Uri) -> Result<Json<Value>, Problem> {
    principal.check_operates("definitions are")?;
    edge::no_parameters(&uri)?;
    let set = route.registry.present().await.map_err(unreadable)?;
    Ok(Json(set.as_ref().map_or_else(|| json!({ "definitions": null, "views": {} }), describe_set)))
}

fn describe_set(set: &DefinitionSet) -> Value {
    let defined = |defined: Option<Defined>| {
        defined.map(|defined| json!({ "definitions": defined.file, "hash": defined.hash.to_string() }))
    };
    let views: Map<String, Value> = set
        .views
        .iter()
        .map(|(name, state)| {
            (
                name.clone(),
                json!({
                    "served": defined(state.served),
                    "being_built": defined(state.building),
                    "kept": defined(state.kept.map(|kept| kept.defined)),
                }),
            )
        })
        .collect();
    let text = set.file(set.number).map(|file| file.text.as_str());
    json!({ "definitions": set.number, "flip": set.flip, "views": views, "pipeline": text })
}

async fn apply(
    State(route): State<DefinitionsRoute>,
    principal: Principal,
    request: Request,
) -> Result<(StatusCode, Json<Value>), Problem> {
    principal.check_operates("definitions are applied")?;
    refuse_pages(request.headers(), "definitions are applied", "ask with a command, such as `twofold apply`")?;
    check_json(request.headers())?;
    edge::no_parameters(request.uri())?;
    let place = Arc::clone(&route.place);
    let _place = place.try_acquire().map_err(|_| {
        let detail = "definitions of another request are being planned, and one is at a time";
        Problem::new(ProblemKind::Overloaded, detail).with_retry_after(1)
    })?;
    let body: Body = BODY.read(request, route.config.gateway.read_timeout).await?;
    let files: BTreeMap<String, Bytes> =
        body.static_files.into_iter().map(|(name, text)| (name, Bytes::from(text))).collect();
    let pipeline = Pipeline::read(&body.pipeline, &files).map_err(wrong)?;
    pipeline.check_new().map_err(wrong)?;
    check_sources(&route.config, &route.roles, &pipeline)
        .map_err(|error| Problem::new(ProblemKind::BadRequest, format!("{error:#}")))?;
    try_pipeline(&pipeline).await.map_err(wrong)?;
    let plan = route.planner.plan(&pipeline).await.map_err(|error| {
        Problem::new(ProblemKind::Unavailable, format!("nothing can be planned now: {error:#}")).with_retry_after(5)
    })?;
    if body.plan_only {
        return Ok((StatusCode::OK, Json(json!({ "applied": false, "plan": plan }))));
    }
    let planned_on = body.planned_on.or(plan.planned_on);
    match route.registry.apply(&pipeline, planned_on, body.flip).await.map_err(unreadable)? {
        Applied::Now(number) => {
            route.registered.send_if_modified(|seen| {
                let is_newer = seen.number < Some(number);
                seen.number = seen.number.max(Some(number));
                is_newer
            });
            Ok((StatusCode::CREATED, Json(json!({ "applied": true, "definitions": number, "plan": plan }))))
        }
        Applied::Already(number) => {
            Ok((StatusCode::OK, Json(json!({ "applied": false, "definitions": number, "plan": plan }))))
        }
        Applied::Overtaken(number) => {
            let detail = format!("definitions {} are present, and these were planned on others", number.0);
            Err(Problem::new(ProblemKind::Conflict, detail).with_hint("plan again, then apply again"))
        }
    }
}

/// Everything that is wrong in the text at once.
fn wrong(error: PipelineError) -> Problem {
    let count = error.0.len();
    let findings: Vec<String> = error.0.iter().map(ToString::to_string).collect();
    let noun = if count == 1 { "problem" } else { "problems" };
    let detail = format!("the pipeline has {count} {noun}, and nothing was changed");
    Problem::new(ProblemKind::BadRequest, detail).with_member("findings", findings)
}

fn unreadable(error: ServingError) -> Problem {
    let detail = format!("the registry of definitions cannot be read or written now: {error}");
    Problem::new(ProblemKind::Unavailable, detail).with_retry_after(5)
}
