//! What can go wrong with a request, by what the caller should do, and how HTTP says it.
//!
//! Guarantee: the mapping from errors to status codes is the one match in [`GatewayError::problem`].
//! # Source
//! The body is a problem details object of RFC 9457.

use std::time::Duration;

use positions::{Offset, PartitionId};
use serde::Serialize;
use serving_layer::ServingError;
use views::DefinitionError;

/// How far a partition is behind a position token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Behind {
    /// The partition.
    pub partition: PartitionId,
    /// What the token asks for.
    pub asked: Offset,
    /// How far an answer would reach.
    pub reached: Offset,
}

/// An error of the query gateway.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// Something that does not exist was asked for by name: choose from `known`.
    #[error("unknown {what} `{name}`")]
    Unknown {
        /// What kind of thing.
        what: &'static str,
        /// What was asked for.
        name: String,
        /// What exists.
        known: Vec<String>,
    },
    /// The request cannot be understood: fix it.
    #[error("{reason}")]
    BadRequest {
        /// What is wrong.
        reason: String,
        /// The way out.
        hint: Option<String>,
        /// What exists, where the request named something that does not.
        known: Vec<String>,
    },
    /// The answer would be larger than a limit: ask for less.
    #[error("{reason}")]
    TooLarge {
        /// Which limit.
        reason: String,
        /// The way out.
        hint: String,
    },
    /// The route exists, but not for this method.
    #[error("{path} does not take {method}")]
    MethodNotAllowed {
        /// The method.
        method: String,
        /// The route.
        path: String,
        /// How the route is asked.
        known: Vec<String>,
    },
    /// The view has no version that an answer could be based on yet: ask again soon.
    #[error("view {view} is being built: {reason}")]
    Building {
        /// The view.
        view: String,
        /// What is missing.
        reason: String,
    },
    /// The answer does not cover the position token within the time given: ask again, or wait longer.
    #[error("view {view} does not cover the position token after {waited:?}")]
    NotYet {
        /// The view.
        view: String,
        /// How long was waited.
        waited: Duration,
        /// The partitions that are behind.
        behind: Vec<Behind>,
    },
    /// The batch version that was named does not cover the position token and never will: name a newer one.
    #[error("version {version} of view {view} does not cover the position token")]
    NotInVersion {
        /// The view.
        view: String,
        /// The version.
        version: i64,
        /// The partitions that are behind.
        behind: Vec<Behind>,
    },
    /// Too many requests at once: ask again soon.
    #[error("{limit} {what}, which is the limit")]
    Overloaded {
        /// What there are too many of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The query ran for too long: ask for less.
    #[error("the query ran longer than {limit:?}")]
    TimedOut {
        /// The limit.
        limit: Duration,
    },
    /// A store cannot be read and nothing read before can stand in: ask again later.
    #[error("view {view} cannot be served: {reason}")]
    Unavailable {
        /// The view.
        view: String,
        /// What the store said.
        reason: String,
    },
    /// A store failed.
    #[error(transparent)]
    Serving(#[from] ServingError),
    /// A plan of a view failed.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// Arrow refused a batch: a defect.
    #[error("batch: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
}

/// A problem details object.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Problem {
    /// Names the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What happened.
    pub detail: String,
    /// The way out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What exists.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub known: Vec<String>,
    /// Which partitions are behind.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub behind: Vec<Behind>,
    /// Seconds after which another try makes sense; also the header `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

impl Problem {
    fn new(status: u16, kind: &str, title: &'static str, detail: String) -> Self {
        let kind = format!("urn:twofold:problem:{kind}");
        Self { kind, title, status, detail, hint: None, known: Vec::new(), behind: Vec::new(), retry_after: None }
    }

    fn hint(self, hint: impl Into<Option<String>>) -> Self {
        Self { hint: hint.into(), ..self }
    }

    fn known(self, known: &[String]) -> Self {
        Self { known: known.to_vec(), ..self }
    }

    fn retry(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }
}

impl GatewayError {
    /// A request that cannot be understood.
    pub(crate) fn bad(reason: impl Into<String>) -> Self {
        Self::BadRequest { reason: reason.into(), hint: None, known: Vec::new() }
    }

    /// A request that cannot be understood, and the way out.
    pub(crate) fn bad_with_hint(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::BadRequest { reason: reason.into(), hint: Some(hint.into()), known: Vec::new() }
    }

    /// A request that names a part which does not exist.
    pub(crate) fn bad_name(reason: impl Into<String>, known: Vec<String>) -> Self {
        Self::BadRequest { reason: reason.into(), hint: None, known }
    }

    /// What HTTP answers: the one place where status codes are chosen.
    pub fn problem(&self) -> Problem {
        let detail = self.to_string();
        match self {
            Self::Unknown { known, what, .. } => {
                let hint = known.is_empty().then(|| format!("there is no {what} yet"));
                Problem::new(404, "unknown", "Not found", detail).known(known).hint(hint)
            }
            Self::BadRequest { hint, known, .. } => {
                Problem::new(400, "bad-request", "Bad request", detail).hint(hint.clone()).known(known)
            }
            Self::TooLarge { hint, .. } => {
                Problem::new(413, "too-large", "Answer or request too large", detail).hint(hint.clone())
            }
            Self::MethodNotAllowed { known, .. } => {
                Problem::new(405, "method-not-allowed", "Method not allowed", detail).known(known)
            }
            Self::Building { .. } => Problem::new(503, "being-built", "View is being built", detail).retry(1),
            Self::NotYet { behind, .. } => {
                let problem = Problem::new(504, "not-yet", "Position not covered yet", detail).retry(1);
                Problem { behind: behind.clone(), ..problem }
            }
            Self::NotInVersion { behind, .. } => {
                let hint = "a version never grows: name a newer one, or leave `version` out and wait".to_owned();
                let problem = Problem::new(409, "not-in-version", "Version does not cover the position", detail);
                Problem { behind: behind.clone(), ..problem.hint(hint) }
            }
            Self::Overloaded { .. } => Problem::new(429, "overloaded", "Too many queries", detail).retry(1),
            Self::TimedOut { .. } => {
                let hint = "filter on dimensions, or ask for fewer groups".to_owned();
                Problem::new(408, "timed-out", "Query ran too long", detail).hint(hint)
            }
            Self::Unavailable { .. } | Self::Serving(_) => {
                Problem::new(503, "unavailable", "View cannot be served", detail).retry(5)
            }
            Self::Definition(DefinitionError::UnknownDimension { known, .. }) => {
                let known: Vec<String> = known.split(", ").map(str::to_owned).collect();
                Problem::new(400, "bad-request", "Bad request", detail).known(&known)
            }
            Self::Definition(_) | Self::Arrow(_) => Problem::new(500, "defect", "Query failed", detail),
        }
    }
}
