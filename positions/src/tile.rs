//! Tiling: which runs answer for `[cut, head)`, and which batch version fits what the realtime store holds.
//!
//! Guarantee: what is returned covers every record of `[cut, head)` exactly once, and the first run follows the very
//! record that the cut ends with. What does not tile is never served.
//! Not here: reading indexes and blobs in the right order (`query-gateway`).

use crate::{DefinitionHash, Index, Offset, Position, Run};

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
    /// The offsets meet, but the records before them are not the same: runs and cut come from different logs.
    #[error("what starts at {at} does not follow the records that the part below it ends with")]
    OtherRecords {
        /// Where the two should meet.
        at: Offset,
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
    /// How far the answer reaches: the index head, or the cut where the index is absent or behind it; of a former
    /// definition where the last of the runs ends.
    pub head: Position,
}

/// Finds the runs that cover exactly `[cut, head)` for a view.
///
/// No index, or one whose head is at or below the cut, is covered by batch alone. Offset, fingerprint and incarnation
/// are compared at the joints, not offsets alone: an index that outlived its log must not be put on top of another one.
///
/// # Errors
/// A [`TilingGap`]: choose another version, or answer from batch alone and say so.
pub fn tile(index: Option<&Index>, view: DefinitionHash, cut: Position) -> Result<Tiling<'_>, TilingGap> {
    let Some(index) = index.filter(|index| index.head.offset > cut.offset) else {
        return Ok(Tiling { runs: Vec::new(), head: cut });
    };
    let runs = tile_between(index, view, cut, index.head)?;
    let head = runs.last().map_or(cut, |run| run.to);
    Ok(Tiling { runs, head })
}

/// Finds the runs that cover `[cut, H)` for a view, as far as there are any: `H` is where the runs end that follow the
/// cut one by one and hold the view. Where none does, `H` is the cut.
///
/// For a former definition: the index may have gone on without it, and what it covers stays right as of `H`.
pub fn tile_held(index: Option<&Index>, view: DefinitionHash, cut: Position) -> Tiling<'_> {
    let all = index.map(|index| index.runs.as_slice()).unwrap_or_default();
    let mut at = cut;
    let mut runs = Vec::new();
    for run in all.iter().filter(|run| run.to.offset > cut.offset) {
        let follows = run.from.offset == at.offset && check_joint(at, run.from).is_ok();
        if !follows || run.rows_of(view).is_none() {
            break;
        }
        runs.push(run);
        at = run.to;
    }
    Tiling { runs, head: at }
}

/// The runs that cover exactly `[from, to)` for a view, between two cuts: what a reader was answered of the records
/// that the newer of two batch versions covers and the older one does not.
///
/// # Errors
/// A [`TilingGap`]: realtime never came so far, or the runs are not there any more.
pub fn tile_between(index: &Index, view: DefinitionHash, from: Position, to: Position) -> Result<Vec<&Run>, TilingGap> {
    let mut at = from;
    let mut runs = Vec::new();
    for run in index.runs.iter().filter(|run| run.to.offset > from.offset) {
        if at.offset >= to.offset {
            break;
        }
        if run.from.offset != at.offset {
            return Err(TilingGap::NotAt { at: at.offset, found: run.from.offset });
        }
        check_joint(at, run.from)?;
        if run.rows_of(view).is_none() {
            return Err(TilingGap::ViewAbsent { at: at.offset });
        }
        runs.push(run);
        at = run.to;
    }
    if at.offset != to.offset {
        return Err(TilingGap::EndsBefore { at: at.offset, head: to.offset });
    }
    check_joint(at, to)?;
    Ok(runs)
}

/// The running maximum is left out: it differs where the speed layer read what expired before it was archived.
fn check_joint(below: Position, above: Position) -> Result<(), TilingGap> {
    let is_same = below.fingerprint == above.fingerprint && below.incarnation == above.incarnation;
    if is_same { Ok(()) } else { Err(TilingGap::OtherRecords { at: below.offset }) }
}
