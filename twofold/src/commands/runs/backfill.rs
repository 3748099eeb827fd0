//! `twofold runs backfill`: says what a stretch of event time costs to compute, and starts exactly that.
//!
//! Not here: what it costs (`runs/dry_run.rs`).

use anyhow::Result;

use super::dry::tell_plans;
use super::opened::open;
use super::start::start_asked;
use crate::arguments::runs::BackfillArguments;
use crate::console::say;
use crate::runs::asked::{Asked, AskedRange};
use crate::runs::dry_run::dry_run;
use crate::workflow::specs::runs_of;

pub(super) async fn backfill(arguments: &BackfillArguments) -> Result<()> {
    let opened = open(&arguments.shown.settings).await?;
    let pipeline = opened.pipeline(arguments.shown.pipeline.as_deref()).await?;
    let range = AskedRange { from: arguments.from, to: arguments.to, only_missing: arguments.only_missing };
    let asked = Asked {
        views: arguments.view.clone(),
        range: Some(range),
        max_concurrent: arguments.max_concurrent,
        ..Asked::default()
    };
    let runs = runs_of(&pipeline, &asked.request(&pipeline)?, &opened.config)?;
    let overview = opened.workflow.overview().await?;
    let dry = dry_run(&opened.planning(), &pipeline, &runs, &overview).await?;
    tell_plans(&dry, arguments.yes, arguments.shown.json)?;
    if dry.plans.is_empty() {
        return Ok(());
    }
    if !arguments.yes {
        if !arguments.shown.json {
            say("Nothing was started. Add --yes to compute it.\n");
        }
        return Ok(());
    }
    start_asked(&opened, &pipeline, &asked, &arguments.shown).await
}
