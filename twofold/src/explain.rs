//! One number's account: the version, files and runs that an answer was made of, the events of its groups, a receipt.
//!
//! In: an account of the gateway, and the lake. Out: [`Explained`].
//! Guarantee: bounded by [`ExplainLimits`]; what was not looked at to its end says so. Nothing is written, and nothing
//! of an account, a receipt or a sample is kept.
//! Not here: who may ask, and the text of the answer (`explain_route.rs`); the law at a cut and a head (`batch-layer`).
//! Why here: events are in the master dataset, which the gateway never reads.

pub mod files;
pub mod samples;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use batch_layer::RecomputeSettings;
use batch_layer::recompute::{AtHead, CountedEvents, RejectedPlaces};
use lake::Lake;
use positions::{Cut, Incarnation, Offset, PartitionId, format_span};
use query_gateway::{Account, FinishedRows};
use records::master::{MasterDataset, MasterSnapshot};
use tokio::time::timeout;

use self::files::{GroupFile, files_of};
use self::samples::{Sample, samples_of};
use crate::receipt::{FORM, Receipt, ReceiptFile, behind, digest_of};
use crate::rejected_route::archived_of;

/// How much one account may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainLimits {
    /// Records of the source that are looked through; of more no event is named.
    pub rows: u64,
    /// Events that are named.
    pub events: usize,
    /// Events that are shown as they were sent.
    pub samples: usize,
    /// How long events are looked for.
    pub time: Duration,
    /// How they are looked for.
    pub recompute: RecomputeSettings,
}

/// An account with what is in the lake of it.
#[derive(Clone, Debug)]
pub struct Explained {
    /// What the gateway told.
    pub account: Account,
    /// The files of the batch version that hold states of the groups; `None`: they were not looked through to the end,
    /// since they have too many rows, or it took too long.
    pub files: Option<Vec<GroupFile>>,
    /// The events of the groups; `None`: they were not looked for, or not to the end.
    pub events: Option<GroupEvents>,
    /// Why events are missing; `None`: none is.
    pub cut_short: Option<String>,
    /// Partitions that are not archived up to the head: the next offset of each that is not.
    pub not_archived: BTreeMap<PartitionId, Offset>,
    /// Some of the events, as they were sent.
    pub samples: Vec<Sample>,
    /// What proves the answer later.
    pub receipt: Receipt,
}

/// The events of groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupEvents {
    /// Those that could be read.
    pub counted: CountedEvents,
    /// Records between the first and the last of them, by partition, of which none could be read: of which group they
    /// would have been nobody knows.
    pub rejected: RejectedPlaces,
}

/// What was found of the events.
#[derive(Default)]
struct Found {
    events: Option<GroupEvents>,
    cut_short: Option<String>,
    samples: Vec<Sample>,
}

/// Looks up what an answer was made of.
///
/// # Errors
/// The object store failed.
pub async fn explain(lake: Lake, account: Account, limits: ExplainLimits) -> Result<Explained> {
    let files = match timeout(limits.time, files_of(&account, limits.rows)).await {
        Ok(files) => files?,
        Err(_) => None,
    };
    let master = MasterDataset::new(&lake, Arc::clone(&account.view.source)).open().await?;
    let receipt = receipt_of(&account, files.as_deref().unwrap_or_default(), master.as_ref())?;
    let archived = master.as_ref().map(|master| archived_of(&master.facts)).unwrap_or_default();
    let behind = behind(&receipt, &archived).into_iter();
    let not_archived = behind.map(|(partition, behind)| (partition, behind.archived)).collect();
    let found = match master {
        None => Found::short("nothing of the source is archived yet".to_owned()),
        Some(master) if master.facts.rows > limits.rows => {
            let rows = master.facts.rows;
            let limit = limits.rows;
            Found::short(format!(
                "{rows} records of the source are archived, and the events of a group are looked for in {limit} at most \
                 (`gateway.explain_rows`)"
            ))
        }
        Some(master) => {
            let limit = limits.time;
            match timeout(limit, find(&account, &receipt, master, &limits)).await {
                Ok(found) => found?,
                Err(_) => Found::short(format!(
                    "the events were not found within {} (`gateway.explain_time_limit`)",
                    format_span(limit)
                )),
            }
        }
    };
    let Found { events, cut_short, samples } = found;
    Ok(Explained { account, files, events, cut_short, not_archived, samples, receipt })
}

