//! Which of the runs that are known are asked for.
//!
//! Guarantee: pure. The words are the same in the terminal and over HTTP.

use positions::TimestampMicros;
use workflow::{Run, RunState};

/// The words for where runs stand, and what they mean.
pub const STATES: [(&str, StateFilter); 8] = [
    ("all", StateFilter::All),
    ("open", StateFilter::Open),
    ("queued", StateFilter::Is(RunState::Queued)),
    ("running", StateFilter::Is(RunState::Running)),
    ("paused", StateFilter::Is(RunState::Paused)),
    ("done", StateFilter::Is(RunState::Done)),
    ("failed", StateFilter::Is(RunState::Failed)),
    ("cancelled", StateFilter::Is(RunState::Cancelled)),
];

/// Where a run stands that is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StateFilter {
    /// Anywhere.
    #[default]
    All,
    /// It has not ended.
    Open,
    /// Exactly there.
    Is(RunState),
}

impl StateFilter {
    fn passes(self, state: RunState) -> bool {
        match self {
            Self::All => true,
            Self::Open => !state.is_ended(),
            Self::Is(meant) => state == meant,
        }
    }
}

/// Reads one of the words of [`STATES`].
///
/// # Errors
/// A sentence that says what is expected.
pub fn parse_state(text: &str) -> Result<StateFilter, String> {
    let found = STATES.iter().find(|(word, _)| *word == text).map(|(_, state)| *state);
    found.ok_or_else(|| {
        let words: Vec<&str> = STATES.iter().map(|(word, _)| *word).collect();
        format!("must be one of {}, got `{text}`", words.join(", "))
    })
}

/// Which runs are asked for; the default: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunsFilter {
    /// Where they stand.
    pub state: StateFilter,
    /// Of this source.
    pub source: Option<String>,
    /// Of this view, whatever others they compute.
    pub view: Option<String>,
    /// Asked for at this instant or later, by the clock of whoever asked.
    pub since: Option<TimestampMicros>,
    /// With lower numbers: older ones.
    pub before: Option<u64>,
}

impl RunsFilter {
    /// Whether a run is asked for.
    pub fn passes(&self, run: &Run) -> bool {
        let is_of_view = |view: &String| run.spec.views.iter().any(|(name, _)| name.as_str() == view.as_str());
        self.state.passes(run.state)
            && self.source.as_ref().is_none_or(|source| run.spec.source.as_str() == source.as_str())
            && self.view.as_ref().is_none_or(is_of_view)
            && self.since.is_none_or(|since| run.created_at >= since)
            && self.before.is_none_or(|before| run.id.0 < before)
    }
}
