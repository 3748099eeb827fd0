//! `twofold runs`: starts, shows, watches and stops runs, on the lake alone.
//!
//! Not here: what a request means (`runs/asked.rs`), what is shown (`runs/view.rs`), who does the tasks (`workflow`).

mod backfill;
pub mod draw;
mod dry;
mod opened;
mod run;
mod start;

use anyhow::Result;
use workflow::{RunId, RunMode};

use crate::arguments::runs::{
    ListArguments, RunArguments, RunsCommand, ShowArguments, SomeRunArguments, WatchArguments,
};
use crate::console::say;
use crate::runs::buckets::grids_of;
use crate::runs::filter::RunsFilter;
use crate::runs::view::{RunDetails, runs_view};

/// Runs the command.
///
/// # Errors
/// Where a run, view or source is unknown, a run cannot do what is asked for, or one that was waited for is not done.
pub async fn runs(command: &RunsCommand) -> Result<()> {
    match command {
        RunsCommand::List(arguments) => list(arguments).await,
        RunsCommand::Show(arguments) => show(arguments).await,
        RunsCommand::Start(arguments) => start::start(arguments).await,
        RunsCommand::Backfill(arguments) => backfill::backfill(arguments).await,
        RunsCommand::Pause(arguments) => pause(arguments).await,
        RunsCommand::Resume(arguments) => resume(arguments).await,
        RunsCommand::Cancel(arguments) => cancel(arguments).await,
        RunsCommand::Retry(arguments) => retry(arguments).await,
        RunsCommand::Watch(arguments) => watch(arguments).await,
    }
}

async fn list(arguments: &ListArguments) -> Result<()> {
    let opened = opened::open(&arguments.settings).await?;
    let filter = RunsFilter {
        state: arguments.state,
        source: arguments.source.clone(),
        view: arguments.view.clone(),
        since: arguments.since,
        before: arguments.before,
    };
    let runs = runs_view(&opened.workflow.overview().await?, usize::from(arguments.limit), &filter);
    say(&if arguments.json { draw::json_line(&runs) } else { draw::draw_runs(&runs) });
    Ok(())
}

async fn show(arguments: &ShowArguments) -> Result<()> {
    let opened = opened::open(&arguments.settings).await?;
    let overview = opened.workflow.overview().await?;
    let run = opened.run(RunId(arguments.run)).await?;
    let grids = match run.spec.mode {
        RunMode::Buckets { .. } => {
            let pipeline = opened.pipeline(arguments.pipeline.as_deref()).await?;
            grids_of(&opened.workflow, &pipeline, &run).await?
        }
        _ => Vec::new(),
    };
    let details = RunDetails::new(&overview, &run, usize::from(arguments.tasks), grids);
    say(&if arguments.json { draw::json_line(&details) } else { draw::draw_run(&details) });
    Ok(())
}

async fn pause(arguments: &SomeRunArguments) -> Result<()> {
    let opened = opened::open(&arguments.settings).await?;
    let run = arguments.run.map(RunId);
    opened.told(opened.workflow.pause(run).await)?;
    say(&match run {
        Some(run) => format!("run {run} is paused: `twofold runs resume {run}` ends that\n"),
        None => "all runs are paused, everywhere: `twofold runs resume` ends that\n".to_owned(),
    });
    Ok(())
}

async fn resume(arguments: &SomeRunArguments) -> Result<()> {
    let opened = opened::open(&arguments.settings).await?;
    let run = arguments.run.map(RunId);
    opened.told(opened.workflow.resume(run).await)?;
    let is_paused = opened.workflow.state().is_paused;
    say(&match run {
        Some(run) if is_paused => {
            format!("run {run} goes on once the pause of all runs ends: `twofold runs resume`\n")
        }
        Some(run) => format!("run {run} goes on\n"),
        None => "runs go on, but for those that were paused one by one\n".to_owned(),
    });
    Ok(())
}

async fn cancel(arguments: &RunArguments) -> Result<()> {
    let opened = opened::open(&arguments.settings).await?;
    let run = RunId(arguments.run);
    opened.told(opened.workflow.cancel(run).await)?;
    say(&format!("run {run} is cancelled: `twofold runs retry {run}` does what is left of it\n"));
    Ok(())
}

async fn retry(arguments: &RunArguments) -> Result<()> {
    let opened = opened::open(&arguments.settings).await?;
    let run = RunId(arguments.run);
    opened.told(opened.workflow.retry(run).await)?;
    say(&format!("run {run} goes on with what is left of it: `twofold runs watch {run}`\n"));
    Ok(())
}

async fn watch(arguments: &WatchArguments) -> Result<()> {
    let opened = opened::open(&arguments.settings).await?;
    let watched = match arguments.run.map(RunId) {
        Some(id) => run::Watched::These(vec![opened.run(id).await?.id]),
        None => run::Watched::Open,
    };
    run::watch(&opened, watched, run::Until::Ended, arguments.json).await
}
