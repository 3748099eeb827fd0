//! Housekeeping as tasks of runs: each kind does its work through a worker, whoever dies where; nothing is begun where
//! nothing is due; beside a recompute no answer changes and neither is lost; what a run at work reads stays.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use batch_layer::recompute::Mode;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use positions::{Clock, TimestampMicros};
use serde_json::{Value, json};
use tokio::time::Instant;
use twofold::runs::asked::Asked;
use twofold::workflow::housekeeping::{CleanRecord, HousekeepingPace, due_housekeeping, housekeeping_runs_of};
use twofold::workflow::tasks::RecomputeTasks;
use workflow::{
    Change, Content, Entry, Executor, Failure, Planned, Priority, Progress, Run, RunId, RunKind, RunMode, RunSpec,
    RunState, State, TaskError, TaskId, TaskKind, TaskSpec, TaskState, Token, Work, Worker, WorkerId, Workflow,
};

use super::archive::{check_holds_all, poll_at_most};
use super::compaction::{archive_singly, compact_with, engine, world_of_small_files};
use super::fold::unfolded_world;
use super::recompute::{all_finished, check_equals_fold};
use super::runs::{Crew, archived, config, finish, request, take, take_leases_away, take_up_to};
use super::world::{HOUR, World};
use crate::support::house::NoFormer;

const OFTEN: &str = "compact_min_files = 2\nkeep_versions = 2\ncleanup_grace = \"1h\"\ncleanup_interval = \"10m\"\n";
const DAY: i64 = 24 * HOUR;

type Asking = (RunSpec, Vec<TaskSpec>);

async fn due(crew: &Crew<'_>) -> Vec<Asking> {
    due_housekeeping(&crew.world.batch_context(), &NoFormer, &crew.config).await
}

fn kinds(runs: &[Asking]) -> Vec<Vec<TaskKind>> {
    runs.iter().map(|(_, tasks)| tasks.iter().map(|task| task.kind).collect()).collect()
}

async fn start_all(workflow: &Workflow, runs: Vec<Asking>) -> Vec<RunId> {
    let mut started = Vec::new();
    for (spec, tasks) in runs {
        started.push(workflow.start(spec, &tasks).await.unwrap().run());
    }
    started
}

/// Does all tasks that are to be had.
async fn do_all(workflow: &Workflow, tasks: &RecomputeTasks) {
    while let Some(work) = take(workflow).await {
        finish(workflow, tasks, &work).await.1.unwrap();
    }
}

/// What the tasks of a run that is done say they did, by their kinds.
fn did(run: &Run) -> Vec<(TaskKind, String)> {
    assert_eq!(run.state, RunState::Done, "{:?}", run.failure);
    let told = run.tasks.iter().map(|task| match &task.state {
        TaskState::Done { output: Content::Inline(output), .. } => {
            (task.kind, output["did"].as_str().unwrap().to_owned())
        }
        state => panic!("{state:?}"),
    });
    told.collect()
}

async fn run_of(workflow: &Workflow, run: RunId) -> Arc<Run> {
    workflow.run(run).await.unwrap()
}

/// Puts the clock so far on that everything in the lake is older than any grace: stores date objects by another one.
async fn long_after(world: &World) {
    let newest = world.snapshot().await.snapshot.version().0;
    let newest = world.lake.path(&format!("raw/hits/_delta_log/{newest:020}.json"));
    let at = TimestampMicros(world.lake.store().head(&newest).await.unwrap().last_modified.timestamp_micros());
    let ahead = at.micros_since(world.clock.now()).max(0) + DAY;
    world.clock.advance(Duration::from_micros(ahead.unsigned_abs()));
}

