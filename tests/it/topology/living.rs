//! A process that starts with a changed definition, while nobody builds it yet: the view is answered by its former one,
//! with all that came before and, where the source is read as before, with what comes after; then by the present one.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use positions::DefinitionHash;
use serde_json::{Value, json};
use serving_layer::registry::DefinitionRegistry;
use tokio::time::sleep;
use twofold::client::{Client, Receipt, SendOutcome};
use twofold::commands::status::draw_status;
use twofold::role::{Role, Roles};
use views::Pipeline;

use super::registry::all_served;
use super::traffic::{rows, total};
use super::world::{Process, World};
use super::{source, view};
use crate::simulation::plan::Rates;

const DEADLINE: Duration = Duration::from_secs(60);
const SOURCE: &str = "live";
pub const VIEW: &str = "live_count";

pub fn pipeline(sql: &str) -> Pipeline {
    Pipeline::read(sql, &BTreeMap::new()).unwrap()
}

pub fn old() -> String {
    source(SOURCE, "10m") + &view(SOURCE, "count", "count(*) AS n")
}

/// Another measure of the view; the source is read as before.
fn changed() -> String {
    source(SOURCE, "10m") + &view(SOURCE, "count", "count(*) AS n, min(page) AS first")
}

/// Sends the events of these numbers; their token.
pub async fn send(client: &Client, ids: Range<u64>) -> String {
    let count = ids.end - ids.start;
    let line = |id: u64| format!(r#"{{"id":"{id}","time":"2026-01-05T10:00:00Z","page":"/{}"}}"#, id % 3);
    let receipt = send_lines(client, SOURCE, &ids.map(line).collect::<Vec<_>>().join("\n")).await;
    assert_eq!(receipt.accepted, count, "{:?}", receipt.errors);
    receipt.token
}

/// Sends lines until they are taken.
pub async fn send_lines(client: &Client, source: &str, lines: &str) -> Receipt {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match client.send_events(source, lines.to_owned().into()).await.unwrap() {
            SendOutcome::Received(receipt) => return receipt,
            SendOutcome::Later { reason, .. } => assert!(Instant::now() < deadline, "{reason}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Asks until an answer is as it should be.
pub async fn until(client: &Client, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let answer = client.get(&format!("/v1/views/{VIEW}/rows"), &[]).await;
        if let Ok(answer) = &answer
            && is_so(answer)
        {
            return answer.clone();
        }
        assert!(Instant::now() < deadline, "not {what}: {answer:#?}");
        sleep(Duration::from_millis(20)).await;
    }
}

pub fn is_former(answer: &Value) -> bool {
    !answer["envelope"]["former"].is_null()
}

/// A first process takes 30 events, builds its view, which the registry knows then, and stops; the token of the events.
async fn live_through(world: &World, definitions: Pipeline) -> String {
    let process = world.start_roles(definitions, Roles::all()).await;
    let token = send(&process.client, 0..30).await;
    assert_eq!(total(&rows(&process.client, VIEW, &token).await.unwrap()), 30);
    let is_covered = |answer: &Value| answer["envelope"]["realtime_rows"] == 0 && total(answer) == 30;
    until(&process.client, "covered by batch", is_covered).await;
    all_served(&DefinitionRegistry::new(&process.lake)).await;
    process.stop().await;
    token
}

/// Nobody builds anything in it.
pub async fn start_without_batch(world: &World, definitions: Pipeline) -> Process {
    world.start_roles(definitions, Roles::all().without(Role::Batch)).await
}

/// A process that builds as well goes over to the present definition, by which all these events count.
async fn check_flip(world: &World, definitions: Pipeline, events: u64) -> (Process, Value) {
    let process = world.start_roles(definitions, Roles::all()).await;
    let is_flipped = |answer: &Value| !is_former(answer) && answer["envelope"]["stale"] == false;
    let answer = until(&process.client, "answered by the present definition", is_flipped).await;
    assert_eq!(total(&answer), events, "{answer:#}");
    all_served(&DefinitionRegistry::new(&process.lake)).await;
    (process, answer)
}

async fn sum_by_sql(client: &Client) -> Value {
    let text = client.sql(&format!("SELECT sum(n) AS n FROM {VIEW}")).await.unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["rows"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_measure_is_answered_by_the_former_definition_with_what_comes_until_it_is_built() {
    let world = World::new(1, Rates::default());
    let token = live_through(&world, pipeline(&old())).await;

    let process = start_without_batch(&world, pipeline(&changed())).await;
    let answer = rows(&process.client, VIEW, &token).await.unwrap();
    let envelope = &answer["envelope"];
    assert_eq!((total(&answer), &envelope["former"]["set"], &envelope["stale"]), (30, &json!(1), &json!(true)));
    assert_eq!(answer["rows"][0]["first"], Value::Null, "{answer:#}");
    let token = send(&process.client, 30..42).await;
    let answer = rows(&process.client, VIEW, &token).await.unwrap();
    assert_eq!((total(&answer), is_former(&answer)), (42, true), "{answer:#}");
    assert_eq!(sum_by_sql(&process.client).await, json!([{"n": 42}]));
    check_refusals(&process.client).await;
    let status = process.client.get("/v1/status", &[]).await.unwrap();
    let drawn = draw_status(&status);
    assert!(drawn.contains("view live_count: answered by its former definition (set 1)"), "{drawn}");
    process.stop().await;

    // Stopped in between, it goes on so.
    let process = start_without_batch(&world, pipeline(&changed())).await;
    let answer = rows(&process.client, VIEW, &token).await.unwrap();
    assert_eq!((total(&answer), is_former(&answer)), (42, true), "{answer:#}");
    process.stop().await;

    let (process, answer) = check_flip(&world, pipeline(&changed()), 42).await;
    assert_eq!(answer["rows"][0]["first"].as_str().unwrap().len(), 2, "{answer:#}");
    check_runs(&world, &process.client, pipeline(&changed()).views[0].hash).await;
    process.stop().await;
}

/// What only the present definition could answer is being built; what none could answer is unknown.
async fn check_refusals(client: &Client) {
    let path = format!("/v1/views/{VIEW}/rows");
    for (order, is_building) in [("first", true), ("nonsense", false)] {
        let refused = client.get(&path, &[("order", order)]).await.unwrap_err().to_string();
        assert_eq!(refused.contains("is being built"), is_building, "{refused}");
        let refused = client.sql(&format!("SELECT {order} FROM {VIEW}")).await.unwrap_err().to_string();
        assert_eq!(refused.contains("is being built"), is_building, "{refused}");
    }
}

/// New runs hold the present definition alone.
async fn check_runs(world: &World, client: &Client, present: DefinitionHash) {
    let deadline = Instant::now() + DEADLINE;
    for first in (1_000..).step_by(10) {
        send(client, first..first + 10).await;
        let mut newest = Vec::new();
        for partition in 0..2 {
            let index = world.index(SOURCE, partition).await;
            newest.extend(index.and_then(|index| index.runs.last().cloned()));
        }
        let mut held = newest.iter().flat_map(|run| run.views.iter().map(|held| held.view));
        if !newest.is_empty() && held.all(|view| view == present) {
            return;
        }
        assert!(Instant::now() < deadline, "runs still hold the former definition: {newest:?}");
    }
}

/// Asks without end; each answer is there, and is the one of before.
async fn keep_asking(client: &Client) {
    loop {
        let answer = client.get(&format!("/v1/views/{VIEW}/rows"), &[]).await.unwrap();
        assert_eq!((total(&answer), is_former(&answer)), (30, true), "{answer:#}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_change_while_one_is_being_built_takes_no_answer_away() {
    let world = World::new(6, Rates::default());
    let token = live_through(&world, pipeline(&old())).await;
    let again = changed().replace("min(page)", "max(page)");
    let mut process = start_without_batch(&world, pipeline(&changed())).await;
    let client = process.client.clone();
    let answer = rows(&client, VIEW, &token).await.unwrap();
    assert_eq!((total(&answer), is_former(&answer)), (30, true), "{answer:#}");
    for next in [again.clone(), changed(), again.clone()] {
        tokio::select! {
            biased;
            () = process.apply(&next) => {}
            () = keep_asking(&client) => unreachable!("it asks without end"),
        }
        let answer = until(&client, "answered", |_| true).await;
        assert_eq!((total(&answer), &answer["envelope"]["former"]["set"]), (30, &json!(1)), "{answer:#}");
    }
    let token = send(&client, 30..42).await;
    let answer = rows(&client, VIEW, &token).await.unwrap();
    assert_eq!((total(&answer), is_former(&answer)), (42, true), "{answer:#}");
    process.stop().await;
    check_flip(&world, pipeline(&again), 42).await.0.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_realtime_store_is_filled_for_the_former_definition_too() {
    let mut world = World::new(2, Rates::default());
    let token = live_through(&world, pipeline(&old())).await;
    world.wipe();
    let process = start_without_batch(&world, pipeline(&changed())).await;
    let answer = rows(&process.client, VIEW, &token).await.unwrap();
    assert_eq!((total(&answer), is_former(&answer)), (30, true), "{answer:#}");
    let token = send(&process.client, 30..42).await;
    let answer = rows(&process.client, VIEW, &token).await.unwrap();
    assert_eq!((total(&answer), is_former(&answer)), (42, true), "{answer:#}");
    process.stop().await;
    check_flip(&world, pipeline(&changed()), 42).await.0.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_source_is_read_otherwise_the_former_definition_stands_at_its_head() {
    let world = World::new(3, Rates::default());
    let token = live_through(&world, pipeline(&old())).await;
    let further = old().replace("page VARCHAR)", "page VARCHAR, further BIGINT)");
    assert_ne!(further, old());
    let process = start_without_batch(&world, pipeline(&further)).await;
    let before = rows(&process.client, VIEW, &token).await.unwrap();
    assert_eq!((total(&before), is_former(&before)), (30, true), "{before:#}");
    send(&process.client, 30..42).await;
    let deadline = Instant::now() + DEADLINE;
    loop {
        let status = process.client.get("/v1/status", &[]).await.unwrap();
        let partitions = status["sources"][0]["partitions"].as_array().unwrap();
        let read: i64 = partitions.iter().filter_map(|partition| partition["realtime"].as_i64()).sum();
        if read == 42 {
            break;
        }
        assert!(Instant::now() < deadline, "never read: {status:#}");
        sleep(Duration::from_millis(20)).await;
    }
    let answer = until(&process.client, "answered", |_| true).await;
    assert_eq!((total(&answer), is_former(&answer)), (30, true), "{answer:#}");
    assert_eq!(answer["envelope"]["head"], before["envelope"]["head"], "{answer:#}");
    process.stop().await;
    check_flip(&world, pipeline(&further), 42).await.0.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_name_is_gone_at_once_and_a_new_one_is_being_built() {
    let world = World::new(4, Rates::default());
    live_through(&world, pipeline(&old())).await;
    let renamed = source(SOURCE, "10m") + &view(SOURCE, "other", "count(*) AS n");
    let process = start_without_batch(&world, pipeline(&renamed)).await;
    for (name, told) in [(VIEW, "there is no view `live_count`"), ("live_other", "is being built")] {
        let refused = process.client.get(&format!("/v1/views/{name}/rows"), &[]).await.unwrap_err().to_string();
        assert!(refused.contains(told), "{refused}");
    }
    process.stop().await;
}

/// The view over a static table that gives each page a title.
fn titled(mark: &str) -> Pipeline {
    let sql = source(SOURCE, "10m")
        + "CREATE EXTERNAL TABLE titles (path VARCHAR, title VARCHAR) STORED AS CSV LOCATION 'titles.csv';
           CREATE MATERIALIZED VIEW live_count AS SELECT titles.title, count(*) AS n
           FROM live JOIN titles ON live.page = titles.path GROUP BY titles.title;";
    let csv = format!("path,title\n/0,{mark}0\n/1,{mark}1\n/2,{mark}2\n");
    Pipeline::read(&sql, &BTreeMap::from([("titles.csv".to_owned(), Bytes::from(csv))])).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_static_table_is_joined_as_it_was_until_the_view_is_built() {
    let world = World::new(5, Rates::default());
    let token = live_through(&world, titled("old")).await;
    let titles = |answer: &Value| -> Vec<String> {
        let mut titles: Vec<String> =
            answer["rows"].as_array().unwrap().iter().map(|row| row["title"].as_str().unwrap().to_owned()).collect();
        titles.sort_unstable();
        titles
    };
    let process = start_without_batch(&world, titled("new")).await;
    let answer = rows(&process.client, VIEW, &token).await.unwrap();
    assert_eq!((titles(&answer), total(&answer)), (["old0", "old1", "old2"].map(str::to_owned).to_vec(), 30));
    let token = send(&process.client, 30..33).await;
    let answer = rows(&process.client, VIEW, &token).await.unwrap();
    assert_eq!((titles(&answer), total(&answer)), (["old0", "old1", "old2"].map(str::to_owned).to_vec(), 33));
    process.stop().await;
    let (process, answer) = check_flip(&world, titled("new"), 33).await;
    assert_eq!(titles(&answer), ["new0", "new1", "new2"]);
    process.stop().await;
}
