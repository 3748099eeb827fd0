//! Runs that cannot get through: a definition that changes in mid-run, and a failure that would come again.

use std::fs;
use std::sync::Arc;

use workflow::{Run, RunId, RunState, TaskKind};

use super::Crew;
use super::world::{PIPELINE, World};

/// Another definition of the view, which answers this test's questions as the first one does.
fn changed() -> String {
    let changed = PIPELINE.replace("sum(amount) AS amount\n", "sum(amount) AS amount, max(amount) AS largest\n");
    assert_ne!(changed, PIPELINE);
    changed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_definition_was_changed_publishes_nothing_of_another_and_the_next_one_is_of_the_new_one() {
    let world = World::new().await;
    let Crew { up, first, second } = Crew::slow(&world).await;
    let [third, fourth] = ["third", "fourth"].map(|name| world.worker(name));
    let old = world
        .asking(&up, async {
            let run = world.start_full_run().await;
            world.until_under_way(run).await;
            fs::write(&world.setup.pipeline, changed()).unwrap();
            assert!(first.process.terminate().success() && second.process.terminate().success());
            // A worker by itself registers nothing.
            let applied = world.setup.run_to_its_end(&["apply"]).await;
            assert!(applied.status.success(), "{applied:?}");
            let third = world.join(&third, &["worker"]).await;
            let ended = world.until_ended(run).await;
            drop(third);
            ended
        })
        .await;
    // It is finished where its definition still answers beside the one that is built, and fails once it does not.
    let of_old = world.published(PIPELINE).await.len();
    match &old.failure {
        None => assert_eq!((&old.state, of_old), (&RunState::Done, 1)),
        Some(failed) => {
            let failure = &failed.failure;
            assert!(!failure.is_transient && failure.reason.contains("definition"), "{failure:?}");
            assert_eq!((&old.state, of_old), (&RunState::Failed, 0), "nothing of it was published");
        }
    }
    world.check_exact(&up).await;

    assert!(up.terminate().success(), "{}", world.logs());
    let up = world.join(&world.setup, &["up"]).await.process;
    world.check_exact(&up).await;
    let _fourth = world.join(&fourth, &["worker"]).await;
    world
        .asking(&up, async {
            let run = world.start_full_run().await;
            world.send(&up).await;
            world.until_done(run).await;
        })
        .await;
    assert_eq!(world.published(&changed()).await.len(), 1);
    world.check_exact(&up).await;
}

/// What a leader says of a run by schedule that would fail as the last one did.
const REFUSED: &str = "run that is due was not started";

#[tokio::test(flavor = "multi_thread")]
async fn a_permanent_failure_is_not_repeated_before_something_has_changed() {
    let world = World::new().await.with("SCHEDULES__OFTEN__EVERY", "1s").with("SCHEDULES__OFTEN__MODE", "full");
    // Too little for anything, and nowhere to put the rest.
    let little = |name: &str| world.worker(name).with("BATCH__MEMORY", "1KiB").with("BATCH__SPILL_LIMIT", "1B");
    let Crew { up, mut first, mut second } = Crew::start(&world, little("first"), little("second")).await;
    let failed = world
        .asking(&up, async {
            let failed = world.until_ended(RunId(1)).await;
            // Due again and again, and refused.
            world.until_said(&first.process, REFUSED).await;
            failed
        })
        .await;
    assert_eq!(failed.state, RunState::Failed, "{}", world.logs());
    let failure = failed.failure.as_ref().unwrap();
    assert!(!failure.failure.is_transient && failure.failure.reason.contains("batch.memory"), "{failure:?}");
    let task = failed.task(failure.task).unwrap();
    assert_eq!((task.attempt, task.failures), (1, 0), "it was not tried again: {task:?}");
    let state = world.workflow.refresh().await.unwrap();
    assert_eq!(state.last_run, failed.id, "{}", world.logs());
    assert!(world.published(PIPELINE).await.is_empty());

    // Somebody who insists gets the same failure, once, and what was done is not done again.
    world.command(&["runs", "retry", &failed.id.to_string()]).await;
    let again = world
        .until("it fails again", |state| {
            let run = state.runs.get(&failed.id)?;
            (attempts(run) > attempts(&failed) && run.state == RunState::Failed).then(|| Arc::clone(run))
        })
        .await;
    assert!(again.tasks.iter().all(|task| task.kind != TaskKind::Choose || task.attempt == 1), "{:?}", again.tasks);

    // With more memory it is due as ever.
    first.process.kill();
    second.process.kill();
    let _third = world.join(&world.worker("third"), &["worker"]).await;
    let done = world.until("a run is done", |state| {
        let done = state.runs.values().find(|run| run.state == RunState::Done);
        done.map(|run| run.id)
    });
    let done = world.asking(&up, done).await;
    assert!(done > failed.id);
    world.check_exact(&up).await;
}

fn attempts(run: &Run) -> u32 {
    run.tasks.iter().map(|task| task.attempt).sum()
}
