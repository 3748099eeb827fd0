//! The Kafka client by itself: settings that are refused, and brokers that are not there.

use std::collections::BTreeMap;
use std::time::Duration;

use ::event_log::EventLogError;
use ::event_log::kafka::{KafkaLog, KafkaSettings};

use super::PATIENCE;

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_unreachable_soon() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let settings = KafkaSettings {
        bootstrap_servers: format!("127.0.0.1:{port}"),
        connect_timeout: Duration::from_millis(500),
        ..KafkaSettings::default()
    };
    let connect = tokio::time::timeout(PATIENCE, KafkaLog::connect(settings)).await.expect("connect returned");
    let error = connect.map(drop).unwrap_err();
    let expected = format!("event log is unreachable: no broker at 127.0.0.1:{port} answered within 500ms");
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert!(error.to_string().contains("Connection refused"), "the cause is told: {error}");
}

fn validate(property: &str, value: &str) -> Result<(), EventLogError> {
    let properties = BTreeMap::from([(property.to_owned(), value.to_owned())]);
    KafkaSettings { properties, ..KafkaSettings::default() }.validate()
}

fn check_reserved(property: &str, way_out: &str) {
    let expected = format!("event log cannot be used: kafka property `{property}` is set by twofold: {way_out}");
    assert_eq!(validate(property, "1").unwrap_err().to_string(), expected);
}

#[test]
fn properties_that_carry_the_law_are_refused() {
    for name in ["acks", "enable.idempotence", "auto.offset.reset", "isolation.level", "group.id", "retries"] {
        check_reserved(name, "leave it out");
    }
}

#[test]
fn properties_that_a_setting_stands_for_are_refused_with_it_by_all_their_names() {
    for name in ["linger.ms", "queue.buffering.max.ms"] {
        check_reserved(name, "use `log.linger`");
    }
    for name in ["message.timeout.ms", "delivery.timeout.ms", "topic.message.timeout.ms"] {
        check_reserved(name, "use `log.delivery_timeout`");
    }
    for name in ["compression.codec", "compression.type", "topic.compression.type"] {
        check_reserved(name, "use `log.compression`");
    }
    check_reserved("queued.max.messages.kbytes", "use `log.prefetch_size`");
}

/// What the client is made with would overrule the user in silence.
#[test]
fn every_property_that_is_set_in_code_is_refused() {
    // The user's topics of `debug` are joined with ours; the other one is of the producer for single records alone.
    let not_overruled = ["debug", "batch.num.messages"];
    let sources = [
        include_str!("../../../event-log/src/kafka/config.rs"),
        include_str!("../../../event-log/src/kafka/producer.rs"),
    ];
    let set = sources.iter().flat_map(|text| text.split(".set(\"").skip(1));
    let names: Vec<&str> = set.filter_map(|rest| rest.split('"').next()).collect();
    assert!(names.len() > 25, "the rule looks past them: it found {names:?}");
    for name in names.into_iter().filter(|name| !not_overruled.contains(name)) {
        let error = validate(name, "1").map_err(|error| error.to_string());
        assert!(error.as_ref().is_err_and(|text| text.contains("is set by twofold")), "{name}: {error:?}");
    }
}

#[test]
fn better_defaults_than_those_of_the_client_stay_the_users() {
    for (name, value) in [
        ("reconnect.backoff.max.ms", "500"),
        ("topic.metadata.refresh.interval.ms", "500"),
        ("log.connection.close", "true"),
        ("batch.num.messages", "100"),
    ] {
        validate(name, value).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_property_is_refused_by_name() {
    let properties = BTreeMap::from([("no.such.property".to_owned(), "x".to_owned())]);
    let error =
        KafkaLog::connect(KafkaSettings { properties, ..KafkaSettings::default() }).await.map(drop).unwrap_err();
    assert!(matches!(&error, EventLogError::Unusable(text) if text.contains("no.such.property")), "{error}");
}

#[test]
fn passwords_stay_out_of_debug_output() {
    let properties = BTreeMap::from([("sasl.password".to_owned(), "secret".to_owned())]);
    let shown = format!("{:?}", KafkaSettings { properties, ..KafkaSettings::default() });
    assert!(shown.contains("sasl.password") && !shown.contains("secret"), "{shown}");
}
