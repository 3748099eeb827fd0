//! One port for everything: the collector's routes, the gateway's, and what every process tells of itself.
//!
//! Guarantee: once intake is told to stop, new events are refused with 503 while those at hand are still answered for;
//! queries go on until the gateway stops. What no role answers is refused as a problem, whatever roles the process has.
//! Nothing is answered before it is known who asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use edge::{Access, Principal, Problem, ProblemKind};
use query_gateway::StatusSource;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::definitions_route;
use crate::explain_route;
use crate::log_route;
use crate::metrics_text::MetricsText;
use crate::read_again_route;
use crate::readiness::{Hindrances, ProcessReadiness};
use crate::rejected_route;
use crate::role::Role;
use crate::runs_route;
use crate::status::StatusBoard;

/// About as long as a restart takes.
const STOPPING_RETRY_SECONDS: u64 = 2;

/// The routes of every process, whatever its roles.
const HEALTH_ROUTES: [&str; 3] = ["GET /metrics", "GET /healthz", "GET /readyz"];

/// The route that a process without a gateway has in its place.
const STATUS_ROUTES: [&str; 1] = ["GET /v1/status"];

/// Of collector, log, rejected records (shown, and read again), definitions, runs, health and accounts, in this order:
/// a process without the first ones has those behind them, and one without a gateway lacks the last.
const BESIDE: &[&str] = &[
    collector::ROUTES[0],
    collector::ROUTES[1],
    log_route::ROUTES[0],
    rejected_route::ROUTES[0],
    read_again_route::ROUTES[0],
    definitions_route::ROUTES[0],
    definitions_route::ROUTES[1],
    runs_route::ROUTES[0],
    runs_route::ROUTES[1],
    runs_route::ROUTES[2],
    runs_route::ROUTES[3],
    runs_route::ROUTES[4],
    runs_route::ROUTES[5],
    runs_route::ROUTES[6],
    runs_route::ROUTES[7],
    runs_route::ROUTES[8],
    runs_route::ROUTES[9],
    HEALTH_ROUTES[0],
    HEALTH_ROUTES[1],
    HEALTH_ROUTES[2],
    explain_route::ROUTES[0],
];

/// Counts the requests that bring events, and refuses more once it is told to stop.
#[derive(Clone, Debug)]
pub struct Intake {
    stop: CancellationToken,
    // Each request under way holds a token of it; nothing is spawned on it.
    requests: TaskTracker,
}

impl Intake {
    /// Accepts until `stop` is cancelled.
    pub fn new(stop: CancellationToken) -> Self {
        Self { stop, requests: TaskTracker::new() }
    }

    /// The routes of `collector`, guarded.
    pub fn guard(self, collector: Router) -> Router {
        collector.layer(from_fn_with_state(self, admit))
    }

    /// Returns when it was told to stop and every request under way has been answered.
    pub async fn drained(&self) {
        self.stop.cancelled().await;
        self.requests.close();
        self.requests.wait().await;
    }
}

async fn admit(State(intake): State<Intake>, request: Request, next: Next) -> Response {
    let _under_way = intake.requests.token();
    if intake.stop.is_cancelled() {
        return Problem::new(ProblemKind::ShuttingDown, "this process is stopping and takes no more events")
            .with_hint("send them again, to this address after its restart or to another collector")
            .with_retry_after(STOPPING_RETRY_SECONDS)
            .into_response();
    }
    next.run(request).await
}

/// The routes beside those of a gateway, or of a process without one: those of rejected records, definitions, runs and
/// health, and as told of log, collector and gateway.
pub fn routes_beside(has_log: bool, has_collector: bool, has_gateway: bool) -> &'static [&'static str] {
    let of_collector = collector::ROUTES.len();
    let beside = if has_gateway { BESIDE } else { &BESIDE[..BESIDE.len() - explain_route::ROUTES.len()] };
    match (has_log, has_collector) {
        (_, true) => beside,
        (true, false) => &beside[of_collector..],
        (false, false) => &beside[of_collector + log_route::ROUTES.len()..],
    }
}

/// All routes of a process; `answers` alone has a fallback for unknown ones.
pub fn whole_router(answers: Router, beside: impl IntoIterator<Item = Router>) -> Router {
    beside.into_iter().fold(answers, |whole, more| whole.merge(more))
}

/// All routes of a process behind the guard of its port.
pub fn guarded(routes: Router, access: Access, config: &Config) -> Router {
    let of_collector = collector::page_rules(config.collector.allowed_origins.clone());
    let of_gateway = query_gateway::page_rules(config.gateway.allowed_origins.clone());
    edge::guard(routes, access, config.access.audit, vec![of_collector, of_gateway])
}

/// The routes that every process has. `hindrances`: what keeps each of its roles from its work.
pub fn health_router<F>(metrics: MetricsText, hindrances: impl Fn() -> F + Clone + Send + Sync + 'static) -> Router
where
    F: Future<Output = Hindrances> + Send + 'static,
{
    let readyz = move |principal: Principal, uri: Uri| async move {
        let asked = asked_role(&uri)?;
        let hindrances = hindrances().await;
        let Some(readiness) = ProcessReadiness::of(&hindrances, asked) else {
            let known = hindrances.keys().map(|role| role.name());
            let detail = "this process does not have the role that was asked for";
            return Err(Problem::new(ProblemKind::BadRequest, detail).with_known(known));
        };
        let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        // A probe shows no key, and what is wrong inside is not for everybody.
        let shown = if principal.may_operate() {
            Json(readiness).into_response()
        } else {
            Json(json!({ "ready": readiness.ready })).into_response()
        };
        Ok::<_, Problem>((status, shown))
    };
    let metrics = move |principal: Principal| async move {
        principal.check_operates("metrics are")?;
        Ok::<_, Problem>(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render()))
    };
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(readyz));
    edge::refuse_other_methods(router, &HEALTH_ROUTES)
}

/// The role that `/readyz?role=` asks for; other parameters are not looked at.
///
/// # Errors
/// If there is no such role: a probe with a slip in it must not find everything ready.
fn asked_role(uri: &Uri) -> Result<Option<Role>, Problem> {
    let given = uri.query().unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("role="));
    let Some(name) = given else { return Ok(None) };
    match Role::ALL.into_iter().find(|role| role.name() == name) {
        Some(role) => Ok(Some(role)),
        None => Err(Problem::new(ProblemKind::BadRequest, format!("there is no role `{name}`"))
            .with_known(Role::ALL.map(Role::name))),
    }
}

/// The status of a process without a gateway, and its fallback for unknown routes; `beside` names those of the routers
/// that it is merged with.
pub fn status_router(board: Arc<StatusBoard>, beside: &'static [&'static str]) -> Router {
    let status = async move |principal: Principal, uri: Uri| {
        edge::no_parameters(&uri)?;
        principal.check_operates("the status of a process without a gateway is")?;
        let facts = board.facts().await;
        let problems = [("problems".to_owned(), json!(facts.troubles))];
        let members: BTreeMap<String, Value> = facts.others.into_iter().chain(problems).collect();
        Ok::<_, Problem>(Json(members))
    };
    let router = Router::new().route("/v1/status", get(status));
    edge::refuse_other_paths(edge::refuse_other_methods(router, &STATUS_ROUTES), &STATUS_ROUTES, beside)
}
