//! The physical plans of one view, each built once.
//!
//! Guarantee: a plan never changes for a definition, so queries share it; building one twice in a race is harmless.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;
use views::{Compiled, DefinitionError, ViewDefinition};

use crate::GatewayError;

/// More roll-ups of one view than this are planned anew each time.
const MAX_PLANS: usize = 64;

/// Plans of one view.
#[derive(Debug)]
pub(crate) struct Plans {
    view: Arc<ViewDefinition>,
    merge: OnceCell<Arc<Compiled>>,
    // Written by the first query of each roll-up, read by all; held only to look up, never while planning.
    finish: Mutex<HashMap<Vec<String>, Arc<Compiled>>>,
}

impl Plans {
    pub(crate) fn new(view: Arc<ViewDefinition>) -> Self {
        Self { view, merge: OnceCell::new(), finish: Mutex::default() }
    }

    /// States to states at the grain of all dimensions.
    pub(crate) async fn merge(&self) -> Result<Arc<Compiled>, GatewayError> {
        let build = || async { self.view.compile_merge().await.map(Arc::new) };
        Ok(self.merge.get_or_try_init(build).await?.clone())
    }

    /// States to answers at the grain of the dimensions `by`.
    pub(crate) async fn finish(&self, by: &[String]) -> Result<Arc<Compiled>, GatewayError> {
        if let Some(plan) = self.finish.lock().unwrap_or_else(PoisonError::into_inner).get(by) {
            return Ok(plan.clone());
        }
        let plan = Arc::new(self.compile_finish(by).await?);
        let mut plans = self.finish.lock().unwrap_or_else(PoisonError::into_inner);
        if plans.len() < MAX_PLANS {
            plans.insert(by.to_vec(), plan.clone());
        }
        Ok(plan)
    }

    async fn compile_finish(&self, by: &[String]) -> Result<Compiled, DefinitionError> {
        if by.iter().eq(self.view.dimensions.iter().map(|dimension| &dimension.name)) {
            return self.view.compile_finish().await;
        }
        let names: Vec<&str> = by.iter().map(String::as_str).collect();
        Compiled::new(self.view.states.clone(), |input| self.view.finish_plan(input, &names)).await
    }
}
