//! HTTP: routes, parameters in, JSON out. A thin layer: what a request means and how it fails is decided elsewhere.
//!
//! Guarantee: every refusal is a problem document, also that of an unknown route or another method. No route but the
//! page answers a request that nobody gave a [`Principal`].
//! Not here: health and metrics, which every process has (`twofold/src/http.rs`).

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, ExtensionRejection, PathRejection};
use axum::extract::{ConnectInfo, DefaultBodyLimit, FromRef, FromRequest, MatchedPath, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use edge::{
    AllowedOrigins, PageRules, Principal, Problem, ProblemKind, no_parameters, page_policy, parameters, path_text,
};
use positions::PositionToken;
use serde::Serialize;

use crate::media::{check_accept, check_json};
use crate::pages;
use crate::unread::Unread;
use crate::{CurrentGateway, Gateway, GatewayError, RowsRequest, SqlRequest, metrics, patience};

/// A position token that every answer of a client's session must cover; merged with `after`.
const AFTER_HEADER: &str = "x-twofold-after";

/// The name of a view in a path, or why it cannot be read.
type ViewPath = Result<Path<String>, PathRejection>;

const PAGE: &str = include_str!("page.html");
static POLICY: LazyLock<String> = LazyLock::new(|| page_policy(PAGE));

const ROUTES: [&str; 7] = [
    "GET /",
    "GET /v1/views",
    "GET /v1/views/{view}",
    "GET /v1/views/{view}/rows",
    "GET /v1/views/{view}/exactness",
    "POST /v1/sql",
    "GET /v1/status",
];

/// The routes that scripts of pages ask: all but the page for people.
const PAGE_ROUTES: [&str; 6] = [ROUTES[1], ROUTES[2], ROUTES[3], ROUTES[4], ROUTES[5], ROUTES[6]];

/// All routes of the gateway, with a fallback that answers unknown ones. Whoever serves them puts the [`Principal`] of
/// each request into its extensions.
///
/// Merge it with routers that have no fallback of their own (axum refuses two); `beside` names the routes of those, as
/// `GET /path`, so that the answer to an unknown route names them, too.
pub fn router(gateway: impl Into<CurrentGateway>, beside: &'static [&'static str]) -> Router {
    let gateway: CurrentGateway = gateway.into();
    let now: Arc<Gateway> = Arc::from_ref(&gateway);
    let body_limit = DefaultBodyLimit::max(body_limit(&now));
    let (allowed, unread) = (now.settings().allowed_origins.clone(), Unread::new(now.settings()));
    metrics::announce(routes());
    let router = Router::new()
        .route("/", get(page))
        .route("/v1/views", get(views))
        .route("/v1/views/{view}", get(view))
        .route("/v1/views/{view}/rows", get(rows))
        .route("/v1/views/{view}/exactness", get(exactness))
        .route("/v1/sql", post(sql).layer(body_limit))
        .route("/v1/status", get(status))
        .layer(Extension(unread));
    let counted = edge::refuse_other_methods(router, &ROUTES).layer(from_fn(count));
    let marked = edge::answer_pages(counted, page_rules(allowed));
    edge::refuse_other_paths(marked, &ROUTES, beside).with_state(gateway)
}

/// What pages of these origins may do.
pub fn page_rules(allowed: AllowedOrigins) -> PageRules {
    pages::rules(allowed, &PAGE_ROUTES)
}

/// Bytes of the largest body: an SQL text as JSON, and what stands beside it.
fn body_limit(gateway: &Gateway) -> usize {
    let json_overhead = 64 * 1024;
    gateway.settings().sql_text_bytes.saturating_mul(2).saturating_add(json_overhead)
}

async fn count(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("unknown", |path| known_route(path.as_str()));
    #[expect(clippy::disallowed_methods, reason = "measures the request for a metric, decides nothing")]
    let began = Instant::now();
    let response = next.run(request).await;
    metrics::request(route, response.status().as_u16(), began.elapsed());
    response
}

/// The route as a label that lives for ever.
fn known_route(path: &str) -> &'static str {
    routes().find(|route| *route == path).unwrap_or("unknown")
}

fn routes() -> impl Iterator<Item = &'static str> {
    ROUTES.iter().filter_map(|route| route.split_once(' ').map(|(_, path)| path))
}

async fn page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY.as_str()),
    ];
    (headers, PAGE).into_response()
}

async fn views(State(gateway): State<Arc<Gateway>>, principal: Principal, uri: Uri) -> Result<Response, Problem> {
    no_parameters(&uri)?;
    #[derive(Serialize)]
    struct Views {
        views: Vec<crate::ViewDetails>,
    }
    Ok(json_value(&Views { views: gateway.views(&principal).await }))
}

