//! The reset of a source: begins the next life of its topic, where another topic took the name of the one that is
//! archived, or it lost records. An operator asks for it, by `twofold source reset`.
//!
//! ```text
//!  archived:   0 ......... end          in the realtime store: up to head
//!  next life:                  [hole)   begins at the larger of both, in every partition
//! ```
//!
//! In: log, master dataset, realtime store. Out: one commit to the master dataset, without rows, and nothing else.
//! Guarantee: the commit is done or not; done twice, the second time finds nothing to do. Whoever reads the source goes
//! on from it: the archive at its next commit or start, the batch layer with a version of the new life, then the speed
//! layer; the gateway answers from the former life until then. A topic that is the archived one is left alone.
//! Not here: the arithmetic of lives (`positions::Life`), the facts of the commit (`records::master`), the command and
//! its words (`twofold`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use event_log::{EventLog, EventLogError, LifeLog};
use positions::{Fingerprint, IdSource, Incarnation, LifeStart, Offset, PartitionId};
use records::RecordsError;
use records::master::{MasterDataset, MasterFacts};
use serving_layer::{PartitionKey, RealtimeStore, ServingError};
use views::SourceDefinition;

use crate::BatchError;

/// What a reset works with.
pub struct ResetComponents {
    /// Where the topic is.
    pub log: Arc<dyn EventLog>,
    /// What is archived of it.
    pub master: MasterDataset,
    /// Where realtime views may outlive a process; `None` for those in memory.
    pub store: Option<Arc<dyn RealtimeStore>>,
    /// The source.
    pub source: Arc<SourceDefinition>,
    /// Names the commit.
    pub ids: Arc<dyn IdSource>,
}

/// From which record on the topic of the next life counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountFrom {
    /// From its first one: it is another topic.
    Start,
    /// From the next one that comes: what it holds is archived already, as where it lost its newest records.
    End,
}

/// What a reset did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResetOutcome {
    /// The next life has begun, with these facts.
    Begun(MasterFacts),
    /// Nothing was read in the present life yet: there is nothing to tell a topic by, and nothing to reset.
    NothingRead(Incarnation),
}

/// How often the commit is tried, behind others that commit to the master dataset.
const ATTEMPTS: usize = 8;

/// Begins the next life of the topic of a source.
///
/// # Errors
/// [`BatchError::TopicIsArchived`]: nothing to reset, and nothing was changed. Otherwise log, realtime store or
/// master dataset cannot be asked or written, or others keep committing: nothing was changed, unless the reply to the
/// commit was lost. Call again.
pub async fn reset(components: &ResetComponents, from: CountFrom) -> Result<ResetOutcome, BatchError> {
    let mut left = ATTEMPTS;
    loop {
        left -= 1;
        match try_reset(components, from).await {
            // An archive that committed, or a compaction: look again.
            Err(BatchError::Records(RecordsError::Conflict { .. })) if left > 0 => {}
            ended => return ended,
        }
    }
}

async fn try_reset(components: &ResetComponents, from: CountFrom) -> Result<ResetOutcome, BatchError> {
    let source = &components.source;
    let Some(on) = components.master.open().await? else { return Ok(ResetOutcome::NothingRead(Incarnation(0))) };
    let log = LifeLog::new(Arc::clone(&components.log), on.facts.life.clone());
    let found = partitions(&log, source).await?;
    match compare(&log, &source.topic, &on.facts, &found).await? {
        Verdict::NothingToCompare => return Ok(ResetOutcome::NothingRead(on.facts.life.incarnation)),
        Verdict::Same => {
            return Err(BatchError::TopicIsArchived { topic: source.topic.clone(), name: source.name.clone() });
        }
        Verdict::Another => {}
    }
    let facts = on.facts.next_life(starts(components, &on.facts, &found, from).await?);
    components.master.append(&on, &[], facts.clone(), components.ids.next_id()).await?;
    Ok(ResetOutcome::Begun(facts))
}

/// The partitions of the topic, which is made where it is missing, as a start of the system would.
async fn partitions(log: &LifeLog, source: &SourceDefinition) -> Result<BTreeSet<PartitionId>, EventLogError> {
    match log.partitions(&source.topic).await {
        Err(EventLogError::Unusable(_)) => {
            log.ensure_topic(&source.topic, source.partitions_at_creation()).await?;
            log.partitions(&source.topic).await
        }
        found => found,
    }
}

/// Which topic bears the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// No partition has a record that was read in this life.
    NothingToCompare,
    /// Every partition continues what is archived.
    Same,
    /// One does not.
    Another,
}

async fn compare(
    log: &LifeLog,
    topic: &str,
    facts: &MasterFacts,
    found: &BTreeSet<PartitionId>,
) -> Result<Verdict, EventLogError> {
    let mut verdict = Verdict::NothingToCompare;
    for (partition, known) in facts.of_log() {
        let end = known.archived.end;
        if end.fingerprint == Fingerprint(0) || end.incarnation != facts.life.incarnation {
            continue;
        }
        if !found.contains(partition) {
            return Ok(Verdict::Another);
        }
        match log.check_fingerprint(topic, *partition, &end).await {
            Ok(()) => verdict = Verdict::Same,
            Err(EventLogError::AnotherTopic { .. }) => return Ok(Verdict::Another),
            Err(error) => return Err(error),
        }
    }
    Ok(verdict)
}

/// Where the partitions begin: behind everything that a reader was served, as far as the stores still know.
async fn starts(
    components: &ResetComponents,
    facts: &MasterFacts,
    found: &BTreeSet<PartitionId>,
    from: CountFrom,
) -> Result<BTreeMap<PartitionId, LifeStart>, BatchError> {
    let mut starts = BTreeMap::new();
    let archived = facts.of_log().map(|(partition, _)| partition);
    for partition in archived.chain(found).copied().collect::<BTreeSet<_>>() {
        let archived = facts.partitions.get(&partition).map_or(Offset(0), |known| known.archived.end.offset);
        let offset = archived.max(realtime_head(components, facts, partition).await?);
        let log_offset = match from {
            CountFrom::End if found.contains(&partition) => {
                components.log.bounds(&components.source.topic, partition).await?.high
            }
            CountFrom::Start | CountFrom::End => Offset(0),
        };
        starts.insert(partition, LifeStart { offset, log_offset });
    }
    Ok(starts)
}

/// How far the realtime view of a partition reaches in the life that ends.
async fn realtime_head(
    components: &ResetComponents,
    facts: &MasterFacts,
    partition: PartitionId,
) -> Result<Offset, ServingError> {
    let Some(store) = &components.store else { return Ok(Offset(0)) };
    let key = PartitionKey::new(&components.source.name, partition);
    match store.read_index(&key).await {
        Ok(index) => {
            let head = index.map(|index| index.head).filter(|head| head.incarnation == facts.life.incarnation);
            Ok(head.map_or(Offset(0), |head| head.offset))
        }
        // The speed layer discards it, too.
        Err(error @ ServingError::Corrupt { .. }) => {
            tracing::warn!(%partition, %error, "the index of the realtime view is not taken into account");
            Ok(Offset(0))
        }
        Err(error) => Err(error),
    }
}
