//! librdkafka's errors as ours: by what the caller should do.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::told::{Right, way_out};
use crate::EventLogError;

/// An error of any call but the ones that need more context.
pub(super) fn call_error(doing: &str, error: &KafkaError) -> EventLogError {
    let text = match error {
        // Its value may be a password, under a name with a slip in it.
        KafkaError::ClientConfig(_, reason, property, _) => format!("{doing}: {reason} (property {property})"),
        error => format!("{doing}: {error}"),
    };
    if code_of(error).is_some_and(is_permanent) || is_configuration(error) {
        EventLogError::Unusable(text)
    } else {
        EventLogError::Unreachable(text)
    }
}

/// The code of an error, also of administration, which the client keeps to itself.
pub(super) fn code_of(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        error => error.rdkafka_error_code(),
    }
}

/// An error of a call for which brokers want a right.
pub(super) fn call_error_for(right: Right<'_>, doing: &str, error: &KafkaError) -> EventLogError {
    let way_out = code_of(error).and_then(|code| way_out(right, code));
    match (way_out, call_error(doing, error)) {
        (Some(way_out), EventLogError::Unusable(text)) => EventLogError::Unusable(format!("{text}; {way_out}")),
        (Some(way_out), EventLogError::Unreachable(text)) => EventLogError::Unreachable(format!("{text}; {way_out}")),
        (_, told) => told,
    }
}

/// Why a record of so many bytes was not stored.
pub(super) fn append_error(topic: &str, error: &KafkaError, bytes: usize) -> EventLogError {
    use RDKafkaErrorCode as Code;
    match code_of(error) {
        Some(Code::QueueFull) => {
            EventLogError::Overloaded(format!("topic {topic}: too many records wait for their acknowledgement"))
        }
        Some(Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize) => {
            EventLogError::Refused(format!(
                "{bytes} bytes of key and payload are more than the brokers take for topic {topic} \
                 (max.message.bytes of the topic, message.max.bytes of the brokers)"
            ))
        }
        Some(Code::InvalidRecord | Code::InvalidDifferentRecord) => {
            EventLogError::Refused(format!("the brokers' own rules for topic {topic} forbid it: {error}"))
        }
        _ => call_error_for(Right::Write(topic), &format!("append to topic {topic}"), error),
    }
}

fn is_configuration(error: &KafkaError) -> bool {
    matches!(error, KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) | KafkaError::Nul(_))
}

/// Errors that trying again does not mend.
fn is_permanent(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::UnknownTopic
            | Code::UnknownPartition
            | Code::UnknownTopicOrPartition
            | Code::InvalidTopic
            | Code::InvalidArgument
            | Code::InvalidGroupId
            | Code::InvalidSessionTimeout
            | Code::InconsistentGroupProtocol
            | Code::InvalidTimestamp
            | Code::BadMessage
            | Code::BadCompression
            | Code::UnsupportedFeature
            | Code::Authentication
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::UnsupportedSASLMechanism
            | Code::IllegalSASLState
            | Code::SaslAuthenticationFailed
            | Code::PolicyViolation
            | Code::InvalidReplicationFactor
            | Code::InvalidPartitions
    )
}
