//! Spans of time: one grammar for pipeline options, the configuration and requests.

use std::time::Duration;

use query_gateway::GatewayError;
use twofold::config::quantity::parse_duration;
use views::Pipeline;

use super::world::World;

/// The option `horizon` of a source.
fn horizon(span: &str) -> Option<Duration> {
    let sql = format!(
        "CREATE UNBOUNDED EXTERNAL TABLE s (t TIMESTAMP) STORED AS JSON LOCATION 'kafka://s'
         OPTIONS (event_time 't', horizon '{span}')"
    );
    Pipeline::read(&sql, &[].into()).ok().map(|pipeline| pipeline.sources[0].horizon)
}

#[tokio::test]
async fn a_span_is_read_alike_as_option_as_setting_and_as_parameter() {
    let world = World::new();
    world.publish("by_page", &[0, 0]).await;
    for (span, millis) in [
        ("1ms", 1),
        ("1500ms", 1_500),
        ("30s", 30_000),
        ("5 sec", 5_000),
        ("10 minutes", 600_000),
        ("1h", 3_600_000),
        ("1 hour", 3_600_000),
        ("1 hour 30 minutes", 5_400_000),
        ("1h30m", 5_400_000),
        ("2 days", 172_800_000),
        ("1D", 86_400_000),
    ] {
        let expected = Duration::from_millis(millis);
        assert_eq!(horizon(span), Some(expected), "{span}");
        assert_eq!(parse_duration(span), Ok(expected), "{span}");
        let answer = world.rows("by_page", &[("timeout", span)]).await;
        assert!(answer.is_ok(), "{span}: {:?}", answer.err());
    }
    for span in ["", "5", "ms", "-1s", "1.5s", "10 parsecs", "1h 5", "99999999999999999999s"] {
        assert_eq!(horizon(span), None, "{span}");
        assert!(parse_duration(span).is_err(), "{span}");
        let error = world.rows("by_page", &[("timeout", span)]).await.unwrap_err();
        assert_eq!(error.problem().status().as_u16(), 400, "{span}: {error}");
    }
}

#[tokio::test]
async fn a_request_waits_as_long_as_it_says() {
    let world = World::new();
    world.publish("by_page", &[0, 0]).await;
    let token = world.token(1, 1);
    for span in ["20ms", "20 milliseconds", "0s 20ms", "15ms 5ms"] {
        let error = world.rows("by_page", &[("after", &token), ("timeout", span)]).await.unwrap_err();
        let GatewayError::NotYet { waited, .. } = &error else { panic!("{span}: {error}") };
        assert_eq!(*waited, Duration::from_millis(20), "{span}");
    }
}
