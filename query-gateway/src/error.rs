//! What can go wrong with a request, by what the caller should do, and as which kind of problem HTTP says it.
//!
//! Guarantee: the mapping from errors to kinds is the one match in [`GatewayError::problem`].

use std::time::Duration;

use edge::{Problem, ProblemKind};
use positions::{Offset, PartitionId, format_span};
use serde::Serialize;
use serving_layer::{ServingError, Version};
use views::DefinitionError;

use crate::rejected::{instead_of_source, instead_of_view};
use crate::rejected_records::RejectedUnread;
use crate::run_rows::RunsUnread;
use crate::trouble::ASK_THE_ROLES;

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
    #[error("there is no {what} `{name}`")]
    Unknown {
        /// What kind of thing.
        what: &'static str,
        /// What was asked for.
        name: String,
        /// What exists.
        known: Vec<String>,
    },
    /// SQL asks a source, and reads views alone: choose from `known`, or look where the hint says.
    #[error("`{name}` is a source, and SQL reads views")]
    NotAView {
        /// The source.
        name: String,
        /// The views of the source.
        views: Vec<String>,
        /// All views.
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
    /// The body of the request cannot be read: fix it.
    #[error("the body cannot be read: {reason}")]
    BadBody {
        /// What is wrong.
        reason: String,
        /// The way out.
        hint: &'static str,
    },
    /// SQL is asked by who may read no view: use another key.
    #[error("SQL is for those who may read a view, and `{principal}` may read none")]
    NothingToRead {
        /// Who asks.
        principal: String,
    },
    /// The client did not send its question in time: send it faster.
    #[error("the body did not come whole within {}", format_span(*limit))]
    SlowBody {
        /// The limit.
        limit: Duration,
    },
    /// The request, or the answer to it, is larger than a limit: ask for less.
    #[error("{reason}")]
    TooLarge {
        /// Which limit.
        reason: String,
        /// The way out.
        hint: String,
    },
    /// The view has no version that an answer could be based on yet: ask again soon.
    #[error("view {view} is being built: {reason}")]
    Building {
        /// The view.
        view: String,
        /// What is missing.
        reason: String,
        /// For how long it has been so, as far as anybody asked.
        lasts: Duration,
    },
    /// The view has no version that an answer could be based on, and nobody builds one: an operator must act.
    #[error("view {view} is not being built: {reason}")]
    Stopped {
        /// The view.
        view: String,
        /// What keeps it from being built.
        reason: String,
        /// The way out.
        way_out: String,
    },
    /// The answer does not cover the position token within the time given: ask again, or wait longer.
    #[error("view {view} does not cover the position token after {waited:?}")]
    NotYet {
        /// The view.
        view: String,
        /// How long was waited.
        waited: Duration,
        /// The partitions that are behind; none where who asks does not see all rows.
        behind: Vec<Behind>,
    },
    /// The batch version that was named does not cover the position token and never will: name a newer one.
    #[error("version {version} of view {view} does not cover the position token")]
    NotInVersion {
        /// The view.
        view: String,
        /// The version.
        version: Version,
        /// The partitions that are behind; none where who asks does not see all rows.
        behind: Vec<Behind>,
    },
    /// Too many requests at once: ask again soon.
    #[error("{limit} {what}, the maximum (`{setting}`)")]
    Overloaded {
        /// What there are too many of.
        what: &'static str,
        /// The limit.
        limit: usize,
        /// The setting that it comes from.
        setting: &'static str,
    },
    /// The query ran for too long: ask for less.
    #[error("the query ran longer than {}", format_span(*limit))]
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
    /// A store failed, and who asks is not told how: ask again later.
    #[error("a store cannot be read")]
    StoreFailed,
    /// Rejected records cannot be read now: ask again later.
    #[error(transparent)]
    Unread(#[from] RejectedUnread),
    /// Runs cannot be read now: ask again later.
    #[error(transparent)]
    RunsUnread(#[from] RunsUnread),
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

/// The longest time after which it is said to ask again for a view that is being built, in seconds.
const ASK_AGAIN_AT_MOST: u64 = 60;

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

    /// What went wrong, and the way out where there is one.
    pub(crate) fn reason(&self) -> String {
        self.problem().hint().map_or_else(|| self.to_string(), |hint| format!("{self}: {hint}"))
    }

    /// What HTTP answers: the one place where kinds, and so status codes, are chosen.
    pub fn problem(&self) -> Problem {
        let of = |kind| Problem::new(kind, self.to_string());
        match self {
            Self::Unknown { what, name, known } => {
                let problem = Problem::unknown(what, name, known);
                instead_of_view(name).into_iter().fold(problem, Problem::with_hint)
            }
            Self::NotAView { name, views, known } => {
                of(ProblemKind::Unknown).with_known(known).with_hint(instead_of_source(name, views))
            }
            Self::BadRequest { hint, known, .. } => {
                let problem = of(ProblemKind::BadRequest).with_known(known);
                hint.iter().fold(problem, Problem::with_hint)
            }
            Self::BadBody { hint, .. } => of(ProblemKind::BadBody).with_hint(*hint),
            Self::NothingToRead { .. } => {
                of(ProblemKind::Forbidden).with_hint("use a key whose grant has `read` in the file of `access.file`")
            }
            Self::SlowBody { .. } => of(ProblemKind::SlowBody).with_hint("raise `gateway.read_timeout` for slow lines"),
            Self::TooLarge { hint, .. } => of(ProblemKind::TooLarge).with_hint(hint),
            // A gateway alone does not hear of a source that stopped elsewhere: it asks for ever less.
            Self::Building { lasts, .. } => {
                let problem = of(ProblemKind::BeingBuilt).with_retry_after(lasts.as_secs().clamp(1, ASK_AGAIN_AT_MOST));
                if lasts.as_secs() < ASK_AGAIN_AT_MOST { problem } else { problem.with_hint(ASK_THE_ROLES) }
            }
            // No time to try again: nothing happens by itself.
            Self::Stopped { way_out, .. } => of(ProblemKind::SourceStopped).with_hint(way_out),
            Self::NotYet { behind, .. } => with_behind(of(ProblemKind::NotYet).with_retry_after(1), behind),
            Self::NotInVersion { behind, .. } => {
                let hint = "a version never grows: name a newer one, or leave `version` out and wait";
                with_behind(of(ProblemKind::NotInVersion).with_hint(hint), behind)
            }
            Self::Overloaded { .. } => of(ProblemKind::Overloaded).with_retry_after(1),
            Self::TimedOut { .. } => {
                of(ProblemKind::TimedOut).with_hint("filter on dimensions, or ask for fewer groups")
            }
            // No time to try again: another try finds the same version.
            Self::Serving(ServingError::TooLarge { .. }) => {
                of(ProblemKind::Unavailable).with_hint("raise `gateway.view_memory` or use a coarser bucket")
            }
            Self::Unavailable { .. } | Self::StoreFailed | Self::Unread(_) | Self::RunsUnread(_) | Self::Serving(_) => {
                of(ProblemKind::Unavailable).with_retry_after(5)
            }
            Self::Definition(DefinitionError::UnknownDimension { known, .. }) => {
                of(ProblemKind::BadRequest).with_known(known)
            }
            Self::Definition(_) | Self::Arrow(_) => of(ProblemKind::Defect),
        }
    }
}

/// What [`edge::Parameters`] says of a request that cannot be understood.
impl From<Problem> for GatewayError {
    fn from(problem: Problem) -> Self {
        Self::BadRequest {
            reason: problem.detail().to_owned(),
            hint: problem.hint().map(str::to_owned),
            known: problem.known().to_vec(),
        }
    }
}

/// With how far partitions are behind; without where that is not told.
fn with_behind(problem: Problem, behind: &[Behind]) -> Problem {
    if behind.is_empty() {
        return problem;
    }
    problem.with_member("behind", serde_json::to_value(behind).expect("offsets are plain numbers"))
}
