//! `twofold up` and the single roles: run until a signal, or until a role dies.

use anyhow::Result;
use tracing::info;

use super::read_config;
use crate::arguments::UpArguments;
use crate::console::say;
use crate::data_dir::DataDir;
use crate::pipeline_file::read_pipeline;
use crate::role::{Role, Roles};
use crate::signals::Signals;
use crate::system::{Claim, System};
use crate::wiring::expect_lake;

/// Runs the command.
///
/// # Errors
/// Where the system cannot be started, or a role died.
pub async fn up(arguments: &UpArguments, roles: Roles, claim: Claim) -> Result<()> {
    let config = read_config(&arguments.settings, "")?;
    // Batch views are made of what another process archived: a folder that it would have to make is a slip.
    if roles.take_part_in_runs() && !roles.has(Role::Archive) {
        DataDir::find(&config.system.data_dir, config.lake.is_in_data_dir())?;
        expect_lake(&config.lake)?;
    }
    let pipeline = read_pipeline(&arguments.pipeline)?;
    let is_whole = roles.is_whole();
    // Whoever sees that it runs, be it by the port that answers before the start has ended, may end it in order.
    let mut signals = Signals::listen()?;
    let mut system = tokio::select! {
        biased;
        started = System::start_as(config, pipeline, roles, claim) => started?,
        signal = signals.next() => {
            info!(signal, "ended while it started");
            return Ok(());
        }
    };
    if is_whole {
        system.announce_pipeline(&arguments.pipeline)?;
    }
    say(&format!("twofold is running at {} (ctrl-c stops it)\n", system.url()));
    if !system.brokers().is_empty() {
        say(&format!("its event log is Kafka at {}\n", system.brokers()));
    }
    tokio::select! {
        biased;
        signal = signals.next() => {
            info!(signal, "stopping in the direction of the data");
            // Another one means: now.
            tokio::select! {
                biased;
                stopped = system.stop() => stopped,
                again = signals.again() => anyhow::bail!("ended at once by a second {again}"),
            }
        }
        ended = system.ended() => ended,
    }
}
