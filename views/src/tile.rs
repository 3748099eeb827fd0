//! Tiling: which runs answer for `[cut, head)`, and which batch version fits what the realtime store holds.
//!
//! Guarantee: what is returned covers every offset of `[cut, head)` exactly once. What does not tile is never served.
//! Not here: reading indexes and blobs in the right order (`query-gateway`).

use crate::{DefinitionHash, Index, Offset, Run};

/// Why the runs of a partition do not answer for a view above a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TilingGap {
    /// The run that should cover `at` starts elsewhere, or `at` lies inside a run.
    #[error("no run starts at {at}: the next one starts at {found}")]
    NotAt {
        /// The offset that must be covered next.
        at: Offset,
        /// Where the next run starts.
        found: Offset,
    },
    /// The runs end before the head.
    #[error("the runs end at {at}, the head is {head}")]
    EndsBefore {
        /// Where they end.
        at: Offset,
        /// Where the head stands.
        head: Offset,
    },
    /// A run was computed before the view existed.
    #[error("the run that starts at {at} does not hold the view")]
    ViewAbsent {
        /// Where the run starts.
        at: Offset,
    },
}

/// The runs that cover `[cut, head)` of one partition for one view, and the head they reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tiling<'a> {
    /// In offset order, without gap or overlap.
    pub runs: Vec<&'a Run>,
    /// How far the answer reaches: the index head, or the cut where the index is absent or behind it.
    pub head: Offset,
}

/// Finds the runs that cover exactly `[cut, head)` for a view.
///
/// No index, or one whose head is at or below the cut, is covered by batch alone.
///
/// # Errors
/// A [`TilingGap`]: choose another version, or answer from batch alone and say so.
pub fn tile(index: Option<&Index>, view: DefinitionHash, cut: Offset) -> Result<Tiling<'_>, TilingGap> {
    let Some(index) = index.filter(|index| index.head.offset > cut) else {
        return Ok(Tiling { runs: Vec::new(), head: cut });
    };
    let mut at = cut;
    let mut runs = Vec::new();
    for run in index.runs.iter().filter(|run| run.to.offset > cut) {
        if run.from.offset != at {
            return Err(TilingGap::NotAt { at, found: run.from.offset });
        }
        if run.rows_of(view).is_none() {
            return Err(TilingGap::ViewAbsent { at });
        }
        runs.push(run);
        at = run.to.offset;
    }
    if at != index.head.offset {
        return Err(TilingGap::EndsBefore { at, head: index.head.offset });
    }
    Ok(Tiling { runs, head: at })
}
