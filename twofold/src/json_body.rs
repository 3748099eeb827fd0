//! A JSON object as the body of a request, for routes that take one and nothing else.
//!
//! Guarantee: what is wrong with it is told with the hint of its route; it is read within a time and a size.
//! Not here: what stands in it, and bodies with events (`collector`).

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use edge::{Problem, ProblemKind};
use positions::format_span;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

/// What a route takes.
pub(crate) struct JsonBody {
    /// The most bytes, which the layer of the route keeps to.
    pub(crate) most_bytes: usize,
    /// What to send.
    pub(crate) hint: &'static str,
    /// What to do with a larger one, where anything helps.
    pub(crate) hint_if_larger: Option<&'static str>,
}

impl JsonBody {
    /// Reads the object, for at most `limit` (`gateway.read_timeout`).
    pub(crate) async fn read<T: DeserializeOwned>(&self, request: Request, limit: Duration) -> Result<T, Problem> {
        let read = timeout(limit, Bytes::from_request(request, &())).await.map_err(|_| {
            let detail = format!("the body was not complete within {}", format_span(limit));
            Problem::new(ProblemKind::SlowBody, detail).with_hint("raise `gateway.read_timeout` for slow lines")
        })?;
        let bytes = read.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => self.too_large(),
            _ => self.refused(rejection.body_text()),
        })?;
        // A list would be read as the members in their order.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err(self.refused("the body is no JSON object".to_owned()));
        }
        serde_json::from_slice(&bytes).map_err(|error| self.refused(error.to_string()))
    }

    fn refused(&self, why: String) -> Problem {
        Problem::new(ProblemKind::BadBody, why).with_hint(self.hint)
    }

    fn too_large(&self) -> Problem {
        let detail = format!("the body is larger than {} bytes", self.most_bytes);
        let problem = Problem::new(ProblemKind::TooLarge, detail);
        match self.hint_if_larger {
            Some(hint) => problem.with_hint(hint),
            None => problem,
        }
    }
}

/// Refuses a page of a browser, which speaks for whatever it shows; `what` begins the sentence, `hint` says how to ask.
pub(crate) fn refuse_pages(headers: &HeaderMap, what: &str, hint: &'static str) -> Result<(), Problem> {
    if !headers.contains_key(header::ORIGIN) {
        return Ok(());
    }
    let detail = format!("{what} for no page of a browser, and this request has the header Origin");
    Err(Problem::new(ProblemKind::Forbidden, detail).with_hint(hint))
}

/// Refuses a body that is not said to be JSON.
pub(crate) fn check_json(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = given.split(';').next().unwrap_or_default().trim();
    if name.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let detail = format!("the body is said to be `{given}`");
    let problem = Problem::new(ProblemKind::UnsupportedMediaType, detail).with_known(["application/json"]);
    Err(problem.with_hint("send `Content-Type: application/json`"))
}
