//! What every answer tells a browser, so that it makes no more of it than what it is.
//!
//! Guarantee: no answer is guessed to be of another type, shown in a frame, kept by a cache unless a route says
//! otherwise, or allowed to run anything; a page runs what it was shipped with and nothing else.
//! # Source
//! W3C, "Content Security Policy Level 3".

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use sha2::{Digest, Sha256};

/// Says whose pages may have an answer at all.
pub(crate) const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// Of answers that are no page.
const NOTHING_RUNS: &str = "default-src 'none'; frame-ancestors 'none'";

/// What is said of every answer.
pub(crate) fn said() -> [(HeaderName, &'static str); 6] {
    [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CONTENT_SECURITY_POLICY, NOTHING_RUNS),
        (header::CACHE_CONTROL, "no-store"),
        (RESOURCE_POLICY, "same-origin"),
    ]
}

/// Adds to an answer what its route has not said otherwise.
pub(crate) async fn add_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in said() {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// The policy of a page: its own scripts and styles, as it was shipped, and questions to where it comes from.
pub fn page_policy(page: &str) -> String {
    let (scripts, styles) = (sums_of(page, "script"), sums_of(page, "style"));
    format!(
        "default-src 'none'; script-src{scripts}; style-src{styles}; img-src data:; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    )
}

/// What stands in the elements of a name, each by its hash.
fn sums_of(page: &str, element: &str) -> String {
    let (begin, end) = (format!("<{element}>"), format!("</{element}>"));
    let texts = page.split(&begin).skip(1).filter_map(|rest| rest.split(&end).next());
    texts.map(|text| format!(" 'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text)))).collect()
}
