//! Speed workers that share the partitions, and who is let in.

use std::time::Instant;

use positions::PositionToken;
use serde_json::json;

use super::{EVENTS_PER_REQUEST, World, event, until_logged};
use crate::support::process::{DEADLINE, Running, Setup};

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

fn with_properties(setup: Setup, brokers: &str, properties: &[(&str, &str)]) -> Setup {
    let setup = setup.with("LOG__BROKERS", brokers);
    properties.iter().fold(setup, |setup, (name, value)| setup.with(&format!("LOG__PROPERTIES__{name}"), value))
}

/// `ssl` properties beside those that say who this is.
fn with_password(world: &World, brokers: &str, password: &str, ssl: &[(&str, &str)]) -> Setup {
    let protocol = if ssl.is_empty() { "sasl_plaintext" } else { "sasl_ssl" };
    let sasl = [
        ("SECURITY_PROTOCOL", protocol),
        ("SASL_MECHANISM", "PLAIN"),
        ("SASL_USERNAME", &world.services.kafka_user),
        ("SASL_PASSWORD", password),
    ];
    with_properties(world.setup.clone(), brokers, &[&sasl, ssl].concat())
}

/// A system that connects with these settings takes events, and answers for them from both layers.
async fn check_served(mut world: World, setup: Setup) {
    world.setup = setup;
    let running = Running::start(&world.setup).await;
    world.send(&running).await;
    world.check_exact(&running).await;
    world.check_batch(&running).await;
}

