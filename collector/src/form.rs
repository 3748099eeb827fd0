//! How the events of a body are set apart, as its `Content-Type` says.
//!
//! Guarantee: pure. A page of an origin that is not allowed sends no events from a visitor's browser: the types that
//! a browser sends for any page without asking are refused where the request names such an origin, and a browser
//! always names it. Every other type makes the browser ask first (`origins.rs`).

use axum::http::{HeaderMap, HeaderValue, header};

use edge::{AllowedOrigins, Problem, ProblemKind};

use crate::origins;

/// How the events of a body are set apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One array, or one object after another.
    Json,
    /// One object a line.
    Lines,
    /// Objects, each behind the character RS; without any, lines.
    Sequence,
}

/// Names that are in use for one object a line; none is registered.
const LINES: [&str; 14] = [
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonl",
    "application/jsonlines",
    "application/x-jsonlines",
    "application/json-lines",
    "application/x-json-lines",
    "application/x-json-stream",
    "application/stream+json",
    "application/ldjson",
    "application/x-ldjson",
    "text/x-ndjson",
    "text/jsonl",
];

const TYPES_THAT_WORK: &str = "send `Content-Type: application/json` (an array or an object), `application/x-ndjson` \
     (one object a line), or, as a beacon of a page does, `text/plain` with either of them";

/// Reads `Content-Type`; `None`: the content must tell, since the type does not.
///
/// # Errors
/// 415 for a type that no events have; 403 for a type that needs no leave, from a page of an origin that has none.
pub(super) fn form_of(headers: &HeaderMap, allowed: &AllowedOrigins, source: &str) -> Result<Option<Form>, Problem> {
    let value = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("not readable"));
    let media_type = value.and_then(|value| value.split(';').next()).unwrap_or_default().trim().to_ascii_lowercase();
    match media_type.as_str() {
        // What `navigator.sendBeacon`, `curl -d` and a client that says nothing send.
        "text/plain" | "application/x-www-form-urlencoded" | "" => {
            match headers.get(header::ORIGIN).filter(|origin| !allowed.has(Some(source), origin)) {
                None => Ok(None),
                Some(origin) => Err(unasked(origin, value)),
            }
        }
        "application/json" | "text/json" => Ok(Some(Form::Json)),
        of_lines if LINES.contains(&of_lines) => Ok(Some(Form::Lines)),
        // RFC 7464; RFC 8091 for the suffix.
        sequence if sequence == "application/json-seq" || sequence.ends_with("+json-seq") => Ok(Some(Form::Sequence)),
        suffixed if suffixed.ends_with("+json") => Ok(Some(Form::Json)),
        _ => Err(unsupported(&format!("Content-Type {} cannot be read as events", value.unwrap_or_default()))),
    }
}

/// A 415 that names the types that work; nothing was stored.
pub(super) fn unsupported(detail: &str) -> Problem {
    let detail = format!("{detail}; nothing was stored");
    Problem::new(ProblemKind::UnsupportedMediaType, detail).with_hint(TYPES_THAT_WORK)
}

fn unasked(origin: &HeaderValue, value: Option<&str>) -> Problem {
    let with = value.map_or_else(|| "without Content-Type".to_owned(), |value| format!("with Content-Type {value}"));
    origins::not_allowed(origin, &format!(" {with}, which a browser sends without asking"))
}
