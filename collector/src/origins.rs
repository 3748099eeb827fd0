//! Pages of other origins that may send events, on the route for events alone.
//!
//! Not here: what a browser is told (`edge`), and the types that it sends without asking (`form.rs`).

use axum::Router;
use axum::http::HeaderValue;
use edge::{AllowedOrigins, PageRules, Problem, ProblemKind};

use crate::ROUTES;

/// The route for events alone.
const PAGE_ROUTES: [&str; 1] = [ROUTES[1]];

/// What pages of these origins may do.
pub fn page_rules(allowed: AllowedOrigins) -> PageRules {
    PageRules {
        allowed,
        routes: &PAGE_ROUTES,
        request_headers: "authorization, content-type, content-encoding, x-sent-at",
        answer_headers: "retry-after, accept-encoding, allow, ratelimit, ratelimit-policy",
        refuse: |origin| not_allowed(origin, ", and its browser asks whether it may"),
    }
}

/// Answers the questions of browsers on the route for events, and marks its answers. To be laid around everything
/// that answers in the place of `router`.
pub fn allow_origins(router: Router, allowed: AllowedOrigins) -> Router {
    edge::answer_pages(router, page_rules(allowed))
}

/// A 403 for a page that may not send events: what it did, and the setting.
pub(super) fn not_allowed(origin: &HeaderValue, what: &str) -> Problem {
    let origin = origin.to_str().unwrap_or("not readable");
    let detail = format!("a page of the origin {origin} would send events{what}; nothing was stored");
    Problem::new(ProblemKind::OriginNotAllowed, detail).with_hint(
        "add the origin to the setting `collector.allowed_origins`; if no page sends this, leave out the header \
         Origin",
    )
}
