//! What can go wrong in definitions and their plans, by what the caller should do.

use std::fmt;

/// One thing that is wrong in a pipeline file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The line in the file, from 1.
    pub line: usize,
    /// The offending text.
    pub text: String,
    /// What is wrong with it.
    pub message: String,
    /// The way out.
    pub hint: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: `{}`\n  hint: {}", self.line, self.message, self.text, self.hint)
    }
}

/// Everything that is wrong in a pipeline file, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipelineError(pub Vec<Finding>);

impl fmt::Display for PipelineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Finding::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for PipelineError {}

/// A plan could not be built or run.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// The caller asked for a dimension that the view does not have.
    #[error("view {view} has no dimension {name}; it has: {}", .known.join(", "))]
    UnknownDimension {
        /// The view.
        view: String,
        /// What was asked for.
        name: String,
        /// What exists.
        known: Vec<String>,
    },
    /// The state of one group of an unbounded measure grew beyond its limit.
    #[error(
        "state of {measure} in group {group} exceeds max_state_bytes = {limit_bytes}: view {view} has {size_bytes} \
         bytes there; raise it in the view's WITH clause, or keep fewer values"
    )]
    StateTooLarge {
        /// The view.
        view: String,
        /// The measure.
        measure: String,
        /// The group key, as text.
        group: String,
        /// How many bytes it has.
        size_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// DataFusion refused or failed.
    #[error("query engine: {0}")]
    Engine(#[source] datafusion::error::DataFusionError),
}

/// Whether the engine failed because the state of a group grew beyond its limit: a matter of rows, not of the plan.
pub fn is_state_limit(error: &datafusion::error::DataFusionError) -> bool {
    match error.find_root() {
        datafusion::error::DataFusionError::External(cause) => {
            matches!(cause.downcast_ref(), Some(DefinitionError::StateTooLarge { .. }))
        }
        _ => false,
    }
}

impl From<datafusion::error::DataFusionError> for DefinitionError {
    /// Finds our own error again where it went through the engine.
    fn from(error: datafusion::error::DataFusionError) -> Self {
        if let datafusion::error::DataFusionError::External(cause) = error.find_root()
            && let Some(Self::StateTooLarge { view, measure, group, size_bytes, limit_bytes }) = cause.downcast_ref()
        {
            return Self::StateTooLarge {
                view: view.clone(),
                measure: measure.clone(),
                group: group.clone(),
                size_bytes: *size_bytes,
                limit_bytes: *limit_bytes,
            };
        }
        Self::Engine(error)
    }
}
