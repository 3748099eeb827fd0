//! A round by hand beside loops that run elsewhere: they are held off, and what is lost to one nevertheless runs again.
//!
//! Guarantee: a view that ends as [`Outcome::LostRace`] lost at every try. Killed, it leaves a hold that runs out.

use std::pin::pin;
use std::time::Duration;

use lake::Lake;
use positions::ViewName;
use tokio::time::sleep;

use super::beat::Hold;
use crate::recompute::{Mode, Outcome, Round, run_round};
use crate::{BatchContext, RecomputeSettings};

/// Between two signs of life: several fit into the patience of loops.
const BEAT: Duration = Duration::from_secs(2);

/// A round that was in progress when the hold began is lost to once in each loop of a source; the rest is for others
/// who run by hand as well.
const ATTEMPTS: usize = 5;

/// As [`run_round`], with what all processes on the lake start by themselves held off meanwhile.
pub async fn run_held_round(
    context: &BatchContext,
    mode: Mode,
    names: Option<&[ViewName]>,
    settings: &RecomputeSettings,
) -> Round {
    let work = run_until_won(context, mode, names, settings);
    hold_off(&context.lake, context.ids.next_id(), work).await
}

/// Does work with what all processes on the lake start by themselves held off meanwhile. `holder` is drawn for it.
pub async fn hold_off<T>(lake: &Lake, holder: u128, work: impl Future<Output = T>) -> T {
    let mut hold = Hold::new(lake, holder);
    beat(&mut hold).await;
    let mut work = pin!(work);
    let done = loop {
        tokio::select! {
            biased;
            done = &mut work => break done,
            () = async { sleep(BEAT).await; beat(&mut hold).await } => {}
        }
    };
    if let Err(error) = hold.release().await {
        tracing::warn!(%error, "the hold on what is due stays for some seconds");
    }
    done
}

/// Without a hold there are more races to lose, and nothing else.
async fn beat(hold: &mut Hold<'_>) {
    if let Err(error) = hold.beat().await {
        tracing::warn!(%error, "what is due cannot be held off");
    }
}

async fn run_until_won(
    context: &BatchContext,
    mode: Mode,
    names: Option<&[ViewName]>,
    settings: &RecomputeSettings,
) -> Round {
    let mut round = run_round(context, mode, names, settings).await;
    for _ in 1..ATTEMPTS {
        let lost = round.iter().filter(|(_, outcome)| matches!(outcome, Ok(Outcome::LostRace)));
        let lost: Vec<ViewName> = lost.map(|(view, _)| view.clone()).collect();
        if lost.is_empty() {
            break;
        }
        round.extend(run_round(context, mode, Some(&lost), settings).await);
    }
    round
}
