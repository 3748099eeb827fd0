//! One port for everything: the collector's routes, the gateway's, and what the process itself adds.
//!
//! Guarantee: once intake is told to stop, new events are refused with 503 while those at hand are still answered for;
//! queries go on until the gateway stops. A stopped source shows in `/readyz`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use query_gateway::StatusSource;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::health::Health;
use crate::status::StatusBoard;

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
        return stopping();
    }
    next.run(request).await
}

fn stopping() -> Response {
    let problem = json!({
        "type": "about:blank",
        "title": "shutting down",
        "status": 503,
        "detail": "this process takes no more events",
        "hint": "send them again, to this address after its restart or to another collector",
    });
    let headers = [(header::CONTENT_TYPE, "application/problem+json"), (header::RETRY_AFTER, "2")];
    (StatusCode::SERVICE_UNAVAILABLE, headers, problem.to_string()).into_response()
}

/// All routes of a process; `answers` has the fallback for unknown ones.
pub fn whole_router(collector: Option<Router>, answers: Router, health: Arc<Health>) -> Router {
    let merged = match collector {
        Some(collector) => answers.merge(collector),
        None => answers,
    };
    merged.layer(from_fn_with_state(health, show_stopped_sources))
}

/// The routes of a process without a gateway.
pub fn health_router(metrics: PrometheusHandle, board: Arc<StatusBoard>) -> Router {
    let status = move || async move { axum::Json(board.facts().await.others).into_response() };
    Router::new()
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(async || axum::Json(json!({"ready": true, "problems": []}))))
        .route("/metrics", get(move || async move { metrics.render() }))
        .route("/v1/status", get(status))
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
