//! Pages of other origins that may send events: what a browser is told before and after (CORS).
//!
//! Guarantee: nothing is said to a page of an origin that is not allowed, and what a page may do it may do on the
//! route for events alone. Every answer of that route says so, refusals included: else a page could not read why.
//! Not here: the types that a browser sends without asking (`form.rs`).
//! # Source
//! Fetch Standard, "CORS protocol".

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

use crate::EVENTS;
use edge::{Problem, ProblemKind};

/// What a page may send beside what every page may: the headers of a request that the collector reads.
const REQUEST_HEADERS: &str = "content-type, content-encoding, x-sent-at";
/// What a page may read of an answer, beside what every page may.
const ANSWER_HEADERS: &str = "retry-after, accept-encoding, allow";
/// Two hours, the most that browsers keep an answer to their question.
const MAX_AGE_SECONDS: &str = "7200";

/// Whose pages may send events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// Those of every origin.
    Any,
    /// Those of these origins, each as a browser writes it: `https://shop.example`, `http://localhost:3000`.
    These(BTreeSet<String>),
}

impl Default for AllowedOrigins {
    fn default() -> Self {
        Self::These(BTreeSet::new())
    }
}

impl AllowedOrigins {
    /// Whether pages of this origin may send events.
    pub(super) fn has(&self, origin: &HeaderValue) -> bool {
        match self {
            Self::Any => true,
            Self::These(origins) => origin.to_str().is_ok_and(|origin| origins.contains(origin)),
        }
    }

    /// Tells a browser that a page of this origin, which is allowed, may read the answer.
    fn mark(&self, headers: &mut HeaderMap, origin: HeaderValue) {
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(ANSWER_HEADERS));
        match self {
            Self::Any => {
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            }
            Self::These(_) => {
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
                // A beacon goes with cookies whether or not anybody reads them; without this it could send no JSON.
                headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
                headers.append(header::VARY, HeaderValue::from_static("origin"));
            }
        }
    }
}

/// Answers the questions of browsers on the route for events, and marks its answers. To be laid around everything
/// that answers in the place of `router`.
pub fn allow_origins(router: Router, allowed: AllowedOrigins) -> Router {
    router.layer(from_fn_with_state(Arc::new(allowed), answer_pages))
}

async fn answer_pages(State(allowed): State<Arc<AllowedOrigins>>, request: Request, next: Next) -> Response {
    let is_events = request.extensions().get::<MatchedPath>().is_some_and(|path| path.as_str() == EVENTS);
    let headers = request.headers();
    let Some(origin) = headers.get(header::ORIGIN).filter(|_| is_events).cloned() else {
        return next.run(request).await;
    };
    let is_question =
        request.method() == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match (is_question, allowed.has(&origin)) {
        (false, false) => return next.run(request).await,
        (true, false) => return not_allowed(&origin, ", and its browser asks whether it may").into_response(),
        (false, true) => next.run(request).await,
        (true, true) => leave(),
    };
    allowed.mark(response.headers_mut(), origin);
    response
}

/// The answer to a browser that asks (a preflight).
fn leave() -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "POST"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS),
        (header::ACCESS_CONTROL_MAX_AGE, MAX_AGE_SECONDS),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// A 403 for a page that may not send events: what it did, and the setting.
pub(super) fn not_allowed(origin: &HeaderValue, what: &str) -> Problem {
    let origin = origin.to_str().unwrap_or("not readable");
    let detail = format!("a page of the origin {origin} would send events{what}; nothing was stored");
    Problem::new(ProblemKind::OriginNotAllowed, detail).with_hint(
        "add the origin to the setting `collector.allowed_origins`; if no page sends this, leave out the header \
         Origin or send `Content-Type: application/json`",
    )
}
