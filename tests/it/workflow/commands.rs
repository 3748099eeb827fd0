//! Tasks that only some processes can do, and runs that a command does itself.

use std::sync::Arc;
use std::time::Duration;

use lake::Lake;
use serde_json::json;
use tokio::time::{Instant, sleep};
use workflow::{
    CommandRun, CommandStart, Executor, Leader, Room, RunId, RunKind, RunSpec, RunState, Standing, TaskError, TaskKind,
    TaskState, Worker, Workflow, WorkflowSettings, begin_command, choose_leases, choose_within,
};

use super::fake::Fake;
use super::{process, spec, task};
use crate::lake::memory_lake;

/// An erasing of the one source.
fn erasing() -> RunSpec {
    RunSpec { kind: RunKind::Housekeeping, ..spec(json!({ "part": "erase" })) }
}

async fn begin(workflow: &Workflow) -> CommandStart {
    begin_command(workflow, &erasing(), TaskKind::Erase, &WorkflowSettings::default()).await.unwrap()
}

async fn begun(workflow: &Workflow) -> CommandRun {
    match begin(workflow).await {
        CommandStart::Begun(run) => run,
        CommandStart::Elsewhere { run, .. } => panic!("run {run} does it"),
        CommandStart::NotNow(why) => panic!("{why}"),
    }
}

async fn state_of(lake: &Lake, run: u64) -> RunState {
    process(lake, 99).refresh().await.unwrap().run(RunId(run)).unwrap().state
}

#[tokio::test]
async fn what_a_process_cannot_do_waits_for_one_that_can_and_holds_up_nothing() {
    let lake = memory_lake(10);
    let outside = process(&lake, 1);
    let tasks = [task(1, TaskKind::Expire, []), task(2, TaskKind::Vacuum, [])];
    outside.start(spec(json!({})), &tasks).await.unwrap();
    let state = outside.state();
    let kinds = |tokens: Vec<workflow::Token>| -> Vec<TaskKind> {
        tokens.iter().map(|token| state.task(token.run, token.task).unwrap().kind).collect()
    };
    let without_store = |kind: TaskKind| kind != TaskKind::Expire;
    assert_eq!(kinds(choose_leases(&state, 9)), [TaskKind::Expire, TaskKind::Vacuum]);
    assert_eq!(kinds(choose_within(&state, outside.id(), Room::of(9), &without_store)), [TaskKind::Vacuum]);

    let (lone, able) = (process(&lake, 2), process(&lake, 3));
    let taken = Worker::new(&lone).take_within(Room::of(9), &without_store).await.unwrap();
    assert_eq!(taken.iter().map(|token| token.task.0).collect::<Vec<_>>(), [2]);
    assert!(Worker::new(&lone).take_within(Room::of(9), &without_store).await.unwrap().is_empty());
    let taken = Worker::new(&able).take_within(Room::of(9), &|_| true).await.unwrap();
    assert_eq!(taken.iter().map(|token| token.task.0).collect::<Vec<_>>(), [1]);
}

#[test]
fn no_process_takes_what_a_command_does_itself() {
    let executor = Fake::new(1, 0);
    assert!(executor.can_do(TaskKind::Compute));
    assert!(!executor.can_do(TaskKind::Erase) && !executor.can_do(TaskKind::Import));
}

#[tokio::test(start_paused = true)]
async fn of_two_commands_for_the_same_work_the_second_is_refused_while_the_first_lives() {
    let lake = memory_lake(10);
    let (first, second) = (process(&lake, 1), process(&lake, 2));
    let run = begun(&first).await;
    run.progress().add(7, 70);
    let beat = WorkflowSettings::default().beat;
    let asked = run.during("the first", beat, begin(&second)).await;
    let CommandStart::Elsewhere { run: found, process } = asked else { panic!("the second one was let in") };
    assert_eq!((found, process.as_str()), (RunId(1), "the first"));
    run.end(Ok(json!({ "did": "erased" }))).await;

    let overview = second.overview().await.unwrap();
    let done = overview.state.run(RunId(1)).unwrap();
    assert_eq!((done.state, done.work.rows, done.work.bytes), (RunState::Done, 7, 70));
    assert!(overview.processes.is_empty(), "it says no more that it lives");
    begun(&second).await.end(Err(TaskError::Permanent { reason: "no".to_owned(), cause_key: None })).await;
    assert_eq!(state_of(&lake, 2).await, RunState::Failed);
}

#[tokio::test(start_paused = true)]
async fn a_command_takes_the_place_of_one_that_was_killed_also_where_nobody_leads() {
    let lake = memory_lake(10);
    let (killed, next) = (process(&lake, 1), process(&lake, 2));
    let held = begun(&killed).await;
    held.during("killed soon", Duration::from_secs(1), sleep(Duration::from_secs(3))).await;
    let before = Instant::now();
    let run = begun(&next).await;
    assert!(before.elapsed() >= WorkflowSettings::default().lease_patience);
    assert_eq!((run.run(), state_of(&lake, 1).await), (RunId(2), RunState::Cancelled));
    // It was only paused: what it did is done, and its report changes nothing.
    held.end(Ok(json!({}))).await;
    assert_eq!(state_of(&lake, 1).await, RunState::Cancelled);
    run.end(Ok(json!({}))).await;
    assert_eq!(state_of(&lake, 2).await, RunState::Done);
}

#[tokio::test]
async fn whoever_leads_ends_the_run_of_a_command_that_was_killed_and_says_what_goes_on_with_it() {
    let lake = memory_lake(10);
    let (killed, other) = (process(&lake, 1), process(&lake, 2));
    drop(begun(&killed).await);
    let mut leader = Leader::new(&other, Arc::new(Fake::new(1, 0)), None, WorkflowSettings::default());
    let now = Instant::now();
    for seconds in [0, 1, 2] {
        assert_eq!(leader.step(now + Duration::from_secs(seconds)).await.unwrap(), Standing::Leads);
    }
    assert_eq!(state_of(&lake, 1).await, RunState::Running, "it may live");
    for seconds in [60, 61] {
        leader.step(now + Duration::from_secs(seconds)).await.unwrap();
    }
    let state = other.refresh().await.unwrap();
    let run = state.run(RunId(1)).unwrap();
    assert_eq!(run.state, RunState::Failed);
    let TaskState::Failed { failure } = &run.tasks[0].state else { panic!("{:?}", run.tasks[0]) };
    assert!(!failure.is_transient && failure.reason.contains("the same command goes on"), "{failure:?}");

    // A retry by hand is nobody's to do either.
    other.retry(RunId(1)).await.unwrap();
    leader.step(now + Duration::from_secs(62)).await.unwrap();
    leader.step(now + Duration::from_secs(63)).await.unwrap();
    assert_eq!(state_of(&lake, 1).await, RunState::Failed);
    assert_eq!(begun(&killed).await.run(), RunId(2));
}