async fn view(
    State(gateway): State<Arc<Gateway>>,
    principal: Principal,
    name: ViewPath,
    uri: Uri,
) -> Result<Response, Problem> {
    no_parameters(&uri)?;
    Ok(json_value(&gateway.view(&principal, &path_text(name)?).await?))
}

async fn exactness(
    State(gateway): State<Arc<Gateway>>,
    principal: Principal,
    name: ViewPath,
    uri: Uri,
) -> Result<Response, Problem> {
    no_parameters(&uri)?;
    Ok(json_value(&gateway.exactness(&principal, &path_text(name)?).await?))
}

async fn rows(
    State(gateway): State<Arc<Gateway>>,
    Extension(unread): Extension<Unread>,
    principal: Principal,
    view: ViewPath,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let view = path_text(view)?;
    check_accept(&headers)?;
    let mut parameters = parameters(&uri)?;
    let named = parameters.iter().position(|(name, _)| name == "after");
    let token = merge_tokens(named.map(|index| parameters[index].1.as_str()), &headers)?;
    match (token, named) {
        (Some(token), Some(index)) => parameters[index].1 = token,
        (Some(token), None) => parameters.push(("after".to_owned(), token)),
        (None, _) => {}
    }
    let answer = gateway.rows(&principal, RowsRequest { view, parameters }).await?;
    let rows = answer.rows.clone();
    Ok(json_text(unread.write(&rows, move || answer.to_json()).await?))
}

async fn sql(
    State(gateway): State<Arc<Gateway>>,
    Extension(unread): Extension<Unread>,
    principal: Principal,
    peer: Result<ConnectInfo<SocketAddr>, ExtensionRejection>,
    request: Request,
) -> Result<Response, Problem> {
    no_parameters(request.uri())?;
    let headers = request.headers().clone();
    check_accept(&headers)?;
    check_json(&headers)?;
    let limit = gateway.settings().read_timeout;
    let body = patience::within(limit, Bytes::from_request(request, &())).await;
    let mut request = sql_request(body.ok_or(GatewayError::SlowBody { limit })?, body_limit(&gateway))?;
    request.after = merge_tokens(request.after.as_deref(), &headers)?;
    request.client = peer.ok().map(|ConnectInfo(peer)| peer.ip());
    // A browser speaks for whatever page it shows.
    request.is_operator = principal.may_operate() && !headers.contains_key(header::ORIGIN);
    let answer = gateway.sql(&principal, request).await?;
    let rows = answer.rows.clone();
    Ok(json_text(unread.write(&rows, move || answer.to_json()).await?))
}

fn sql_request(body: Result<Bytes, BytesRejection>, limit: usize) -> Result<SqlRequest, GatewayError> {
    let hint = r#"send {"sql": "SELECT ..."}"#;
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => GatewayError::TooLarge {
            reason: format!("the body is larger than {limit} bytes"),
            hint: "send a shorter query".to_owned(),
        },
        _ => GatewayError::BadBody { reason: rejection.body_text(), hint },
    })?;
    serde_json::from_slice(&body).map_err(|error| GatewayError::BadBody { reason: error.to_string(), hint })
}

async fn status(State(gateway): State<Arc<Gateway>>, principal: Principal, uri: Uri) -> Result<Response, Problem> {
    no_parameters(&uri)?;
    Ok(json_value(&gateway.status(&principal).await))
}

/// The union of the token in the request and the one in the session header.
fn merge_tokens(named: Option<&str>, headers: &HeaderMap) -> Result<Option<String>, GatewayError> {
    let header = headers.get(AFTER_HEADER).map(HeaderValue::to_str).transpose();
    let header = header.map_err(|_| GatewayError::bad(format!("header {AFTER_HEADER} must be a position token")))?;
    let mut tokens = named.into_iter().chain(header).map(PositionToken::decode);
    let Some(first) = tokens.next() else { return Ok(None) };
    let decoded =
        |token: Result<PositionToken, positions::BadToken>| token.map_err(|bad| GatewayError::bad(bad.to_string()));
    let mut merged = decoded(first)?;
    for token in tokens {
        merged.merge(&decoded(token)?);
    }
    Ok(Some(merged.encode()))
}

fn json_value(value: &impl Serialize) -> Response {
    json_text(serde_json::to_string(value).expect("answers are plain data with text keys"))
}

fn json_text(text: impl IntoResponse) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

impl From<GatewayError> for Problem {
    fn from(error: GatewayError) -> Self {
        let problem = error.problem();
        if problem.kind() == ProblemKind::Defect {
            // As a value, which a text log quotes: it may hold what a client wrote, line ends included.
            tracing::error!(error = error.to_string(), "query failed");
        }
        problem
    }
}
