//! The parts that a system under test runs on: one test body, run on those inside the process and on real ones.

use crate::redis::RedisServer;
use crate::services::Services;

/// Which parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The embedded log, local files, realtime views in memory.
    Embedded,
    /// The same with a Redis of its own.
    WithRedis,
    /// Kafka, S3 and Redis.
    Real,
}

/// The parts of one test, as long as it runs.
pub struct Parts {
    redis: Option<RedisServer>,
    /// The real ones.
    pub services: Option<Services>,
}

impl Parts {
    /// Parts of a kind; `None` where real ones are asked for and there are none.
    pub async fn of(kind: Kind) -> Option<Self> {
        let mut parts = Self { redis: None, services: None };
        match kind {
            Kind::Embedded => {}
            Kind::WithRedis => parts.redis = Some(RedisServer::start().await),
            Kind::Real => parts.services = Some(Services::find()?),
        }
        Some(parts)
    }

    /// Settings, as environment variables, of a Twofold on these parts.
    pub fn settings(&self) -> Vec<(String, String)> {
        match (&self.services, &self.redis) {
            (Some(services), _) => services.settings(),
            (None, Some(redis)) => vec![("TWOFOLD_REALTIME__STORE".to_owned(), redis.url())],
            (None, None) => Vec::new(),
        }
    }

    /// The pipeline file as it fits these parts.
    pub fn pipeline(&self, text: &str) -> String {
        self.services.as_ref().map_or_else(|| text.to_owned(), |services| services.pipeline(text))
    }
}

/// Settings of a whole system under test: commits at once, recomputes only when a test asks for it.
pub const AT_ONCE: &str = r#"
[system]
listen = "127.0.0.1:0"
keep_replaced = "0s"
[archive]
commit_interval = "50ms"
poll_wait = "20ms"
[batch]
interval = "1d"
housekeeping_interval = "500ms"
table_check_interval = "500ms"
[speed]
tick = "20ms"
"#;

/// Tests by name, each run on embedded and on real parts: `async fn name(kind: Kind)` stands beside the call.
#[macro_export]
macro_rules! on_all_parts {
    ($($property:ident),* $(,)?) => {
        mod embedded {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $property() {
                    super::$property($crate::parts::Kind::Embedded).await;
                }
            )*
        }
        mod real {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $property() {
                    super::$property($crate::parts::Kind::Real).await;
                }
            )*
        }
    };
}
