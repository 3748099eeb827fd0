//! What is wrong: how it is told in `/v1/status`, and what of it answers are told with.
//!
//! Not here: who finds it (`gateway/troubles.rs` and the binary).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// What to do where nobody in this process knows why realtime stands still, or a view is not built.
pub(crate) const ASK_THE_ROLES: &str =
    "see whether the roles archive, speed and batch run; `/v1/status` of their processes says what they lack";

/// Something that is wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// Which kind of trouble, for programs: one word for each that [`crate::Gateway::troubles`] or the binary tells of.
    pub kind: Cow<'static, str>,
    /// What is in trouble, as `source hits` or `view hits_by_page`.
    pub about: String,
    /// What is wrong.
    pub problem: String,
    /// What an operator does about it.
    pub way_out: String,
    /// Since when the process that found it has known of it, or since when it has been so where that is written down,
    /// RFC 3339, by the clock of whoever noted it.
    pub since: Option<String>,
    /// The roles of the process that found it, where that is another one.
    pub told_by: Option<String>,
}

impl Trouble {
    /// Trouble of a kind, not dated yet.
    pub fn new(
        kind: &'static str,
        about: impl Into<String>,
        problem: impl Into<String>,
        way_out: impl Into<String>,
    ) -> Self {
        Self {
            kind: Cow::Borrowed(kind),
            about: about.into(),
            problem: problem.into(),
            way_out: way_out.into(),
            since: None,
            told_by: None,
        }
    }
}

/// What keeps the realtime views of a source from going on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standstill {
    /// What it is.
    pub reason: String,
    /// What an operator does about it.
    pub way_out: String,
    /// Whether nothing goes on before that was done: what has not been built by then is not being built.
    pub is_for_good: bool,
}

impl Standstill {
    /// What it is and what to do, in one text.
    pub(crate) fn in_words(&self) -> String {
        format!("{}: {}", self.reason, self.way_out)
    }
}
