//! The topic of a source: made where it is missing, raised where its pipeline file writes more partitions.
//!
//! In: a source and the log. Out: a topic that can be read and written.
//! Guarantee: a topic never loses a partition, and gains one only where the file writes a larger number. The embedded
//! log is raised here; with brokers an operator is told how, and the source goes on with the partitions that it has.
//! Not here: which sources there are (`run.rs`); readers list partitions by themselves and begin with new ones at 0.
//! Why not with brokers: a topic there may have other producers and readers, to whom it matters that keys move.

use event_log::embedded::EmbeddedLog;
use event_log::{EventLog, EventLogError};
use tracing::warn;
use views::SourceDefinition;

/// Makes or raises the topic of a source. `embedded` is the same log as `log`, where it is embedded.
///
/// # Errors
/// As [`EventLog::ensure_topic`].
pub(super) async fn make_topic(
    log: &dyn EventLog,
    embedded: Option<&EmbeddedLog>,
    brokers: &str,
    source: &SourceDefinition,
) -> Result<(), EventLogError> {
    log.ensure_topic(&source.topic, source.partitions_at_creation()).await?;
    let Some(written) = source.partitions.and_then(|written| usize::try_from(written).ok()) else { return Ok(()) };
    if let Some(embedded) = embedded {
        return embedded.grow_topic(&source.topic, written).await;
    }
    match log.partitions(&source.topic).await {
        Ok(found) => {
            advice(source, found.len(), brokers).iter().for_each(|advice| warn!(source = %source.name, "{advice}"));
        }
        // Only the advice depends on it.
        Err(error) => warn!(source = %source.name, %error, "the number of partitions of the topic is not known"),
    }
    Ok(())
}

/// What an operator can do about a topic with fewer partitions than written; `None` where it has as many.
pub(crate) fn advice(source: &SourceDefinition, found: usize, brokers: &str) -> Option<String> {
    let topic = &source.topic;
    let written =
        source.partitions.and_then(|written| usize::try_from(written).ok()).filter(|written| found < *written)?;
    Some(format!(
        "topic {topic} has fewer partitions ({found}) than option `partitions` of the source says ({written}); the source \
         goes on with those. To raise it, run `kafka-topics.sh --alter --topic {topic} --partitions {written} \
         --bootstrap-server {brokers}`: that needs no restart. Else write partitions '{found}', or leave the option out"
    ))
}
