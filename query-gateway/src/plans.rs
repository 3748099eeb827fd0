//! The physical plans of one view, each built once.
//!
//! Guarantee: a plan never changes for a definition, so queries share it; building one twice in a race is harmless.
//! Why so: the definition keeps the plans that every role needs, for as long as it lives. Which roll-ups are asked for
//! is up to clients, so those are kept here, and not without end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use views::{Compiled, DefinitionError, ViewDefinition};

use crate::GatewayError;

/// More roll-ups of one view than this are planned anew each time.
const MAX_ROLL_UPS: usize = 64;

/// Plans of one view.
#[derive(Debug)]
pub(crate) struct Plans {
    view: Arc<ViewDefinition>,
    // By the dimensions that are kept. Written by the first query of each roll-up, read by all; held only to look up,
    // never while planning.
    roll_ups: Mutex<HashMap<Vec<String>, Compiled>>,
}

impl Plans {
    pub(crate) fn new(view: Arc<ViewDefinition>) -> Self {
        Self { view, roll_ups: Mutex::default() }
    }

    /// States to states at the grain of all dimensions.
    pub(crate) async fn merge(&self) -> Result<Compiled, GatewayError> {
        Ok(self.view.compile_merge().await?)
    }

    /// States to answers at the grain of the dimensions `by`.
    pub(crate) async fn finish(&self, by: &[String]) -> Result<Compiled, GatewayError> {
        if by.iter().eq(self.view.dimensions.iter().map(|dimension| &dimension.name)) {
            return Ok(self.view.compile_finish().await?);
        }
        if let Some(plan) = self.roll_ups.lock().unwrap_or_else(PoisonError::into_inner).get(by) {
            return Ok(plan.clone());
        }
        let plan = self.compile_roll_up(by).await?;
        let mut roll_ups = self.roll_ups.lock().unwrap_or_else(PoisonError::into_inner);
        if roll_ups.len() < MAX_ROLL_UPS {
            roll_ups.insert(by.to_vec(), plan.clone());
        }
        Ok(plan)
    }

    async fn compile_roll_up(&self, by: &[String]) -> Result<Compiled, DefinitionError> {
        let names: Vec<&str> = by.iter().map(String::as_str).collect();
        Compiled::new(self.view.states.clone(), |input| self.view.finish_plan(input, &names)).await
    }
}
