//! One reader of a source in the place of another, where its definitions have changed.
//!
//! ```text
//!  before: reads ... reads ............ reads, its last state
//!            | go_on_from                 | take_over_from: what was shown meanwhile
//!  next:     seed .... reads the stores ..+ answers
//! ```
//!
//! Guarantee: what the reader before has shown is not taken back, however long the next one took to read the stores and
//! whatever these lost meanwhile; from the moment that the next one answers, the one before reads no more.
//! Not here: which reader follows which (`gateway/successor.rs`).

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use positions::DefinitionHash;

use super::SourceReader;
use crate::served::{Served, ServedView, SourceState, is_ahead};

impl SourceReader {
    /// Takes over what another reader of the same topic has in memory of definitions that this one reads, too. It
    /// counts as not read yet: the first refresh goes on from it.
    pub(crate) fn go_on_from(&self, before: &Self) {
        if before.source().topic != self.source().topic {
            return;
        }
        let state = before.state();
        let views = self.ours_of(&state).map(|(hash, view)| (*hash, view.clone())).collect();
        let (indexes, named) = (state.indexes.clone(), state.named.clone());
        self.known().note_seen(named.iter().copied());
        let seed = SourceState { indexes, named, views, ..SourceState::default() };
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(seed);
    }

    /// Ends another reader of the same topic and takes over what it has shown beyond what this one has read, so that
    /// nothing shown is taken back. To be called before anybody asks this one, and while nobody refreshes it.
    pub(crate) fn take_over_from(&self, before: &Self) {
        if before.source().topic != self.source().topic {
            return;
        }
        let last = before.end();
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let is_further = |hash: &DefinitionHash, shown: &Served| match state.views.get(hash) {
            Some(ServedView::Served(served)) => is_ahead(shown, &served.partitions),
            _ => true,
        };
        let further: Vec<(DefinitionHash, ServedView)> = self
            .ours_of(&last)
            .filter(|(hash, view)| matches!(view, ServedView::Served(shown) if is_further(hash, shown)))
            .map(|(hash, view)| (*hash, view.clone()))
            .collect();
        if further.is_empty() {
            return;
        }
        let mut views = state.views.clone();
        views.extend(further);
        // Not what its own reading of the stores would give again.
        *state = Arc::new(SourceState {
            generation: state.generation,
            indexes: state.indexes.clone(),
            named: &state.named | &last.named,
            problem: state.problem.clone(),
            views,
            is_repeatable: false,
            changes: state.changes,
        });
    }

    /// Nothing is read from now on; what was read last.
    fn end(&self) -> Arc<SourceState> {
        let state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        self.is_over.store(true, Ordering::Release);
        state.clone()
    }

    /// The views of another reader's state that this one reads, too.
    fn ours_of<'a>(
        &'a self,
        state: &'a SourceState,
    ) -> impl Iterator<Item = (&'a DefinitionHash, &'a ServedView)> + 'a {
        state.views.iter().filter(|(hash, _)| self.views.iter().any(|reader| reader.view.hash == **hash))
    }

    /// Reads these former definitions no longer, frees what is in memory of them, and wakes what waits for this reader.
    pub(crate) fn retire(&self, former: &[DefinitionHash]) {
        self.retired.write().unwrap_or_else(PoisonError::into_inner).extend(former);
        // Counts as a change, so that the next refresh makes a state without them.
        let ours = self.views.iter().filter(|reader| former.contains(&reader.view.hash));
        ours.for_each(|reader| reader.versions.forget());
        // If nobody refreshes it any more, nothing else would.
        self.changed.send_modify(|_| ());
    }
}
