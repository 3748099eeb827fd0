//! Former definitions in a worker: what new runs hold of them, and which runs they keep, until nobody needs them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use positions::{CurrentDefinitions, Cut, DefinitionHash, DefinitionNumber};
use rand::SeedableRng;
use rand::rngs::StdRng;
use speed_layer::{Keeping, SpeedComponents};
use tokio_util::sync::CancellationToken;

use super::system::{PARTITIONS, System};

/// One set, whose former definitions are needed for a while.
struct Needed(AtomicBool);

impl CurrentDefinitions for Needed {
    fn number(&self) -> DefinitionNumber {
        DefinitionNumber(1)
    }

    fn needs(&self, _former: DefinitionHash) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Whether the newest run of each partition holds a view.
async fn newest_hold(system: &System, view: DefinitionHash) -> [bool; 2] {
    let mut held = [false; 2];
    for (held, partition) in held.iter_mut().zip(PARTITIONS) {
        let index = system.index(partition).await.unwrap();
        *held = index.runs.last().is_some_and(|run| run.rows_of(view).is_some());
    }
    held
}

/// Whether no run is left below a cut.
async fn is_dropped(system: &System, cut: &Cut) -> bool {
    for partition in PARTITIONS {
        let index = system.index(partition).await.unwrap();
        if index.runs.iter().any(|run| run.to.offset <= cut.offset(partition)) {
            return false;
        }
    }
    true
}

async fn check(keeping: Keeping, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut system = System::new(seed).await;
    system.send(&mut rng, 200).await;
    system.run_to_end(System::settings(&mut rng)).await;
    let [present, former] = [system.views[0].clone(), system.views[1].clone()];
    assert_eq!(newest_hold(&system, former.hash).await, [true; 2], "both were present");

    let needed = Arc::new(Needed(AtomicBool::new(true)));
    let mut components = SpeedComponents { definitions: needed.clone(), ..system.components() };
    components.views[1].keeping = keeping;
    let stop = CancellationToken::new();
    let worker = tokio::spawn(speed_layer::run::run(components, System::settings(&mut rng), stop.clone()));
    system.send(&mut rng, 100).await;
    system.until("heads at the end", || system.is_at_end()).await;
    assert_eq!(newest_hold(&system, former.hash).await, [keeping == Keeping::Former; 2], "{keeping:?}");

    // The present view needs them no longer, and the former one has no version yet.
    let cut = system.grid_cut(0.9);
    system.publish_view(&present, &cut).await;
    for _ in 0..100 {
        system.clock.advance(Duration::from_millis(5));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for partition in PARTITIONS {
        let index = system.index(partition).await.unwrap();
        assert_eq!(index.runs[0].from.offset.0, 0, "{keeping:?}: the former definition answers from the start");
    }

    needed.0.store(false, Ordering::SeqCst);
    system.until("covered runs are dropped", || is_dropped(&system, &cut)).await;
    system.send(&mut rng, 50).await;
    system.until("heads at the end again", || system.is_at_end()).await;
    assert_eq!(newest_hold(&system, former.hash).await, [false; 2], "{keeping:?}");
    assert_eq!(newest_hold(&system, present.hash).await, [true; 2], "{keeping:?}");
    stop.cancel();
    worker.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_former_definition_is_in_new_runs_and_keeps_old_ones_until_its_successor_answers() {
    check(Keeping::Former, 31).await;
}

#[tokio::test]
async fn one_whose_source_is_read_otherwise_keeps_its_runs_and_gets_no_new_ones() {
    check(Keeping::Standing, 32).await;
}
