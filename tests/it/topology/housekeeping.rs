//! Housekeeping in a whole process: files are merged and old ones deleted while events come and rounds go on, and what
//! is quiet writes nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use object_store::path::Path;
use serde_json::Value;
use tokio::time::sleep;
use workflow::{Content, Run, RunKind, RunState, State, TaskState};

use super::living::{VIEW, old, send};
use super::traffic::{rows, total};
use super::world::{Process, World};
use crate::simulation::plan::Rates;

const DEADLINE: Duration = Duration::from_secs(60);
/// Of many intervals, and longer than the grace, behind which is cleaned up once more.
const LONG: Duration = Duration::from_secs(3);

const SETTINGS: &str = r#"
[batch]
housekeeping_interval = "50ms"
table_check_interval = "100ms"
compact_min_files = 2
keep_versions = 2
cleanup_interval = "300ms"
cleanup_grace = "2s"
[workflow]
recent_runs = 1000
"#;

/// How many tasks of housekeeping gave something like this.
fn gave(state: &State, is_meant: impl Fn(&Value) -> bool) -> usize {
    let kept = state.runs.values().filter(|run| run.spec.kind == RunKind::Housekeeping);
    let is_meant = |state: &TaskState| match state {
        TaskState::Done { output: Content::Inline(output), .. } => is_meant(output),
        _ => false,
    };
    kept.flat_map(|run| run.tasks.iter()).filter(|task| is_meant(&task.state)).count()
}

/// The journal as it is stored.
async fn entries(process: &Process) -> Vec<Path> {
    let found = process.lake.objects(&process.lake.path("_workflow/journal")).await.unwrap();
    let mut paths: Vec<Path> = found.into_iter().map(|object| object.location).collect();
    paths.sort();
    paths
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_looked_after_while_rounds_go_on_and_a_quiet_process_writes_nothing() {
    let world = World::with(41, Rates::default(), SETTINGS);
    let process = world.start(&old()).await;
    let (workflow, deadline) = (world.workflow(), Instant::now() + DEADLINE);
    let mut sent = 0;
    let token = loop {
        let token = send(&process.client, sent..sent + 5).await;
        sent += 5;
        let state = workflow.refresh().await.unwrap();
        let merged = gave(&state, |output| output["merged"]["files_before"].as_u64() > Some(1));
        let deleted = gave(&state, |output| output["objects"].as_u64() > Some(0));
        let is_round = |run: &&Arc<Run>| run.spec.kind == RunKind::Recompute;
        let rounds = state.runs.values().filter(is_round).filter(|run| run.state == RunState::Done).count();
        if merged > 2 && deleted > 2 && rounds > 2 {
            break token;
        }
        assert!(Instant::now() < deadline, "{merged} merges, {deleted} clean-ups, {rounds} rounds: {state:?}");
        // A cut comes where the source is silent for a while.
        sleep(Duration::from_millis(300)).await;
    };
    assert_eq!(total(&rows(&process.client, VIEW, &token).await.unwrap()), sent);
    let status = process.client.get("/v1/status", &[]).await.unwrap();
    assert!(status["system"]["batch"]["master_files"]["live"].as_u64() > Some(0), "{status:#}");
    let problems = status["problems"].as_array().unwrap();
    let is_of_tables = |kind: &Value| kind == "run-failed" || kind == "files-missing" || kind == "batch-failed";
    assert!(!problems.iter().any(|one| is_of_tables(&one["kind"])), "{status:#}");

    // What is left to be merged and deleted is, and then it is quiet.
    loop {
        let before = entries(&process).await;
        sleep(LONG).await;
        if entries(&process).await == before {
            break;
        }
        assert!(Instant::now() < deadline, "never quiet: {:?}", workflow.refresh().await);
    }
    let state = workflow.refresh().await.unwrap();
    let failed: Vec<_> = state.runs.values().filter(|run| run.state == RunState::Failed).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(total(&rows(&process.client, VIEW, &token).await.unwrap()), sent);
    process.stop().await;
}
