//! The order of an erasing, and the waits in it.
//!
//! Guarantee: an error leaves what was done done; call again to go on. Batch loops elsewhere are held off while views
//! are computed anew; one that publishes in between does no harm: it computes everything, too.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use event_log::{EventLog, LifeLog};
use positions::{DefinitionHash, Offset, PartitionId, ViewName};
use records::RecordsError;
use records::master::{MasterDataset, MasterSnapshot};
use serving_layer::PartitionKey;
use serving_layer::registry::{DefinitionRegistry, DefinitionSet};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::purge::{purge, views_behind};
use super::raw::erase_rows;
use super::{Done, EraseComponents};
use crate::archive::{ArchiveComponents, ArchiveSettings, run_archive};
use crate::hold::run_held_round;
use crate::recompute::Mode;
use crate::{BatchContext, BatchError};

/// Between two looks how far the archive is.
const PAUSE: Duration = Duration::from_millis(200);

/// How often views are computed anew behind others that publish.
const ROUNDS: usize = 8;

/// Archives what the log holds at the call, beside an archive that may run elsewhere. What comes later may be archived
/// as well.
///
/// # Errors
/// Those of the archive; [`BatchError::NotArchived`] where the end is not reached within `patience`.
pub async fn archive_to_end(
    components: ArchiveComponents,
    settings: ArchiveSettings,
    patience: Duration,
) -> Result<(), BatchError> {
    let (log, master) = (Arc::clone(&components.log), components.master.clone());
    let (source, topic) = (components.source.name.clone(), components.source.topic.clone());
    let shutdown = CancellationToken::new();
    let mut archive = pin!(run_archive(components, settings, shutdown.clone()));
    let mut reached = pin!(wait_for_end(log, master, topic));
    tokio::select! {
        biased;
        // Only an error ends it before it is told to end.
        ended = &mut archive => return ended,
        reached = &mut reached => reached?,
        () = sleep(patience) => return Err(BatchError::NotArchived { name: source }),
    }
    shutdown.cancel();
    archive.await
}

/// Ends once everything is archived that the log held at the call.
async fn wait_for_end(log: Arc<dyn EventLog>, master: MasterDataset, topic: String) -> Result<(), BatchError> {
    let life = master.open().await?.map(|on| on.facts.life).unwrap_or_default();
    let log = LifeLog::new(log, life);
    let mut ends: BTreeMap<PartitionId, Offset> = BTreeMap::new();
    for partition in log.partitions(&topic).await? {
        let bounds = log.bounds(&topic, partition).await?;
        let is_empty = bounds.low >= bounds.high;
        ends.insert(partition, if is_empty { Offset(0) } else { log.readable_end(&topic, partition).await? });
    }
    loop {
        let on = master.open().await?;
        let archived = |partition: &PartitionId| {
            let known = on.as_ref().and_then(|on| on.facts.partitions.get(partition));
            known.map_or(Offset(0), |known| known.archived.end.offset)
        };
        if ends.iter().all(|(partition, end)| archived(partition) >= *end) {
            return Ok(());
        }
        // What the log said of its end may be less by now: markers of transactions are found out by reading.
        for (partition, end) in &mut ends {
            *end = log.readable_end(&topic, *partition).await?.min(*end);
        }
        sleep(PAUSE).await;
    }
}

/// Brings all stores into line with the list of the source.
///
/// # Errors
/// Those of store and engine; [`BatchError::NotErased`] where a view was not computed anew. Call again to go on.
pub async fn erase(components: &EraseComponents) -> Result<Done, BatchError> {
    let master = MasterDataset::new(&components.context.lake, Arc::clone(&components.source));
    let erased = Arc::new(master.erased().load().await.map_err(RecordsError::from)?);
    let mut done = Done { listed: erased.len(), ..Done::default() };
    if erased.is_empty() {
        return Ok(done);
    }
    let Some((_, files)) = erase_rows(components, &master, &erased).await? else { return Ok(done) };
    done.files = files;
    done.views = compute_anew(components, erased.number).await?;
    // The archive may have committed since.
    let Some(on) = master.open().await? else { return Ok(done) };
    let purged = purge(components, &on, &erased).await?;
    (done.deleted, done.left, done.imports_left) = (purged.objects, purged.tables_left, purged.imports_left);
    forget_realtime(components, &on).await?;
    Ok(done)
}

/// Computes the views that are not without what was erased; returns which they were.
async fn compute_anew(components: &EraseComponents, number: u64) -> Result<Vec<ViewName>, BatchError> {
    let all = views_behind(components, number).await?;
    let mut behind = all.clone();
    for _ in 0..ROUNDS {
        if behind.is_empty() {
            return Ok(all);
        }
        let round = run_held_round(&components.context, Mode::Full, Some(&behind), &components.settings).await;
        for (view, outcome) in round {
            if let Err(error) = outcome {
                return Err(BatchError::NotErased { view, reason: error.to_string() });
            }
        }
        behind = views_behind(components, number).await?;
    }
    match behind.into_iter().next() {
        None => Ok(all),
        Some(view) => Err(BatchError::NotErased { view, reason: "others kept publishing it".to_owned() }),
    }
}

async fn forget_realtime(components: &EraseComponents, on: &MasterSnapshot) -> Result<(), BatchError> {
    let Some(store) = &components.store else { return Ok(()) };
    let source = &components.source.name;
    let generations = generations(components).await?;
    for (partition, _) in on.facts.of_log() {
        store.forget(&PartitionKey::new(source, *partition)).await?;
        for generation in &generations {
            store.forget(&PartitionKey::of_generation(source, *generation, *partition)).await?;
        }
    }
    Ok(())
}

/// The generations that may hold states of the source: those of the pipeline, and of definitions that answer while
/// these are being built. The places of others are empty.
async fn generations(components: &EraseComponents) -> Result<BTreeSet<DefinitionHash>, BatchError> {
    let BatchContext { lake, pipeline, .. } = &components.context;
    let present = DefinitionRegistry::new(lake).present().await?;
    let registered = present.iter().flat_map(DefinitionSet::hashes);
    Ok(pipeline.views.iter().filter_map(|view| view.generation()).chain(registered).collect())
}
