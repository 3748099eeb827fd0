//! What runs would do, told before they are started: by `twofold runs start --dry-run`, and by every backfill.
//!
//! Guarantee: nothing is started here.

use std::sync::Arc;

use anyhow::{Result, bail};
use serde_json::json;
use views::Pipeline;

use super::draw::{draw_housekeeping, draw_plan, json_line};
use super::opened::Opened;
use crate::console::{complain, say};
use crate::runs::asked::Asked;
use crate::runs::dry_housekeeping::dry_housekeeping;
use crate::runs::dry_run::{DryRun, dry_run};

/// Tells what would be done of what is asked for.
pub(super) async fn tell_dry(opened: &Opened, pipeline: Pipeline, asked: &Asked, is_json: bool) -> Result<()> {
    let runs = asked.runs(&pipeline, &opened.config)?;
    let planning = opened.planning();
    if !asked.housekeeping {
        let overview = opened.workflow.overview().await?;
        tell_plans(&dry_run(&planning, &pipeline, &runs, &overview).await?, false, is_json)?;
    } else {
        let former = opened.former().await.unwrap_or_else(|error| {
            complain(&format!("definitions that were replaced and still answer are left out: {error:#}"));
            Vec::new()
        });
        let tasks = dry_housekeeping(&planning, &Arc::new(pipeline), &former, &runs).await?;
        say(&match is_json {
            true => json_line(&json!({ "started": false, "housekeeping": tasks })),
            false => draw_housekeeping(&tasks),
        });
    }
    if !is_json {
        say("Nothing was started. Leave --dry-run out to start it.\n");
    }
    Ok(())
}

/// Tells what would be computed, and what not. `is_asked`: to start it, unless there is nothing, or it is refused.
///
/// # Errors
/// Something is refused.
pub(super) fn tell_plans(dry: &DryRun, is_asked: bool, is_json: bool) -> Result<()> {
    let DryRun { plans, nothing_to_do } = dry;
    let (refused, undone): (Vec<_>, Vec<_>) = nothing_to_do.iter().partition(|undone| undone.error.is_some());
    if is_json {
        let is_started = is_asked && !plans.is_empty() && refused.is_empty();
        say(&json_line(&json!({ "started": is_started, "plans": plans, "nothing_to_do": nothing_to_do })));
    } else {
        plans.iter().for_each(|plan| say(&draw_plan(plan)));
        undone.iter().for_each(|undone| say(&format!("{}: {}\n", undone.view, undone.reason)));
    }
    refused.iter().for_each(|undone| complain(&undone.reason));
    if !refused.is_empty() {
        bail!("nothing was started, for the reasons above");
    }
    Ok(())
}
