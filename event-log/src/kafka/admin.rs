//! Topics and partitions: questions that are asked seldom.

use std::collections::BTreeSet;
use std::time::Duration;

use positions::{PartitionId, format_span};
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataTopic};
use tracing::{info, warn};

use super::config::KafkaSettings;
use super::context::LogContext;
use super::error::call_error;
use super::producer::KafkaProducer;
use super::run::Patience;
use crate::EventLogError;

/// Returns when any broker has answered.
pub(super) async fn wait_for_broker(producer: &KafkaProducer, settings: &KafkaSettings) -> Result<(), EventLogError> {
    let timeout = settings.connect_timeout;
    let answer = producer.ask(move |client| client.fetch_metadata(None, timeout).map(drop)).await;
    let brokers = &settings.bootstrap_servers;
    answer.map_err(|error| match producer.refusal() {
        Some(reason) => EventLogError::Unusable(format!("the brokers at {brokers} refuse this client: {reason}")),
        None => EventLogError::Unreachable(format!(
            "no broker at {brokers} answered within {}: {}",
            format_span(timeout),
            producer.silence().unwrap_or_else(|| error.to_string())
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
    loop {
        let name = topic.to_owned();
        let found = producer
            .ask(move |client| client.fetch_metadata(Some(&name), timeout).map(|found| read_partitions(&found, &name)))
            .await
            .map_err(|error| call_error(&format!("partitions of topic {topic}"), &error))?;
        match found {
            Ok(found) => return Ok(found),
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
    let admin: AdminClient<LogContext> = settings
        .client_config()
        .create_with_context(LogContext::default())
        .map_err(|error| call_error("create the admin client", &error))?;
    if partitions(producer, settings, topic).await?.is_none() {
        create_topic(&admin, settings, topic, asked).await?;
        wait_for_topic(producer, settings, topic).await?;
    }
    refuse_compacted(&admin, settings, topic).await
}

async fn create_topic(
    admin: &AdminClient<LogContext>,
    settings: &KafkaSettings,
    topic: &str,
    partitions: i32,
) -> Result<(), EventLogError> {
    let replicas = settings.replication.unwrap_or(-1);
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(replicas));
    let doing = || format!("create topic {topic}");
    let answers = admin.create_topics([&new], &options(settings)).await;
    let answers = answers.map_err(|error| call_error(&doing(), &error))?;
    match answers.into_iter().next() {
        // Somebody else was faster: as good.
        Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => {
            info!(topic, partitions, "topic created");
            Ok(())
        }
        Some(Err((_, code))) => Err(call_error(&doing(), &KafkaError::AdminOp(code))),
        None => Err(EventLogError::Unreachable(format!("create topic {topic}: no answer"))),
    }
}

/// A new topic is not at once known to every broker.
async fn wait_for_topic(producer: &KafkaProducer, settings: &KafkaSettings, topic: &str) -> Result<(), EventLogError> {
    let patience = Patience::new(settings.request_timeout);
    while partitions(producer, settings, topic).await?.is_none() {
        patience.wait(EventLogError::no_topic(topic)).await?;
    }
    Ok(())
}

/// How long a topic keeps records; `None` where that is for ever, or the broker does not tell.
pub(super) async fn retention(settings: &KafkaSettings, topic: &str) -> Result<Option<Duration>, EventLogError> {
    let admin: AdminClient<LogContext> = settings
        .client_config()
        .create_with_context(LogContext::default())
        .map_err(|error| call_error("create the admin client", &error))?;
    let found = describe(&admin, settings, topic).await?;
    let millis = found.and_then(|found| found.get("retention.ms")?.value.as_ref()?.parse::<i64>().ok());
    Ok(millis.and_then(|millis| u64::try_from(millis).ok()).map(Duration::from_millis))
}

/// Compaction deletes records from the middle of the log: the master dataset and the speed layer would differ.
async fn refuse_compacted(
    admin: &AdminClient<LogContext>,
    settings: &KafkaSettings,
    topic: &str,
) -> Result<(), EventLogError> {
    let Some(resource) = describe(admin, settings, topic).await? else {
        warn!(topic, "the broker does not tell whether the topic is compacted");
        return Ok(());
    };
    let policy = resource.get("cleanup.policy").and_then(|entry| entry.value.as_deref()).unwrap_or("delete");
    if policy.contains("compact") {
        return Err(EventLogError::Unusable(format!(
            "topic {topic} has cleanup.policy = {policy}: a compacted topic loses events, use `delete`"
        )));
    }
    Ok(())
}

/// The configuration of a topic; `None` where the broker does not let us know it.
async fn describe(
    admin: &AdminClient<LogContext>,
    settings: &KafkaSettings,
    topic: &str,
) -> Result<Option<ConfigResource>, EventLogError> {
    let doing = format!("configuration of topic {topic}");
    let answers = admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options(settings)).await;
    let answer = answers.and_then(|answers| {
        let answer = answers.into_iter().next().unwrap_or(Err(RDKafkaErrorCode::UnsupportedFeature));
        answer.map_err(KafkaError::AdminOp)
    });
    match answer {
        Ok(resource) => Ok(Some(resource)),
        Err(error) if error.rdkafka_error_code().is_some_and(is_not_ours_to_know) => {
            info!(topic, %error, "the broker does not tell how the topic is configured");
            Ok(None)
        }
        Err(error) => Err(call_error(&doing, &error)),
    }
}

fn is_not_ours_to_know(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(code, Code::UnsupportedFeature | Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed)
}

fn options(settings: &KafkaSettings) -> AdminOptions {
    let timeout: Duration = settings.request_timeout;
    AdminOptions::new().request_timeout(Some(timeout)).operation_timeout(Some(timeout))
}
