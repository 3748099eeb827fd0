//! `twofold scheduler` and `twofold executor`: machines that compute large groups for workers, until a signal.

use std::sync::Arc;

use anyhow::Result;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::read_config;
use crate::arguments::SettingsArguments;
use crate::console::say;
use crate::data_dir::DataDir;
use crate::machines::{run_executor, run_scheduler};
use crate::signals::Signals;
use crate::wiring::{expect_lake, lake_of};

/// Runs the command `scheduler`.
///
/// # Errors
/// If it cannot be started, or died.
pub async fn scheduler(arguments: &SettingsArguments) -> Result<()> {
    let config = read_config(arguments, "")?;
    say(&format!("twofold scheduler listens on {} (ctrl-c stops it)\n", config.ballista.scheduler_listen));
    let shutdown = CancellationToken::new();
    until_signal(run_scheduler(&config, shutdown.clone()), &shutdown).await
}

/// Runs the command `executor`.
///
/// # Errors
/// If it cannot be started, or died.
pub async fn executor(arguments: &SettingsArguments) -> Result<()> {
    let config = read_config(arguments, "")?;
    let root = &config.system.data_dir;
    // Its own, unless the lake of a system is in it.
    let data_dir = if config.lake.is_in_data_dir() { DataDir::find(root, true)? } else { DataDir::open(root)? };
    expect_lake(&config.lake)?;
    let lake = lake_of(&config.lake, &data_dir.lake(), &Arc::default())?;
    let (host, port) = &config.ballista.scheduler;
    say(&format!("twofold executor works for the scheduler at {host}:{port} (ctrl-c stops it)\n"));
    let shutdown = CancellationToken::new();
    until_signal(run_executor(&config, &data_dir, &lake, shutdown.clone()), &shutdown).await
}

/// Whatever runs ends by itself once it was told to.
async fn until_signal(running: impl Future<Output = Result<()>>, shutdown: &CancellationToken) -> Result<()> {
    let mut signals = Signals::listen()?;
    let mut running = std::pin::pin!(running);
    tokio::select! {
        biased;
        signal = signals.next() => {
            info!(signal, "stopping");
            shutdown.cancel();
        }
        ended = &mut running => return ended,
    }
    tokio::select! {
        biased;
        ended = running => ended,
        again = signals.again() => anyhow::bail!("ended at once by a second {again}"),
    }
}