#[tokio::test]
async fn what_is_due_is_done_by_tasks_and_a_quiet_system_is_left_alone() {
    let world = world_of_small_files(21, 60).await;
    let before = world.snapshot().await;
    let crew = Crew::new(&world, config(OFTEN));
    let (workflow, tasks) = crew.process(1);
    let runs = due(&crew).await;
    assert_eq!(kinds(&runs), [vec![TaskKind::Compact], vec![TaskKind::Vacuum, TaskKind::Trim]]);
    assert!(runs.iter().all(|(spec, _)| (spec.kind, spec.priority) == (RunKind::Housekeeping, Priority::Backfill)));
    let first = start_all(&workflow, runs.clone()).await;
    assert_eq!(start_all(&workflow, runs).await, first, "what is open is joined");
    do_all(&workflow, &tasks).await;
    let mut told = Vec::new();
    for run in first {
        told.extend(did(&*run_of(&workflow, run).await));
    }
    let merges = told.iter().filter(|(kind, did)| *kind == TaskKind::Compact && did.contains(" into ")).count();
    assert!(merges > 0 && told.contains(&(TaskKind::Vacuum, "nothing to delete".to_owned())), "{told:?}");
    let after = world.snapshot().await;
    assert!(after.snapshot.files().len() < before.snapshot.files().len() / 2);
    assert_eq!(after.facts, before.facts);
    check_holds_all(&world, &after).await;

    // Larger files are merged once more, and then the table is at rest: nothing is asked for while the clock stands.
    for _ in 0..10 {
        let runs = due(&crew).await;
        if runs.is_empty() {
            break;
        }
        start_all(&workflow, runs).await;
        do_all(&workflow, &tasks).await;
    }
    assert_eq!(kinds(&due(&crew).await), Vec::<Vec<TaskKind>>::new());
    // What was replaced is deleted when it has been out of use for long enough, and then nothing is due any more.
    long_after(&world).await;
    let mut cleaned = 0;
    for _ in 0..20 {
        for run in start_all(&workflow, due(&crew).await).await {
            do_all(&workflow, &tasks).await;
            cleaned += did(&*run_of(&workflow, run).await).iter().filter(|(_, did)| did.ends_with(" deleted")).count();
        }
        world.clock.advance(Duration::from_secs(1_800));
    }
    assert!(cleaned > 0, "nothing was deleted");
    assert_eq!(kinds(&due(&crew).await), Vec::<Vec<TaskKind>>::new());
    check_holds_all(&world, &world.snapshot().await).await;
    world.recompute(Mode::Full).await;
    check_equals_fold(&world).await;
}

#[test]
fn a_clean_up_is_due_where_something_changed_and_once_more_behind_the_grace() {
    let (interval, grace) = (Duration::from_secs(600), Duration::from_secs(3_600));
    let minute = |minutes: i64| TimestampMicros(minutes * 60_000_000);
    let versions = |number| [("raw/hits".to_owned(), lake::Version(number))].into();
    let first = CleanRecord::after(None, versions(1), minute(0));
    let is_due = |record: &CleanRecord, number, at| record.is_due(&versions(number), minute(at), (interval, grace));
    assert!(!is_due(&first, 2, 9), "too early");
    assert!(is_due(&first, 2, 10));
    assert!(!is_due(&first, 1, 60), "what was replaced may still be read");
    assert!(is_due(&first, 1, 61));
    let last = CleanRecord::after(Some(&first), versions(1), minute(61));
    assert_eq!(last.since, minute(0));
    assert!(!is_due(&last, 1, 1_000_000));
    assert!(is_due(&last, 2, 71));
    assert!(is_due(&last, 2, 5), "a clock that was set back keeps nothing from being cleaned");
}

const FOLDING: &str = "fold_after = \"20d\"\ncompact = false\n";

#[tokio::test]
async fn each_view_is_folded_by_a_run_of_its_own_where_that_is_due() {
    let world = unfolded_world(22).await;
    let crew = Crew::new(&world, config(FOLDING));
    let (workflow, tasks) = crew.process(1);
    assert_eq!(housekeeping_runs_of(&world.pipeline, &[], &crew.config).len(), 1 + world.pipeline.views.len());
    let runs: Vec<Asking> = due(&crew).await;
    let folds = runs.iter().filter(|(_, tasks)| tasks[0].kind == TaskKind::Fold);
    let views: Vec<&str> = folds.clone().map(|(spec, _)| spec.views[0].0.as_str()).collect();
    // One is a single bucket.
    assert_eq!(views, ["by_page", "by_day"]);
    assert!(folds.clone().all(|(spec, tasks)| spec.cause_key.is_some() && tasks[0].weight_bytes > 0));
    let before = all_finished(&world).await;
    for run in start_all(&workflow, runs).await {
        do_all(&workflow, &tasks).await;
        let told = did(&*run_of(&workflow, run).await);
        assert!(told.iter().all(|(kind, did)| *kind != TaskKind::Fold || did.contains(" rows into ")), "{told:?}");
    }
    assert!(due(&crew).await.iter().all(|(_, tasks)| tasks[0].kind != TaskKind::Fold));
    let newest = world.newest(&world.view("by_page")).await.unwrap();
    assert!(newest.facts.folded.months_until.is_some(), "{:?}", newest.facts);
    assert_eq!(all_finished(&world).await, before);
    check_equals_fold(&world).await;
}

