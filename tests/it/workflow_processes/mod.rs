//! Runs of the workflow shared by processes on one folder: killed, paused and revived, doubled, on stores that fail.
//! All the while one process takes events and answers; each answer is exact for its head.
//!
//! Everywhere: what a run publishes is one version, nothing that was acknowledged is missing, and the versions before
//! serve until there is a newer one.

mod ballista;
mod interrupted;
mod refused;
pub mod world;

use workflow::{TaskKind, TaskState, WorkerId};

use crate::support::process::{Running, Setup};
use world::{HOURS, Member, VIEW, World};

/// Each write of a result takes so long that others can come in between.
const SLOW: (&str, &str) = ("lake.views.file.before", "sleep(400)");

/// The processes of a test: one that takes events and answers, and two that work.
struct Crew {
    up: Running,
    /// Leads.
    first: Member,
    second: Member,
}

impl Crew {
    /// The first worker is there before all others, and so it leads.
    async fn start(world: &World, first: Setup, second: Setup) -> Self {
        let first = world.join(&first, &["worker"]).await;
        world.until("the first one leads", |state| (state.leader.as_ref() == Some(&first.id)).then_some(())).await;
        let up = world.join(&world.setup, &["up"]).await.process;
        world.check_exact(&up).await;
        let second = world.join(&second, &["worker"]).await;
        Self { up, first, second }
    }

    /// Both workers take their time.
    async fn slow(world: &World) -> Self {
        let slow = |name: &str| world.worker(name).at_fail_point(SLOW.0, SLOW.1);
        Self::start(world, slow("first"), slow("second")).await
    }
}

fn is_led_by_another(leader: Option<&WorkerId>, former: &WorkerId) -> bool {
    leader.is_some_and(|leader| leader != former)
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_share_a_run_and_publish_it_once() {
    let world = World::new().await;
    let Crew { up, first, second } = Crew::slow(&world).await;
    let run = world
        .asking(&up, async {
            let run = world.start_full_run().await;
            for member in [&first, &second] {
                world.until_leased(member, TaskKind::Compute).await;
            }
            world.send(&up).await;
            world.until_done(run).await
        })
        .await;
    // More, where the loop of `up` was first and the run was planned anew.
    let computed = run.tasks.iter().filter(|task| task.kind == TaskKind::Compute).count();
    assert!(computed as i64 >= HOURS, "a group for each bucket: {computed}");
    world.check_published_once().await;
    world.check_exact(&up).await;
    // What came since is in the next one, and nothing is left to do after that.
    let next = world.start_run(&["runs", "start", "--view", VIEW]).await;
    world.until_done(next).await;
    world.check_exact(&up).await;
    assert!(first.process.terminate().success() && second.process.terminate().success());
    assert!(world.workflow.refresh().await.unwrap().leases.is_empty(), "those who stop give back what they have");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_killed_in_mid_run_is_replaced() {
    lose_leader(&World::new().await).await;
}

/// A leader is killed in mid-run, and another one ends the run; the processes that are left.
pub async fn lose_leader(world: &World) -> (Running, Member) {
    let Crew { up, mut first, second } = Crew::slow(world).await;
    world
        .asking(&up, async {
            let run = world.start_full_run().await;
            world.until_under_way(run).await;
            first.process.kill();
            world.send(&up).await;
            world.until_done(run).await;
        })
        .await;
    let state = world.workflow.refresh().await.unwrap();
    assert!(is_led_by_another(state.leader.as_ref(), &first.id), "{:?}", state.leader);
    world.check_published_once().await;
    world.check_exact(&up).await;
    (up, second)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_worker_had_taken_is_done_by_another() {
    let world = World::new().await;
    // It never gets further than to its first result, so that it is killed with a task in hand.
    let held = world.worker("second").at_fail_point(SLOW.0, "1*sleep(600000)");
    let slow = world.worker("first").at_fail_point(SLOW.0, SLOW.1);
    let Crew { up, first: _first, mut second } = Crew::start(&world, slow, held).await;
    let (run, token) = world
        .asking(&up, async {
            let run = world.start_full_run().await;
            let token = world.until_leased(&second, TaskKind::Compute).await;
            second.process.kill();
            world.send(&up).await;
            (world.until_done(run).await, token)
        })
        .await;
    let task = run.task(token.task).unwrap();
    assert!(matches!(task.state, TaskState::Done { .. }), "{task:?}");
    assert!(task.attempt > token.attempt && task.lost > 0, "{task:?}\n{}", world.logs());
    world.check_published_once().await;
    world.check_exact(&up).await;
}

/// What a worker says of a task that is another's by now.
const REFUSED: &str = "task was taken away; what it gave is not used";

/// The publisher stands still between its last look at the lease and its commit; another one publishes meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_wakes_with_a_stale_lease_is_refused() {
    let world = World::new().await;
    let held = world.worker("second").at_fail_point("lake.views.commit.before", "1*sleep(6000)");
    let only_leads = world.worker("first").with("WORKFLOW__SLOTS", "0");
    let Crew { up, first: _first, second } = Crew::start(&world, only_leads, held).await;
    let third = world
        .asking(&up, async {
            let run = world.start_full_run().await;
            let token = world.until_leased(&second, TaskKind::Publish).await;
            // It lives on while the commit is held up.
            world.until_alive(&second, 3).await;
            second.process.signal("STOP");
            let third = world.join(&world.worker("third"), &["worker"]).await;
            let run = world.until_done(run).await;
            let task = run.task(token.task).unwrap();
            assert!(task.attempt > token.attempt && task.lost > 0, "{task:?}\n{}", world.logs());
            world.check_published_once().await;
            second.process.signal("CONT");
            world.until_alive(&second, 5).await;
            world.until_said(&second.process, REFUSED).await;
            third
        })
        .await;
    world.check_published_once().await;
    // Both work on as if nothing had been.
    world.send(&up).await;
    let next = world.start_full_run().await;
    world.until_done(next).await;
    assert_eq!(second.process.log().matches(REFUSED).count(), 1, "told once\n{}", world.logs());
    world.check_published_once().await;
    world.check_exact(&up).await;
    assert!(third.process.terminate().success() && second.process.terminate().success(), "{}", world.logs());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_wakes_after_another_took_over_follows() {
    let world = World::new().await;
    let Crew { up, first, second: _second } = Crew::slow(&world).await;
    let epoch = world
        .asking(&up, async {
            let run = world.start_full_run().await;
            world.until_under_way(run).await;
            first.process.signal("STOP");
            let epoch = world
                .until("another one leads", |state| {
                    is_led_by_another(state.leader.as_ref(), &first.id).then_some(state.epoch)
                })
                .await;
            first.process.signal("CONT");
            world.send(&up).await;
            world.until_done(run).await;
            epoch
        })
        .await;
    world.until_alive(&first, 5).await;
    let next = world.start_full_run().await;
    world.until_done(next).await;
    let state = world.workflow.refresh().await.unwrap();
    assert_eq!(state.epoch, epoch, "it did not take the lead back\n{}", world.logs());
    assert!(is_led_by_another(state.leader.as_ref(), &first.id));
    world.until_said(&first.process, "another process leads the workflow now").await;
    world.check_published_once().await;
    world.check_exact(&up).await;
}
