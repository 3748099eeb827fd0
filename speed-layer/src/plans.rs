//! The compiled plans of one view: events to states, and states to fewer states.
//!
//! Not here: running them (`aggregate.rs`, `merge.rs`).
//! Why one extra key: `_run` numbers the stretches of a whole micro-batch, so it stands for partition and stretch at
//! once, and one execution serves all partitions.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use views::{Compiled, DefinitionError, PlannedView, ViewDefinition};

use crate::SpeedError;

/// The extra key: which run of the micro-batch a row belongs to.
pub(crate) const RUN: &str = "_run";

/// The plans of one view, compiled once.
#[derive(Debug)]
pub(crate) struct CompiledView {
    pub definition: PlannedView,
    /// Events and `_run` to states by `_run`.
    pub state: Compiled,
    /// States to states.
    pub merge: Compiled,
}

impl CompiledView {
    /// Compiles the plans of a view, unless another worker of the process has done so.
    ///
    /// # Errors
    /// [`SpeedError::View`]: the view cannot be kept in realtime.
    pub async fn compile(definition: PlannedView) -> Result<Self, SpeedError> {
        let failed = |error| view_error(&definition, error);
        let state = definition.plans.compile_states_by(run_field()).await.map_err(failed)?;
        let merge = definition.plans.compile_merge().await.map_err(failed)?;
        Ok(Self { definition: definition.clone(), state, merge })
    }
}

/// The column of the extra key.
pub(crate) fn run_field() -> FieldRef {
    Arc::new(Field::new(RUN, DataType::Int32, false))
}

/// An error of a plan, with the name of its view.
pub(crate) fn view_error(view: &ViewDefinition, error: DefinitionError) -> SpeedError {
    SpeedError::View { view: view.name.to_string(), error }
}
