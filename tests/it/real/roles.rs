//! Roles that are processes of their own. Kafka killed under them: the probe of each says what it can do, the status
//! why, and all of them come back by themselves. A topic replaced under them: those that know of it tell the others.

use serde_json::{Value, json};
use tests::own_services::OwnServices;

use super::{EVENTS_PER_REQUEST, PIPELINE, VIEW, World, event, eventually};
use crate::support::process::{ROLES, Running, Setup, binary};

/// Those that can do nothing without the log.
const OF_THE_LOG: [&str; 3] = ["collector", "archive", "speed"];

async fn readiness(process: &Running) -> (u16, Value) {
    let answer = reqwest::get(format!("{}/readyz", process.address)).await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Sends a request of events, again until it is taken; the token.
async fn send(collector: &Running, request: i64) -> String {
    let first = request * EVENTS_PER_REQUEST;
    let lines: Vec<String> = (first..first + EVENTS_PER_REQUEST).map(event).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let token = eventually(collector, "events are taken", || async {
        match collector.try_post("hits", &lines).await {
            Ok((200, body)) if body["accepted"] == json!(lines.len()) => Some(body["token"].clone()),
            _ => None,
        }
    });
    token.await.as_str().unwrap().to_owned()
}

async fn check_hits(gateway: &Running, token: &str, hits: i64) {
    let answer = gateway.rows(VIEW, &[("by", ""), ("after", token), ("timeout", "30s")]).await;
    assert_eq!(answer["rows"][0]["hits"], json!(hits), "{}", answer["envelope"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_kafka_shows_in_the_probes_of_the_roles_that_need_it_and_in_no_other() {
    let Some(own) = OwnServices::start().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::new(folder.path(), &own.services.pipeline(PIPELINE), own.services.settings())
        .with_short_waits()
        .with("ARCHIVE__COMMIT_INTERVAL", "100ms")
        .with("BATCH__INTERVAL", "1s")
        .with("LOG__REQUEST_TIMEOUT", "2s");
    let mut running = Vec::new();
    for (name, command) in ROLES {
        running.push((name, Running::start_role(&setup.beside(name), command).await));
    }
    let (collector, gateway) = (&running[0].1, &running[4].1);
    let token = send(collector, 0).await;
    check_hits(gateway, &token, EVENTS_PER_REQUEST).await;

    own.run(&["kill", "kafka"]).await;
    for (name, process) in running.iter().filter(|(name, _)| OF_THE_LOG.contains(name)) {
        // An archive may know of a read that failed before it knows why.
        let silence = format!("{name}: the event log does not answer");
        eventually(process, &silence, || async {
            let (status, told) = readiness(process).await;
            (status == 503 && told["problems"].to_string().contains(&silence)).then_some(())
        })
        .await;
        eventually(process, "the status names the log", || async {
            let status = process.status().await;
            let mut problems = status["problems"].as_array().unwrap().iter();
            problems.any(|trouble| trouble["kind"] == "log-silent").then_some(())
        })
        .await;
    }
    for (name, process) in running.iter().filter(|(name, _)| !OF_THE_LOG.contains(name)) {
        let (status, told) = readiness(process).await;
        assert_eq!((status, &told["ready"]), (200, &json!(true)), "{name}: {told}");
    }
    check_hits(gateway, &token, EVENTS_PER_REQUEST).await;

    own.run(&["start", "kafka"]).await;
    for (_, process) in &running {
        eventually(process, "it is ready again", || async { (readiness(process).await.0 == 200).then_some(()) }).await;
    }
    let token = send(collector, 1).await;
    check_hits(gateway, &token, 2 * EVENTS_PER_REQUEST).await;
}

/// The entry of the list of problems that a source has stopped, if there is one.
async fn stopped_problem(process: &Running) -> Option<Value> {
    let status = process.status().await;
    let problems = status["problems"].as_array().unwrap();
    problems.iter().find(|trouble| trouble["kind"] == "source-stopped").cloned()
}

/// `twofold source reset hits`, as an operator runs it.
async fn reset(setup: &Setup) {
    let mut command = tokio::process::Command::new(binary());
    command.args(["source", "reset", "hits", "--pipeline"]).arg(&setup.pipeline);
    command.arg("--data-dir").arg(&setup.data_dir).envs(setup.settings.iter().cloned()).kill_on_drop(true);
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_replaced_under_roles_of_their_own_is_told_by_collector_and_gateway_until_it_was_reset() {
    let Some(world) = World::new() else { return };
    let start = async |name: &'static str, command: &'static [&'static str]| {
        Running::start_role(&world.setup.beside(name), command).await
    };
    let collector = start("collector", &["collector"]).await;
    let (mut archive, speed) = (start("archive", &["archive"]).await, start("speed", &["speed"]).await);
    let _batch = start("batch", &["batch", "loop"]).await;
    let gateway = start("gateway", &["gateway"]).await;
    world.send(&collector).await;
    world.check_exact(&gateway).await;
    assert_eq!(stopped_problem(&gateway).await, None);

    world.services.admin().replace(&world.topic(), 4).await;
    let refused = eventually(&collector, "no events are taken", || async {
        let (status, problem) = collector.try_post("hits", &[&event(0)]).await.ok()?;
        (status == 503 && problem["type"] == "urn:twofold:problem:source-stopped").then_some(problem)
    });
    let refused = refused.await.to_string();
    for words in ["deleted and created again", "twofold source reset hits"] {
        assert!(refused.contains(words), "{refused}");
    }
    let told = eventually(&gateway, "the list names the source", || stopped_problem(&gateway)).await;
    assert_eq!(told["about"], "source hits");
    assert!(["archive", "speed"].map(|role| json!(role)).contains(&told["told_by"]), "{told}");
    assert!(told["since"].is_string() && told["way_out"].to_string().contains("source reset hits"), "{told}");
    // Another collector learns it, too, though it starts later.
    let late = start("late", &["collector"]).await;
    eventually(&late, "the late one takes none either", || async {
        let (status, _) = late.try_post("hits", &[&event(0)]).await.ok()?;
        (status == 503).then_some(())
    })
    .await;

    // One ends in order, the other takes what it has told to its grave.
    assert!(speed.terminate().success());
    archive.kill();
    reset(&world.setup.beside("archive")).await;
    let _again = [start("archive", &["archive"]).await, start("speed", &["speed"]).await];
    for process in [&collector, &late] {
        eventually(process, "events are taken again", || async {
            let (status, _) = process.try_post("hits", &[&event(1)]).await.ok()?;
            (status == 200).then_some(())
        })
        .await;
    }
    eventually(&gateway, "the list is empty of it", || async {
        stopped_problem(&gateway).await.is_none().then_some(())
    })
    .await;
}
