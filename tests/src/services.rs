//! Real Kafka, Redis and S3, as `make test` starts them: addresses from the environment, and names for one test alone.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

/// How long an administrative step may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The services, and a name that no other test has.
#[derive(Clone, Debug)]
pub struct Services {
    /// `host:port` of Kafka.
    pub kafka: String,
    /// The same, for clients that say who they are.
    pub kafka_sasl: String,
    /// The same over TLS, for anybody.
    pub kafka_ssl: String,
    /// The same over TLS, for clients that say who they are.
    pub kafka_sasl_ssl: String,
    /// The file of the authority that signed their certificate.
    pub kafka_ca: String,
    /// Who is let in where clients say who they are.
    pub kafka_user: String,
    /// With what password.
    pub kafka_password: String,
    /// URL of Redis.
    pub redis: String,
    /// URL of S3.
    pub s3: String,
    /// A bucket that exists.
    pub s3_bucket: String,
    /// Who may write to it.
    pub s3_access_key: String,
    /// With what secret.
    pub s3_secret_key: String,
    /// Sets the topics, groups and prefixes of this test apart from those of others.
    pub name: String,
}

impl Services {
    /// The services that the environment names. `None` where it names none: the test says that it skips. In CI that is
    /// a failure.
    pub fn find() -> Option<Self> {
        if std::env::var_os("TWOFOLD_TEST_KAFKA").is_none() {
            assert!(std::env::var_os("CI").is_none(), "no Kafka here: `make test` starts it");
            eprintln!("skipped: no Kafka here; `make test` starts it where Java and Maven are installed");
            return None;
        }
        Some(Self::read(|name| std::env::var(name).ok()))
    }

    /// The services that some lookup knows by the names of `scripts/services.sh`.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let read = |name: &str| lookup(&format!("TWOFOLD_TEST_{name}")).unwrap_or_else(|| panic!("no {name}"));
        Self {
            kafka: read("KAFKA"),
            kafka_sasl: read("KAFKA_SASL"),
            kafka_ssl: read("KAFKA_SSL"),
            kafka_sasl_ssl: read("KAFKA_SASL_SSL"),
            kafka_ca: read("KAFKA_CA"),
            kafka_user: read("KAFKA_USER"),
            kafka_password: read("KAFKA_PASSWORD"),
            redis: read("REDIS"),
            s3: read("S3"),
            s3_bucket: read("S3_BUCKET"),
            s3_access_key: read("S3_ACCESS_KEY"),
            s3_secret_key: read("S3_SECRET_KEY"),
            name: format!("t{:08x}", rand::random::<u32>()),
        }
    }

    /// The settings, as environment variables, of a Twofold that uses all of them.
    pub fn settings(&self) -> Vec<(String, String)> {
        let settings = [
            ("LOG__BROKERS", self.kafka.as_str()),
            ("LAKE__LOCATION", &format!("s3://{}/{}", self.s3_bucket, self.name)),
            ("LAKE__ENDPOINT", &self.s3),
            ("LAKE__ALLOW_HTTP", "true"),
            ("LAKE__ACCESS_KEY_ID", &self.s3_access_key),
            ("LAKE__SECRET_ACCESS_KEY", &self.s3_secret_key),
            ("REALTIME__STORE", &self.redis),
            ("REALTIME__REDIS_PREFIX", &self.name),
        ];
        settings.map(|(key, value)| (format!("TWOFOLD_{key}"), value.to_owned())).to_vec()
    }

    /// What this test calls `name` in a service.
    pub fn named(&self, name: &str) -> String {
        format!("{name}-{}", self.name)
    }

    /// A pipeline file whose topics are this test's own.
    pub fn pipeline(&self, text: &str) -> String {
        let mut parts = text.split("'kafka://");
        let before = parts.next().unwrap_or_default().to_owned();
        parts.fold(before, |text, part| {
            let (topic, rest) = part.split_once('\'').expect("the location ends with a quote");
            format!("{text}'kafka://{}'{rest}", self.named(topic))
        })
    }

    /// The administrator of Kafka.
    pub fn admin(&self) -> Admin {
        Admin(ClientConfig::new().set("bootstrap.servers", &self.kafka).create().unwrap())
    }
}

/// Does to topics what only an operator does.
pub struct Admin(AdminClient<DefaultClientContext>);

impl Admin {
    /// Makes a topic with some configuration.
    pub async fn create(&self, topic: &str, partitions: i32, configuration: &[(&str, &str)]) {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let new = configuration.iter().fold(new, |new, (name, value)| new.set(name, value));
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.0.create_topics([&new], &options()).await.unwrap().remove(0) {
                Ok(_) => return,
                // One that was deleted is still on its way out.
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err((_, code)) => panic!("topic {topic} was not made: {code}"),
            }
        }
    }

    /// Deletes a topic.
    pub async fn delete(&self, topic: &str) {
        self.0.delete_topics(&[topic], &options()).await.unwrap().remove(0).unwrap();
    }

    /// Deletes a topic and makes an empty one of its name.
    pub async fn replace(&self, topic: &str, partitions: i32) {
        self.delete(topic).await;
        self.create(topic, partitions, &[]).await;
    }

    /// Raises the number of partitions to `total`.
    pub async fn add_partitions(&self, topic: &str, total: usize) {
        let new = NewPartitions::new(topic, total);
        self.0.create_partitions([&new], &options()).await.unwrap().remove(0).unwrap();
    }

    /// Forgets the records of a partition before `offset`, as retention does.
    pub async fn expire(&self, topic: &str, partition: i32, offset: i64) {
        let mut before = TopicPartitionList::new();
        before.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
        let deleted = self.0.delete_records(&before, &options()).await.unwrap();
        deleted.elements().iter().for_each(|element| element.error().unwrap());
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
}
