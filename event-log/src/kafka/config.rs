//! Settings of the Kafka clients, and what they are in librdkafka's words.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use super::error::call_error;
use super::reserved::refusal;
use crate::EventLogError;

/// How the producer compresses batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// Fast.
    #[default]
    Lz4,
    /// Smaller, slower.
    Zstd,
}

/// How to reach and use Kafka.
#[derive(Clone)]
pub struct KafkaSettings {
    /// `host:port`, comma separated. Default `127.0.0.1:9092`.
    pub bootstrap_servers: String,
    /// The name that brokers see in logs and quotas; also the prefix of the group of readers without one.
    /// Default `twofold`.
    pub client_id: String,
    /// How long `connect` waits for the first answer. Default 10 s.
    pub connect_timeout: Duration,
    /// How long a question to the broker (metadata, offsets, topic creation) may take. Default 10 s.
    pub request_timeout: Duration,
    /// How long a record may wait for its acknowledgement, retries included, before it fails. Default 10 s.
    pub delivery_timeout: Duration,
    /// How long the producer waits for a batch to fill. Default 5 ms.
    pub linger: Duration,
    /// Compression of produced batches. Default LZ4.
    pub compression: Compression,
    /// Unacknowledged records at most; more are refused as overload. Default 200,000.
    pub queue_records: u32,
    /// Unacknowledged bytes at most. Default 128 MiB.
    pub queue_bytes: u64,
    /// The largest record (key and payload) that is sent. Default 1,000,000, as Kafka's own.
    pub max_record_bytes: usize,
    /// Fetched bytes that one consumer holds ahead of `poll`. Default 32 MiB.
    pub prefetch_bytes: u64,
    /// How long the broker may hold an empty fetch. A Kafka broker answers as soon as there is a record, so this is
    /// idle traffic only. Default 500 ms.
    pub fetch_wait: Duration,
    /// A group member that is silent this long loses its partitions. Default 10 s.
    pub session_timeout: Duration,
    /// Replicas of topics that are created; `None` leaves it to the broker. Default `None`.
    pub replication: Option<i32>,
    /// Any other librdkafka property by its name: TLS, SASL, tuning. Those that Twofold sets are refused
    /// (`reserved.rs`).
    pub properties: BTreeMap<String, String>,
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            bootstrap_servers: "127.0.0.1:9092".to_owned(),
            client_id: "twofold".to_owned(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(10),
            delivery_timeout: Duration::from_secs(10),
            linger: Duration::from_millis(5),
            compression: Compression::default(),
            queue_records: 200_000,
            queue_bytes: 128 << 20,
            max_record_bytes: 1_000_000,
            prefetch_bytes: 32 << 20,
            fetch_wait: Duration::from_millis(500),
            session_timeout: Duration::from_secs(10),
            replication: None,
            properties: BTreeMap::new(),
        }
    }
}

