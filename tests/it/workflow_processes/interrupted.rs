//! Runs that do not get through at once: a store that fails, a task that hangs, a backfill that is paused and whose
//! workers are all gone.

use std::sync::Arc;

use workflow::{Priority, Run, RunState, TaskKind, TaskState, Token};

use super::world::{HOURS, VIEW, World};
use super::{Crew, SLOW};

/// Once and five times in a row, so that some are got over within one append and others are not.
const FAILURES: &str = "2*off->1*return(error)->1*off->5*return(error)";

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_at_writes_of_the_journal_costs_nothing() {
    let world = World::new().await;
    let failing = vec![FAILURES; 100].join("->");
    // Of one the entry is not there, of the other one it is, and nobody says so.
    let first = world.worker("first").at_fail_point("workflow.journal.before", &failing);
    let second = world.worker("second").at_fail_point("workflow.journal.after", &failing);
    let Crew { up, first, second } = Crew::start(&world, first, second).await;
    world
        .asking(&up, async {
            let run = world.start_full_run().await;
            world.send(&up).await;
            let run = world.until_done(run).await;
            let computed = run.tasks.iter().filter(|task| task.kind == TaskKind::Compute);
            assert!(computed.clone().all(|task| matches!(task.state, TaskState::Done { .. })));
            assert!(computed.count() as i64 >= HOURS);
        })
        .await;
    world.check_published_once().await;
    world.check_exact(&up).await;
    for member in [first, second] {
        assert!(member.process.terminate().success(), "{}", world.logs());
    }
}

/// The second worker lives, and gets no further than to its first result: the run at its end, and what it had leased.
async fn hang(world: &World) -> (Arc<Run>, Token) {
    let hanging = world.worker("second").at_fail_point("lake.views.file.before", "1*sleep(600000)");
    let only_leads = world.worker("first").with("WORKFLOW__SLOTS", "0");
    let Crew { up, first: _first, second } = Crew::start(world, only_leads, hanging).await;
    let ended = world
        .asking(&up, async {
            let run = world.start_full_run().await;
            let token = world.until_leased(&second, TaskKind::Compute).await;
            let _third = world.join(&world.worker("third"), &["worker"]).await;
            world.send(&up).await;
            (world.until_done(run).await, token)
        })
        .await;
    world.check_published_once().await;
    world.check_exact(&up).await;
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_hangs_is_taken_away() {
    let world = World::new().await.with("WORKFLOW__STALL_LIMIT", "3s");
    let (run, token) = hang(&world).await;
    let task = run.task(token.task).unwrap();
    assert!(matches!(task.state, TaskState::Done { .. }), "{task:?}\n{}", world.logs());
    assert!(task.attempt > token.attempt && task.lost > 0, "{task:?}\n{}", world.logs());
}

/// As before, with all hours, or several of them, in one group.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_task_that_hangs_is_divided() {
    let world = World::new().await.with("WORKFLOW__STALL_LIMIT", "3s").with("BATCH__TASK_BYTES", "64KiB");
    let (run, token) = hang(&world).await;
    let task = run.task(token.task).unwrap();
    let TaskState::Split { into } = &task.state else { panic!("{task:?}\n{}", world.logs()) };
    assert_eq!(into.len(), 2, "{task:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_that_was_interrupted_does_only_what_is_left() {
    let world = World::new().await;
    let Crew { up, mut first, mut second } = Crew::slow(&world).await;
    let day = ["--from", "2026-01-05T00:00:00Z", "--to", "2026-01-06T00:00:00Z"];
    let backfill = [&["runs", "backfill", "--view", VIEW][..], &day].concat();
    world
        .asking(&up, async {
            // Without a yes it tells what it would do.
            let before = world.workflow.refresh().await.unwrap().last_run;
            let told = world.command(&backfill).await;
            assert!(told.contains(&HOURS.to_string()), "{told}");
            assert_eq!(world.workflow.refresh().await.unwrap().last_run, before, "{told}");

            let run = world.start_run(&[&backfill[..], &["--yes"]].concat()).await;
            world.until_under_way(run).await;
            world.command(&["runs", "pause", &run.to_string()]).await;
            world.until("nobody works", |state| state.leases.is_empty().then_some(())).await;
            first.process.kill();
            second.process.kill();
            world.send(&up).await;
            let paused = world.workflow.run(run).await.unwrap();
            assert_eq!(paused.state, RunState::Paused);
            assert_eq!((paused.spec.priority, paused.spec.retries), (Priority::Backfill, 0));

            let _third = world.join(&world.worker("third").at_fail_point(SLOW.0, SLOW.1), &["worker"]).await;
            world.command(&["runs", "resume", &run.to_string()]).await;
            let done = world.until_done(run).await;
            for task in paused.tasks.iter().filter(|task| matches!(task.state, TaskState::Done { .. })) {
                assert_eq!(done.task(task.id), Some(&**task), "done a second time\n{}", world.logs());
            }
        })
        .await;
    world.check_published_once().await;
    world.check_exact(&up).await;
}
