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
    let expected = format!("event log is unreachable: no broker at 127.0.0.1:{port} answered within 500 ms");
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[test]
fn properties_that_carry_the_law_are_refused() {
    for name in ["acks", "enable.idempotence", "auto.offset.reset", "isolation.level", "group.id"] {
        let properties = BTreeMap::from([(name.to_owned(), "x".to_owned())]);
        let error = KafkaSettings { properties, ..KafkaSettings::default() }.validate().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("event log cannot be used: kafka property {name} is set by twofold itself")
        );
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
