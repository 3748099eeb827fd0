//! Former definitions of views as values: what answers while another definition of the view is being built.
//!
//! Not here: planning them from the registry (`registry/former.rs`).

use positions::{DefinitionHash, DefinitionNumber, ViewName};
use views::{PlannedView, SourceDefinition};

/// A definition of a view that was served, while another one of the same name is being built.
#[derive(Clone, Debug)]
pub struct FormerView {
    /// The definition, planned from the file of its set.
    pub view: PlannedView,
    /// The set that came with that file.
    pub set: DefinitionNumber,
    /// The definition that is to take its place.
    pub building: DefinitionHash,
}

impl FormerView {
    /// Whether a source as it is defined now reads every record as this view's own definition of it does: the same
    /// columns from the same topic, by the same rules, with the same copies and borders. Then one run serves both.
    pub fn reads_as(&self, source: &SourceDefinition) -> bool {
        let own = &self.view.source;
        own.declared == source.declared
            && (&own.topic, own.horizon, &own.border) == (&source.topic, source.horizon, &source.border)
            && own.reading() == source.reading()
    }
}

/// A former definition that cannot answer any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostView {
    /// The view.
    pub view: ViewName,
    /// The set that its definition came with.
    pub set: DefinitionNumber,
    /// Why not.
    pub reason: String,
}

/// The former definitions of the views of a process.
#[derive(Clone, Debug, Default)]
pub struct FormerViews {
    /// Those that can answer, in the order of the pipeline.
    pub planned: Vec<FormerView>,
    /// Those that cannot.
    pub lost: Vec<LostView>,
    /// Replaced definitions that are computed on beside the present ones, and answer nothing.
    pub kept: Vec<FormerView>,
}
