//! Definitions that change while a system runs: applied beside traffic, with answers all the time; taken back while
//! what was replaced is kept up to date; and followed by whoever starts with an older file.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use batch_layer::recompute::Mode;
use serde_json::{Map, Value, json};
use serving_layer::registry::DefinitionRegistry;
use twofold::client::Client;
use twofold::data_dir::DataDir;
use twofold::gateway_memory::ask_memory;
use twofold::role::Roles;
use twofold::system::{Claim, System};
use twofold::version_diff::{VersionedView, compare_versions};
use twofold::wiring::find_lake;
use views::Pipeline;

use super::{DEADLINE, EVENTS, PIPELINE, World, publish_all, rows_of, send, try_rows_of};
use crate::support::parts::Kind;

const VIEW: &str = "hits_by_page";

fn changed(pipeline: &str) -> String {
    pipeline.replace("count(*) AS hits,", "count(*) AS hits, min(bytes) AS least,")
}

async fn post(system: &System, body: Value) -> (u16, Value) {
    let request = reqwest::Client::new().post(format!("{}/v1/definitions", system.url())).json(&body);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// What the registry says of the view.
async fn state(client: &Client) -> Value {
    client.get("/v1/definitions", &[]).await.unwrap()["views"][VIEW].clone()
}

/// Waits until the registry knows that the present definition answers: only then it is a former one of what follows.
async fn until_served(client: &Client) {
    let deadline = Instant::now() + DEADLINE;
    while state(client).await["served"].is_null() {
        assert!(Instant::now() < deadline, "never served");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Sends an event and asks, again and again, until the present definition answers: each answer counts all that was
/// sent. `is_newer`: that is the changed one, which has to be built.
async fn until_present(system: &System, client: &Client, sent: &mut u64, is_newer: bool) -> Value {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let event = format!(r#"{{"id":"more-{sent}","time":"2026-01-05T10:03:00Z","page":"/","bytes":1}}"#);
        let token = send(client, &[&event]).await.token;
        *sent += 1;
        let answer = try_rows_of(client, VIEW, (&token, "30s")).await.unwrap();
        assert_eq!(answer["rows"][0]["hits"], json!(*sent), "{answer:#}");
        let has_least = answer["rows"][0].get("least").is_some_and(|least| !least.is_null());
        if answer["envelope"]["former"].is_null() && has_least == is_newer {
            return answer;
        }
        assert!(Instant::now() < deadline, "never answered by the present definition: {answer:#}");
        if is_newer {
            // Between two definitions there may be no loop to ask.
            let _ = system.recompute(Mode::Incremental).await;
        }
    }
}

/// A system that keeps what is replaced, with a view that is served; how many events of its first row were sent.
async fn start_keeping(world: &World) -> (System, Client, u64) {
    let mut config = world.config();
    config.system.keep_replaced = Duration::from_secs(600);
    let (system, client) = world.start_with(config).await;
    let token = send(&client, &EVENTS).await.token;
    publish_all(&system, &client, &token).await;
    until_served(&client).await;
    let mut sent = 2;
    until_present(&system, &client, &mut sent, false).await;
    (system, client, sent)
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_are_applied_beside_traffic_and_taken_back_while_they_are_kept() {
    let world = World::new(Kind::Embedded, PIPELINE).await.expect("they are always there");
    let (system, client, mut sent) = start_keeping(&world).await;

    let newer = changed(&world.pipeline);
    let (status, planned) = post(&system, json!({ "pipeline": newer, "plan_only": true })).await;
    let view = &planned["plan"]["views"][0];
    assert_eq!((status, &planned["applied"], &view["change"]), (200, &json!(false), &json!("changed")), "{planned:#}");
    assert!(view["parts"][0].as_str().unwrap().starts_with("measure least added: min(bytes)"), "{view:#}");
    let (status, applied) = post(&system, json!({ "pipeline": newer })).await;
    assert_eq!((status, &applied["applied"]), (201, &json!(true)), "{applied:#}");
    let (status, again) = post(&system, json!({ "pipeline": newer })).await;
    assert_eq!((status, &again["definitions"]), (200, &applied["definitions"]), "{again:#}");
    let late = newer.replace("min(bytes)", "max(bytes)");
    let (status, refused) =
        post(&system, json!({ "pipeline": late, "planned_on": planned["plan"]["planned_on"] })).await;
    assert_eq!(status, 409, "{refused:#}");
    until_present(&system, &client, &mut sent, true).await;
    assert!(!state(&client).await["kept"].is_null());

    // Back again, without a round of the batch layer that anybody asks for.
    let (status, back) = post(&system, json!({ "pipeline": world.pipeline })).await;
    assert_eq!(status, 201, "{back:#}");
    until_present(&system, &client, &mut sent, false).await;
    let state = state(&client).await;
    assert_eq!(state["served"]["definitions"], back["definitions"], "{state:#}");
    system.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_answers_again_while_no_run_works_and_nothing_is_left_to_archive() {
    let world = World::new(Kind::Embedded, PIPELINE).await.expect("they are always there");
    let (system, client, mut sent) = start_keeping(&world).await;
    assert_eq!(post(&system, json!({ "pipeline": changed(&world.pipeline) })).await.0, 201);
    until_present(&system, &client, &mut sent, true).await;
    assert!(!state(&client).await["kept"].is_null());
    let event = r#"{"id":"last","time":"2026-01-05T10:03:00Z","page":"/","bytes":1}"#;
    let token = send(&client, &[event]).await.token;
    // Batch covers all of it, so all of it is archived; and from now on no process takes a task of any run.
    publish_all(&system, &client, &token).await;
    let pause = reqwest::Client::new().post(format!("{}/v1/runs/pause", system.url())).send().await.unwrap();
    assert_eq!(pause.status(), 200);

    let (status, back) = post(&system, json!({ "pipeline": world.pipeline })).await;
    assert_eq!(status, 201, "{back:#}");
    let deadline = Instant::now() + DEADLINE;
    while state(&client).await["served"]["definitions"] != back["definitions"] {
        assert!(Instant::now() < deadline, "never served: {:#}", state(&client).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answer = rows_of(&client, VIEW, &token).await;
    let first = &answer["rows"][0];
    assert_eq!((&first["hits"], first.get("least")), (&json!(sent + 1), None), "{answer:#}");
    system.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_cannot_be_run_is_a_problem_until_there_is_another_one() {
    let world = World::new(Kind::Embedded, PIPELINE).await.expect("they are always there");
    let config = world.config();
    let data_dir = DataDir::find(&config.system.data_dir, false).unwrap();
    let (system, client) = world.start().await;
    let lake = find_lake(&config.lake, &data_dir).await.unwrap();
    let registry = DefinitionRegistry::new(&lake);
    let refused = async || {
        let status = client.get("/v1/status", &[]).await.unwrap();
        let problems = status["problems"].as_array().unwrap().clone();
        problems.into_iter().find(|problem| problem["kind"] == "definitions-refused")
    };
    assert_eq!(refused().await, None);
    // It has no setting for a schema registry.
    let avro = world.pipeline.replace("STORED AS JSON", "STORED AS AVRO");
    registry.claim(&Pipeline::read(&avro, &BTreeMap::new()).unwrap()).await.unwrap();
    let deadline = Instant::now() + DEADLINE;
    let problem = loop {
        if let Some(problem) = refused().await {
            break problem;
        }
        assert!(Instant::now() < deadline, "never told");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(problem["problem"].as_str().unwrap().contains("cannot be run here"), "{problem:#}");
    registry.claim(&Pipeline::read(&world.pipeline, &BTreeMap::new()).unwrap()).await.unwrap();
    while let Some(problem) = refused().await {
        assert!(Instant::now() < deadline, "told for ever: {problem:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    system.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_versions_of_a_view_are_compared_group_by_group() {
    let world = World::new(Kind::Embedded, PIPELINE).await.expect("they are always there");
    let (system, client) = world.start().await;
    let token = send(&client, &EVENTS).await.token;
    let version = |answer: Value| answer["envelope"]["version"].as_u64().unwrap();
    let first = version(publish_all(&system, &client, &token).await);
    let more = [
        r#"{"id":"8","time":"2026-01-05T10:00:00Z","page":"/","bytes":1}"#,
        r#"{"id":"9","time":"2026-01-05T10:00:00Z","page":"/new","bytes":2}"#,
    ];
    let token = send(&client, &more).await.token;
    let second = version(publish_all(&system, &client, &token).await);
    let found = compare_versions(&client, (VIEW, first, second), None, 10).await.unwrap();
    let [changed, new] = found.groups.as_slice() else { panic!("{found:?}") };
    assert_eq!((found.same, &changed.group["page"], &new.group["page"]), (1, &json!("/"), &json!("/new")));
    let hits = |measures: &Option<Map<String, Value>>| measures.as_ref().map(|all| all["hits"].clone());
    assert_eq!((hits(&changed.before), hits(&changed.after)), (Some(json!(2)), Some(json!(3))));
    assert_eq!((hits(&new.before), hits(&new.after)), (None, Some(json!(1))));
    let memory = ask_memory(&client).await.unwrap();
    assert!(memory[VIEW].len() == 1 && memory[VIEW].values().all(|bytes| *bytes > 0), "{memory:?}");
    let total = compare_versions(&client, (VIEW, first, second), Some(""), 10).await.unwrap();
    let [total] = total.groups.as_slice() else { panic!("{total:?}") };
    assert_eq!((hits(&total.before), hits(&total.after)), (Some(json!(3)), Some(json!(5))));
    assert_eq!(compare_versions(&client, (VIEW, second, second), None, 10).await.unwrap().same, 3);
    let refused = compare_versions(&client, (VIEW, first, second), None, 1).await.unwrap_err().to_string();
    assert!(refused.contains("more than 1 groups"), "{refused}");
    for wrong in ["hits_by_page", "@3", "hits_by_page@3:", "hits_by_page@:3"] {
        assert!(VersionedView::parse(wrong).is_err(), "{wrong}");
    }
    assert_eq!(VersionedView::parse("hits_by_page@2:3").map(|read| (read.set, read.version)), Ok((Some(2), 3)));
    system.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_definitions_change_nothing_and_are_told_at_once() {
    let world = World::new(Kind::Embedded, PIPELINE).await.expect("they are always there");
    let (system, client) = world.start().await;
    let before = client.get("/v1/definitions", &[]).await.unwrap()["definitions"].clone();
    let wrong = world.pipeline.replace("FROM hits GROUP", "FROM hut GROUP").replace("sum(bytes)", "sum(nothing)");
    let (status, problem) = post(&system, json!({ "pipeline": wrong })).await;
    assert_eq!((status, problem["findings"].as_array().map(Vec::is_empty)), (400, Some(false)), "{problem:#}");
    let (status, problem) = post(&system, json!({ "pipelines": "" })).await;
    assert_eq!(status, 400, "{problem:#}");
    let page = reqwest::Client::new().post(format!("{}/v1/definitions", system.url())).header("Origin", system.url());
    assert_eq!(page.json(&json!({ "pipeline": world.pipeline })).send().await.unwrap().status(), 403);
    assert_eq!(client.get("/v1/definitions", &[]).await.unwrap()["definitions"], before);
    system.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_starts_with_an_older_file_runs_what_the_registry_holds() {
    let world = World::new(Kind::Embedded, PIPELINE).await.expect("they are always there");
    let older = || Pipeline::read(&world.pipeline, &BTreeMap::new()).unwrap();
    let newer = || Pipeline::read(&changed(&world.pipeline), &BTreeMap::new()).unwrap();
    let number = async |client: &Client| client.get("/v1/status", &[]).await.unwrap()["system"]["definitions"].as_u64();
    let (system, client) = world.start().await;
    let token = send(&client, &EVENTS).await.token;
    publish_all(&system, &client, &token).await;
    system.stop().await.unwrap();

    let system = System::start(world.config(), newer()).await.unwrap();
    let client = Client::new(&system.url()).unwrap();
    publish_all(&system, &client, &token).await;
    let present = number(&client).await;
    system.stop().await.unwrap();

    let system = System::start(world.config(), older()).await.unwrap();
    let client = Client::new(&system.url()).unwrap();
    assert_eq!(number(&client).await, present, "it follows");
    let answer = rows_of(&client, VIEW, &token).await;
    assert_eq!(answer["rows"][0]["least"], json!(20), "{answer:#}");
    system.stop().await.unwrap();

    // Told to, it goes back.
    let system = System::start_as(world.config(), older(), Roles::all(), Claim::Asked).await.unwrap();
    let client = Client::new(&system.url()).unwrap();
    assert!(number(&client).await > present);
    publish_all(&system, &client, &token).await;
    assert_eq!(rows_of(&client, VIEW, &token).await["rows"][0].get("least"), None);
    system.stop().await.unwrap();
}
