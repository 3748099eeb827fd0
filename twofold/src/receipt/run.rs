//! Verifying a receipt: waits for the archive, then computes.
//!
//! Guarantee: it ends, after the span that is waited at most and one computation.

use std::time::Duration;

use anyhow::Result;
use batch_layer::RecomputeSettings;
use lake::Lake;
use tokio::time::sleep;
use views::Pipeline;

use super::check::{Reached, compute, definition_of, no_definition, reach};
use super::{Receipt, Verdict};

/// Between two looks at the archive.
const PAUSE: Duration = Duration::from_millis(500);

/// Says what becomes of a receipt, on the lake alone; `wait`: so long for the archive to come to its head.
///
/// # Errors
/// The object store or the engine failed.
pub async fn verify_receipt(
    lake: &Lake,
    pipeline: Option<&Pipeline>,
    receipt: &Receipt,
    wait: Duration,
    settings: &RecomputeSettings,
) -> Result<Verdict> {
    let Some(view) = definition_of(lake, pipeline, receipt).await? else { return Ok(no_definition(receipt)) };
    let mut left = wait;
    loop {
        match reach(lake, &view, receipt).await? {
            Reached::Head(master) => return compute(lake, &view, receipt, *master, settings).await,
            Reached::Behind(behind) if left.is_zero() => return Ok(Verdict::NotArchived { behind }),
            Reached::Behind(_) => {}
        }
        let pause = PAUSE.min(left);
        sleep(pause).await;
        left -= pause;
    }
}
