//! Runs in whole processes: a worker that does nothing else, and what the status tells of a run that failed.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::sleep;
use twofold::role::{Role, Roles};
use twofold::runs::instant::instant_text;
use workflow::{RunMode, RunState};

use super::living::{VIEW, old, pipeline, send, start_without_batch};
use super::traffic::{rows, total};
use super::world::{Process, World};
use crate::batch::runs::request;
use crate::simulation::plan::Rates;

const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_alone_computes_what_a_run_asks_for() {
    let world = World::new(21, Rates::default());
    let process = start_without_batch(&world, pipeline(&old())).await;
    let worker = world.start_roles(pipeline(&old()), Roles::only(Role::Worker)).await;
    let token = send(&process.client, 0..30).await;
    assert_eq!(total(&rows(&process.client, VIEW, &token).await.unwrap()), 30);
    let deadline = Instant::now() + DEADLINE;
    loop {
        // Events that are not archived yet, or not silent yet, are for the next run.
        let run = world.run(&pipeline(&old()), &request(&[], RunMode::Incremental)).await;
        assert_eq!(run.state, RunState::Done, "{:?}", run.failure);
        let answer = rows(&process.client, VIEW, &token).await.unwrap();
        if answer["envelope"]["realtime_rows"] == 0 && total(&answer) == 30 {
            break;
        }
        assert!(Instant::now() < deadline, "never covered: {answer:#}");
        sleep(Duration::from_millis(50)).await;
    }
    worker.stop().await;
    process.stop().await;
}

/// The problems of a kind that the status of a process names, once there are so many.
async fn problems(process: &Process, kind: &str, count: usize) -> Vec<Value> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let status = process.client.get("/v1/status", &[]).await.unwrap();
        let found: Vec<Value> =
            status["problems"].as_array().unwrap().iter().filter(|one| one["kind"] == kind).cloned().collect();
        if found.len() == count {
            return found;
        }
        assert!(Instant::now() < deadline, "not {count} of {kind}: {status:#}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_tells_of_a_run_that_failed_until_one_is_done_and_of_a_pause() {
    let world = World::new(22, Rates::default());
    let process = world.start(&old()).await;
    let token = send(&process.client, 0..30).await;
    assert_eq!(total(&rows(&process.client, VIEW, &token).await.unwrap()), 30);
    // No bucket of an hour begins there.
    let (from, to) = (positions::TimestampMicros(1), positions::TimestampMicros(2));
    let odd = request(&[], RunMode::Buckets { from, to, only_missing: false });
    let deadline = Instant::now() + DEADLINE;
    let run = loop {
        let run = world.run(&pipeline(&old()), &odd).await;
        if run.state == RunState::Failed {
            break run;
        }
        // There is nothing archived yet.
        assert!(Instant::now() < deadline, "{run:?}");
        sleep(Duration::from_millis(50)).await;
    };
    let found = problems(&process, "run-failed", 1).await;
    assert_eq!(found[0]["about"], format!("run {}", run.id));
    assert!(found[0]["problem"].as_str().unwrap().contains("within a bucket"), "{found:?}");
    // By the journal, so that a process that starts later says the same.
    assert_eq!(found[0]["since"].as_str().map(str::to_owned), run.ended_at.and_then(instant_text));
    let again = world.run(&pipeline(&old()), &request(&[], RunMode::Full)).await;
    assert_eq!(again.state, RunState::Done, "{:?}", again.failure);
    problems(&process, "run-failed", 0).await;

    world.workflow().pause(None).await.unwrap();
    problems(&process, "runs-paused", 1).await;
    let status = process.client.get("/v1/status", &[]).await.unwrap();
    assert_eq!(status["system"]["batch"]["paused"], true, "{status:#}");
    world.workflow().resume(None).await.unwrap();
    problems(&process, "runs-paused", 0).await;
    process.stop().await;
}
