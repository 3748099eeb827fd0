//! `twofold batch`: computes and publishes batch views, once or again and again, on the lake alone.

use std::sync::Arc;

use anyhow::{Result, bail};
use batch_layer::BatchContext;
use batch_layer::recompute::{Mode, Outcome, Round, run_round};
use positions::ViewName;
use views::Pipeline;

use super::{no_such, pipeline_path, read_config, up};
use crate::arguments::{BatchArguments, BatchCommand};
use crate::config::Config;
use crate::console::say;
use crate::data_dir::DataDir;
use crate::environment::{RandomIds, SystemClock};
use crate::pipeline_file::read_pipeline;
use crate::role::{Role, Roles};
use crate::wiring::open_lake;

/// Runs the command.
///
/// # Errors
/// Where a view is unknown or its recompute failed.
pub async fn batch(arguments: &BatchArguments) -> Result<()> {
    match &arguments.command {
        BatchCommand::Loop(arguments) => up::up(arguments, Roles::only(Role::Batch)).await,
        BatchCommand::Run { pipeline, settings, full, view } => {
            let mode = if *full { Mode::Full } else { Mode::Incremental };
            let config = read_config(settings, "")?;
            let data_dir = DataDir::open(&config.system.data_dir)?;
            let pipeline = read_pipeline(&pipeline_path(pipeline.as_deref(), &data_dir)?)?;
            run_once(&config, &data_dir, pipeline, (mode, view)).await
        }
    }
}

async fn run_once(
    config: &Config,
    data_dir: &DataDir,
    pipeline: Pipeline,
    (mode, names): (Mode, &[String]),
) -> Result<()> {
    let names = known_views(&pipeline, names)?;
    let context = BatchContext {
        lake: open_lake(&config.lake, data_dir).await?,
        pipeline: Arc::new(pipeline),
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds),
    };
    let round = run_round(&context, mode, names.as_deref(), &config.batch.recompute).await;
    report(&round)
}

fn known_views(pipeline: &Pipeline, names: &[String]) -> Result<Option<Vec<ViewName>>> {
    let known: Vec<&str> = pipeline.views.iter().map(|view| view.name.as_str()).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
        bail!(no_such("view", name, known.into_iter()));
    }
    Ok((!names.is_empty()).then(|| names.iter().map(ViewName::new).collect()))
}

/// Nothing new is not a failure; a view that failed is one, after all have been told.
fn report(round: &Round) -> Result<()> {
    let mut failed = 0;
    for (view, outcome) in round {
        match outcome {
            Ok(Outcome::Published(version)) => {
                let rows: u64 = version.facts.counters.values().map(|counters| counters.rows).sum();
                let number = version.number();
                say(&format!("{view}: version {number} published, {rows} records below its cut\n"));
            }
            Ok(Outcome::NothingNew) => say(&format!("{view}: nothing new\n")),
            Ok(Outcome::LostRace) => say(&format!("{view}: another publisher was first, its version stays\n")),
            Err(error) => {
                failed += 1;
                eprintln!("{view}: {error}");
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {} views failed", round.len());
    }
    Ok(())
}