impl Found {
    fn short(reason: String) -> Self {
        Self { cut_short: Some(reason), ..Self::default() }
    }
}

/// Finds the events, and reads some of them.
async fn find(account: &Account, receipt: &Receipt, master: MasterSnapshot, limits: &ExplainLimits) -> Result<Found> {
    let (view, asked) = (&account.view, &account.asked);
    let at_head = AtHead::open(master.clone(), view, receipt.place(), &limits.recompute).await?;
    let passes = |dimensions: &arrow::array::RecordBatch| asked.passes(dimensions);
    let counted = at_head.events(asked.narrowing(view), passes, limits.events).await?;
    let samples = samples_of(&master, &counted.first, limits.samples).await?;
    let rejected = at_head.rejected(&stretches(&counted), limits.events).await?;
    let named = counted.first.len() as u64;
    let cut_short = (counted.total > named).then(|| {
        let total = counted.total;
        format!("{named} of {total} events are named, the first ones of each partition (`gateway.explain_events`)")
    });
    Ok(Found { events: Some(GroupEvents { counted, rejected }), cut_short, samples })
}

/// From the first to the last event that is named of each partition.
fn stretches(counted: &CountedEvents) -> BTreeMap<PartitionId, (Offset, Offset)> {
    let mut stretches: BTreeMap<PartitionId, (Offset, Offset)> = BTreeMap::new();
    for event in &counted.first {
        let (from, to) = stretches.entry(event.partition).or_insert((event.offset, event.offset));
        *from = (*from).min(event.offset);
        *to = (*to).max(event.offset.next());
    }
    stretches
}

/// The receipt of an account; `files` are evidence. Pure.
///
/// # Errors
/// A row is longer than an answer may be.
pub fn receipt_of(account: &Account, files: &[GroupFile], master: Option<&MasterSnapshot>) -> Result<Receipt> {
    let finished = FinishedRows::of(&account.view, &account.rows).context("the answer has no written form")?;
    let facts = account.version.as_ref().map(|version| &version.facts);
    let archived = master.map(|master| &master.facts);
    let pins = || account.partitions.iter();
    let (mut begins, mut reset_meanwhile) = (BTreeMap::new(), false);
    for (partition, pin) in pins().filter(|(partition, _)| !partition.is_imported()) {
        let life = archived.map(|archived| &archived.life);
        // The first life begins at 0.
        let is_first = pin.head.incarnation == Incarnation::default();
        reset_meanwhile |= !is_first && life.is_some_and(|life| life.incarnation != pin.head.incarnation);
        let life = life.filter(|life| life.incarnation == pin.head.incarnation);
        let start = life.map(|life| life.start(*partition).offset).filter(|start| *start > Offset(0));
        begins.extend(start.map(|start| (*partition, start)));
    }
    let erased = facts.map(|facts| facts.erased).or(archived.map(|archived| archived.erased));
    let file = |file: &GroupFile| ReceiptFile { path: file.path.clone(), size_bytes: file.size_bytes, rows: file.rows };
    Ok(Receipt {
        receipt: FORM,
        view: account.view.name.clone(),
        definition: account.view.hash,
        source: account.view.source.name.clone(),
        question: account.asked.parameters().to_vec(),
        cut: Cut(pins().map(|(partition, pin)| (*partition, pin.cut)).collect()),
        head: Cut(pins().map(|(partition, pin)| (*partition, pin.head)).collect()),
        begins,
        reset_meanwhile,
        holes: facts.map(|facts| facts.holes.clone()).unwrap_or_default(),
        erased: erased.unwrap_or_default(),
        rows: account.rows.num_rows(),
        digest: digest_of(&finished),
        approximate: finished.approximate,
        version: account.version.as_ref().map(|version| version.number()),
        files: files.iter().map(file).collect(),
    })
}
