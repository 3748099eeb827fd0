//! The SQL engines of one set of definitions: one over all views, and one for each choice of views that principals see.
//!
//! Guarantee: a view that a principal does not see has no name in the engine that answers it: not in plans, listings,
//! proposals or errors. All engines share the limits on memory and on plans.
//! Not here: which rows are seen (`visible.rs`).
//! Why so: what is not in a catalogue cannot be let out of it by a statement that nobody thought of.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use edge::Principal;
use views::{Pipeline, PlannedView};

use crate::access::sees;
use crate::sql::SqlEngine;
use crate::{GatewayError, GatewaySettings};

/// More choices than there are kinds of keys. They are quickly made again.
const MOST_CHOICES: usize = 64;

/// The names of the views, and whether there are rejected records beside them.
type Choice = (Vec<String>, bool);

/// See the module.
pub(crate) struct Engines {
    pipeline: Pipeline,
    settings: GatewaySettings,
    all: Arc<SqlEngine>,
    // Written by the first query of a choice; never held across a wait.
    narrowed: Mutex<BTreeMap<Choice, Arc<SqlEngine>>>,
}

impl Engines {
    /// Over the views of a pipeline.
    ///
    /// # Errors
    /// Only for a defect, as in [`crate::Gateway::new`].
    pub(crate) fn new(pipeline: Pipeline, settings: &GatewaySettings) -> Result<Self, GatewayError> {
        let all = Arc::new(SqlEngine::new(&pipeline, settings)?);
        Ok(Self { pipeline, settings: settings.clone(), all, narrowed: Mutex::default() })
    }

    /// The engine over what a principal sees.
    ///
    /// # Errors
    /// As in [`Self::new`].
    pub(crate) fn of(&self, principal: &Principal) -> Result<Arc<SqlEngine>, GatewayError> {
        let is_seen = |view: &PlannedView| sees(principal, view);
        let has_rejected = principal.may_operate();
        if has_rejected && self.pipeline.views.iter().all(is_seen) {
            return Ok(self.all.clone());
        }
        let names = self.pipeline.views.iter().filter(|view| sees(principal, view)).map(|view| view.name.to_string());
        let choice: Choice = (names.collect(), has_rejected);
        if let Some(known) = self.narrowed().get(&choice) {
            return Ok(known.clone());
        }
        let mut pipeline = self.pipeline.clone();
        pipeline.views.retain(is_seen);
        let engine = Arc::new(self.all.narrowed(&pipeline, has_rejected, &self.settings)?);
        let mut narrowed = self.narrowed();
        if narrowed.len() >= MOST_CHOICES {
            narrowed.clear();
        }
        Ok(narrowed.entry(choice).or_insert(engine).clone())
    }

    fn narrowed(&self) -> MutexGuard<'_, BTreeMap<Choice, Arc<SqlEngine>>> {
        self.narrowed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
