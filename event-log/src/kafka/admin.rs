//! Topics and partitions: questions that are asked seldom.

use std::collections::BTreeSet;
use std::time::Duration;

use positions::{PartitionId, format_span};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataTopic};
use tracing::{info, warn};

use super::config::KafkaSettings;
use super::context::LogContext;
use super::error::{call_error, call_error_for, code_of};
use super::producer::KafkaProducer;
use super::run::Patience;
use super::told::{Right, with_way_out};
use crate::EventLogError;

/// Returns when any broker has answered.
pub(super) async fn wait_for_broker(producer: &KafkaProducer, settings: &KafkaSettings) -> Result<(), EventLogError> {
    let timeout = settings.connect_timeout;
    let answer = producer.ask(move |client| client.fetch_metadata(None, timeout).map(drop)).await;
    let brokers = &settings.bootstrap_servers;
    answer.map_err(|error| match producer.refusal() {
        Some(reason) => {
            EventLogError::Unusable(format!("the brokers at {brokers} refuse this client: {}", with_way_out(&reason)))
        }
        None => EventLogError::Unreachable(format!(
            "no broker at {brokers} answered within {}: {}",
            format_span(timeout),
            with_way_out(&producer.silence().unwrap_or_else(|| error.to_string()))
        )),
    })
}

/// The partitions of a topic; `None` where it does not exist.
pub(super) async fn partitions(
    producer: &KafkaProducer,
    settings: &KafkaSettings,
    topic: &str,
) -> Result<Option<BTreeSet<PartitionId>>, EventLogError> {
    let timeout = settings.request_timeout;
    let patience = Patience::new(timeout);
    let doing = format!("partitions of topic {topic}");
    loop {
        let name = topic.to_owned();
        let found = producer
            .ask(move |client| client.fetch_metadata(Some(&name), timeout).map(|found| read_partitions(&found, &name)))
            .await
            .map_err(|error| call_error_for(Right::Describe(topic), &doing, &error))?;
        match found {
            Ok(found) => return Ok(found),
            Err(code @ RDKafkaErrorCode::TopicAuthorizationFailed) => {
                return Err(call_error_for(Right::Describe(topic), &doing, &KafkaError::MetadataFetch(code)));
            }
            Err(code) => {
                patience.wait(EventLogError::Unreachable(format!("topic {topic} has no leader yet: {code}"))).await?;
            }
        }
    }
}

/// What metadata says of a topic: its partitions, `None` where it does not exist, or a passing error.
fn read_partitions(found: &Metadata, topic: &str) -> Result<Option<BTreeSet<PartitionId>>, RDKafkaErrorCode> {
    let Some(found) = found.topics().iter().find(|found| found.name() == topic) else { return Ok(None) };
    match found.error().map(RDKafkaErrorCode::from) {
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => Ok(None),
        Some(passing) => Err(passing),
        None => Ok(partition_ids(found)),
    }
}

fn partition_ids(found: &MetadataTopic) -> Option<BTreeSet<PartitionId>> {
    let ids: BTreeSet<PartitionId> = found.partitions().iter().map(|found| PartitionId(found.id())).collect();
    (!ids.is_empty()).then_some(ids)
}

/// Creates the topic where it is missing, else leaves its partitions alone; refuses one that cannot carry events.
pub(super) async fn ensure_topic(
    producer: &KafkaProducer,
    settings: &KafkaSettings,
    topic: &str,
    asked: i32,
) -> Result<(), EventLogError> {
    if asked < 1 {
        return Err(EventLogError::no_partitions_asked(topic, asked));
    }
    if partitions(producer, settings, topic).await?.is_none() {
        create_topic(settings, topic, asked, &options(settings)).await?;
        info!(topic, partitions = asked, "topic created");
        wait_for_topic(producer, settings, topic).await?;
    }
    let config = topic_config(settings, topic).await?;
    if config.is_none() {
        warn!(topic, "the broker does not tell whether the topic is compacted");
    }
    refuse_compacted(topic, config.as_ref())
}

/// Whether this client may make the topic, which is not made.
pub(super) async fn try_to_create(settings: &KafkaSettings, topic: &str, asked: i32) -> Result<(), EventLogError> {
    create_topic(settings, topic, asked, &options(settings).validate_only(true)).await
}

