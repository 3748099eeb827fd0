//! What brokers refuse, and why none is reached, with the way out. Pure.
//!
//! In: codes of the protocol, and the words of librdkafka. Out: what an operator can do; nothing where it is not known.
//! Not here: what a caller should do (`error.rs`).

use rdkafka::error::RDKafkaErrorCode;

/// What brokers must allow a client to do, as their access rules name it.
#[derive(Clone, Copy)]
pub(super) enum Right<'a> {
    /// Know that a topic is there, its partitions and their ends.
    Describe(&'a str),
    /// Read how a topic is configured.
    DescribeConfigs(&'a str),
    /// Make a topic.
    Create(&'a str),
    /// Append to a topic.
    Write(&'a str),
    /// Read the records of a topic.
    Read(&'a str),
    /// Take part in a consumer group.
    ReadGroup(&'a str),
}

impl Right<'_> {
    fn operation(self) -> &'static str {
        match self {
            Self::Describe(_) => "Describe",
            Self::DescribeConfigs(_) => "DescribeConfigs",
            Self::Create(_) => "Create",
            Self::Write(_) => "Write",
            Self::Read(_) | Self::ReadGroup(_) => "Read",
        }
    }

    /// Kind and name of what it is a right to, as Kafka's tool for access rules takes them.
    fn resource(&self) -> (&'static str, &str) {
        match self {
            Self::Describe(name)
            | Self::DescribeConfigs(name)
            | Self::Create(name)
            | Self::Write(name)
            | Self::Read(name) => ("topic", name),
            Self::ReadGroup(name) => ("group", name),
        }
    }
}

/// The way out of a refusal; `None` for codes that are no refusal.
pub(super) fn way_out(right: Right<'_>, code: RDKafkaErrorCode) -> Option<String> {
    use RDKafkaErrorCode as Code;
    let (kind, name) = right.resource();
    match (code, right) {
        (Code::ClusterAuthorizationFailed, Right::Write(_)) => Some(
            "the brokers do not allow IdempotentWrite on the cluster to this client: allow it (`kafka-acls.sh --add \
             --allow-principal User:NAME --operation IdempotentWrite --cluster`)"
                .to_owned(),
        ),
        (Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed | Code::ClusterAuthorizationFailed, _) => {
            let operation = right.operation();
            let beside = match right {
                Right::Create(_) => ", or make the topic yourself",
                _ => "",
            };
            Some(format!(
                "the brokers do not allow {operation} on {kind} {name} to this client: allow it (`kafka-acls.sh --add \
                 --allow-principal User:NAME --operation {operation} --{kind} {name}`){beside}"
            ))
        }
        (Code::InvalidReplicationFactor, Right::Create(_)) => {
            Some("set `log.replication` to what the brokers can give, or to 0 for their own default".to_owned())
        }
        (Code::PolicyViolation, Right::Create(_)) => {
            Some("a policy of the brokers forbids it so: make the topic yourself, as the policy asks".to_owned())
        }
        _ => None,
    }
}

/// What librdkafka says of a connection, in any of its words, and the way out.
const CONNECTIONS: [(&[&str], &str); 10] = [
    (&["Failed to resolve"], "no such host is known here: correct `log.brokers`, or the name service of this machine"),
    (&["Connection refused"], "nothing listens there: start the brokers, or correct host and port in `log.brokers`"),
    (
        &["Authentication failed", "SASL authentication error", "Invalid credentials"],
        "correct `sasl.username` and `sasl.password` in [log.properties]",
    ),
    (
        &["Unsupported SASL mechanism", "mechanism handshake failed"],
        "set `sasl.mechanism` in [log.properties] to one that the brokers take",
    ),
    (
        &["connecting to a PLAINTEXT broker listener", "wrong version number"],
        "the listener speaks no TLS: set `security.protocol` in [log.properties] to `plaintext` or `sasl_plaintext`, or \
         write the port of the TLS listener in `log.brokers`",
    ),
    (
        &["security.protocol"],
        "the listener wants TLS or SASL: set `security.protocol` in [log.properties] to `ssl`, `sasl_ssl` or \
         `sasl_plaintext`",
    ),
    (
        &["certificate verify failed", "certificate could not be verified"],
        "name the authority of their certificate with `ssl.ca.location` in [log.properties], and in `log.brokers` a name \
         that it is for",
    ),
    (
        &["certificate required", "bad certificate"],
        "the brokers ask for a certificate of the client: `ssl.certificate.location` and `ssl.key.location` in \
         [log.properties]",
    ),
    (
        &["timed out", "unreachable", "No route to host"],
        "no answer: is `log.brokers` right, do the brokers run, does a firewall lie between?",
    ),
    // Nothing more is told of a connection that was made, whether it was closed again or kept silent.
    (
        &["Broker transport failure"],
        "connections come about and bring no answer, as at a listener that wants TLS or SASL: set `security.protocol` in \
         [log.properties] to `ssl`, `sasl_ssl` or `sasl_plaintext`; or what listens at `log.brokers` is no Kafka, or a \
         broker that hangs",
    ),
];

/// Why no broker answers, with the way out where it is known.
pub(super) fn with_way_out(reason: &str) -> String {
    let known = CONNECTIONS.iter().find(|(words, _)| words.iter().any(|words| reason.contains(words)));
    known.map_or_else(|| reason.to_owned(), |(_, way_out)| format!("{reason}; {way_out}"))
}
