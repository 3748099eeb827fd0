//! The index of one partition in the realtime store: which runs exist, and the only ways in which it may change.
//!
//! Every change is a pure function from an index to the next index; a store swaps the one for the other only if the
//! stored stamp is still that of the first. So the checks here hold at the instant of the swap, in every store.
//!
//! Guarantee: runs stay ordered and never overlap; a refused change leaves nothing behind; applying the same append
//! twice is seen by its run id.
//! Not here: the swap itself and the blobs (`serving-layer`), what tiles a query (`tile.rs`).

use std::collections::BTreeSet;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::{Counters, DefinitionHash, DefinitionNumber, IndexStamp, Offset, Position, RunId, TimestampMicros};

/// What one run holds for one view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunView {
    /// The definition that the states were computed with.
    pub view: DefinitionHash,
    /// State rows; 0 means that the run is empty for this view and that no blob was written.
    pub rows: u64,
}

/// An immutable piece of a realtime view: the states of the fresh events in `[from, to)` of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Names the run and its blobs, one per view.
    pub id: RunId,
    /// Where the run starts.
    pub from: Position,
    /// Where the run ends; the next one starts here.
    pub to: Position,
    /// What it holds, by view. A view that is absent is *not covered*, which is different from empty.
    pub views: Vec<RunView>,
    /// What happened to its records.
    pub counters: Counters,
    /// Whether `from` is a grid multiple or follows a gap: no merge crosses it.
    pub starts_at_border: bool,
}

impl Run {
    /// State rows for a view, or `None` where the run does not cover it.
    pub fn rows_of(&self, view: DefinitionHash) -> Option<u64> {
        self.views.iter().find(|held| held.view == view).map(|held| held.rows)
    }
}

/// The small mutable object of one partition in the realtime store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Drawn anew at each write: the value that a swap compares.
    pub stamp: IndexStamp,
    /// The definitions of the last writer; a worker with a lower number is refused.
    pub definitions: DefinitionNumber,
    /// How far the partition has been read; its incarnation is that of every run.
    pub head: Position,
    /// When the head was last known to be right, by the writer's clock. Shown to readers, decides nothing.
    pub as_of: TimestampMicros,
    /// Counters of all runs ever appended since this index was created.
    pub counters: Counters,
    /// Ordered by `from`, without overlap.
    pub runs: Vec<Run>,
}

/// Why a change of an index was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexRefusal {
    /// Another worker has appended: read the index and start again from its head.
    #[error("append at {from} refused: the head is {head}, another worker owns the partition")]
    HeadMoved {
        /// Where the refused run starts.
        from: Offset,
        /// Where the head stands.
        head: Offset,
    },
    /// The topic was created again since this worker started.
    #[error("append refused: incarnation {ours} is not the stored {stored}")]
    IncarnationChanged {
        /// The worker's incarnation.
        ours: u32,
        /// The stored incarnation.
        stored: u32,
    },
    /// A worker with newer definitions has taken over.
    #[error("append refused: definitions {ours} are older than the stored {stored}")]
    OlderDefinitions {
        /// The worker's number.
        ours: u64,
        /// The stored number.
        stored: u64,
    },
    /// The runs to merge are not there any more, side by side.
    #[error("merge refused: its runs are gone from the index")]
    RunsGone,
    /// A jump was decided on an index that has changed.
    #[error("jump to {to} refused: the head is already {head}")]
    JumpBackwards {
        /// Where the jump wanted to go.
        to: Offset,
        /// Where the head stands.
        head: Offset,
    },
}

impl Index {
    /// The index of a partition that starts at `head` with no run.
    pub fn new(stamp: IndexStamp, definitions: DefinitionNumber, head: Position, as_of: TimestampMicros) -> Self {
        Self { stamp, definitions, head, as_of, counters: Counters::default(), runs: Vec::new() }
    }

    /// A worker with older definitions than the stored ones knows too few views to change anything.
    ///
    /// # Errors
    /// [`IndexRefusal::OlderDefinitions`]: a worker with newer definitions has taken over.
    pub fn check_definitions(&self, ours: DefinitionNumber) -> Result<(), IndexRefusal> {
        if ours < self.definitions {
            return Err(IndexRefusal::OlderDefinitions { ours: ours.0, stored: self.definitions.0 });
        }
        Ok(())
    }

    fn check_writer(&self, definitions: DefinitionNumber, incarnation: crate::Incarnation) -> Result<(), IndexRefusal> {
        if incarnation != self.head.incarnation {
            let (ours, stored) = (incarnation.0, self.head.incarnation.0);
            return Err(IndexRefusal::IncarnationChanged { ours, stored });
        }
        self.check_definitions(definitions)
    }

    /// The index with `run` appended, or the same index where this very run is in it already (a lost reply).
    ///
    /// # Errors
    /// Every refusal means that this worker does not own the partition any more: start again from the store.
    pub fn append(
        &self,
        stamp: IndexStamp,
        definitions: DefinitionNumber,
        run: Run,
        as_of: TimestampMicros,
    ) -> Result<Self, IndexRefusal> {
        if self.runs.iter().any(|held| held.id == run.id) {
            return Ok(self.clone());
        }
        self.check_writer(definitions, run.from.incarnation)?;
        if run.from != self.head {
            return Err(IndexRefusal::HeadMoved { from: run.from.offset, head: self.head.offset });
        }
        let mut next = self.clone();
        next.stamp = stamp;
        next.definitions = definitions;
        next.head = run.to;
        next.as_of = as_of;
        next.counters += run.counters;
        next.runs.push(run);
        Ok(next)
    }

