//! `twofold load`: sends a file of events through the collector of a running system.

use anyhow::Result;

use crate::arguments::LoadArguments;
use crate::client::Client;
use crate::console::say;
use crate::load::{LoadPlan, LoadReport, load_file};

/// Runs the command. Rejected lines are told, and are not a failure: they are kept with their error.
///
/// # Errors
/// Where the file cannot be read, or the collector does not take it.
pub async fn load(arguments: &LoadArguments) -> Result<()> {
    let client = Client::find(arguments.target.address.as_deref(), &arguments.target.data_dir)?;
    let plan = LoadPlan {
        file: arguments.file.clone(),
        source: arguments.source.clone(),
        rate: arguments.rate,
        give_up_after: arguments.give_up_after,
    };
    let mut report = LoadReport::default();
    let outcome = load_file(&client, &plan, &mut report).await;
    // A load that did not begin has nothing to report but its error.
    if outcome.is_ok() || !report.is_empty() {
        say(&report.describe());
    }
    outcome
}
