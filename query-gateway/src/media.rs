//! The types of answers and questions: there is JSON and nothing else.
//!
//! Guarantee: whoever asks for another type alone is told so with `not-acceptable`, and never gets JSON in its place. A
//! browser, which asks for a page before all else, gets JSON.
//! # Source
//! RFC 9110, section 12.5.1.

use axum::http::{HeaderMap, header};
use edge::{Problem, ProblemKind};

/// What stands for JSON, or is asked for by who shows whatever comes.
const TAKEN: [&str; 4] = ["*/*", "application/*", "application/json", "text/html"];

/// Refuses a request that takes no JSON.
///
/// # Errors
/// `not-acceptable` with the type that there is.
pub(crate) fn check_accept(headers: &HeaderMap) -> Result<(), Problem> {
    let asked: Vec<&str> = headers.get_all(header::ACCEPT).iter().map(|value| value.to_str().unwrap_or("")).collect();
    let asked = asked.join(",");
    let mut ranges = asked.split(',').map(str::trim).filter(|range| !range.is_empty()).peekable();
    if ranges.peek().is_none() || ranges.any(takes_json) {
        return Ok(());
    }
    let problem = Problem::new(ProblemKind::NotAcceptable, format!("the answer is not to be had as `{asked}`"));
    Err(problem.with_known(["application/json"]).with_hint("ask with `Accept: application/json`, or without `Accept`"))
}

/// Refuses a body that is not said to be JSON: as another type a browser sends whatever its page likes, unasked.
///
/// # Errors
/// `unsupported-media-type` with the type that there is.
pub(crate) fn check_json(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("not readable"));
    let name = given.and_then(|given| given.split(';').next()).unwrap_or_default().trim();
    if name.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let detail = match given {
        Some(given) => format!("the body is said to be `{given}`"),
        None => "the body is not said to be anything".to_owned(),
    };
    let problem = Problem::new(ProblemKind::UnsupportedMediaType, detail).with_known(["application/json"]);
    Err(problem.with_hint("send `Content-Type: application/json`"))
}

/// Whether a range of types with its parameters, `text/html;q=0.8`, holds what there is.
fn takes_json(range: &str) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let is_taken = parts.next().is_some_and(|name| TAKEN.iter().any(|taken| taken.eq_ignore_ascii_case(name)));
    let weight = parts.find_map(|parameter| parameter.strip_prefix("q="));
    is_taken && weight.is_none_or(|weight| weight.parse::<f32>().is_ok_and(|weight| weight > 0.0))
}
