//! Whether topics are the ones that were archived, as the archive looks when it starts.
//!
//! In: the newest versions of master datasets. Out: a finding for each topic that was replaced, lost records, or is
//! gone.
//! Guarantee: reads the last archived record of each partition, and changes nothing.

use std::sync::Arc;

use anyhow::Error;
use event_log::{EventLog, EventLogError, LifeLog};
use positions::Fingerprint;
use records::master::MasterSnapshot;
use views::SourceDefinition;

use super::findings::Findings;

/// The sources of a pipeline of which something may be archived, with their master datasets.
pub(super) type Archived = Vec<(Arc<SourceDefinition>, MasterSnapshot)>;

/// Notes a topic that is another one. `log` is `None` where the topic is gone: the start would make it anew.
pub(super) async fn check_archived(
    log: Option<Arc<dyn EventLog>>,
    source: &SourceDefinition,
    master: &MasterSnapshot,
    findings: &mut Findings,
) {
    if let Err(error) = compare(log, source, master).await {
        findings.note(&format!("topic {}", source.topic), Err(Error::new(error)));
    }
}

async fn compare(
    log: Option<Arc<dyn EventLog>>,
    source: &SourceDefinition,
    master: &MasterSnapshot,
) -> Result<(), EventLogError> {
    let (topic, life) = (&source.topic, &master.facts.life);
    let log = log.map(|log| LifeLog::new(log, life.clone()));
    for (partition, known) in master.facts.of_log() {
        let end = &known.archived.end;
        match &log {
            Some(log) => log.check_fingerprint(topic, *partition, end).await?,
            None if end.fingerprint != Fingerprint(0) && end.incarnation == life.incarnation => {
                let (topic, partition) = (topic.clone(), *partition);
                return Err(EventLogError::AnotherTopic { topic, partition, offset: end.offset });
            }
            None => {}
        }
    }
    Ok(())
}
