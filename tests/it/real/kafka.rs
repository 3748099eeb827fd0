//! Speed workers that share the partitions, and who is let in.

use super::{World, until_logged};
use crate::support::process::{Running, Setup};

const STARTED: &str = "partition started";

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_join_and_leave_under_load_count_every_event_once() {
    let Some(world) = World::new() else { return };
    // Consumer groups are shared by all who use the broker.
    let group = world.services.named("workers");
    let world = world.with("SPEED__GROUP", &group);
    let first = Running::start(&world.setup).await;
    world.send(&first).await;
    world.check_exact(&first).await;
    let reading = tokio_util::sync::CancellationToken::new();
    let reader = async {
        let mut seen = 0;
        while !reading.is_cancelled() {
            world.check_claim(&first, &mut seen).await;
        }
    };
    let changes = async {
        world.send_until(&first, 10, until_logged(&first, STARTED, 3)).await;
        let second = Running::start_role(&world.setup.beside("second"), &["speed"]).await;
        world.send_until(&first, 20, until_logged(&second, STARTED, 1)).await;
        let before = first.log().matches(STARTED).count();
        let left = tokio::task::spawn_blocking(move || second.terminate());
        assert!(world.send_until(&first, 20, left).await.unwrap().success());
        world.send_until(&first, 10, until_logged(&first, STARTED, before)).await;

        let mut third = Running::start_role(&world.setup.beside("third"), &["speed"]).await;
        world.send_until(&first, 20, until_logged(&third, STARTED, 1)).await;
        let before = first.log().matches(STARTED).count();
        third.kill();
        // Its partitions are free again when it has been silent for a session.
        world.send_until(&first, 10, until_logged(&first, STARTED, before)).await;
        reading.cancel();
    };
    tokio::join!(reader, changes);
    world.check_exact(&first).await;
    world.check_batch(&first).await;
    assert!(first.terminate().success());
}

fn with_password(world: &World, password: &str) -> Setup {
    let services = &world.services;
    let setup = world.setup.clone().with("LOG__BROKERS", &services.kafka_sasl);
    [
        ("SECURITY_PROTOCOL", "sasl_plaintext"),
        ("SASL_MECHANISM", "PLAIN"),
        ("SASL_USERNAME", &services.kafka_user),
        ("SASL_PASSWORD", password),
    ]
    .iter()
    .fold(setup, |setup, (name, value)| setup.with(&format!("LOG__PROPERTIES__{name}"), value))
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_reach_every_client_of_kafka() {
    let Some(mut world) = World::new() else { return };
    world.setup = with_password(&world, &world.services.kafka_password.clone());
    let running = Running::start(&world.setup).await;
    world.send(&running).await;
    world.check_exact(&running).await;
    world.check_batch(&running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_ends_the_start_with_its_reason() {
    let Some(world) = World::new() else { return };
    let output = with_password(&world, "not-the-password").run_to_its_end(&["up"]).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("refuse this client") && said.contains("Authentication failed"), "{said}");
    assert!(!said.contains("not-the-password"), "{said}");
}
