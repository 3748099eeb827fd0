//! One port for everything: the collector's routes, the gateway's, and what the process itself adds.
//!
//! Guarantee: once intake is told to stop, new events are refused with 503 while those at hand are still answered for;
//! queries go on until the gateway stops. A stopped source shows in `/readyz`. What no role answers is refused as a
//! problem, whatever roles the process has.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use edge::{Problem, ProblemKind};
use query_gateway::{MetricsText, StatusSource};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::health::Health;
use crate::status::StatusBoard;

/// About as long as a restart takes.
const STOPPING_RETRY_SECONDS: u64 = 2;

/// The routes of a process without a gateway, beside those of a collector.
const HEALTH_ROUTES: [&str; 4] = ["GET /v1/status", "GET /metrics", "GET /healthz", "GET /readyz"];

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

/// All routes of a process; `answers` has the fallback for unknown ones.
pub fn whole_router(collector: Option<Router>, answers: Router, health: Arc<Health>) -> Router {
    let merged = match collector {
        Some(collector) => answers.merge(collector),
        None => answers,
    };
    merged.layer(from_fn_with_state(health, show_stopped_sources))
}

/// The routes of a process without a gateway; `beside` names those of the router that it is merged with.
pub fn health_router(metrics: MetricsText, board: Arc<StatusBoard>, beside: &'static [&'static str]) -> Router {
    let status = async move |uri: Uri| {
        edge::no_parameters(&uri)?;
        Ok::<_, Problem>(axum::Json(board.facts().await.others))
    };
    let router = Router::new()
        .route("/v1/status", get(status))
        .route("/metrics", get(async move || metrics.render()))
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(async || axum::Json(json!({"ready": true, "problems": []}))));
    edge::refuse_other_paths(edge::refuse_other_methods(router, &HEALTH_ROUTES), &HEALTH_ROUTES, beside)
}

async fn show_stopped_sources(State(health): State<Arc<Health>>, request: Request, next: Next) -> Response {
    if request.uri().path() != "/readyz" {
        return next.run(request).await;
    }
    let stopped = health.stopped_sources();
    if stopped.is_empty() {
        return next.run(request).await;
    }
    let problems: Vec<String> = stopped.iter().map(|(source, why)| format!("source {source} stopped: {why}")).collect();
    let body = json!({"ready": false, "problems": problems});
    (StatusCode::SERVICE_UNAVAILABLE, axum::Json(body)).into_response()
}
