//! What a topic is like and what this client may do to it, asked before a start.
//!
//! In: the topic of a source. Out: what was found, or the right that is missing, by its name.
//! Guarantee: nothing is stored, created or committed, and no group is disturbed.
//! Why a record that is too large: the protocol's list of allowed operations is not to be had through this client.
//! Brokers look at the right to write first and at the size after, so what they answer tells of the right.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use positions::{Offset, PartitionId};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};

use super::admin;
use super::connection::Connection;
use super::consumer::KafkaConsumer;
use super::context::{GroupContext, LogContext};
use super::error::{call_error, call_error_for};
use super::run;
use super::told::Right;
use crate::{EventLogError, LogConsumer, PollLimit};

/// Records that are larger are not sent only to be refused.
const LARGEST_TRIAL_BYTES: usize = 16 << 20;
/// In addition to the time that a broker holds an empty answer.
const READ_PATIENCE: Duration = Duration::from_millis(500);

/// What was found of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicCheck {
    /// How many it has; `None`: it is not there yet, and this client may make it.
    pub partitions: Option<usize>,
    /// Its `retention.ms`, -1 for ever; `None` where the brokers do not tell.
    pub retention_millis: Option<i64>,
    /// What could not be found out, and what speaks against it.
    pub doubts: Vec<String>,
}

/// Asks, reads and tries to write; `asked` partitions where it is not there, `group` where one reads it.
pub(super) async fn check_topic(
    connection: &Connection,
    topic: &str,
    asked: i32,
    group: Option<&str>,
) -> Result<TopicCheck, EventLogError> {
    let (producer, settings) = (&connection.producer, &connection.settings);
    let mut check = TopicCheck::default();
    if let Some(group) = group {
        ask_group(connection, topic, group).await?;
    }
    let Some(partitions) = admin::partitions(producer, settings, topic).await? else {
        admin::try_to_create(settings, topic, asked).await?;
        return Ok(check);
    };
    check.partitions = Some(partitions.len());
    let config = admin::topic_config(settings, topic).await?;
    admin::refuse_compacted(topic, config.as_ref())?;
    check.retention_millis = config.as_ref().and_then(|config| config.retention_millis);
    if config.is_none() {
        check
            .doubts
            .push("the brokers do not tell its configuration, so whether it is compacted is not known".to_owned());
    }
    try_to_read(connection, topic, &partitions).await?;
    match config.and_then(|config| config.max_bytes).filter(|limit| *limit <= LARGEST_TRIAL_BYTES) {
        Some(limit) => check.doubts.extend(try_to_write(connection, topic, limit).await?),
        None => check
            .doubts
            .push("whether it can be written was not tried: its largest record is not known, or large".to_owned()),
    }
    Ok(check)
}

/// The last record of a partition, or the news that there is none.
async fn try_to_read(
    connection: &Connection,
    topic: &str,
    partitions: &BTreeSet<PartitionId>,
) -> Result<(), EventLogError> {
    let mut starts = BTreeMap::new();
    for partition in partitions {
        let bounds = connection.producer.bounds(topic, *partition).await?;
        starts.insert(*partition, Offset((bounds.high.0 - 1).max(bounds.low.0)));
    }
    let mut consumer = KafkaConsumer::open(connection, topic, None)?;
    consumer.seek(&starts).await?;
    let limit = PollLimit { records: 1, bytes: 1, wait: connection.settings.fetch_wait.saturating_add(READ_PATIENCE) };
    match consumer.poll(limit).await {
        // What was there a moment ago has expired.
        Err(EventLogError::Expired { .. }) | Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Sends a record that is one byte too large for the topic. A doubt where the brokers took it nevertheless.
async fn try_to_write(connection: &Connection, topic: &str, limit: usize) -> Result<Option<String>, EventLogError> {
    use RDKafkaErrorCode as Code;
    let doing = format!("append to topic {topic}");
    let producer: FutureProducer<LogContext> = connection
        .settings
        .trial_config(limit)
        .create_with_context(LogContext::default())
        .map_err(|error| call_error("create the producer", &error))?;
    let payload = vec![0_u8; limit.saturating_add(1)];
    let record = FutureRecord::<[u8], [u8]>::to(topic).payload(payload.as_slice());
    let error = match producer.send(record, connection.settings.request_timeout).await {
        Ok(delivery) => {
            return Ok(Some(format!(
                "a record of {} bytes, sent to see whether the topic can be written, was stored at offset {} of partition {} \
                 although it is larger than `max.message.bytes`",
                payload.len(),
                delivery.offset,
                delivery.partition
            )));
        }
        Err((error, _)) => error,
    };
    if let Some((code, _)) = producer.client().fatal_error() {
        return Err(call_error_for(Right::Write(topic), &doing, &KafkaError::MessageProduction(code)));
    }
    match error.rdkafka_error_code() {
        // By their own rules, which they come to behind the right to write.
        Some(
            Code::MessageSizeTooLarge
            | Code::MessageBatchTooLarge
            | Code::InvalidMessageSize
            | Code::InvalidRecord
            | Code::InvalidDifferentRecord,
        ) => Ok(None),
        _ => Err(call_error_for(Right::Write(topic), &doing, &error)),
    }
}

/// Asks for what a group has read, which only its members may.
async fn ask_group(connection: &Connection, topic: &str, group: &str) -> Result<(), EventLogError> {
    let doing = format!("ask for group {group}");
    let client: StreamConsumer<GroupContext> = connection
        .settings
        .consumer_config(group)
        .create_with_context(GroupContext::default())
        .map_err(|error| call_error("create a consumer", &error))?;
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, 0);
    let timeout = connection.settings.request_timeout;
    let question = move || {
        let error = client.committed_offsets(list, timeout).err()?;
        // That its coordinator refuses is told beside the answer, which then only comes too late.
        let beside = client.stream().next().now_or_never().flatten().and_then(Result::err);
        Some(beside.unwrap_or(error))
    };
    match run::ask(&connection.closing, question).await {
        Ok(None) => Ok(()),
        Ok(Some(error)) => Err(call_error_for(Right::ReadGroup(group), &doing, &error)),
        Err(error) => Err(EventLogError::Unreachable(format!("{doing}: {error}"))),
    }
}
