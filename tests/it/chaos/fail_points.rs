//! Every write that matters, cut short: a role dies just before and just after each of them, in an order drawn from a
//! seed, while events come in and a reader asks.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::faults::{Cluster, deaths};
use super::load::{Load, Pace};
use super::schedule::{Death, Fault, Role, Step};
use super::{World, run};
use crate::support::process::{FAIL_POINTS_MISSING, Running};
use crate::support::seeds::one_seed;

/// Who writes what. Each name is a fail point with `.before` and one with `.after`.
const WRITES: [(Role, &[&str]); 5] = [
    (Role::Collector, &["log.topic", "log.append"]),
    (
        Role::Archive,
        &[
            "lake.master.file",
            "lake.master.facts",
            "lake.master.commit",
            "lake.master.checkpoint",
            "lake.master.last_checkpoint",
        ],
    ),
    (Role::FirstSpeed, &["realtime.blobs", "realtime.index"]),
    (
        Role::Batch,
        &[
            "lake.views.file",
            "lake.views.facts",
            "lake.views.commit",
            "lake.views.checkpoint",
            "lake.views.last_checkpoint",
            "lake.views.remove.file",
            "lake.views.remove.facts",
            "lake.views.remove.commit",
            "lake.views.remove.checkpoint",
            "lake.master.remove.facts",
            "lake.master.remove.commit",
            "lake.master.remove.checkpoint",
        ],
    ),
    (Role::Gateway, &["lake.probe"]),
];

fn draw_deaths(rng: &mut StdRng) -> Vec<Step> {
    let points = |(role, writes): (Role, &'static [&'static str])| {
        let points = writes.iter().flat_map(|write| [format!("{write}.before"), format!("{write}.after")]);
        points.map(move |point| (role, point))
    };
    let mut all: Vec<_> = WRITES.into_iter().flat_map(points).collect();
    all.shuffle(rng);
    let step = |(role, point): (Role, String)| {
        // Others are reached once a start, or seldom.
        let is_frequent = ["append", "realtime", "file", "facts", "commit"].iter().any(|write| point.contains(write));
        let nth = if is_frequent { rng.random_range(1..=2) } else { 1 };
        let quiet = Duration::from_millis(rng.random_range(0..200));
        Step { quiet, fault: Fault::Die(Death { role, point, nth, is_sure: true }) }
    };
    all.into_iter().map(step).collect()
}

/// What is written once in the life of a set of definitions: the processes that come first die of it.
async fn die_of_definitions(world: &World) {
    for moment in ["before", "after"] {
        let death = Death { role: Role::Archive, point: format!("lake.definitions.{moment}"), nth: 1, is_sure: true };
        let setup = world.setup.beside(death.role.name()).dying_at(&death.point, death.nth);
        let started = Running::try_start_role(&setup, death.role.arguments()).await;
        let has_died = started.is_err() && deaths(world, &death) == 1;
        assert!(has_died, "it did not die of {}: {FAIL_POINTS_MISSING}\n{}", death.point, world.log(death.role.name()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_dies_about_any_write_leaves_everything_exact() {
    let Some(world) = World::new().await else { return };
    // So often that checkpoints are written, and that there is always something to remove; but few files, which every
    // speed worker that starts must read.
    let world = world
        .with("ARCHIVE__COMMIT_INTERVAL", "1s")
        .with("LAKE__CHECKPOINT_INTERVAL", "2")
        .with("BATCH__KEEP_VERSIONS", "2")
        .with("BATCH__CLEANUP_INTERVAL", "500ms")
        .with("BATCH__CLEANUP_GRACE", "4s");
    let seed = one_seed("fail points");
    let steps = draw_deaths(&mut StdRng::seed_from_u64(seed));
    die_of_definitions(&world).await;
    let cluster = Cluster::start(&world).await;
    // A point that never comes fails its step.
    run(&world, cluster, Load::new(seed, Pace::SMALL), &steps).await;
}

/// Archivers alone: a publisher that is held up keeps its lease while its process lives, so that nobody goes on in its
/// place; one that has lost it is refused in `workflow_processes`.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_wakes_after_others_went_on_is_refused() {
    let Some(world) = World::new().await else { return };
    let held = |point| {
        let fault = Fault::Zombie { point, span: Duration::from_secs(4) };
        Step { quiet: Duration::from_millis(500), fault }
    };
    let steps = ["lake.master.commit.before", "lake.master.file.before"].map(held);
    let cluster = Cluster::start(&world).await;
    run(&world, cluster, Load::new(1, Pace::SMALL), &steps).await;
}
