//! `system.runs`: for operators alone, read once, and no name at all for others.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use edge::{Names, Principal};
use positions::TimestampMicros;
use query_gateway::{Gateway, GatewayComponents, GatewaySettings, NoStatus, RunsReader};
use serde_json::{Value, json};
use twofold::runs_reader::LakeRuns;
use workflow::{RunId, RunMode, TaskId, TaskKind, TaskSpec, Workflow};

use super::shown::spec;
use super::{NOW, PIPELINE};
use crate::support::principals::{as_principal, reader};
use crate::support::surroundings::Surroundings;

fn gateway(surroundings: &Surroundings, runs: Option<Arc<dyn RunsReader>>) -> Arc<Gateway> {
    let components = GatewayComponents {
        pipeline: surroundings.pipeline.clone(),
        lake: surroundings.lake.clone(),
        store: surroundings.realtime(1 << 30, 7).0,
        status: Arc::new(NoStatus),
        rejected: None,
        runs,
        clock: surroundings.clock.clone(),
    };
    Gateway::new(components, GatewaySettings::default()).unwrap()
}

/// A lake with a run that was cancelled and one that is queued.
async fn world() -> (Surroundings, Arc<Gateway>) {
    let surroundings = Surroundings::new(PIPELINE, NOW, 7);
    let workflow = Workflow::new(&surroundings.lake, surroundings.clock.clone(), surroundings.ids.clone());
    let choose = || TaskSpec {
        id: TaskId(1),
        kind: TaskKind::Choose,
        after: Vec::new(),
        parameters: json!({}),
        weight_bytes: 0,
    };
    let buckets =
        RunMode::Buckets { from: TimestampMicros(0), to: TimestampMicros(3_600_000_000), only_missing: false };
    for mode in [RunMode::Full, buckets] {
        workflow.start(spec(mode), &[choose()]).await.unwrap();
    }
    workflow.cancel(RunId(1)).await.unwrap();
    let gateway = gateway(&surroundings, Some(Arc::new(LakeRuns { workflow })));
    (surroundings, gateway)
}

async fn ask(gateway: Arc<Gateway>, principal: Principal, sql: &str, origin: Option<&str>) -> (u16, Value) {
    let router: Router = as_principal(query_gateway::router(gateway, &[]), principal);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/sql", listener.local_addr().unwrap());
    let served = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let _served = tokio_util::task::AbortOnDropHandle::new(served);
    let request = reqwest::Client::new().post(url).json(&json!({ "sql": sql }));
    let request = origin.into_iter().fold(request, |request, origin| request.header("origin", origin));
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn operators_read_runs_and_may_count_them() {
    let (_surroundings, gateway) = world().await;
    let sql = "SELECT run, state, mode, views, tasks, reason FROM system.runs ORDER BY run";
    let (status, answer) = ask(gateway.clone(), Principal::anyone(), sql, None).await;
    let expected = json!([
        {"run": 1, "state": "cancelled", "mode": "full", "views": "by_hour", "tasks": 1, "reason": null},
        {"run": 2, "state": "queued", "mode": "buckets", "views": "by_hour", "tasks": 1, "reason": null}
    ]);
    assert_eq!((status, &answer["rows"]), (200, &expected), "{answer}");
    let twice = "SELECT count(*) AS n FROM system.runs a JOIN system.runs b ON a.run = b.run WHERE a.ended_at IS NULL";
    let (_, answer) = ask(gateway, Principal::anyone(), twice, None).await;
    assert_eq!(answer["rows"], json!([{"n": 1}]), "{answer}");
}

#[tokio::test]
async fn for_others_the_table_has_no_name_and_a_page_is_told_nothing() {
    let (surroundings, with_runs) = world().await;
    let sql = "SELECT run FROM system.runs";
    let (status, answer) = ask(with_runs.clone(), reader(Names::All, &[]), sql, None).await;
    assert_eq!(status, 404, "{answer}");
    let (status, answer) = ask(with_runs, Principal::anyone(), sql, Some("http://127.0.0.1:1")).await;
    assert!(status == 400 && answer["detail"].as_str().unwrap().contains("no page of a browser"), "{answer}");
    let (status, answer) = ask(gateway(&surroundings, None), Principal::anyone(), sql, None).await;
    assert!(status == 400 && answer["detail"].as_str().unwrap().contains("without access to runs"), "{answer}");
}

/// A journal that does not answer.
struct Away;

#[async_trait]
impl RunsReader for Away {
    async fn read(&self) -> Result<Vec<query_gateway::RunRow>, query_gateway::RunsUnread> {
        Err(query_gateway::RunsUnread { reason: "the store is away".to_owned() })
    }
}

#[tokio::test]
async fn runs_that_cannot_be_read_are_unavailable() {
    let surroundings = Surroundings::new(PIPELINE, NOW, 7);
    let gateway = gateway(&surroundings, Some(Arc::new(Away)));
    let (status, answer) = ask(gateway, Principal::anyone(), "SELECT count(*) AS n FROM system.runs", None).await;
    assert!(status == 503 && answer["detail"].as_str().unwrap().contains("the store is away"), "{answer}");
}
