//! Why a version differs from what was answered before it, as far as its facts tell. Pure.
//!
//! In: the facts of both versions, the counters of the runs between them. Out: one [`Cause`] for each measure.
//! Guarantee: copies are the cause of no more groups than there were copies; what nothing explains is `unknown`.

use positions::{Counters, PartitionId};
use serving_layer::BatchFacts;
use views::{AggregateClass, ViewDefinition};

/// Why values differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Events were erased in between.
    Erased,
    /// Files were imported in between, which realtime never sees.
    Import,
    /// Records were lost before they were archived, or came back.
    Hole,
    /// Copies that realtime counted: they came later than the horizon, or in another partition than the event.
    Copies,
    /// What a sketch may do: its bound is of ranks or shares, which two values do not show.
    Sketch,
    /// Nothing that is known.
    Unknown,
}

impl Cause {
    /// Its word in the table.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Erased => "erased",
            Self::Import => "import",
            Self::Hole => "hole",
            Self::Copies => "copies",
            Self::Sketch => "sketch",
            Self::Unknown => super::told::UNKNOWN,
        }
    }
}

/// What happened between two versions, beside events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    /// Whether the newer one is without more of what was erased.
    pub(super) is_erased: bool,
    is_imported: bool,
    is_lost: bool,
    /// Copies that realtime counted and batch leaves out.
    copies: u64,
    /// Whether one event may be in many groups.
    is_unnested: bool,
}

impl Span {
    /// Between two versions of a view, with runs of these counters between their cuts.
    pub(super) fn between(view: &ViewDefinition, (old, new): (&BatchFacts, &BatchFacts), runs: Counters) -> Self {
        let is_moved = |partition: &PartitionId| new.cut.offset(*partition) != old.cut.offset(*partition);
        let mut imported = new.cut.0.keys().filter(|partition| partition.is_imported());
        let copies = |facts: &BatchFacts| facts.counters.values().map(|counters| counters.copies).sum::<u64>();
        Self {
            is_erased: new.erased != old.erased,
            is_imported: imported.any(is_moved),
            is_lost: new.holes != old.holes,
            copies: copies(new).saturating_sub(copies(old)).saturating_sub(runs.copies),
            is_unnested: view.sql.to_ascii_uppercase().contains("UNNEST"),
        }
    }

    /// Why a measure of this class differs in so many groups.
    pub(super) fn cause(&self, class: AggregateClass, different: u64) -> Cause {
        let are_copies = self.copies > 0 && (self.is_unnested || different <= self.copies);
        match class {
            _ if self.is_erased => Cause::Erased,
            _ if self.is_imported => Cause::Import,
            _ if self.is_lost => Cause::Hole,
            _ if are_copies => Cause::Copies,
            AggregateClass::Sketch { .. } => Cause::Sketch,
            _ => Cause::Unknown,
        }
    }
}
