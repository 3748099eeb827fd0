//! Where a speed worker starts in a partition that it has just been given.
//!
//! Guarantee: from the returned position on, appended runs tile with at least one serving version of every view that
//! has one. Nothing is skipped that no batch version covers.

use crate::{Index, Position};

/// What to do first with a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The store has no index: create one here, after priming the copies that lie before.
    Create(Position),
    /// Go on at the stored head.
    Continue(Position),
    /// The stored head is below every serving cut: move it up, the batch views cover what lies between.
    Jump(Position),
}

impl Start {
    /// The first position to read.
    pub fn position(&self) -> Position {
        match self {
            Self::Create(position) | Self::Continue(position) | Self::Jump(position) => *position,
        }
    }
}

/// Decides where to start, from the stored index and the cuts that the views of the source are served at.
///
/// `serving` holds one position per view that a reader may be served from: the cut of its newest published version, or
/// the start of the partition for a view that is in its first build. A view added later, with no version yet, is left
/// out.
pub fn choose_start(index: Option<&Index>, serving: &[Position], origin: Position) -> Start {
    let least = serving.iter().min_by_key(|position| position.offset).copied().unwrap_or(origin);
    match index {
        None => Start::Create(least),
        Some(index) if !serving.is_empty() && index.head.offset < least.offset => Start::Jump(least),
        Some(index) => Start::Continue(index.head),
    }
}