    /// The index after a jump over what every serving batch version covers already.
    ///
    /// # Errors
    /// Refused where the head is not below `to`, or for a worker that is out of date.
    pub fn jump(
        &self,
        stamp: IndexStamp,
        definitions: DefinitionNumber,
        to: Position,
        as_of: TimestampMicros,
    ) -> Result<Self, IndexRefusal> {
        self.check_writer(definitions, to.incarnation)?;
        if to.offset <= self.head.offset {
            return Err(IndexRefusal::JumpBackwards { to: to.offset, head: self.head.offset });
        }
        Ok(Self { stamp, definitions, head: to, as_of, ..self.clone() })
    }

    /// The same index said to be right as of a later instant, under the caller's definitions.
    ///
    /// # Errors
    /// Refused for a worker whose definitions or incarnation are out of date, or whose head is not the stored one.
    pub fn touch(
        &self,
        stamp: IndexStamp,
        definitions: DefinitionNumber,
        head: Position,
        as_of: TimestampMicros,
    ) -> Result<Self, IndexRefusal> {
        self.check_writer(definitions, head.incarnation)?;
        if head != self.head {
            return Err(IndexRefusal::HeadMoved { from: head.offset, head: self.head.offset });
        }
        Ok(Self { stamp, definitions, as_of, ..self.clone() })
    }

    /// The index in which `merged` stands where the runs named in `replaced` stood.
    ///
    /// # Errors
    /// Refused unless exactly these runs lie side by side and cover what `merged` covers. The head is not looked at.
    pub fn merge(&self, stamp: IndexStamp, replaced: &[RunId], merged: Run) -> Result<Self, IndexRefusal> {
        let first = self.runs.iter().position(|run| Some(&run.id) == replaced.first()).ok_or(IndexRefusal::RunsGone)?;
        let found = self.runs.get(first..first + replaced.len()).ok_or(IndexRefusal::RunsGone)?;
        let is_same = found.iter().map(|run| &run.id).eq(replaced.iter());
        let covers = found.first().map(|run| run.from) == Some(merged.from)
            && found.last().map(|run| run.to) == Some(merged.to)
            && are_mergeable(found, &BTreeSet::new());
        if !is_same || !covers {
            return Err(IndexRefusal::RunsGone);
        }
        let mut next = self.clone();
        next.stamp = stamp;
        next.runs.splice(first..first + replaced.len(), [merged]);
        Ok(next)
    }

    /// The index without the runs that end at or below `below`: every serving batch version covers them.
    ///
    /// The head stays, so nothing can be appended twice.
    pub fn drop_below(&self, stamp: IndexStamp, below: Offset) -> Self {
        let mut next = self.clone();
        next.stamp = stamp;
        next.runs.retain(|run| run.to.offset > below);
        next
    }
}

/// Whether consecutive runs may be merged into one: they touch, hold the same views, and no border or cut divides them.
pub fn are_mergeable(runs: &[Run], cuts: &BTreeSet<Offset>) -> bool {
    runs.len() >= 2
        && runs.windows(2).all(|pair| {
            let (left, right) = (&pair[0], &pair[1]);
            left.to == right.from
                && !right.starts_at_border
                && !cuts.contains(&right.from.offset)
                && left.views.iter().map(|held| held.view).eq(right.views.iter().map(|held| held.view))
        })
}

/// Picks the runs to merge next: a whole closed segment, or `fan_in` runs of one tier in the open one.
///
/// A segment is what no border or cut divides; it is closed once a run lies behind it, and then becomes one run. In
/// the open segment runs are tiered by the power of `fan_in` in their record count, so that each state is rewritten a
/// logarithmic number of times. Returns the range of indexes into `runs`.
pub fn choose_merge(runs: &[Run], fan_in: usize, cuts: &BTreeSet<Offset>) -> Option<Range<usize>> {
    let fan_in = fan_in.max(2);
    let tier = |run: &Run| run.counters.rows.max(1).ilog(fan_in as u64);
    segments(runs, cuts).into_iter().find_map(|segment| {
        if segment.end < runs.len() {
            return (segment.len() >= 2).then_some(segment);
        }
        segment
            .clone()
            .map(|first| first..first + fan_in)
            .take_while(|candidate| candidate.end <= segment.end)
            .find(|candidate| runs[candidate.clone()].windows(2).all(|pair| tier(&pair[0]) == tier(&pair[1])))
    })
}

fn segments(runs: &[Run], cuts: &BTreeSet<Offset>) -> Vec<Range<usize>> {
    let mut segments: Vec<Range<usize>> = Vec::new();
    for index in 0..runs.len() {
        match segments.last_mut() {
            Some(open) if are_mergeable(&runs[index - 1..=index], cuts) => open.end = index + 1,
            _ => segments.push(index..index + 1),
        }
    }
    segments
}
