//! `twofold load`: sends files of events through the collector of a running system.

use anyhow::Result;

use super::client_of;
use crate::arguments::LoadArguments;
use crate::console::say;
use crate::load::{LoadPlan, LoadReport, find_inputs, load_files};

/// Runs the command. Rejected events among good ones are told, and are not a failure.
///
/// # Errors
/// Where a file cannot be read, or the collector does not take it, or takes nothing of all there is.
pub async fn load(arguments: &LoadArguments) -> Result<()> {
    let inputs = find_inputs(&arguments.files)?;
    let client = client_of(&arguments.target)?;
    let plan = LoadPlan {
        inputs,
        source: arguments.source.clone(),
        rate: arguments.rate,
        on_error: arguments.on_error,
        give_up_after: arguments.give_up_after,
        give_up_after_bad: arguments.give_up_after_bad,
    };
    let mut report = LoadReport::default();
    let outcome = load_files(&client, &plan, &mut report).await;
    // A load that did not begin has nothing to report but its error.
    if outcome.is_ok() || !report.is_empty() {
        say(&report.describe());
    }
    outcome
}
