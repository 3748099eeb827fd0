//! Parts of groups: what one task computes, and how it is divided where it is too much.
//!
//! In: what a plan, or the task that chose, knows of a group. Out: [`GroupPart`]s.
//! Guarantee: pure. The halves of a part cover it exactly once, in whole buckets of the coarsest grains of the views,
//! so that all copies of an event are in one of them; what is carried over at its ends is carried by the half at that
//! end. Halved again and again, a part becomes single buckets, and those are never divided.
//! Not here: whether a part is worth dividing, and who computes what (`twofold`).
//! Why it holds what it weighs: whoever divides it has the part alone, and neither plan nor master dataset.

use positions::TimestampMicros;
use serde::{Deserialize, Serialize};

use super::groups::{BucketGroup, Scale, Share};
use crate::grains::Grains;

/// Shares of one part, at most: ten thousand parts are some megabytes of JSON then.
const MOST_SHARES: usize = 4;

/// A stretch of a group, `[from, to)`, or all of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPart {
    /// The number of the group in its plan.
    pub group: usize,
    /// Where it begins: at the start of a bucket, or of the group.
    pub from: TimestampMicros,
    /// Where it ends: at the start of a bucket, or with the group.
    pub to: TimestampMicros,
    /// Rows to read for it, about.
    pub rows: u64,
    /// Bytes of files to read for it, about: with all of their columns.
    pub bytes: u64,
    grains: Grains,
    /// What is to be read in it, rising.
    shares: Vec<Share>,
}

impl GroupPart {
    /// All of a group, by the scale of its plan.
    pub(crate) fn all_of(number: usize, group: &BucketGroup, grains: Grains, scale: &Scale) -> Self {
        Self {
            group: number,
            from: group.from,
            to: group.to,
            rows: group.rows,
            bytes: group.bytes,
            grains,
            shares: scale.shares(group.from, group.to, MOST_SHARES),
        }
    }

    /// Two parts of about the same weight; `None`: this one is a single bucket.
    pub fn halves(&self) -> Option<[Self; 2]> {
        let scale = Scale::of(&self.shares);
        let middle = scale.middle(self.grains)?;
        Some([(self.from, middle), (middle, self.to)].map(|(from, to)| {
            let shares = scale.shares(from, to, MOST_SHARES);
            let (rows, bytes) = shares.iter().fold((0, 0), |(rows, bytes): (u64, u64), share| {
                (rows.saturating_add(share.rows), bytes.saturating_add(share.bytes))
            });
            Self { group: self.group, from, to, rows, bytes, grains: self.grains, shares }
        }))
    }
}
