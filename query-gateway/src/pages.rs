//! Pages of other origins that may ask the gateway, for rows, in SQL, and of views and status.
//!
//! Not here: what a browser is told (`edge`).

use axum::http::HeaderValue;
use edge::{AllowedOrigins, PageRules, Problem, ProblemKind};

/// What pages of these origins may do, on `routes`.
pub(crate) fn rules(allowed: AllowedOrigins, routes: &'static [&'static str]) -> PageRules {
    PageRules {
        allowed,
        routes,
        request_headers: "authorization, content-type, x-twofold-after",
        answer_headers: "retry-after, allow, ratelimit, ratelimit-policy",
        refuse: not_allowed,
    }
}

fn not_allowed(origin: &HeaderValue) -> Problem {
    let origin = origin.to_str().unwrap_or("not readable");
    let detail = format!("a page of the origin {origin} would ask, and its browser asks whether it may");
    let hint = "add the origin to the setting `gateway.allowed_origins`; if no page sends this, leave out the header \
                Origin";
    Problem::new(ProblemKind::OriginNotAllowed, detail).with_hint(hint)
}
