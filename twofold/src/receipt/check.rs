//! A receipt against the master dataset: the definition that it names, and the values that it should have had.
//!
//! In: the lake alone. Out: a verdict. Guarantee: nothing is written; neither a batch version nor the realtime store is
//! looked at, so compaction, expiry and a wiped store change no verdict.
//! Not here: comparing (`../receipt.rs`), the law at a cut and a head (`batch-layer/src/recompute/at_head.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use batch_layer::RecomputeSettings;
use batch_layer::recompute::AtHead;
use lake::Lake;
use positions::PartitionId;
use query_gateway::{AskedGroups, FinishedRows, GatewaySettings};
use records::master::{MasterDataset, MasterSnapshot};
use serving_layer::ServingError;
use serving_layer::registry::DefinitionRegistry;
use views::{Pipeline, PlannedView};

use super::{Behind, Receipt, Since, Verdict, behind, judge};
use crate::rejected_route::archived_of;

/// How far the archive is.
pub enum Reached {
    /// At the head of the receipt, or beyond it.
    Head(Box<MasterSnapshot>),
    /// Not there, in these partitions.
    Behind(BTreeMap<PartitionId, Behind>),
}

/// The definition that a receipt names: that of a pipeline, or one that the registry still keeps. `None`: nobody has
/// it.
///
/// # Errors
/// The object store failed.
pub async fn definition_of(lake: &Lake, pipeline: Option<&Pipeline>, receipt: &Receipt) -> Result<Option<PlannedView>> {
    let of = |pipeline: &Pipeline| {
        let view = pipeline.view(receipt.view.as_str());
        view.filter(|view| view.hash == receipt.definition).cloned()
    };
    if let Some(view) = pipeline.and_then(of) {
        return Ok(Some(view));
    }
    let registry = DefinitionRegistry::new(lake);
    let Some(set) = registry.present().await.context("cannot read the definitions")? else { return Ok(None) };
    for file in &set.files {
        match registry.pipeline(&set, file.number).await {
            Ok(Some(kept)) => {
                if let Some(view) = of(&kept) {
                    return Ok(Some(view));
                }
            }
            // This release makes something else of it, so it has no such definition.
            Ok(None) | Err(ServingError::Corrupt { .. }) => {}
            Err(error) => return Err(error).context("cannot read the definitions"),
        }
    }
    Ok(None)
}

/// What is said where nobody has the definition.
pub fn no_definition(receipt: &Receipt) -> Verdict {
    let (definition, view) = (receipt.definition, &receipt.view);
    let reason = format!(
        "definition {definition} of view {view} is neither that of the pipeline nor kept in the registry: name the file \
         that it was read from with --pipeline"
    );
    Verdict::NotVerifiable { reasons: vec![reason] }
}

/// Looks whether everything below the head of a receipt is archived.
///
/// # Errors
/// The object store failed.
pub async fn reach(lake: &Lake, view: &PlannedView, receipt: &Receipt) -> Result<Reached> {
    let newest = MasterDataset::new(lake, Arc::clone(&view.source)).open().await?;
    let archived = newest.as_ref().map(|newest| archived_of(&newest.facts)).unwrap_or_default();
    let behind = behind(receipt, &archived);
    match newest {
        Some(newest) if behind.is_empty() => Ok(Reached::Head(Box::new(newest))),
        _ => Ok(Reached::Behind(behind)),
    }
}

/// Computes what a receipt is about from a master dataset that reaches its head, and compares.
///
/// # Errors
/// The object store or the engine failed; what is computed does not fit into memory.
pub async fn compute(
    lake: &Lake,
    view: &PlannedView,
    receipt: &Receipt,
    master: MasterSnapshot,
    settings: &RecomputeSettings,
) -> Result<Verdict> {
    master.check_ledger()?;
    let list = MasterDataset::new(lake, Arc::clone(&view.source)).erased();
    let erased = list.load().await?.number.max(master.facts.erased);
    let since = Since { erased, holes: master.facts.holes.clone() };
    let asked = AskedGroups::parse(view, &receipt.question, &GatewaySettings::default())?;
    let at_head = AtHead::open(master, view, receipt.place(), settings).await?;
    let states = at_head.states(asked.narrowing(view), settings.memory_bytes).await?;
    let states = states.context("the states of these groups do not fit into `batch.memory`; raise it")?;
    let computed = FinishedRows::of(view, &asked.answer(view, &states).await?)?;
    Ok(judge(receipt, view, &computed, &since))
}
