//! What librdkafka calls back: its log goes to tracing, rebalances to the poll loop.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use positions::PartitionId;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Statistics, TopicPartitionList};
use tokio::sync::Notify;
use tracing::{debug, error, info, warn};

use super::assignment;

/// Context of producers and admin clients. Clones share it.
#[derive(Clone, Default)]
pub(super) struct LogContext {
    // Written by librdkafka's callback, read when a call has failed: the call itself says only that no broker answered.
    refusal: Arc<Mutex<Option<String>>>,
    // As above: why no connection came about.
    silence: Arc<Mutex<Option<String>>>,
}

impl LogContext {
    /// Why brokers refused this client the last time, where they did: a wrong password, an unknown certificate.
    pub(super) fn refusal(&self) -> Option<String> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why there was no connection to a broker the last time: refused, no such host.
    pub(super) fn silence(&self) -> Option<String> {
        self.silence.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for LogContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        trace_log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        if code.is_some_and(is_refusal) {
            *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
        }
        if code.is_some_and(is_silence) {
            *self.silence.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
        }
        trace_error(&error, reason);
    }

    fn stats(&self, _statistics: Statistics) {}
}

/// Context of a consumer.
#[derive(Default)]
pub(super) struct GroupContext {
    // Written by librdkafka's callback inside a poll of the consumer, taken by that same poll or the next.
    assigned: Mutex<Option<BTreeSet<PartitionId>>>,
    // Wakes a poll that waits for records.
    pub(super) rebalanced: Notify,
    // Another topic bears the name now. Written by the log callback inside a poll of the consumer, read by that poll.
    is_replaced: AtomicBool,
}

impl GroupContext {
    /// Whether the topic was deleted and created again since this consumer knows it.
    ///
    /// librdkafka goes on at the old offset, in the records of the new topic. It notes the change of the topic's id in
    /// its debug log alone, into the queue that also holds the records, and before it fetches by the new id.
    pub(super) fn is_replaced(&self) -> bool {
        self.is_replaced.load(Ordering::SeqCst)
    }

    /// Takes the topic that bears the name for the one that is meant: nothing of another was read.
    pub(super) fn accept_topic(&self) {
        self.is_replaced.store(false, Ordering::SeqCst);
    }

    /// The newest assignment, once.
    pub(super) fn take_assigned(&self) -> Option<BTreeSet<PartitionId>> {
        self.assigned.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put_assigned(&self, partitions: BTreeSet<PartitionId>) {
        *self.assigned.lock().unwrap_or_else(PoisonError::into_inner) = Some(partitions);
        self.rebalanced.notify_one();
    }
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if is_change_of_topic(message) {
            self.is_replaced.store(true, Ordering::SeqCst);
        }
        trace_log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        trace_error(&error, reason);
    }

    fn stats(&self, _statistics: Statistics) {}
}

impl ConsumerContext for GroupContext {
    // The default would start to fetch from committed offsets. Here nothing is fetched until `seek` assigns the
    // partitions together with their positions; the group waits for that.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let given = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                partitions.elements().iter().map(|element| PartitionId(element.partition())).collect()
            }
            _ => BTreeSet::new(),
        };
        info!(partitions = given.len(), "group assignment changed");
        if given.is_empty()
            && let Err(error) = assignment::unassign(consumer)
        {
            warn!(%error, "partitions could not be given back");
        }
        self.put_assigned(given);
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            debug!(%error, "progress was not reported");
        }
    }
}

/// `Topic NAME changed id from ID to ID`; the first id that it hears of is a change from one without a bit set.
fn is_change_of_topic(message: &str) -> bool {
    let known = message.split_once(" changed id from ").and_then(|(_, ids)| ids.split_once(" to "));
    known.is_some_and(|(before, _)| before.chars().any(|letter| letter != 'A'))
}

fn is_refusal(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(code, Code::Authentication | Code::SSL | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism)
}

fn is_silence(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::Resolve)
}

fn trace_log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            error!(target: "librdkafka", facility, "{message}");
        }
        // librdkafka reconnects and retries by itself: what it calls an error is one of ours only when a call fails.
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => warn!(target: "librdkafka", facility, "{message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
            debug!(target: "librdkafka", facility, "{message}");
        }
    }
}

fn trace_error(error: &KafkaError, reason: &str) {
    debug!(target: "librdkafka", %error, "{reason}");
}
