//! The batch loop: recompute, compaction and cleanup, one after the other. Their own loops are in their own `run.rs`.
//!
//! Guarantee: a compaction never runs beside a recompute of the same loop, and the loop ends soon after `shutdown`:
//! what is in progress is dropped, and nothing of it is visible.
//! Why so: both fill the memory and the spill folder of the same settings, and a round asked for by hand should not
//! find half of them taken. No round is begun while a recompute by hand holds the loops off (`hold/mod.rs`), or others
//! compute views of the source.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cleanup::Cleanup;
use crate::compact::run_compaction;
use crate::damage::look_after;
use crate::hold::HoldWatch;
use crate::recompute::{Rounds, recompute_former};
use crate::{BatchComponents, BatchError, BatchSettings, metrics};

/// Between two looks whether a hold is over.
const HELD_PAUSE: Duration = Duration::from_secs(1);

/// Recomputes all views again and again until `shutdown`; compacts master datasets after each round where that is due.
///
/// # Errors
/// None at present: a view that fails is logged, counted, shown in the status, and tried again.
pub async fn run_batch(
    components: BatchComponents,
    settings: BatchSettings,
    shutdown: CancellationToken,
) -> Result<(), BatchError> {
    metrics::announce_batch(&components.context.pipeline);
    shutdown.run_until_cancelled(take_turns(components, &settings)).await;
    Ok(())
}

/// Never ends by itself, as long as nobody closes the semaphore.
async fn take_turns(components: BatchComponents, settings: &BatchSettings) {
    let BatchComponents { context, requests, status, turn, former, runs } = components;
    let is_at_work = || context.pipeline.sources.iter().any(|source| runs.is_at_work(&source.name));
    let mut rounds = Rounds::new(&context, requests, &status, settings);
    let mut cleanup = Cleanup::new(&context, settings);
    let mut hold = HoldWatch::default();
    let mut looked_at = None;
    loop {
        let request = rounds.wait().await;
        // Whoever asks by hand does not wait for somebody else who does.
        if request.is_none() && (is_at_work() || hold.look(&context.lake, Instant::now()).await) {
            rounds.put_off(HELD_PAUSE);
            continue;
        }
        let Ok(_turn) = turn.acquire().await else { return };
        // Answers whoever asked for the round before it returns: nobody waits for files to be rewritten.
        rounds.run(request).await;
        if looked_at.is_none_or(|at: Instant| at.elapsed() >= settings.table_check_interval) {
            looked_at = Some(Instant::now());
            let missing = look_after(&context).await;
            status.send_modify(|status| status.missing = missing);
        }
        recompute_former(&context, former.as_ref(), &settings.recompute).await;
        let files = run_compaction(&context, &settings.compact, &settings.recompute).await;
        status.send_modify(|status| status.master_files.extend(files));
        cleanup.clean_if_due(former.as_ref()).await;
    }
}
