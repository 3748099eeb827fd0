//! `twofold erase` on whole systems: nothing of a person is left in any store of ours, answers are exact for the rest,
//! and a call that was killed is gone on with by the next one.

use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::time::Instant;

use lake::Lake;
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use serde_json::Value;

use crate::support::parts::{Kind, Parts};
use crate::support::process::{DEADLINE, FAIL_POINTS_MISSING, Running, Setup};
use crate::support::traces::{holds, traces_in_folder, traces_in_lake};

const USERS: usize = 5;
const EVENTS: usize = 200;
const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (
  id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, user_id VARCHAR NOT NULL, amount BIGINT
) STORED AS JSON LOCATION 'kafka://hits'
  OPTIONS (event_time 'time', event_id 'id', grid '64', gap '500ms', partitions '2');

CREATE MATERIALIZED VIEW by_user AS
SELECT user_id, count(*) AS hits, sum(amount) AS amount FROM hits GROUP BY user_id;
";

/// A name as no other text has it.
fn user(number: usize) -> String {
    format!("person-{number}-c41d7e")
}

fn events() -> Vec<String> {
    let event = |number: usize| {
        let (minute, user) = (number % 60, user(number % USERS));
        format!(r#"{{"id":"e{number}","time":"2026-01-05T10:{minute:02}:00Z","user_id":"{user}","amount":{number}}}"#)
    };
    (0..EVENTS).map(event).collect()
}

fn setup(folder: &Path, parts: &Parts) -> Setup {
    Setup::new(folder, &parts.pipeline(PIPELINE), parts.settings())
        .with("BATCH__INTERVAL", "300ms")
        .with("ARCHIVE__COMMIT_INTERVAL", "50ms")
        .with("SPEED__COURTESY", "200ms")
}

async fn erase(setup: &Setup, user: &str, more: &[&str]) -> Output {
    let condition = format!("user_id = '{user}'");
    let command: &[&str] = &["erase", "--source", "hits", "--where", &condition];
    setup.run_to_its_end(&[command, more].concat()).await
}

fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A system whose events are archived and published.
async fn start_with_events(setup: &Setup) -> Running {
    let running = Running::start(setup).await;
    let lines = events();
    running.post("hits", &lines.iter().map(String::as_str).collect::<Vec<_>>()).await;
    running.wait_until_archived(EVENTS as i64).await;
    let deadline = Instant::now() + DEADLINE;
    loop {
        // While a partition is read for the first time there is no answer.
        let (status, answer) = running.try_rows("by_user", &[]).await;
        if status == 200 && answer["envelope"]["version"].is_i64() {
            return running;
        }
        assert!(Instant::now() < deadline, "nothing is published: {answer}\n{}", running.log());
    }
}

/// What each user counts for, by the answer of the system.
async fn hits(running: &Running, query: &[(&str, &str)]) -> Vec<Option<i64>> {
    let by: &[(&str, &str)] = &[("by", "user_id")];
    hits_in(&running.rows("by_user", &[by, query].concat()).await)
}

fn hits_in(answer: &Value) -> Vec<Option<i64>> {
    let rows = answer["rows"].as_array().unwrap();
    let of = |number: usize| rows.iter().find(|row| row["user_id"] == user(number).as_str())?["hits"].as_i64();
    (0..USERS).map(of).collect()
}

/// Waits until the answer is this: gateways hold their last one until the realtime views are there again.
async fn wait_for_hits(running: &Running, expected: &[Option<i64>]) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        // A lake that is built anew has no answer at first.
        let (status, answer) = running.try_rows("by_user", &[("by", "user_id")]).await;
        if status == 200 && hits_in(&answer) == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{answer}, not {expected:?}\n{}", running.log());
    }
}

/// All stores of ours that hold a text.
async fn traces(setup: &Setup, parts: &Parts, text: &str) -> Vec<String> {
    let mut found = traces_in_folder(&setup.data_dir, text);
    if let Some(services) = &parts.services {
        let store = AmazonS3Builder::new()
            .with_endpoint(&services.s3)
            .with_bucket_name(&services.s3_bucket)
            .with_access_key_id(&services.s3_access_key)
            .with_secret_access_key(&services.s3_secret_key)
            .with_region("us-east-1")
            .with_allow_http(true)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .build()
            .unwrap();
        let lake = Lake::new(Arc::new(store), object_store::path::Path::from(services.name.as_str()));
        found.extend(traces_in_lake(&lake, text).await);
        found.extend(traces_in_redis(&services.redis, &services.name, text).await);
    }
    found
}

