//! `twofold runs start`: starts what was asked for, or finds that it is there, or only says what it would be.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use views::Pipeline;
use workflow::{RunId, Start};

use super::draw::json_line;
use super::dry::tell_dry;
use super::opened::{Opened, open};
use super::run::{Until, Watched, watch};
use crate::arguments::runs::{FollowArguments, StartArguments};
use crate::console::say;
use crate::runs::asked::Asked;

pub(super) async fn start(arguments: &StartArguments) -> Result<()> {
    let opened = open(&arguments.shown.settings).await?;
    let pipeline = opened.pipeline(arguments.shown.pipeline.as_deref()).await?;
    let asked = Asked {
        source: arguments.source.clone(),
        views: arguments.view.clone(),
        full: arguments.full,
        housekeeping: arguments.housekeeping,
        deadline: arguments.deadline,
        idempotency_key: arguments.key.clone(),
        ..Asked::default()
    };
    match arguments.dry_run {
        true => tell_dry(&opened, pipeline, &asked, arguments.shown.json).await,
        false => start_asked(&opened, &pipeline, &asked, &arguments.shown).await,
    }
}

/// Starts a run for each source that is meant, tells of them, and waits for their ends where that was asked for.
pub(super) async fn start_asked(
    opened: &Opened,
    pipeline: &Pipeline,
    asked: &Asked,
    shown: &FollowArguments,
) -> Result<()> {
    let mut runs = Vec::new();
    for (spec, tasks) in asked.runs(pipeline, &opened.config)? {
        let (source, views) = (spec.source.clone(), spec.views.len());
        let start = opened.workflow.start(spec, &tasks).await;
        let start = start.with_context(|| format!("no run of source {source} was started, as far as is known"))?;
        if shown.json {
            runs.push((start, json!({ "run": start.run(), "source": source, "started": is_new(start) })));
        } else {
            say(&match start {
                Start::Started(run) => format!("run {run} started: source {source}, {views} views\n"),
                Start::Joined(run) => format!("run {run} does that already: source {source}, {views} views\n"),
            });
            runs.push((start, Value::Null));
        }
    }
    let ids: Vec<RunId> = runs.iter().map(|(start, _)| start.run()).collect();
    if shown.json {
        let runs: Vec<&Value> = runs.iter().map(|(_, told)| told).collect();
        say(&json_line(&json!({ "runs": runs })));
    } else if !shown.wait {
        tell_what_next(opened, &ids).await?;
    }
    match shown.wait {
        true => watch(opened, Watched::These(ids), Until::EndedOrPaused, shown.json).await,
        false => Ok(()),
    }
}

fn is_new(start: Start) -> bool {
    matches!(start, Start::Started(_))
}

async fn tell_what_next(opened: &Opened, runs: &[RunId]) -> Result<()> {
    let overview = opened.workflow.overview().await?;
    if overview.living().all(|process| process.slots == 0) {
        say(
            "no process that does tasks is known on this lake: `twofold up`, `twofold batch loop` or `twofold worker` is one\n",
        );
    }
    if overview.state.is_paused {
        say("all runs are paused: `twofold runs resume` ends that\n");
    }
    match runs {
        [run] => say(&format!("`twofold runs watch {run}` shows how far it is\n")),
        _ => say("`twofold runs watch` shows how far they are\n"),
    }
    Ok(())
}
