//! `twofold generate`: the demo's traffic for any collector that knows the demo's source.

use anyhow::{Context, Result};
use positions::IdSource;
use tokio_util::sync::CancellationToken;

use super::client_of;
use crate::arguments::GenerateArguments;
use crate::console::say;
use crate::environment::RandomIds;
use crate::generator::{GeneratePlan, SOURCE, TrafficSettings, run_generator};
use crate::signals::cancel_on_signal;

/// Runs the command until its span is over, ctrl-c or SIGTERM.
///
/// # Errors
/// Where no collector answers, it has no such source, or it takes nothing for minutes.
pub async fn generate(arguments: &GenerateArguments) -> Result<()> {
    let client = client_of(&arguments.target)?;
    client.source(SOURCE).await.with_context(|| {
        format!("the traffic is of source {SOURCE} (examples/demo/pipeline.sql), at {}", client.base())
    })?;
    // Drawn anew where none is named: ids begin with it, and a restart must not use an id a second time.
    let seed = arguments.seed.unwrap_or_else(|| RandomIds.next_id() as u32 as u64);
    say(&format!("seed {seed}, {} lines a second to {} (ctrl-c ends it)\n", arguments.rate, client.base()));
    let plan = GeneratePlan {
        traffic: TrafficSettings { seed, ..TrafficSettings::default() },
        rate: arguments.rate,
        span: arguments.span,
    };
    let stop = CancellationToken::new();
    let tally = tokio::select! {
        biased;
        error = cancel_on_signal(&stop) => return Err(error),
        tally = run_generator(&client, plan, stop.clone()) => tally?,
    };
    say(&format!(
        "{} visits, {} copies, {} malformed lines acknowledged\ntoken {}\n",
        tally.visits,
        tally.copies,
        tally.malformed,
        tally.token.encode()
    ));
    Ok(())
}