async fn create_topic(
    settings: &KafkaSettings,
    topic: &str,
    partitions: i32,
    options: &AdminOptions,
) -> Result<(), EventLogError> {
    let replicas = settings.replication.unwrap_or(-1);
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(replicas));
    let failed = |error: KafkaError| call_error_for(Right::Create(topic), &format!("create topic {topic}"), &error);
    let answers = admin_client(settings)?.create_topics([&new], options).await;
    match answers.map_err(failed)?.into_iter().next() {
        // Somebody else was faster: as good.
        Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
        Some(Err((_, code))) => Err(failed(KafkaError::AdminOp(code))),
        None => Err(EventLogError::Unreachable(format!("create topic {topic}: no answer"))),
    }
}

fn admin_client(settings: &KafkaSettings) -> Result<AdminClient<LogContext>, EventLogError> {
    let client = settings.client_config().create_with_context(LogContext::default());
    client.map_err(|error| call_error("create the admin client", &error))
}

/// A new topic is not at once known to every broker.
async fn wait_for_topic(producer: &KafkaProducer, settings: &KafkaSettings, topic: &str) -> Result<(), EventLogError> {
    let patience = Patience::new(settings.request_timeout);
    while partitions(producer, settings, topic).await?.is_none() {
        patience.wait(EventLogError::no_topic(topic)).await?;
    }
    Ok(())
}

/// What is asked of the configuration of a topic.
pub(super) struct TopicConfig {
    cleanup_policy: String,
    /// -1: for ever.
    pub(super) retention_millis: Option<i64>,
    /// The largest batch of records that it takes.
    pub(super) max_bytes: Option<usize>,
}

/// The configuration of a topic; `None` where the brokers do not tell it to this client.
pub(super) async fn topic_config(settings: &KafkaSettings, topic: &str) -> Result<Option<TopicConfig>, EventLogError> {
    let client = admin_client(settings)?;
    let answers = client.describe_configs([&ResourceSpecifier::Topic(topic)], &options(settings)).await;
    let answer = answers.and_then(|answers| {
        let answer = answers.into_iter().next().unwrap_or(Err(RDKafkaErrorCode::UnsupportedFeature));
        answer.map_err(KafkaError::AdminOp)
    });
    let resource = match answer {
        Ok(resource) => resource,
        Err(error) if code_of(&error).is_some_and(is_not_ours_to_know) => return Ok(None),
        Err(error) => {
            let doing = format!("configuration of topic {topic}");
            return Err(call_error_for(Right::DescribeConfigs(topic), &doing, &error));
        }
    };
    let value = |name: &str| resource.get(name).and_then(|entry| entry.value.as_deref());
    Ok(Some(TopicConfig {
        cleanup_policy: value("cleanup.policy").unwrap_or("delete").to_owned(),
        retention_millis: value("retention.ms").and_then(|value| value.parse().ok()),
        max_bytes: value("max.message.bytes").and_then(|value| value.parse().ok()),
    }))
}

/// Compaction deletes records from the middle of the log: the master dataset and the speed layer would differ.
pub(super) fn refuse_compacted(topic: &str, config: Option<&TopicConfig>) -> Result<(), EventLogError> {
    match config.map(|config| config.cleanup_policy.as_str()) {
        Some(policy) if policy.contains("compact") => Err(EventLogError::Unusable(format!(
            "topic {topic} has cleanup.policy = {policy}: a compacted topic loses events; name another one, or set that of \
             this one to `delete` (`kafka-configs.sh`)"
        ))),
        _ => Ok(()),
    }
}

/// How long a topic keeps records; `None` where that is for ever, or the brokers do not tell.
pub(super) async fn retention(settings: &KafkaSettings, topic: &str) -> Result<Option<Duration>, EventLogError> {
    let millis = topic_config(settings, topic).await?.and_then(|config| config.retention_millis);
    Ok(millis.and_then(|millis| u64::try_from(millis).ok()).map(Duration::from_millis))
}

fn is_not_ours_to_know(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(code, Code::UnsupportedFeature | Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed)
}

fn options(settings: &KafkaSettings) -> AdminOptions {
    let timeout: Duration = settings.request_timeout;
    AdminOptions::new().request_timeout(Some(timeout)).operation_timeout(Some(timeout))
}
