//! A recompute as a value: which rows, which buckets, on which versions. Any process can go on from it.
//!
//! Guarantee: the same plan gives the same tables, whoever computes its groups, in any order, however often. It says
//! all that the steps need beside the definitions of the views; ten thousand groups are a megabyte of JSON.

use std::collections::BTreeMap;

use lake::Version;
use positions::{Counters, Cut, DefinitionHash, Hole, PartitionId, RecomputeId, TimestampMicros, ViewName};
use serde::{Deserialize, Serialize};
use serving_layer::{BucketRanges, Folded, WrittenPart};

use super::groups::BucketGroup;

/// The recompute of the views of one source that stand at one cut.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecomputePlan {
    /// The version of the master dataset that counters and holes were read from. Groups read it, or a later one.
    pub master_version: Version,
    /// Everything below is in the versions to be.
    pub cut: Cut,
    /// The cut of the versions before, whose other buckets are carried over; `None`: everything is computed.
    pub since: Option<Cut>,
    /// The hours to compute again, in each view widened to whole buckets; `None`: everything.
    pub touched: Option<BucketRanges>,
    /// How far the versions before are folded, the one that is furthest; not at all in plans of former versions.
    #[serde(default)]
    pub folded: Folded,
    /// The views.
    pub views: Vec<ViewPlan>,
    /// They divide all of event time, rising; none where nothing is touched.
    pub groups: Vec<BucketGroup>,
    /// Rows, rejected and late below the cut, by partition; copies are counted by the groups.
    pub counters: BTreeMap<PartitionId, Counters>,
    /// What below the cut was lost before it was archived.
    pub holes: Vec<Hole>,
    /// How many entries of the list of what was erased the rows are without.
    pub erased: u64,
}

/// What is published of one view, and on what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewPlan {
    /// The view.
    pub name: ViewName,
    /// Its definition.
    pub hash: DefinitionHash,
    /// The version that the next one is committed on, and on no other; `None`: it is the first.
    pub previous: Option<PreviousVersion>,
    /// In the facts of the version to be: who finds it there knows that this plan was published.
    pub recompute: RecomputeId,
}

/// A version by its number, and by what made it: a number alone may come again in a table that was restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousVersion {
    /// Its number.
    pub number: Version,
    /// The recompute that made it.
    pub recompute: RecomputeId,
}

/// What a recompute would read, by the statistics of files alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    /// Buckets of the coarsest grain of the views, at most.
    pub buckets: u64,
    /// Rows of the master dataset, about; those above the cut are counted, too.
    pub rows: u64,
    /// Bytes of its files, about: with all of their columns.
    pub bytes: u64,
}

impl RecomputePlan {
    /// What it would read.
    pub fn estimate(&self) -> Estimate {
        self.groups.iter().fold(Estimate::default(), |sum, group| Estimate {
            buckets: sum.buckets + group.buckets,
            rows: sum.rows + group.rows,
            bytes: sum.bytes + group.bytes,
        })
    }
}

/// Rows that expressions failed on: by view, and by the expression as it is written.
pub type FailedByView = BTreeMap<ViewName, BTreeMap<String, u64>>;

/// What computing one group, or a part of one, gave. Nobody sees its files before they are published.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupOutput {
    /// The number of the group in its plan.
    pub group: usize,
    /// Where the part begins and ends that was computed; `None`: it is the whole group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<(TimestampMicros, TimestampMicros)>,
    /// Copies that were left out, by partition.
    pub left_out: BTreeMap<PartitionId, u64>,
    /// How many of the same events were left out below the cut of the version before.
    pub left_out_before: BTreeMap<PartitionId, u64>,
    /// The files of each view that could be computed.
    pub parts: BTreeMap<ViewName, WrittenPart>,
    /// Rows that expressions of the views failed on; also of views that could not be computed.
    pub failed_rows: FailedByView,
}

impl GroupOutput {
    /// Rows that expressions failed on, in all of these groups and parts.
    pub fn all_failed_rows(outputs: &[Self]) -> FailedByView {
        let mut all = FailedByView::new();
        for (view, expressions) in outputs.iter().flat_map(|output| &output.failed_rows) {
            let of_view = all.entry(view.clone()).or_default();
            for (expression, rows) in expressions {
                *of_view.entry(expression.clone()).or_default() += rows;
            }
        }
        all
    }
}
