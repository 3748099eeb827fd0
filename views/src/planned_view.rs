//! A view as a pipeline holds it: its definition, and the plans that were made of it.
//!
//! Why so: the definition is data, which stores and answers pass on; plans are what computes, and what was compiled of
//! them is shared by all who hold the view.

use std::ops::Deref;
use std::sync::Arc;

use crate::definition::ViewDefinition;
use crate::plan::ViewPlans;

/// A view and its plans. Cheap to clone; stands for its definition wherever that is enough.
#[derive(Clone, Debug)]
pub struct PlannedView {
    /// What the view is.
    pub definition: Arc<ViewDefinition>,
    /// How its states are computed, merged and finished; shared by all clones.
    pub plans: Arc<ViewPlans>,
    /// Where its statement begins in the pipeline file, from 1: for messages. Not part of what the view is.
    pub line: usize,
}

impl Deref for PlannedView {
    type Target = ViewDefinition;

    fn deref(&self) -> &ViewDefinition {
        &self.definition
    }
}

/// For stores, which need no plans.
impl From<PlannedView> for Arc<ViewDefinition> {
    fn from(view: PlannedView) -> Self {
        view.definition
    }
}
