//! The physical plans of one view, as its queries ask for them.
//!
//! Guarantee: a plan never changes for a definition, so queries share it. Not here: keeping it (`views`, which compiles
//! each plan of a view once).

use std::sync::Arc;

use views::{Compiled, ViewDefinition};

use crate::GatewayError;

/// Plans of one view.
#[derive(Debug)]
pub(crate) struct Plans {
    view: Arc<ViewDefinition>,
}

impl Plans {
    pub(crate) fn new(view: Arc<ViewDefinition>) -> Self {
        Self { view }
    }

    /// States to states at the grain of all dimensions.
    pub(crate) async fn merge(&self) -> Result<Compiled, GatewayError> {
        Ok(self.view.plans.compile_merge().await?)
    }

    /// States to answers at the grain of the dimensions `by`.
    pub(crate) async fn finish(&self, by: &[String]) -> Result<Compiled, GatewayError> {
        let by: Vec<&str> = by.iter().map(String::as_str).collect();
        Ok(self.view.plans.compile_finish(&by).await?)
    }
}
