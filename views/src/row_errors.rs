//! Errors of expressions: whose fault they are, and what they say.

use arrow::error::ArrowError;
use datafusion::common::DataFusionError;

/// What the engine says, in one line and without its own wrapping.
pub(crate) fn reason_of(error: &DataFusionError) -> String {
    let text = match error.find_root() {
        DataFusionError::Execution(reason) | DataFusionError::Plan(reason) | DataFusionError::Internal(reason) => {
            reason.clone()
        }
        DataFusionError::ArrowError(error, _) => error.to_string(),
        root => root.strip_backtrace(),
    };
    let words = text.split_whitespace().filter(|word| !word.trim_matches('~').is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// Whether an error may come from the values of a row. Want of memory or disk says nothing about them.
pub(crate) fn is_of_rows(error: &DataFusionError) -> bool {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) | DataFusionError::IoError(_) => false,
        DataFusionError::ArrowError(error, _) => {
            !matches!(error.as_ref(), ArrowError::MemoryError(_) | ArrowError::IoError(..))
        }
        _ => true,
    }
}