/// Dies at any await of any task, or when it is done and not reported: whoever comes next does it again.
#[tokio::test]
async fn a_task_that_was_killed_anywhere_is_repeated_safely() {
    for steps in [1, 20, 80, 300, 1_000_000] {
        let mut world = unfolded_world(23).await;
        world.send(40).await;
        archive_singly(&mut world, Duration::from_millis(1)).await;
        world.recompute(Mode::Incremental).await;
        let text = "fold_after = \"20d\"\ncompact_min_files = 2\nkeep_versions = 2\n";
        let crew = Crew::new(&world, config(text));
        let before = all_finished(&world).await;
        let (outside, _) = crew.process(1);
        let runs = start_all(&outside, housekeeping_runs_of(&world.pipeline, &[], &crew.config)).await;
        let mut seed = 2;
        loop {
            let (dying, tasks) = crew.process(seed);
            let Some(work) = take(&dying).await else { break };
            if work.token.attempt == 1 {
                drop(poll_at_most(steps, tasks.execute(&work, &Progress::default())).await);
                take_leases_away(&crew, seed + 1).await;
            } else {
                finish(&dying, &tasks, &work).await.1.unwrap();
            }
            seed += 2;
        }
        let mut seen = Vec::new();
        for run in runs {
            seen.extend(did(&*run_of(&outside, run).await).into_iter().map(|(kind, _)| kind));
        }
        for kind in [TaskKind::Compact, TaskKind::Fold, TaskKind::Vacuum, TaskKind::Trim] {
            assert!(seen.contains(&kind), "{kind:?} was not done: {seen:?}");
        }
        check_holds_all(&world, &world.snapshot().await).await;
        assert_eq!(all_finished(&world).await, before, "{steps}");
        world.recompute(Mode::Full).await;
        check_equals_fold(&world).await;
    }
}

#[tokio::test]
async fn beside_a_recompute_nothing_is_lost_and_no_answer_changes() {
    let mut world = unfolded_world(24).await;
    world.send(40).await;
    archive_singly(&mut world, Duration::from_millis(1)).await;
    let before = all_finished(&world).await;
    let crew = Crew::new(&world, config("fold_after = \"20d\"\ncompact_min_files = 2\n"));
    let (computing, tasks) = crew.process(1);
    let recompute = crew.start(&computing, &request(&[], RunMode::Full)).await.unwrap();
    let publishing = take_up_to(&computing, &tasks, TaskKind::Publish).await.unwrap();

    let (other, cleaning) = crew.process(2);
    let files = world.snapshot().await.snapshot.files().len();
    let housekeeping = start_all(&other, due(&crew).await).await;
    do_all(&other, &cleaning).await;
    assert!(world.snapshot().await.snapshot.files().len() < files, "no round held the compaction up");
    assert_eq!(all_finished(&world).await, before);

    // The views that were folded meanwhile are planned anew, by their folded buckets.
    finish(&computing, &tasks, &publishing).await.1.unwrap();
    do_all(&computing, &tasks).await;
    let run = run_of(&computing, recompute).await;
    assert_eq!(run.state, RunState::Done, "{:?}", run.failure);
    let published = run.tasks.iter().filter(|task| task.kind == TaskKind::Publish).count();
    assert_eq!(published, 2, "once for what was not folded, once anew");
    for run in housekeeping {
        did(&*run_of(&other, run).await);
    }
    assert!(world.newest(&world.view("by_page")).await.unwrap().facts.folded.months_until.is_some());
    check_equals_fold(&world).await;
    check_holds_all(&world, &world.snapshot().await).await;

    // And what is published between the look and the merges that it found.
    let stale = archived(25, 60).await;
    let crew = Crew::new(&stale, config(OFTEN));
    let (workflow, tasks) = crew.process(1);
    start_all(&workflow, due(&crew).await).await;
    let look = take(&workflow).await.unwrap();
    finish(&workflow, &tasks, &look).await.1.unwrap();
    stale.recompute(Mode::Full).await;
    do_all(&workflow, &tasks).await;
    check_equals_fold(&stale).await;
}

