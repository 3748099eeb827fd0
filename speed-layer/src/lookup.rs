//! Looking into stores and log for what others changed: published versions, new partitions.
//!
//! In: the cuts known so far. Out: the newest versions and partitions, all of them or an error.
//! Guarantee: borrows nothing from the worker, so that it can be done beside its work, however long the store takes.
//! Not here: when it is due and what follows from it (`ownership.rs`).

use std::collections::BTreeSet;

use event_log::EventLog;
use positions::PartitionId;
use serving_layer::BatchVersion;

use crate::SpeedError;
use crate::context::Context;
use crate::cuts::PublishedCuts;

/// What a look found.
pub(crate) struct Lookup {
    /// The newest versions of each view.
    pub versions: Vec<Vec<BatchVersion>>,
    /// The partitions of the topic; `None` where a group gives them out.
    pub owned: Option<BTreeSet<PartitionId>>,
}

/// Looks up published versions and, without a group, the partitions of the topic.
pub(crate) fn look_up(
    context: &Context,
    cuts: &PublishedCuts,
) -> impl Future<Output = Result<Lookup, SpeedError>> + Send + 'static {
    let (components, settings) = (&context.components, &context.settings);
    let versions = cuts.look_up(&components.views, settings.retained_versions);
    let (log, topic) = (context.log.clone(), components.source.topic.clone());
    let has_group = settings.group.is_some();
    async move {
        let versions = versions.await?;
        let owned = if has_group { None } else { Some(log.partitions(&topic).await?) };
        Ok(Lookup { versions, owned })
    }
}
