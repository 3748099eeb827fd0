//! `system.runs` and `system.run_tasks`: for operators alone, read once and as far as asked for, and no name at all for
//! others.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use edge::{Names, Principal};
use positions::TimestampMicros;
use query_gateway::{
    Gateway, GatewayComponents, GatewaySettings, NoStatus, RunRow, RunTaskRow, RunsReader, RunsUnread,
};
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
    for sql in ["SELECT run FROM system.runs", "SELECT run FROM system.run_tasks"] {
        let (status, answer) = ask(with_runs.clone(), reader(Names::All, &[]), sql, None).await;
        assert_eq!(status, 404, "{answer}");
        let (status, answer) = ask(with_runs.clone(), Principal::anyone(), sql, Some("http://127.0.0.1:1")).await;
        assert!(status == 400 && answer["detail"].as_str().unwrap().contains("no page of a browser"), "{answer}");
        let (status, answer) = ask(gateway(&surroundings, None), Principal::anyone(), sql, None).await;
        assert!(status == 400 && answer["detail"].as_str().unwrap().contains("without access to runs"), "{answer}");
    }
}

/// A journal that does not answer.
struct Away;

#[async_trait]
impl RunsReader for Away {
    async fn read(&self) -> Result<Vec<RunRow>, RunsUnread> {
        Err(RunsUnread { reason: "the store is away".to_owned() })
    }

    async fn tasks(&self, _runs: &[u64]) -> Result<Vec<RunTaskRow>, RunsUnread> {
        self.read().await.map(|_| Vec::new())
    }
}

#[tokio::test]
async fn runs_that_cannot_be_read_are_unavailable() {
    let surroundings = Surroundings::new(PIPELINE, NOW, 7);
    let gateway = gateway(&surroundings, Some(Arc::new(Away)));
    for table in ["runs", "run_tasks"] {
        let sql = format!("SELECT count(*) AS n FROM system.{table}");
        let (status, answer) = ask(gateway.clone(), Principal::anyone(), &sql, None).await;
        let is_told = answer["detail"].as_str().unwrap().contains("the store is away");
        assert!(status == 503 && is_told, "{table}: {answer}");
    }
}

/// The runs of a lake, with a note of each question for tasks.
struct Noting {
    runs: LakeRuns,
    asked: Mutex<Vec<Vec<u64>>>,
}

#[async_trait]
impl RunsReader for Noting {
    async fn read(&self) -> Result<Vec<RunRow>, RunsUnread> {
        self.runs.read().await
    }

    async fn tasks(&self, runs: &[u64]) -> Result<Vec<RunTaskRow>, RunsUnread> {
        self.asked.lock().unwrap().push(runs.to_vec());
        self.runs.tasks(runs).await
    }
}

#[tokio::test]
async fn tasks_are_read_of_those_runs_alone_that_a_query_names() {
    let (surroundings, _) = world().await;
    let workflow = Workflow::new(&surroundings.lake, surroundings.clock.clone(), surroundings.ids.clone());
    let noting = Arc::new(Noting { runs: LakeRuns { workflow }, asked: Mutex::default() });
    let gateway = gateway(&surroundings, Some(noting.clone()));
    let all = "run, task, kind, state, \"after\", waits_for, attempt, failures, rows_read, bytes_read, process, reason";
    let row = |run: u64, state: &str| {
        json!({"run": run, "task": 1, "kind": "choose", "state": state, "after": "", "waits_for": 0, "attempt": 0,
               "failures": 0, "rows_read": 0, "bytes_read": 0, "process": null, "reason": null})
    };
    let tasks = "FROM system.run_tasks";
    let count = "SELECT count(*) AS n";
    let cases: [(String, Value, Vec<u64>); 5] = [
        (format!("SELECT {all} {tasks} ORDER BY run"), json!([row(1, "cancelled"), row(2, "pending")]), vec![1, 2]),
        (format!("SELECT {all} {tasks} WHERE run = 2"), json!([row(2, "pending")]), vec![2]),
        (format!("{count} {tasks} WHERE run IN (1, 7)"), json!([{"n": 1}]), vec![1]),
        (format!("{count} {tasks} WHERE run > 1 AND state = 'pending'"), json!([{"n": 1}]), vec![2]),
        (format!("{count} {tasks} a JOIN system.run_tasks b ON a.run = b.run"), json!([{"n": 2}]), vec![1, 2]),
    ];
    for (sql, rows, read) in cases {
        let (status, answer) = ask(gateway.clone(), Principal::anyone(), &sql, None).await;
        assert_eq!((status, &answer["rows"]), (200, &rows), "{sql}: {answer}");
        assert_eq!(std::mem::take(&mut *noting.asked.lock().unwrap()), [read], "{sql}");
    }
    let none = format!("{count} {tasks} WHERE run = 7");
    assert_eq!(ask(gateway.clone(), Principal::anyone(), &none, None).await.1["rows"], json!([{"n": 0}]));
    assert!(noting.asked.lock().unwrap().is_empty(), "there is no such run");
    // Bare, in whatever place: none of the columns is a word that SQL keeps for itself.
    let bare = all.replace('"', "");
    let bare =
        format!("SELECT {bare}, since, weight_bytes, worked_millis, phase {tasks} WHERE after = '' ORDER BY after");
    assert_eq!(ask(gateway, Principal::anyone(), &bare, None).await.0, 200);
}

#[tokio::test]
async fn a_run_of_very_many_tasks_is_asked_for_by_itself() {
    /// Runs of so many tasks, of which none is told.
    struct Large(Vec<RunRow>, Mutex<Vec<Vec<u64>>>);

    #[async_trait]
    impl RunsReader for Large {
        async fn read(&self) -> Result<Vec<RunRow>, RunsUnread> {
            Ok(self.0.clone())
        }

        async fn tasks(&self, runs: &[u64]) -> Result<Vec<RunTaskRow>, RunsUnread> {
            self.1.lock().unwrap().push(runs.to_vec());
            Ok(Vec::new())
        }
    }

    let (surroundings, _) = world().await;
    let workflow = Workflow::new(&surroundings.lake, surroundings.clock.clone(), surroundings.ids.clone());
    let row = LakeRuns { workflow }.read().await.unwrap().remove(0);
    let sizes = [(1, 4_000), (2, 15_000), (3, 15_000), (4, 1)];
    let rows = sizes.map(|(run, tasks)| RunRow { run, tasks, ..row.clone() }).to_vec();
    let large = Arc::new(Large(rows, Mutex::default()));
    let gateway = gateway(&surroundings, Some(large.clone()));
    let sql = "SELECT count(*) AS n FROM system.run_tasks";
    assert_eq!(ask(gateway, Principal::anyone(), sql, None).await.1["rows"], json!([{"n": 0}]));
    let asked: Vec<Vec<u64>> = vec![vec![1, 2], vec![3, 4]];
    assert_eq!(*large.1.lock().unwrap(), asked);
}
