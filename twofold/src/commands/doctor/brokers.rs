//! Checks of Kafka: the brokers, and every topic of the pipeline.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Error;
use event_log::EventLog;
use event_log::kafka::{KafkaLog, TopicCheck};
use positions::format_span;
use views::{Pipeline, SourceDefinition};

use super::archived::{Archived, check_archived};
use super::findings::{Findings, Found};
use crate::config::Config;
use crate::topology::topics::advice;
use crate::wiring::connect_kafka;

/// Connects, and looks at each topic as far as that stores nothing.
pub(super) async fn check_kafka(
    config: &Config,
    pipeline: Option<&Pipeline>,
    archived: &Archived,
    findings: &mut Findings,
) {
    let log = match connect_kafka(config.log.kafka.clone()).await {
        Ok(log) => log,
        Err(error) => return findings.note("event log", Err(error)),
    };
    findings.note("event log", Ok(Found::good(format!("{} answers", config.log.kafka.bootstrap_servers))));
    let mut topics = BTreeMap::new();
    for source in pipeline.map(sources_by_topic).unwrap_or_default() {
        topics.insert(&source.topic, check_topic(&log, source, config, findings).await);
    }
    for (source, master) in archived {
        // Of one that cannot be used nothing else is asked.
        if let Some(Some(is_there)) = topics.get(&source.topic) {
            let log = is_there.then(|| Arc::new(log.clone()) as Arc<dyn EventLog>);
            check_archived(log, source, master, findings).await;
        }
    }
}

/// Whether the topic is there; `None` where it cannot be used.
async fn check_topic(
    log: &KafkaLog,
    source: &SourceDefinition,
    config: &Config,
    findings: &mut Findings,
) -> Option<bool> {
    let part = format!("topic {}", source.topic);
    let group = config.speed.group.as_deref();
    match log.check_topic(&source.topic, source.partitions_at_creation(), group).await {
        Ok(check) => {
            findings.note(&part, Ok(Found::good(describe(&check))));
            let brokers = &config.log.kafka.bootstrap_servers;
            let advice = check.partitions.and_then(|found| advice(source, found, brokers));
            let is_there = check.partitions.is_some();
            check.doubts.into_iter().chain(advice).for_each(|doubt| findings.note(&part, Ok(Found::Doubt(doubt))));
            Some(is_there)
        }
        Err(error) => {
            findings.note(&part, Err(Error::new(error)));
            None
        }
    }
}

/// The sources of a pipeline that share no topic with one before them.
fn sources_by_topic(pipeline: &Pipeline) -> Vec<&Arc<SourceDefinition>> {
    let mut sources: Vec<&Arc<SourceDefinition>> = pipeline.sources.iter().collect();
    sources.sort_by(|one, other| one.topic.cmp(&other.topic));
    sources.dedup_by(|one, other| one.topic == other.topic);
    sources
}

fn describe(check: &TopicCheck) -> String {
    let Some(partitions) = check.partitions else {
        return "is not there yet, and may be made: the first start makes it".to_owned();
    };
    let kept = match check.retention_millis {
        Some(millis) => match u64::try_from(millis) {
            Ok(millis) => format!("records are kept for {}", format_span(Duration::from_millis(millis))),
            Err(_) => "records are kept for ever".to_owned(),
        },
        None => "how long records are kept is not told".to_owned(),
    };
    let noun = if partitions == 1 { "partition" } else { "partitions" };
    format!("{partitions} {noun}, {kept}")
}
