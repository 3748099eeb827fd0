//! An object store that others write to at the same time, that is slow, busy or silent, or that must not be used.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::proxy::{Mood, Proxy};
use super::{World, eventually};
use crate::support::process::{DEADLINE, Running, Setup};

async fn behind_proxy() -> Option<(World, Proxy)> {
    let world = World::new()?;
    let proxy = Proxy::start(&world.services.s3).await;
    let world = world.with("LAKE__ENDPOINT", &proxy.address);
    Some((world, proxy))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_ignores_conditions_is_refused_at_the_start() {
    let Some((world, proxy)) = behind_proxy().await else { return };
    proxy.set(Mood::Careless);
    let said = failed_start(&world.setup).await;
    assert!(said.contains("ignores conditional puts"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_end_the_start_with_their_reason() {
    let Some(world) = World::new() else { return };
    let said = failed_start(&world.setup.clone().with("LAKE__SECRET_ACCESS_KEY", "not-the-secret")).await;
    assert!(said.contains("object store cannot be used") && said.contains("SignatureDoesNotMatch"), "{said}");
    assert!(!said.contains("not-the-secret"), "{said}");
    let said = failed_start(&world.setup.with("LAKE__ACCESS_KEY_ID", "nobody")).await;
    assert!(said.contains("object store cannot be used") && said.contains("InvalidAccessKeyId"), "{said}");
}

async fn failed_start(setup: &Setup) -> String {
    let output = setup.run_to_its_end(&["up"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn archivers_and_publishers_that_race_on_s3_make_one_history() {
    let Some(world) = World::new() else { return };
    let first = Running::start(&world.setup).await;
    let roles: [(&str, &[&str]); 4] = [
        ("archive-2", &["archive"]),
        ("archive-3", &["archive"]),
        ("batch-2", &["batch", "loop"]),
        ("batch-3", &["batch", "loop"]),
    ];
    let mut others = Vec::new();
    for (name, role) in roles {
        others.push(Running::start_role(&world.setup.beside(name), role).await);
    }
    let raced = "another archiver continued";
    let races = || others.iter().chain([&first]).map(|one| one.log().matches(raced).count()).sum::<usize>();
    let met = eventually(&first, "the archivers meet", || async { (races() > 3).then_some(()) });
    world.send_until(&first, 40, met).await;
    world.check_batch(&first).await;
    let answer = world.check_exact(&first).await;
    let records: i64 = answer["envelope"]["head"].as_object().unwrap().values().filter_map(Value::as_i64).sum();
    eventually(&first, "every record is archived once", || async {
        (first.status().await["system"]["archive of hits"]["rows"] == json!(records)).then_some(())
    })
    .await;
    let output = first.run_batch(&["--full"]).await;
    assert!(output.status.success(), "{output:?}");
    world.check_batch(&first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_question_fails_while_versions_and_runs_come_and_go() {
    let Some(world) = World::new() else { return };
    let world = world
        .with("BATCH__INTERVAL", "100ms")
        .with("BATCH__KEEP_VERSIONS", "2")
        .with("BATCH__CLEANUP_INTERVAL", "500ms")
        .with("BATCH__CLEANUP_GRACE", "2s")
        .with("LAKE__CHECKPOINT_INTERVAL", "2")
        .with("SPEED__COURTESY", "100ms");
    let running = Running::start(&world.setup).await;
    // Before the first event is in, there is no view to ask.
    world.send(&running).await;
    world.check_exact(&running).await;
    let mut versions = std::collections::BTreeSet::new();
    let removed = || running.log().matches("old files removed").count();
    let (mut seen, deadline) = (0, Instant::now() + DEADLINE);
    while versions.len() < 10 || removed() < 3 {
        assert!(Instant::now() < deadline, "{versions:?}, {} removals\n{}", removed(), running.log());
        world.send(&running).await;
        for _ in 0..5 {
            let answer = world.check_claim(&running, &mut seen).await;
            versions.extend(answer["envelope"]["version"].as_i64());
        }
        // The more events, the longer each version takes; a few are enough for there to be one.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    world.check_batch(&running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_store_makes_batch_late_and_nothing_else() {
    check_mood(Mood::Slow(Duration::from_millis(300)), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_everything_for_a_while_loses_nothing() {
    check_mood(Mood::Busy, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_falls_silent_loses_nothing_and_realtime_goes_on() {
    check_mood(Mood::Silent, true).await;
}

/// Events are taken and answered for in realtime while the store is in a mood, and batch covers them afterwards. Where
/// it `fails`, archive and batch say so while they try again.
async fn check_mood(mood: Mood, fails: bool) {
    let Some((world, proxy)) = behind_proxy().await else { return };
    let running = Running::start(&world.setup).await;
    world.send(&running).await;
    world.check_batch(&running).await;
    proxy.set(mood);
    let (mut seen, deadline) = (0, Instant::now() + DEADLINE);
    while proxy.met() < 6 || fails && !say_that_they_retry(&running).await {
        assert!(Instant::now() < deadline, "{} requests met the mood\n{}", proxy.met(), running.log());
        world.send(&running).await;
        world.check_exact(&running).await;
        world.check_claim(&running, &mut seen).await;
    }
    proxy.set(Mood::Fair);
    world.send(&running).await;
    world.check_batch(&running).await;
    assert!(running.terminate().success());
}

async fn say_that_they_retry(running: &Running) -> bool {
    let status = running.status().await;
    let errors = status["system"]["batch"]["errors"].as_object().map_or(0, |errors| errors.len());
    let asked = reqwest::get(format!("{}/readyz?role=batch", running.address)).await.unwrap();
    let is_unready = asked.status().as_u16() == 503;
    status["system"]["archive of hits"]["state"] == json!("retrying") && errors > 0 && is_unready
}