async fn traces_in_redis(url: &str, prefix: &str, text: &str) -> Vec<String> {
    let client = redis::Client::open(url).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<String> = redis::cmd("KEYS").arg(format!("*{prefix}*")).query_async(&mut connection).await.unwrap();
    let mut found = Vec::new();
    for key in keys {
        // One may be gone by now.
        let value: Option<Vec<u8>> = redis::cmd("GET").arg(&key).query_async(&mut connection).await.unwrap();
        let is_trace = key.contains(text) || value.is_some_and(|value| holds(&value.into(), text));
        found.extend(is_trace.then_some(key));
    }
    found
}

tests::on_all_parts!(nothing_of_a_person_is_left_and_the_rest_is_exact);

async fn nothing_of_a_person_is_left_and_the_rest_is_exact(kind: Kind) {
    let Some(parts) = Parts::of(kind).await else { return };
    let folder = tempfile::tempdir().unwrap();
    let setup = setup(folder.path(), &parts);
    if let Some(services) = &parts.services {
        let a_week = [("retention.ms", "604800000")];
        services.admin().create(&services.named("hits"), 2, &a_week).await;
    }
    let running = start_with_events(&setup).await;
    let each = (EVENTS / USERS) as i64;
    let person = user(3);

    // The embedded log belongs to one process; on brokers the system goes on.
    let mut running = Some(running);
    if kind == Kind::Embedded {
        let refused = erase(&setup, &person, &["--yes"]).await;
        assert!(!refused.status.success() && printed(&refused).contains("is in use by another process"), "{refused:?}");
        assert!(running.take().unwrap().terminate().success());
    }
    assert!(!traces(&setup, &parts, &person).await.is_empty(), "nothing to erase");
    let asked = erase(&setup, &person, &[]).await;
    assert!(asked.status.success(), "{asked:?}");
    assert!(printed(&asked).contains(&format!("{each} events match")), "{}", printed(&asked));
    assert!(printed(&asked).contains("Nothing was erased"), "{}", printed(&asked));
    // What is in Kafka stays there, until a day that is told.
    assert_eq!(printed(&asked).contains("holds such records until 20"), kind == Kind::Real, "{}", printed(&asked));
    assert!(!traces(&setup, &parts, &person).await.is_empty(), "it was only asked");

    let erased = erase(&setup, &person, &["--yes"]).await;
    assert!(erased.status.success(), "{}", printed(&erased));
    assert_eq!(printed(&erased).contains("retention.ms"), kind == Kind::Real, "{}", printed(&erased));
    assert_eq!(traces(&setup, &parts, &person).await, Vec::<String>::new(), "{}", printed(&erased));

    let running = match running {
        Some(running) => running,
        None => Running::start(&setup).await,
    };
    let mut expected = vec![Some(each); USERS];
    expected[3] = None;
    wait_for_hits(&running, &expected).await;
    // What comes later counts, also with an id that was erased.
    let again = format!(r#"{{"id":"e3","time":"2026-01-05T10:03:00Z","user_id":"{person}","amount":3}}"#);
    let token = running.post("hits", &[&again]).await;
    expected[3] = Some(1);
    assert_eq!(hits(&running, &[("after", &token)]).await, expected, "{}", running.log());
    running.wait_until_archived(EVENTS as i64 + 1).await;
    let batch = running.run_batch(&["--full"]).await;
    assert!(batch.status.success(), "{batch:?}");
    assert_eq!(hits(&running, &[("after", &token)]).await, expected, "{}", running.log());
    assert!(running.terminate().success());
}

/// Where the lake is lost afterwards, it is built again from the log: from one that was rewritten.
#[tokio::test(flavor = "multi_thread")]
async fn a_lake_that_is_lost_after_an_erasing_comes_back_without_what_was_erased() {
    let parts = Parts::of(Kind::Embedded).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let setup = setup(folder.path(), &parts);
    assert!(start_with_events(&setup).await.terminate().success());
    let person = user(1);
    let erased = erase(&setup, &person, &["--yes"]).await;
    assert!(erased.status.success(), "{}", printed(&erased));
    std::fs::remove_dir_all(setup.data_dir.join("lake")).unwrap();
    let running = Running::start(&setup).await;
    let mut expected = vec![Some((EVENTS / USERS) as i64); USERS];
    expected[1] = None;
    wait_for_hits(&running, &expected).await;
    assert!(running.terminate().success());
    assert_eq!(traces_in_folder(&setup.data_dir, &person), Vec::<String>::new());
}

/// The first and the last of all users: files are told of by what lies at their ends.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_of_runs_holds_nothing_of_a_person() {
    let parts = Parts::of(Kind::Embedded).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let setup = setup(folder.path(), &parts);
    let running = start_with_events(&setup).await;
    let run = setup.run_command(&["runs", "start", "--full", "--wait"]).await;
    assert!(run.status.success(), "{}\n{}", printed(&run), running.log());
    assert!(running.terminate().success());
    let kept = setup.data_dir.join("lake/_workflow");
    assert!(kept.join("runs").exists() || kept.join("journal").exists(), "nothing is kept of the run");
    let mut expected = vec![Some((EVENTS / USERS) as i64); USERS];
    for number in [0, USERS - 1] {
        let person = user(number);
        assert_eq!(traces_in_folder(&kept, &person), Vec::<String>::new());
        let erased = erase(&setup, &person, &["--yes"]).await;
        assert!(erased.status.success(), "{}", printed(&erased));
        assert_eq!(traces_in_folder(&setup.data_dir, &person), Vec::<String>::new());
        expected[number] = None;
    }
    let listed = setup.run_command(&["runs", "list", "--json"]).await;
    assert!(listed.status.success(), "{}", printed(&listed));
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let is_erasing = |run: &&Value| run["kind"] == "housekeeping" && run["priority"] == "by_hand";
    let erasings: Vec<&Value> = listed["runs"].as_array().unwrap().iter().filter(is_erasing).collect();
    assert_eq!(erasings.len(), 2, "{listed}");
    assert!(erasings.iter().all(|run| run["state"] == "done"), "{listed}");
    let running = Running::start(&setup).await;
    wait_for_hits(&running, &expected).await;
    assert!(running.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_age_is_refused_below_the_horizon_and_told_as_a_day_above() {
    let parts = Parts::of(Kind::Embedded).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let setup = setup(folder.path(), &parts);
    assert!(start_with_events(&setup).await.terminate().success());
    let older_than = async |age| setup.run_to_its_end(&["erase", "--source", "hits", "--older-than", age]).await;
    let refused = older_than("1m").await;
    assert!(!refused.status.success() && printed(&refused).contains("write --older-than 10m or more"), "{refused:?}");
    let asked = older_than("90d").await;
    assert!(asked.status.success(), "{}", printed(&asked));
    assert!(printed(&asked).contains("too old is what is from before"), "{}", printed(&asked));
    assert!(printed(&asked).contains("Nothing was erased"), "{}", printed(&asked));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_erasing_is_gone_on_with() {
    let parts = Parts::of(Kind::Embedded).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let setup = setup(folder.path(), &parts);
    assert!(start_with_events(&setup).await.terminate().success());
    let mut expected = vec![Some((EVENTS / USERS) as i64); USERS];
    let points = ["master.commit.before", "master.commit.after", "views.commit.before", "views.commit.after"];
    for (number, point) in points.into_iter().enumerate() {
        let dying = setup.clone().dying_at(&format!("lake.{point}"), 1);
        let killed = erase(&dying, &user(number), &["--yes"]).await;
        assert!(!killed.status.success(), "{point}: {}; {FAIL_POINTS_MISSING}", printed(&killed));
        // Whatever it is asked for: here for nothing more.
        let finished = setup.run_to_its_end(&["erase", "--source", "hits", "--yes"]).await;
        assert!(finished.status.success(), "{point}: {}", printed(&finished));
        assert_eq!(traces_in_folder(&setup.data_dir, &user(number)), Vec::<String>::new(), "{point}");
        expected[number] = None;
        let running = Running::start(&setup).await;
        wait_for_hits(&running, &expected).await;
        assert!(running.terminate().success());
    }
}