#[tokio::test]
async fn a_process_whose_lease_is_lost_commits_nothing() {
    let world = world_of_small_files(26, 40).await;
    let crew = Crew::new(&world, config(OFTEN));
    let (late, tasks) = crew.process(1);
    start_all(&late, due(&crew).await).await;
    let merging = loop {
        let work = take(&late).await.unwrap();
        if work.task.parameters["merge"].is_object() {
            break work;
        }
        finish(&late, &tasks, &work).await.1.unwrap();
    };
    let version = world.snapshot().await.snapshot.version();
    take_leases_away(&crew, 2).await;
    let result = tasks.execute(&merging, &Progress::default()).await;
    assert!(matches!(&result, Err(TaskError::Transient { reason }) if reason.contains("lease")), "{result:?}");
    assert!(!Worker::new(&late).report(merging.token, &result, Work::default()).await.unwrap());
    assert_eq!(world.snapshot().await.snapshot.version(), version);
    let (other, tasks) = crew.process(3);
    do_all(&other, &tasks).await;
    assert!(world.snapshot().await.snapshot.version() > version);
    check_holds_all(&world, &world.snapshot().await).await;
}

/// Whether all files of a version of the master dataset are there.
async fn are_there(world: &World, paths: &[String]) -> bool {
    for path in paths {
        if world.lake.store().head(&world.lake.path(&format!("raw/hits/{path}"))).await.is_err() {
            return false;
        }
    }
    true
}

#[tokio::test]
async fn what_the_plan_of_a_run_at_work_reads_survives_every_clean_up() {
    let mut world = world_of_small_files(27, 50).await;
    world.clock.advance(Duration::from_secs(40));
    let crew = Crew::new(&world, config(OFTEN));
    let (computing, tasks) = crew.process(1);
    let recompute = crew.start(&computing, &request(&[], RunMode::Full)).await.unwrap();
    let work = take_up_to(&computing, &tasks, TaskKind::Compute).await.unwrap();
    let chosen: Vec<Value> = work.outputs(|_| true).map_ok(|(_, output)| output).try_collect().await.unwrap();
    let version = lake::Version(chosen[0]["plans"][0]["master_version"].as_i64().unwrap());
    let planned = world.master().open_at(version).await.unwrap();
    let files: Vec<String> = planned.snapshot.files().iter().map(|file| file.path.clone()).collect();

    assert!(compact_with(&world, &engine()).await > 0);
    world.send(50).await;
    archive_singly(&mut world, Duration::from_millis(1)).await;
    long_after(&world).await;
    let crew = Crew::new(&world, config(OFTEN));
    let (other, cleaning) = crew.process(2);
    let clean = async || {
        let runs = start_all(&other, housekeeping_runs_of(&world.pipeline, &[], &crew.config)).await;
        do_all(&other, &cleaning).await;
        for run in runs {
            did(&*run_of(&other, run).await);
        }
    };
    clean().await;
    assert!(are_there(&world, &files).await, "files of a run at work were deleted");
    world.master().open_at(version).await.unwrap();
    finish(&computing, &tasks, &work).await.1.unwrap();
    do_all(&computing, &tasks).await;
    assert_eq!(run_of(&computing, recompute).await.state, RunState::Done);
    check_equals_fold(&world).await;

    // Nobody reads them any more.
    long_after(&world).await;
    clean().await;
    assert!(!are_there(&world, &files).await, "nothing is ever deleted here: the test shows nothing");
    check_equals_fold(&world).await;
}

/// The state after a run of this work by the schedule, which failed for good.
fn failed_again(state: &State, spec: &RunSpec) -> State {
    let (run, mut next) = (RunId(state.last_run.0 + 1), state.clone());
    let by = WorkerId::from_drawn(1);
    let mut append = |changes: Vec<Change>| {
        let entry = Entry { epoch: next.epoch, by: by.clone(), at: TimestampMicros(0), changes };
        next.apply(&entry).unwrap();
        next.epoch
    };
    let task = TaskId(1);
    let parameters = Content::Inline(json!({}));
    let planned = Planned { id: task, kind: TaskKind::Compact, after: [].into(), weight_bytes: 0, parameters };
    let spec = Arc::new(RunSpec { retries: 0, ..spec.clone() });
    let epoch = append(vec![Change::Started { run, key: format!("key{run}").into(), spec, tasks: vec![planned] }]);
    let token = Token { run, task, attempt: 1, epoch };
    append(vec![Change::Leased { token }]);
    let failure = Failure::permanent("damaged");
    append(vec![Change::Failed { token, failure }]);
    next
}

