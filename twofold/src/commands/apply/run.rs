//! Waiting until new definitions answer.
//!
//! Guarantee: one reading of the registry a second, and of the journal of runs with it. A store that does not answer is
//! told of once, and asked again.

use std::time::Duration;

use anyhow::{Result, bail};
use indicatif::FormattedDuration;
use positions::DefinitionNumber;
use tokio::time::sleep;

use super::OpenedDefinitions;
use crate::commands::NotDone;
use crate::console::{complain, say};
use crate::definition_plan::DefinitionPlan;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// So many looks without news, and it is told how far they are.
const QUIET_LOOKS: u64 = 10;

/// Returns once every view of the set is served; tells how far they are.
pub(in crate::commands) async fn wait_until_served(
    opened: &OpenedDefinitions,
    number: DefinitionNumber,
    plan: &DefinitionPlan,
) -> Result<()> {
    let estimated = plan.reads.iter().filter_map(|read| read.estimated_seconds).fold(0.0, f64::max);
    let (mut looks, mut before, mut has_complained) = (0_u64, Vec::new(), false);
    loop {
        match opened.registry.present().await {
            Ok(Some(set)) if set.number == number => {
                has_complained = false;
                let left: Vec<String> = set.being_built().map(str::to_owned).collect();
                if left.is_empty() {
                    return Ok(());
                }
                if left != before || looks.is_multiple_of(QUIET_LOOKS) {
                    say(&format!("being built: {}{}\n", left.join(", "), progress(opened, looks, estimated).await));
                }
                before = left;
            }
            Ok(Some(set)) => bail!(NotDone(format!(
                "definitions {} took the place of definitions {} before these were built",
                set.number.0, number.0
            ))),
            Ok(None) => bail!("the registry holds no definitions any more"),
            Err(error) if !has_complained => {
                complain(&format!("the registry does not answer, asking again: {error}"));
                has_complained = true;
            }
            Err(_) => {}
        }
        sleep(PAUSE).await;
        looks += 1;
    }
}

/// How far the runs at work are, or how long it has taken beside what was estimated.
async fn progress(opened: &OpenedDefinitions, looks: u64, estimated: f64) -> String {
    let spent = FormattedDuration(Duration::from_secs(looks));
    let open = opened.workflow.overview().await.ok().and_then(|overview| {
        let runs = overview.state.runs.values().filter(|run| !run.state.is_ended());
        let remaining = runs.filter_map(|run| overview.run_advance(run).remaining).max()?;
        Some(format!(", {spent} so far, {} left by the runs at work", FormattedDuration(remaining)))
    });
    open.unwrap_or_else(|| match estimated > 0.0 {
        true => format!(", {spent} of about {}", FormattedDuration(Duration::from_secs_f64(estimated.ceil()))),
        false => format!(", {spent} so far"),
    })
}
