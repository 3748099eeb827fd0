//! Whether an error that came from other machines may pass.
//!
//! Guarantee: pure. What says something about the rows, the view or the settings lasts; everything else may pass: lost
//! executors, a scheduler that was started again, files that nobody has any more. What is wrongly taken for passing is
//! tried again as often as the run says, and no more.

use batch_layer::EngineAway;
use datafusion::error::DataFusionError;

/// Of a view whose state grew beyond its limit.
const STATE_LIMIT: &str = "exceeds max_state_bytes";
/// Of the engine, where memory and folder together do not suffice.
const EXHAUSTED: &str = "Resources exhausted";
/// Of plans that cannot be sent, or not be read where they arrive.
const UNSENT: [&str; 4] = [
    "cannot be sent to other machines",
    "that was sent cannot be read",
    "must be of one release",
    "Could not parse plan",
];
/// Texts of other machines hold whole traces.
const LONGEST: usize = 2_000;

/// The same error, as the external cause [`EngineAway`] where it may pass.
pub(crate) fn judged(error: &DataFusionError, scheduler: &str) -> DataFusionError {
    let said: String = error.strip_backtrace().chars().take(LONGEST).collect();
    if said.contains(EXHAUSTED) {
        let said = said.replace(EXHAUSTED, "not enough memory");
        return DataFusionError::Execution(format!(
            "executors of {scheduler}: {said}; raise `ballista.memory` or `ballista.spill_limit` there, or start more"
        ));
    }
    if said.contains(STATE_LIMIT) || UNSENT.iter().any(|text| said.contains(text)) {
        return DataFusionError::Execution(format!("executors of {scheduler}: {said}"));
    }
    EngineAway(format!("executors of {scheduler}: {said}")).into()
}
