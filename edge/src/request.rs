//! What every route reads of a request in the same way: the name in its path, and the text of its parameters.
//!
//! Guarantee: text is UTF-8 or refused. Why so: letters that stand in for what is not UTF-8 would name another view, or
//! find another row, than the client asked for.

use axum::extract::rejection::PathRejection;
use axum::extract::{MatchedPath, Path, Query};
use axum::http::Uri;

use crate::{Problem, ProblemKind};

/// The name in a path, percent-decoded.
///
/// # Errors
/// `bad-request` where it is not UTF-8.
pub fn path_text(path: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    let refused = |_| {
        Problem::new(ProblemKind::BadRequest, "the path is not valid UTF-8")
            .with_hint("percent-encode the name as UTF-8")
    };
    path.map(|Path(name)| name).map_err(refused)
}

/// The parameters behind `?`, percent-decoded, in order; a name may come again.
///
/// # Errors
/// `bad-request` where they are not UTF-8.
pub fn parameters(uri: &Uri) -> Result<Vec<(String, String)>, Problem> {
    if !is_encoded_text(uri.query().unwrap_or_default()) {
        return Err(Problem::new(ProblemKind::BadRequest, "the parameters are not percent-encoded UTF-8"));
    }
    let query = Query::<Vec<(String, String)>>::try_from_uri(uri);
    query
        .map(|Query(parameters)| parameters)
        .map_err(|rejection| Problem::new(ProblemKind::BadRequest, rejection.body_text()))
}

/// The name in a path that was matched by a route, percent-decoded; `None` where the route has none, or it is not
/// UTF-8.
pub(crate) fn path_name(route: Option<&MatchedPath>, path: &str) -> Option<String> {
    let mut parts = route?.as_str().split('/').zip(path.split('/'));
    let (_, name) = parts.find(|(part, _)| part.starts_with('{'))?;
    String::from_utf8(decoded(name)).ok()
}

/// Whether percent-encoded bytes are UTF-8.
fn is_encoded_text(query: &str) -> bool {
    std::str::from_utf8(&decoded(query)).is_ok()
}

/// The bytes that a percent-encoded text stands for.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        let encoded = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match encoded.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| *byte == b'%') {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &after[2..];
            }
            None => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    bytes
}