/// A start with these settings ends, and says all of this.
async fn check_refused(setup: &Setup, reasons: &[&str]) {
    let output = setup.run_to_its_end(&["up"]).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(reasons.iter().all(|reason| said.contains(reason)), "{reasons:?}: {said}");
    assert!(!said.contains("not-the-password"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_reach_every_client_of_kafka() {
    let Some(world) = World::new() else { return };
    let setup = with_password(&world, &world.services.kafka_sasl, &world.services.kafka_password, &[]);
    check_served(world, setup).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_ends_the_start_with_its_reason() {
    let Some(world) = World::new() else { return };
    let setup = with_password(&world, &world.services.kafka_sasl, "not-the-password", &[]);
    let way_out = "correct `sasl.username` and `sasl.password` in [log.properties]";
    check_refused(&setup, &["refuse this client", "Authentication failed", way_out]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_wants_tls_is_told_as_that() {
    let Some(world) = World::new() else { return };
    let setup = world.setup.clone().with("LOG__BROKERS", &world.services.kafka_ssl);
    check_refused(&setup, &["a listener that wants TLS or SASL", "`security.protocol`"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_wants_a_password_is_told_as_that() {
    let Some(world) = World::new() else { return };
    let setup = world.setup.clone().with("LOG__BROKERS", &world.services.kafka_sasl);
    check_refused(&setup, &["`log.brokers`", "`security.protocol`", "`sasl_plaintext`"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_authority_and_credentials_reach_every_client_of_kafka() {
    let Some(world) = World::new() else { return };
    let services = &world.services;
    let setup = with_password(
        &world,
        &services.kafka_sasl_ssl,
        &services.kafka_password,
        &[("SSL_CA_LOCATION", &services.kafka_ca)],
    );
    check_served(world, setup).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_of_an_unknown_authority_is_refused_with_its_reason() {
    let Some(world) = World::new() else { return };
    let setup = with_properties(world.setup.clone(), &world.services.kafka_ssl, &[("SECURITY_PROTOCOL", "ssl")]);
    check_refused(&setup, &["certificate verify failed", "`ssl.ca.location` in [log.properties]"]).await;
    let services = &world.services;
    let ssl = [("SSL_CA_LOCATION", services.kafka_ca.as_str())];
    let setup = with_password(&world, &services.kafka_sasl_ssl, "not-the-password", &ssl);
    check_refused(&setup, &["refuse this client", "Authentication failed"]).await;
}

/// The certificate is good for 127.0.0.1 alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_under_another_name_than_its_certificate_says_is_refused() {
    let Some(world) = World::new() else { return };
    let brokers = world.services.kafka_ssl.replace("127.0.0.1", "localhost");
    let ssl = [
        ("SECURITY_PROTOCOL", "ssl"),
        ("SSL_CA_LOCATION", world.services.kafka_ca.as_str()),
        ("BROKER_ADDRESS_FAMILY", "v4"),
    ];
    let setup =
        |brokers: &str, more: &[(&str, &str)]| with_properties(world.setup.clone(), brokers, &[&ssl, more].concat());
    check_refused(&setup(&brokers, &[]), &["certificate verify failed"]).await;
    // It is the name alone: without the comparison, or under the right name, all is well.
    let unchecked = setup(&brokers, &[("SSL_ENDPOINT_IDENTIFICATION_ALGORITHM", "none")]);
    let checked = setup(&world.services.kafka_ssl, &[]);
    let running = Running::start(&unchecked).await;
    world.send(&running).await;
    world.check_exact(&running).await;
    assert!(running.terminate().success());
    check_served(world, checked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_log_will_never_take_costs_no_neighbour() {
    let Some(world) = World::new() else { return };
    // Narrower than the collector believes.
    world.services.admin().create(&world.topic(), 4, &[("max.message.bytes", "20000")]).await;
    let running = Running::start(&world.setup).await;
    world.send(&running).await;
    let (good, other) = (event(world.sent()), event(world.sent() + 1));
    // Noise, so that no compression makes it small.
    let noise: String = (0..60_000).map(|_| rand::random_range('a'..='z')).collect();
    let never = good.replace("\"page\":\"", &format!("\"page\":\"{noise}")).replace("\"id\":\"", "\"id\":\"never-");
    let (status, answer) = running.try_post("hits", &[&good, &never, &other]).await.unwrap();
    assert_eq!((status, &answer["accepted"]), (200, &json!(2)), "{answer}");
    let errors = answer["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 1, "{answer}");
    assert_eq!((&errors[0]["index"], &errors[0]["stored"]), (&json!(1), &json!(false)), "{answer}");
    world.sent.fetch_add(2, std::sync::atomic::Ordering::SeqCst);
    // The stream goes on.
    world.send(&running).await;
    world.check_batch(&running).await;
}

/// A request of more events than the producer holds without acknowledgement: what the answer says to send again is sent
/// again, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_of_the_producer_is_429_and_every_event_counts_once() {
    let Some(world) = World::new() else { return };
    // Nothing leaves the queue before all of a request have knocked.
    let world = world.with("LOG__QUEUE_RECORDS", "40").with("LOG__LINGER", "300ms");
    let running = Running::start(&world.setup).await;
    let mut left: Vec<String> = (0..EVENTS_PER_REQUEST).map(event).collect();
    let (mut token, mut refusals, deadline) = (PositionToken::default(), 0, Instant::now() + DEADLINE);
    while !left.is_empty() {
        assert!(Instant::now() < deadline, "{} events are not taken\n{}", left.len(), running.log());
        let lines: Vec<&str> = left.iter().map(String::as_str).collect();
        let (status, answer) = running.try_post("hits", &lines).await.unwrap();
        token.merge(&PositionToken::decode(answer["token"].as_str().unwrap()).unwrap());
        let errors = answer["errors"].as_array().unwrap();
        assert!(errors.iter().all(|error| error["stored"].is_null()), "{answer}");
        assert_eq!(answer["accepted"], json!(left.len() - errors.len()), "{answer}");
        assert_eq!(status, if errors.is_empty() { 200 } else { 429 }, "{answer}");
        refusals += usize::from(status == 429);
        let again = errors.iter().map(|error| left[error["index"].as_u64().unwrap() as usize].clone());
        left = again.collect();
    }
    assert!(refusals > 0, "the queue was never full");
    world.sent.store(EVENTS_PER_REQUEST, std::sync::atomic::Ordering::SeqCst);
    *world.newest_token.lock().unwrap() = token.encode();
    for answer in [world.check_exact(&running).await, world.check_batch(&running).await] {
        assert_eq!(answer["envelope"]["copies"], json!(0), "{}", answer["envelope"]);
    }
}
