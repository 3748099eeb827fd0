//! Which chunks may go. Pure.
//!
//! Guarantee: nothing that was not released is chosen, however old or large the log is.

use super::key::ChunkKey;

/// What is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    /// Chunks appended before this instant may go, milliseconds since 1970.
    pub(super) since: i64,
    /// Bytes of all partitions together; beyond, the oldest may go.
    pub(super) bytes: u64,
}

/// The oldest chunks of a partition.
#[derive(Clone, Debug)]
pub(super) struct Oldest {
    /// In order, from the first one that is kept.
    pub(super) chunks: Vec<ChunkKey>,
    /// Bytes appended before the first of them.
    pub(super) removed: u64,
    /// Everything below is kept elsewhere.
    pub(super) released: i64,
}

/// How many chunks of each partition go. `kept`: bytes of all partitions together.
pub(super) fn choose(partitions: &[Oldest], kept: u64, keep: Keep) -> Vec<usize> {
    let mut counts = vec![0; partitions.len()];
    let mut left = kept;
    // The oldest of all first: the size is shared.
    let candidate = |counts: &[usize]| {
        let next = |at: usize| partitions[at].chunks.get(counts[at]).filter(|key| key.last < partitions[at].released);
        (0..partitions.len()).filter_map(|at| Some((next(at)?.appended_at, at))).min()
    };
    while let Some((appended_at, at)) = candidate(&counts) {
        if appended_at >= keep.since && left <= keep.bytes {
            break;
        }
        let partition = &partitions[at];
        let before = counts[at].checked_sub(1).map_or(partition.removed, |last| partition.chunks[last].total);
        left = left.saturating_sub(partition.chunks[counts[at]].total.saturating_sub(before));
        counts[at] += 1;
    }
    counts
}