#[tokio::test]
async fn what_fails_again_and_again_is_started_less_and_less_often() {
    let world = world_of_small_files(31, 20).await;
    let crew = Crew::new(&world, config(OFTEN));
    let mut runs = due(&crew).await;
    let (clean, compact) = (runs.pop().unwrap().0, runs.pop().unwrap().0);
    let (minute, began) = (Duration::from_secs(60), Instant::now());
    let mut pace = HousekeepingPace::new(minute, began);
    let (mut state, mut started) = (State::default(), Vec::new());
    for number in 0..3_000_u32 {
        let now = began + minute * number;
        assert!(pace.start(clean.clone(), &state, now).is_some(), "another run waits for it");
        if let Some(spec) = pace.start(compact.clone(), &state, now) {
            assert_eq!(spec.schedule.as_deref(), Some("batch.housekeeping_interval"));
            started.push(number);
            state = failed_again(&state, &spec);
        }
    }
    // The failure is seen one occurrence later; then 1, 2, 4 minutes, and a day at most.
    assert_eq!(started[..5], [0, 2, 5, 10, 19], "{started:?}");
    assert!(started.len() < 16, "{started:?}");
}

#[tokio::test]
async fn nothing_is_started_that_is_open_and_no_view_folded_that_is_computed() {
    let world = unfolded_world(32).await;
    let crew = Crew::new(&world, config(FOLDING));
    let (workflow, _) = crew.process(1);
    let mut pace = HousekeepingPace::new(Duration::from_secs(60), Instant::now());
    let runs = due(&crew).await;
    let mut startable = |state: &State| -> usize {
        runs.iter().filter(|(spec, _)| pace.start(spec.clone(), state, Instant::now()).is_some()).count()
    };
    assert_eq!(startable(&workflow.state()), runs.len());
    crew.start(&workflow, &request(&["by_day"], RunMode::Full)).await.unwrap();
    assert_eq!(startable(&workflow.state()), runs.len() - 1, "by_day is computed first");
    start_all(&workflow, runs.clone()).await;
    assert_eq!(startable(&workflow.state()), 0);
}

#[tokio::test]
async fn a_worker_takes_what_needs_the_lake_alone() {
    let world = archived(28, 10).await;
    let crew = Crew::new(&world, config(""));
    let (_, tasks) = crew.process(1);
    let needs_more = [TaskKind::Expire, TaskKind::Erase, TaskKind::Import];
    assert!(needs_more.iter().all(|kind| !tasks.can_do(*kind)));
    let needs_lake = [TaskKind::Choose, TaskKind::Compute, TaskKind::Publish, TaskKind::Compact, TaskKind::Fold];
    assert!(needs_lake.iter().all(|kind| tasks.can_do(*kind)));
    assert!(tasks.can_do(TaskKind::Vacuum) && tasks.can_do(TaskKind::Trim));
}

#[tokio::test]
async fn housekeeping_is_asked_for_by_source_and_by_nothing_else() {
    let world = archived(29, 10).await;
    let config = config("fold_after = \"90d\"\n");
    let all = Asked { housekeeping: true, idempotency_key: Some("now".to_owned()), ..Asked::default() };
    let runs = all.runs(&world.pipeline, &config).unwrap();
    assert_eq!(runs.len(), 2 + world.pipeline.views.len());
    assert!(runs.iter().all(|(spec, _)| spec.priority == Priority::ByHand && spec.parameters != json!({})));
    let keys: BTreeSet<_> = runs.iter().map(|(spec, _)| spec.idempotency_key.clone()).collect();
    assert_eq!(keys.len(), runs.len());
    let named = Asked { source: Some("hits".to_owned()), ..all.clone() };
    assert_eq!(named.runs(&world.pipeline, &config).unwrap().len(), runs.len());
    for (asked, words) in [
        (Asked { source: Some("hit".to_owned()), ..all.clone() }, "there is no source `hit`"),
        (Asked { views: vec!["by_page".to_owned()], ..all.clone() }, "leave views"),
        (Asked { full: true, ..all }, "leave views"),
    ] {
        let error = asked.runs(&world.pipeline, &config).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}
