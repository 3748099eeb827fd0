//! The properties of librdkafka that are not the user's, and what to use in their place.
//!
//! Guarantee: a property that a client of ours is made with, by whatever name librdkafka knows it, is refused instead
//! of being overruled in silence (`tests/it/event_log/client.rs`).
//! Not here: their values, and properties that have a value of ours only where the user gives none (`config.rs`).

/// Name of a property, and the setting of ours that it is made of; `None` where positions, acknowledgement or
/// rebalancing rest on its value.
const RESERVED: [(&str, Option<&str>); 37] = [
    ("acks", None),
    ("allow.auto.create.topics", None),
    ("auto.commit.enable", None),
    ("auto.offset.reset", None),
    ("bootstrap.servers", Some("log.brokers")),
    ("client.id", Some("log.client_id")),
    ("compression.codec", Some("log.compression")),
    ("compression.type", Some("log.compression")),
    ("delivery.timeout.ms", Some("log.delivery_timeout")),
    ("enable.auto.commit", None),
    ("enable.auto.offset.store", None),
    ("enable.idempotence", None),
    ("enable.partition.eof", None),
    ("fetch.queue.backoff.ms", None),
    ("fetch.wait.max.ms", Some("log.fetch_wait")),
    ("group.id", None),
    ("group.protocol", None),
    ("heartbeat.interval.ms", Some("log.session_timeout")),
    ("isolation.level", None),
    ("linger.ms", Some("log.linger")),
    ("max.in.flight", None),
    ("max.in.flight.requests.per.connection", None),
    ("message.max.bytes", Some("log.max_record_bytes")),
    ("message.send.max.retries", None),
    ("message.timeout.ms", Some("log.delivery_timeout")),
    ("metadata.broker.list", Some("log.brokers")),
    ("partition.assignment.strategy", None),
    ("partitioner", None),
    ("queue.buffering.max.kbytes", Some("log.queue_size")),
    ("queue.buffering.max.messages", Some("log.queue_records")),
    ("queue.buffering.max.ms", Some("log.linger")),
    ("queued.max.messages.kbytes", Some("log.prefetch_size")),
    ("request.required.acks", None),
    ("retries", None),
    ("session.timeout.ms", Some("log.session_timeout")),
    ("topic.metadata.propagation.max.ms", None),
    ("transactional.id", None),
];

/// Why a property is refused; `None` where it is the user's.
pub(super) fn refusal(property: &str) -> Option<String> {
    // librdkafka takes this prefix off where it knows no property of the whole name.
    let short = property.strip_prefix("topic.").unwrap_or(property);
    let (_, setting) = RESERVED.iter().find(|(name, _)| [property, short].contains(name))?;
    let way_out = setting.map_or_else(|| "leave it out".to_owned(), |setting| format!("use `{setting}`"));
    Some(format!("kafka property `{property}` is set by twofold: {way_out}"))
}