// Property values can be passwords: only their names are shown.
impl fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSettings")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("client_id", &self.client_id)
            .field("properties", &self.properties.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl KafkaSettings {
    /// Refuses properties that Twofold sets, and those that librdkafka does not know or take.
    ///
    /// # Errors
    /// [`EventLogError::Unusable`] with the name of the property.
    pub fn validate(&self) -> Result<(), EventLogError> {
        if let Some(refusal) = self.properties.keys().find_map(|name| refusal(name)) {
            return Err(EventLogError::Unusable(refusal));
        }
        // Those of the consumer, too: it is made much later, when everything seems to run.
        for config in [self.producer_config(), self.consumer_config("validate")] {
            config.create_native_config().map_err(|error| call_error("kafka settings", &error))?;
        }
        Ok(())
    }

    pub(super) fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap_servers)
            .set("client.id", &self.client_id)
            .set("allow.auto.create.topics", "false")
            .set_log_level(log_level());
        let theirs = self.properties.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in DEFAULTS.into_iter().chain(theirs) {
            config.set(name, value);
        }
        config
    }

    pub(super) fn producer_config(&self) -> ClientConfig {
        let mut config = self.client_config();
        let compression = match self.compression {
            Compression::None => "none",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        };
        config.set("enable.idempotence", "true");
        config
            .set("acks", "all")
            // As the Java clients, so that the copies of an event meet in one partition whoever sends them.
            .set("partitioner", "murmur2_random")
            .set("message.timeout.ms", millis(self.delivery_timeout))
            .set("linger.ms", millis(self.linger))
            // A topic that is missing is an error soon; a new one is known everywhere within this time.
            .set("topic.metadata.propagation.max.ms", "2000")
            .set("compression.codec", compression)
            .set("queue.buffering.max.messages", self.queue_records.to_string())
            .set("queue.buffering.max.kbytes", kibibytes(self.queue_bytes))
            .set("message.max.bytes", self.max_record_bytes.saturating_add(RECORD_OVERHEAD).to_string());
        config
    }

    /// Configuration of a producer that sends nothing twice, and so needs no session with the brokers.
    pub(super) fn repeating_nothing(&self) -> ClientConfig {
        let mut config = self.producer_config();
        config
            .set("enable.idempotence", "false")
            .set("message.send.max.retries", "0")
            .set("max.in.flight.requests.per.connection", "1");
        config
    }

    /// Configuration of a producer that sends records larger than a topic takes.
    pub(super) fn trial_config(&self, limit_bytes: usize) -> ClientConfig {
        let mut config = self.producer_config();
        let most_bytes = limit_bytes.saturating_add(2 * RECORD_OVERHEAD);
        config
            .set("compression.codec", "none")
            .set("message.max.bytes", most_bytes.to_string())
            .set("queue.buffering.max.kbytes", kibibytes(most_bytes.saturating_mul(2) as u64));
        config
    }

    pub(super) fn consumer_config(&self, group: &str) -> ClientConfig {
        let mut config = self.client_config();
        // The consumer's context listens to the debug log: see `GroupContext::is_replaced`.
        let debug = self.properties.get("debug").map_or_else(String::new, |theirs| format!("{theirs},"));
        config
            .set("debug", format!("{debug}topic"))
            .set_log_level(RDKafkaLogLevel::Debug)
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            // Whether a partition was read to its end, see `ends.rs`.
            .set("enable.partition.eof", "true")
            // Eager: all partitions are given back before they are given out, as `Poll::Assigned` promises.
            .set("partition.assignment.strategy", "range,roundrobin")
            .set("session.timeout.ms", millis(self.session_timeout))
            .set("heartbeat.interval.ms", millis(self.session_timeout / 4))
            .set("queued.max.messages.kbytes", kibibytes(self.prefetch_bytes))
            .set("fetch.wait.max.ms", millis(self.fetch_wait))
            // A full prefetch queue is looked at again soon, not after the default second.
            .set("fetch.queue.backoff.ms", "10");
        config
    }
}

/// What is better than librdkafka's own default, and the user's to change.
const DEFAULTS: [(&str, &str); 3] = [
    // A broker that comes back is found within a second, not ten.
    ("reconnect.backoff.max.ms", "1000"),
    // Partitions that are added are given out to groups and written to soon, not after the default five minutes.
    ("topic.metadata.refresh.interval.ms", "10000"),
    ("log.connection.close", "false"),
];

/// What librdkafka counts beside key and payload.
const RECORD_OVERHEAD: usize = 1_024;

fn millis(span: Duration) -> String {
    span.as_millis().to_string()
}

fn kibibytes(bytes: u64) -> String {
    (bytes / 1024).max(1).to_string()
}

fn log_level() -> RDKafkaLogLevel {
    if tracing::enabled!(target: "librdkafka", tracing::Level::DEBUG) {
        RDKafkaLogLevel::Debug
    } else {
        RDKafkaLogLevel::Warning
    }
}
