//! `twofold demo`: starts a system on an empty data directory and runs the demo against it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use views::{AggregateClass, Pipeline};

use super::{read_config, with_key};
use crate::arguments::{DemoArguments, SettingsArguments};
use crate::client::Client;
use crate::console::say;
use crate::demo::{DemoPlan, PIPELINE, SETTINGS, run_demo};
use crate::generator::TrafficSettings;
use crate::signals::cancel_on_signal;
use crate::system::System;

/// Runs the command.
///
/// # Errors
/// Where the system cannot be started, or an answer differed from the truth.
pub async fn demo(arguments: &DemoArguments) -> Result<()> {
    let (settings, temporary) = choose_data_dir(&arguments.settings)?;
    let mut config = read_config(&settings, SETTINGS)?;
    // It is its own client, and no certificate is for an address of its own.
    config.system.tls = None;
    let pipeline = Pipeline::read(PIPELINE, &BTreeMap::new()).context("the demo's pipeline has problems")?;
    let plan = DemoPlan {
        traffic: TrafficSettings { seed: arguments.seed, pages: arguments.pages, ..TrafficSettings::default() },
        rate: arguments.rate,
        span: arguments.span,
        sketch_bound: sketch_bound(&pipeline)?,
    };
    let data_dir = config.system.data_dir.clone();
    let system = System::start(config, pipeline).await?;
    say(&format!(
        "twofold demo: seed {}, {} events a second, data in {}, page at {} (ctrl-c ends it)\n",
        arguments.seed,
        arguments.rate,
        data_dir.display(),
        system.url(),
    ));
    let outcome = run_with_system(system, plan).await;
    drop(temporary);
    outcome
}

async fn run_with_system(mut system: System, plan: DemoPlan) -> Result<()> {
    let client = with_key(Client::new(&system.url())?, None)?;
    let stop = CancellationToken::new();
    let outcome = tokio::select! {
        biased;
        // The demo compares a last time before it ends.
        error = cancel_on_signal(&stop) => Err(error),
        // Before the demo, which only sees that nobody answers any more.
        ended = system.ended() => return ended.and(Err(anyhow!("the system ended before the demo"))),
        outcome = run_demo(&client, plan, stop.clone()) => outcome,
    };
    system.stop().await.and(outcome)
}

/// The directory that was asked for, or a temporary one. The truth starts at nothing, so the directory must, too.
fn choose_data_dir(settings: &SettingsArguments) -> Result<(SettingsArguments, Option<TempDir>)> {
    if let Some(path) = &settings.data_dir {
        if path.join("lake").exists() || path.join("log").exists() {
            bail!("{} holds data already; the demo counts from nothing: name an empty directory", path.display());
        }
        return Ok((settings.clone(), None));
    }
    let temporary = tempfile::Builder::new().prefix("twofold-demo-").tempdir().context("no temporary directory")?;
    let settings = SettingsArguments { data_dir: Some(temporary.path().to_owned()), ..settings.clone() };
    Ok((settings, Some(temporary)))
}

/// The published bound of the view's uniques.
fn sketch_bound(pipeline: &Pipeline) -> Result<f64> {
    let mut measures = pipeline.views.iter().flat_map(|view| &view.measures);
    let bound = measures.find_map(|measure| match measure.class {
        AggregateClass::Sketch { bound } => Some(bound),
        _ => None,
    });
    bound.context("the demo's pipeline has no sketch")
}
