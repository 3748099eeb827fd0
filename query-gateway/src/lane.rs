//! The realtime states of one partition of a view whose answers follow the order of merging.
//!
//! ```text
//!  runs of a pin:   s s s s s s s | r r r r        s: alone in its segment, and no run joins it any more
//!                   ----- --- - -   - - - -        r: the speed layer may still put another in its place
//!  chunks:            merged        as they are
//! ```
//!
//! In: the runs that tile `[cut, head)` in one partition. Out: chunks in the order of the log.
//! Guarantee: the chunks are a function of these runs: a gateway that has followed them one by one holds what one holds
//! that sees them for the first time, so both give the same answer, bit for bit.
//! Not here: fetching runs (`attempt.rs`); views that are merged to the same in any order (`realtime.rs`).
//! Why so: sums of floating-point numbers and KLL sketches depend on which states were merged first. Runs that stay are
//! merged one after the other into chunks of falling size, so that a look-up searches few; of the others there are few.

use std::collections::BTreeMap;
use std::sync::Arc;

use positions::RunId;
use views::{Compiled, ViewDefinition};

use crate::GatewayError;
use crate::merging::push_merged;
use crate::pin::PinnedRun;
use crate::states::SortedStates;

/// The states of runs by their ids; a run without rows has none.
pub(crate) type RunStates = BTreeMap<RunId, Arc<SortedStates>>;

/// What is held of one partition. Immutable but for [`Self::fold`] and [`Self::end`], which make the next one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lane {
    /// The runs behind `chunks`.
    folded: Vec<RunId>,
    chunks: Vec<Arc<SortedStates>>,
    tail: RunStates,
    /// The runs of `tail` that have rows, in order.
    order: Vec<RunId>,
}

impl Lane {
    /// What of this lane serves these runs: all but the end, or nothing where they do not go on from it.
    pub(crate) fn kept_for(&self, runs: &[PinnedRun]) -> Self {
        let settled = &runs[..settled_runs(runs)];
        let goes_on = self.folded.len() <= settled.len()
            && self.folded.iter().zip(settled).all(|(folded, run)| *folded == run.id);
        let (folded, chunks) = if goes_on { (self.folded.clone(), self.chunks.clone()) } else { Default::default() };
        // A run is what it is, whatever stands before it.
        let known = runs.iter().filter_map(|run| Some((run.id, Arc::clone(self.tail.get(&run.id)?))));
        Self { folded, chunks, tail: known.collect(), order: Vec::new() }
    }

    /// The runs that are yet to be merged in for good, of the runs that it was kept for.
    pub(crate) fn unfolded<'a>(&self, runs: &'a [PinnedRun]) -> &'a [PinnedRun] {
        &runs[self.folded.len()..settled_runs(runs)]
    }

    /// The runs behind those that were merged in for good.
    pub(crate) fn unsettled<'a>(&self, runs: &'a [PinnedRun]) -> &'a [PinnedRun] {
        &runs[self.folded.len()..]
    }

    /// Those of `runs` whose states it does not hold.
    pub(crate) fn missing(&self, runs: &[PinnedRun]) -> Vec<PinnedRun> {
        runs.iter().filter(|run| run.rows > 0 && !self.tail.contains_key(&run.id)).copied().collect()
    }

    /// Merges in the next of the runs that stay; `fetched` has those that were missing.
    pub(crate) async fn fold(
        &mut self,
        view: &ViewDefinition,
        merge: &Compiled,
        runs: &[PinnedRun],
        fetched: &RunStates,
    ) -> Result<(), GatewayError> {
        for run in runs {
            if let Some(states) = self.tail.remove(&run.id).or_else(|| fetched.get(&run.id).cloned()) {
                push_merged(view, merge, &mut self.chunks, states).await?;
            }
            self.folded.push(run.id);
        }
        Ok(())
    }

    /// Ends with the runs that may still be replaced; `fetched` has those that were missing.
    pub(crate) fn end(&mut self, runs: &[PinnedRun], fetched: RunStates) {
        self.tail.extend(fetched);
        let last = self.unsettled(runs).iter().map(|run| run.id);
        self.order = last.filter(|run| self.tail.contains_key(run)).collect();
    }

    /// The chunks in the order of the log.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = &Arc<SortedStates>> {
        self.chunks.iter().chain(self.order.iter().filter_map(|run| self.tail.get(run)))
    }

    /// Bytes in memory.
    pub(crate) fn size_bytes(&self) -> usize {
        self.chunks.iter().chain(self.tail.values()).map(|chunk| chunk.size_bytes()).sum()
    }
}

/// How many runs, from the first on, stay as they are: each is alone between two borders, with another run behind it.
fn settled_runs(runs: &[PinnedRun]) -> usize {
    let pairs = runs.windows(2).enumerate();
    // The first starts at the cut.
    pairs.take_while(|(at, pair)| pair[1].starts_at_border && (*at == 0 || pair[0].starts_at_border)).count()
}
