//! `twofold batch`: computes and publishes batch views, once or again and again, on the lake alone.

use std::sync::Arc;

use anyhow::{Result, bail};
use batch_layer::BatchContext;
use batch_layer::hold::run_held_round;
use batch_layer::recompute::{Mode, Outcome, Round};
use lake::Lake;
use positions::{ViewName, format_span};
use views::Pipeline;

use super::{NotDone, asked_pipeline, no_such, open_lake, up};
use crate::arguments::{BatchArguments, BatchCommand};
use crate::config::Config;
use crate::console::{complain, say};
use crate::environment::{RandomIds, SystemClock};
use crate::kappa::check_recomputed;
use crate::role::{Role, Roles};
use crate::system::Claim;

/// Runs the command.
///
/// # Errors
/// Where a view is unknown, its recompute failed, or what was asked for is not done.
pub async fn batch(arguments: &BatchArguments) -> Result<()> {
    match &arguments.command {
        BatchCommand::Loop(arguments) => up::up(arguments, Roles::only(Role::Batch), Claim::Follow).await,
        BatchCommand::Run { pipeline, settings, full, view } => {
            let mode = if *full { Mode::Full } else { Mode::Incremental };
            let (config, data_dir, lake) = open_lake(settings).await?;
            let pipeline = asked_pipeline(pipeline.as_deref(), &data_dir, &lake).await?;
            run_once(&config, lake, pipeline, (mode, view)).await
        }
    }
}

async fn run_once(config: &Config, lake: Lake, pipeline: Pipeline, (mode, names): (Mode, &[String])) -> Result<()> {
    let views = known_views(&pipeline, names)?;
    check_recomputed(&pipeline, names)?;
    let context =
        BatchContext { lake, pipeline: Arc::new(pipeline), clock: Arc::new(SystemClock), ids: Arc::new(RandomIds) };
    let round = run_held_round(&context, mode, views.as_deref(), &config.batch.recompute).await;
    report(&context.pipeline, mode, &round)
}

fn known_views(pipeline: &Pipeline, names: &[String]) -> Result<Option<Vec<ViewName>>> {
    let known: Vec<&str> = pipeline.views.iter().map(|view| view.name.as_str()).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
        bail!(no_such("view", name, known.into_iter()));
    }
    Ok((!names.is_empty()).then(|| names.iter().map(ViewName::new).collect()))
}

/// A view that failed is a failure, one that is not done as asked is told as that, both after all have been told.
fn report(pipeline: &Pipeline, mode: Mode, round: &Round) -> Result<()> {
    let (mut failed, mut undone) = (0, 0);
    for (view, outcome) in round {
        match outcome {
            Ok(outcome) => {
                say(&format!("{view}: {}\n", describe(pipeline, view, outcome)));
                undone += usize::from(!is_done(mode, outcome));
            }
            Err(error) => {
                failed += 1;
                complain(&format!("{view}: {error}"));
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {} views failed", round.len());
    }
    if undone > 0 {
        let message = format!("{undone} of {} views were not published, for the reasons above", round.len());
        return Err(NotDone(message).into());
    }
    Ok(())
}

/// That there is nothing to publish is as good as done, unless everything was to be computed again.
fn is_done(mode: Mode, outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Published(_) => true,
        Outcome::NoData | Outcome::NothingNew | Outcome::AwaitsSilence { .. } => mode != Mode::Full,
        Outcome::LostRace => false,
    }
}

fn describe(pipeline: &Pipeline, view: &ViewName, outcome: &Outcome) -> String {
    match outcome {
        Outcome::Published(version) => {
            let rows: u64 = version.facts.counters.values().map(|counters| counters.rows).sum();
            format!("version {} published, {rows} records below its cut", version.number())
        }
        Outcome::NoData => "no data yet: nothing of its source is archived".to_owned(),
        Outcome::NothingNew => "nothing new: all that is archived is in the published version".to_owned(),
        Outcome::AwaitsSilence { records } => {
            let border = pipeline.view(view.as_str()).map(|view| view.source.border);
            let until = border.map(|border| {
                let (gap, grid) = (format_span(border.gap), border.grid);
                format!(
                    " of {gap} in its partition (option gap), or for the next multiple of {grid} records (option grid)"
                )
            });
            format!("waits for a silence{}: {records} archived records are above the cut", until.unwrap_or_default())
        }
        Outcome::LostRace => "another publisher was first at every try, its version stays".to_owned(),
    }
}
