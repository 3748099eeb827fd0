//! Runs of the workflow on S3: journal, leases and publications by conditional puts over the network, and files that
//! are imported from a bucket. The log is embedded: nothing here is about it.

use std::collections::BTreeSet;
use std::sync::Arc;

use ::lake::Lake;
use ::workflow::{RunSpec, Start, TaskKind, Workflow, WorkflowError};
use futures::future::join_all;
use object_store::ObjectStoreExt;
use object_store::aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut};
use object_store::path::Path;
use serde_json::json;
use tests::services::Services;

use crate::support::process::Running;
use crate::support::seams::{ManualClock, SeededIds};
use crate::workflow::{spec, task};
use crate::workflow_processes::lose_leader;
use crate::workflow_processes::world::{VIEW, World, event};

/// Processes that append at once, and runs that each of them starts.
const WRITERS: u64 = 4;
const RUNS: usize = 5;
/// Starts that lost against the others at every try, of one process in a row.
const MOST_CONTENDED: usize = 20;

fn bucket_of(services: &Services) -> Arc<AmazonS3> {
    let builder = AmazonS3Builder::new().with_endpoint(&services.s3).with_bucket_name(&services.s3_bucket);
    let builder = builder.with_access_key_id(&services.s3_access_key).with_secret_access_key(&services.s3_secret_key);
    let builder = builder.with_allow_http(true).with_conditional_put(S3ConditionalPut::ETagMatch);
    Arc::new(builder.build().unwrap())
}

/// The lake of this test's own prefix.
fn lake_of(services: &Services) -> Lake {
    Lake::new(bucket_of(services), Path::from(services.name.as_str()))
}

async fn world_on(services: &Services) -> World {
    let of_lake = |(key, _): &(String, String)| key.starts_with("TWOFOLD_LAKE__");
    let settings = services.settings().into_iter().filter(of_lake).collect();
    World::on(lake_of(services), settings, tempfile::tempdir().unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_leader_is_killed_is_done_and_published_once() {
    let Some(services) = Services::find() else { return };
    let world = world_on(&services).await;
    let (up, _second) = lose_leader(&world).await;
    // Nothing holds this one up.
    let _third = world.join(&world.worker("third"), &["worker"]).await;
    check_import(&world, &services, &up).await;
    world.check_published_once().await;
}

/// Files in a bucket, a part of which are copies of what was streamed, are in the answers with the next run.
async fn check_import(world: &World, services: &Services, up: &Running) {
    let (sent, more, bucket) = (world.sent(), 300, bucket_of(services));
    for (number, first) in [0, sent, sent + 100, sent + 200].into_iter().enumerate() {
        let lines: String = (first..first + 100).map(|number| event(number) + "\n").collect();
        let key = format!("{}-files/{number}.jsonl", services.name);
        bucket.put(&Path::from(key.as_str()), lines.into()).await.unwrap();
    }
    let url = format!("s3://{}/{}-files/*.jsonl", services.s3_bucket, services.name);
    let told = world.command(&["import", "--source", "hits", &url]).await;
    assert!(told.contains("4 files imported: 400 rows, 0 of them rejected"), "{told}");
    let token = told.lines().find_map(|line| line.strip_prefix("token ")).unwrap();
    let run = world.start_run(&["runs", "start", "--view", VIEW]).await;
    world.until_done(run).await;
    let answer = up.rows(VIEW, &[("by", ""), ("after", token), ("timeout", "30s")]).await;
    let (row, events) = (&answer["rows"][0], sent + more);
    assert_eq!(row["hits"], json!(events), "{}\n{}", answer["envelope"], world.logs());
    assert_eq!(row["amount"], json!(events * (events - 1) / 2), "{}", answer["envelope"]);
    let again = world.command(&["import", "--source", "hits", &url]).await;
    assert!(again.contains("4 files skipped"), "{again}");
}

/// All start the same runs at the same time, by the same keys: each is one run, whoever was first.
#[tokio::test(flavor = "multi_thread")]
async fn processes_that_append_to_one_journal_at_once_start_each_run_once() {
    let Some(services) = Services::find() else { return };
    let lake = lake_of(&services);
    let process = |number: u64| Workflow::new(&lake, Arc::new(ManualClock::at(0)), Arc::new(SeededIds::new(number)));
    let all: Vec<Vec<Start>> = join_all((0..WRITERS).map(|number| start_all(process(number)))).await;
    for number in 0..RUNS {
        let runs: BTreeSet<_> = all.iter().map(|starts| starts[number].run()).collect();
        assert_eq!(runs.len(), 1, "key {number} is several runs: {all:?}");
        let began = all.iter().filter(|starts| matches!(starts[number], Start::Started(_))).count();
        // None, where the reply was lost and the same process asked again.
        assert!(began <= 1, "run {number} was started {began} times: {all:?}");
    }
    let state = process(WRITERS).refresh().await.unwrap();
    assert_eq!(state.runs.len(), RUNS, "{:?}", state.runs.keys());
}

async fn start_all(handle: Workflow) -> Vec<Start> {
    let mut starts = Vec::new();
    for number in 0..RUNS {
        starts.push(start_until_known(&handle, number).await);
    }
    starts
}

async fn start_until_known(handle: &Workflow, number: usize) -> Start {
    let key = Some(format!("key-{number}"));
    let wanted = RunSpec { idempotency_key: key, ..spec(json!({ "number": number })) };
    for _ in 0..MOST_CONTENDED {
        match handle.start(wanted.clone(), &[task(1, TaskKind::Choose, [])]).await {
            Err(WorkflowError::Contended) => {}
            started => return started.unwrap(),
        }
    }
    panic!("others were first at every try");
}
