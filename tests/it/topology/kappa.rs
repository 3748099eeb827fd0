//! A process whose source is in kappa mode: its views are answered from the first record on without a batch version, by
//! the same definitions as in lambda mode; a changed definition, or the other mode, is built beside the one that
//! answers.

use std::time::{Duration, Instant};

use positions::{DefinitionHash, PositionToken};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use serving_layer::registry::DefinitionRegistry;
use tokio::time::sleep;
use twofold::client::Client;

use super::living::{VIEW, is_former, pipeline, send, send_lines, until};
use super::registry::all_served;
use super::traffic::{rows, total};
use super::world::World;
use super::{source, view};
use crate::simulation::plan::Rates;

const DEADLINE: Duration = Duration::from_secs(60);
const SOURCE: &str = "live";

fn in_kappa(name: &str) -> String {
    let lambda = source(name, "10m");
    let kappa = lambda.replace("partitions '2'", "partitions '2', mode 'kappa'");
    assert_ne!(lambda, kappa);
    kappa
}

fn counted(source: &str) -> String {
    source.to_owned() + &view(SOURCE, "count", "count(*) AS n")
}

fn hash(sql: &str) -> DefinitionHash {
    pipeline(sql).view(VIEW).unwrap().hash
}

async fn is_kept(world: &World, generation: DefinitionHash) -> bool {
    let [first, second] = [world.generation(SOURCE, generation, 0), world.generation(SOURCE, generation, 1)];
    first.await.is_some() || second.await.is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_answered_from_the_first_record_on_also_after_a_wiped_realtime_store() {
    let mut world = World::new(1, Rates::default());
    let sql = counted(&in_kappa(SOURCE));
    let process = world.start(&sql).await;
    send(&process.client, 0..30).await;
    // Within the horizon copies are left out.
    let token = send(&process.client, 20..40).await;
    check_alone(&process.client, &token, 40).await;
    all_served(&DefinitionRegistry::new(&process.lake)).await;
    assert_eq!(world.index(SOURCE, 0).await, None, "there is nothing above batch views");
    let status = process.client.get("/v1/status", &[]).await.unwrap();
    assert_eq!(status["sources"][0]["mode"], "kappa", "{status:#}");
    process.stop().await;

    world.wipe();
    let process = world.start(&sql).await;
    check_alone(&process.client, &token, 40).await;
    let token = send(&process.client, 40..45).await;
    check_alone(&process.client, &token, 45).await;
    process.stop().await;
}

/// The speed layer alone answers, with all of these events.
async fn check_alone(client: &Client, token: &str, events: u64) {
    let answer = rows(client, VIEW, token).await.unwrap();
    let envelope = &answer["envelope"];
    assert_eq!((total(&answer), &envelope["version"], &envelope["batch_rows"]), (events, &Value::Null, &json!(0)));
    let cut = envelope["cut"].as_object().unwrap();
    assert!(cut.values().all(|offset| *offset == 0), "{answer:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_versions_cannot_be_asked_for() {
    let world = World::new(2, Rates::default());
    let process = world.start(&counted(&in_kappa(SOURCE))).await;
    let token = send(&process.client, 0..5).await;
    check_alone(&process.client, &token, 5).await;
    let path = format!("/v1/views/{VIEW}/rows");
    for (name, value) in [("layer", "batch"), ("consistency", "batch"), ("version", "1")] {
        let refused = process.client.get(&path, &[(name, value)]).await.unwrap_err().to_string();
        assert!(refused.contains("has no batch versions") && refused.contains("mode 'kappa'"), "{name}: {refused}");
    }
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_definition_is_replayed_beside_the_old_one_while_events_come() {
    let world = World::new(3, Rates::default());
    let old = counted(&in_kappa(SOURCE));
    let new = in_kappa(SOURCE) + &view(SOURCE, "count", "count(*) AS n, min(page) AS first");
    let mut process = world.start(&old).await;
    let token = send(&process.client, 0..60).await;
    check_alone(&process.client, &token, 60).await;
    all_served(&DefinitionRegistry::new(&process.lake)).await;

    process.apply(&new).await;
    let deadline = Instant::now() + DEADLINE;
    let mut sent = 60;
    // Each answer on the way holds all that was acknowledged before, whichever definition gives it.
    loop {
        let token = send(&process.client, sent..sent + 3).await;
        sent += 3;
        let answer = rows(&process.client, VIEW, &token).await.unwrap();
        assert_eq!(total(&answer), sent, "{answer:#}");
        if !is_former(&answer) {
            assert!(answer["rows"][0]["first"].is_string(), "{answer:#}");
            break;
        }
        assert!(Instant::now() < deadline, "never flipped: {answer:#}");
        sleep(Duration::from_millis(5)).await;
    }
    all_served(&DefinitionRegistry::new(&process.lake)).await;
    process.stop().await;
    assert!(is_kept(&world, hash(&new)).await);
    assert!(!is_kept(&world, hash(&old)).await, "nobody needs the former generation any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_is_added_leaves_the_others_running() {
    let world = World::new(4, Rates::default());
    let one = counted(&in_kappa(SOURCE));
    let mut process = world.start(&one).await;
    let token = send(&process.client, 0..20).await;
    check_alone(&process.client, &token, 20).await;
    let before = world.generation(SOURCE, hash(&one), 0).await.unwrap();
    process.apply(&(one.clone() + &view(SOURCE, "pages", "count(*) AS n"))).await;
    assert_eq!(total(&rows(&process.client, "live_pages", &token).await.unwrap()), 20);
    let after = world.generation(SOURCE, hash(&one), 0).await.unwrap();
    assert_eq!((before.runs, before.head), (after.runs, after.head), "it was neither replayed nor read again");
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_goes_from_one_mode_to_the_other_and_back() {
    let world = World::new(5, Rates::default());
    let (lambda, kappa) = (counted(&source(SOURCE, "10m")), counted(&in_kappa(SOURCE)));
    assert_ne!(hash(&lambda), hash(&kappa), "states of one are never taken for those of the other");
    let mut process = world.start(&lambda).await;
    send(&process.client, 0..30).await;
    let is_batch = |answer: &Value| !is_former(answer) && !answer["envelope"]["version"].is_null();
    let answer = until(&process.client, "answered by batch", |answer| is_batch(answer) && total(answer) == 30).await;
    assert_eq!(total(&answer), 30);
    all_served(&DefinitionRegistry::new(&process.lake)).await;

    process.apply(&kappa).await;
    send(&process.client, 30..40).await;
    let is_alone = |answer: &Value| !is_former(answer) && answer["envelope"]["version"].is_null();
    until(&process.client, "answered by realtime alone", |answer| is_alone(answer) && total(answer) == 40).await;
    all_served(&DefinitionRegistry::new(&process.lake)).await;

    process.apply(&lambda).await;
    send(&process.client, 40..50).await;
    until(&process.client, "answered by batch again", |answer| is_batch(answer) && total(answer) == 50).await;
    process.stop().await;
    assert!(!is_kept(&world, hash(&kappa)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_modes_answer_the_same_where_there_are_no_copies() {
    let seed = 6;
    eprintln!("TWOFOLD_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let world = World::new(seed, Rates::default());
    let measures = "count(*) AS n, min(page) AS first, count(DISTINCT id) AS ids";
    let sources = ["mode_lambda", "mode_kappa"];
    let sql = source(sources[0], "10m")
        + &in_kappa(sources[1])
        + &sources.map(|source| view(source, "count", measures)).concat();
    let process = world.start(&sql).await;
    let mut tokens = [PositionToken::default(), PositionToken::default()];
    for batch in 0..20 {
        let line = |id: u64, page: u32| format!(r#"{{"id":"{id}","time":"2026-01-05T10:00:00Z","page":"/{page}"}}"#);
        let ids = batch * 10..(batch + 1) * 10;
        let lines: Vec<String> = ids.map(|id| line(id, rng.random_range(0..6))).collect();
        for (source, token) in sources.iter().zip(&mut tokens) {
            let received = send_lines(&process.client, source, &lines.join("\n")).await;
            token.merge(&PositionToken::decode(&received.token).unwrap());
        }
    }
    let mut answers = Vec::new();
    for (source, token) in sources.iter().zip(&tokens) {
        let answer = rows(&process.client, &format!("{source}_count"), &token.encode()).await.unwrap();
        assert_eq!(total(&answer), 200, "{answer:#}");
        answers.push(answer["rows"].clone());
    }
    assert_eq!(answers[0], answers[1]);
    process.stop().await;
}
