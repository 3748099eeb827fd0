//! The compiled plans of one view, each compiled once, for every role of a process.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use arrow::datatypes::FieldRef;

use crate::compiled::Compiled;
use crate::error::DefinitionError;

/// More roll-ups of one view than this are compiled anew each time.
const MAX_ROLL_UPS: usize = 64;

/// What a plan does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PlanKey {
    /// Events to states, with this extra key.
    StatesBy(FieldRef),
    /// States to states.
    Merge,
    /// States to answers by these dimensions.
    Finish(Vec<String>),
    /// States to what does not fit, by these dimensions.
    Overflows(Vec<String>),
}

/// What was compiled so far.
#[derive(Debug, Default)]
pub(crate) struct PlanCache {
    // Held only to look up, never while planning: building one twice in a race is harmless.
    plans: Mutex<HashMap<PlanKey, Compiled>>,
}

impl PlanCache {
    /// The plan of this key; compiled where there is none.
    pub(crate) async fn get(
        &self,
        key: PlanKey,
        compiling: impl Future<Output = Result<Compiled, DefinitionError>>,
    ) -> Result<Compiled, DefinitionError> {
        let found = self.lock().get(&key).cloned();
        if let Some(plan) = found {
            return Ok(plan);
        }
        let plan = compiling.await?;
        let mut plans = self.lock();
        if !matches!(key, PlanKey::Finish(_) | PlanKey::Overflows(_)) || plans.len() < MAX_ROLL_UPS {
            plans.insert(key, plan.clone());
        }
        Ok(plan)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PlanKey, Compiled>> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
