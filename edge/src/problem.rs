//! Problem documents: the shape of every HTTP answer that refuses a request.
//!
//! Guarantee: `Retry-After` and the member `retry_after` are always there together and say the same.
//! # Source
//! RFC 9457, media type `application/problem+json`.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::ProblemKind;

/// What went wrong, for a program (`type`, `status`, `known`, `retry_after`, further members) and for a person
/// (`title`, `detail`, `hint`).
// Boxed: it is the error of many functions, and a large error makes every success as large.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem(Box<Content>);

#[derive(Clone, Debug, PartialEq)]
struct Content {
    kind: ProblemKind,
    detail: String,
    hint: Option<String>,
    known: Vec<String>,
    retry_after_seconds: Option<u64>,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The document, in the order in which it is written.
#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    known: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    #[serde(flatten)]
    members: &'a Map<String, Value>,
}

impl Problem {
    /// A problem of a kind; `detail` says what happened this time.
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self(Box::new(Content {
            kind,
            detail: detail.into(),
            hint: None,
            known: Vec::new(),
            retry_after_seconds: None,
            members: Map::new(),
            headers: Vec::new(),
        }))
    }

    /// Something that does not exist was asked for by name: `what` it would be, and those that are `known`.
    pub fn unknown(what: &str, name: &str, known: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let problem = Self::new(ProblemKind::Unknown, format!("there is no {what} `{name}`")).with_known(known);
        if problem.known().is_empty() { problem.with_hint(format!("there is no {what} yet")) } else { problem }
    }

    /// Adds the way out.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds the names to choose from.
    pub fn with_known(mut self, known: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.0.known = known.into_iter().map(Into::into).collect();
        self
    }

    /// Says after how many seconds to try again, as a member and as the header `Retry-After`.
    pub fn with_retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after_seconds = Some(seconds);
        self
    }

    /// Adds a further member, of a name that no problem has by itself.
    pub fn with_member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.members.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a header.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// What kind it is.
    pub fn kind(&self) -> ProblemKind {
        self.0.kind
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.0.kind.status()
    }

    /// What happened.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The way out.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The names to choose from; empty where there is nothing to choose.
    pub fn known(&self) -> &[String] {
        &self.0.known
    }

    /// After how many seconds another try makes sense.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.0.retry_after_seconds
    }

    /// A further member.
    pub fn member(&self, name: &str) -> Option<&Value> {
        self.0.members.get(name)
    }

    /// The document.
    pub(crate) fn to_json(&self) -> String {
        let Content { kind, detail, hint, known, retry_after_seconds, members, .. } = self.0.as_ref();
        let document = Document {
            r#type: format!("urn:twofold:problem:{}", kind.name()),
            title: kind.title(),
            status: kind.status().as_u16(),
            detail,
            hint: hint.as_deref(),
            known,
            retry_after: *retry_after_seconds,
            members,
        };
        serde_json::to_string(&document).expect("a problem is plain data with text keys")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status(), self.to_json()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.0.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        headers.extend(self.0.headers);
        response
    }
}
