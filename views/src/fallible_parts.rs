//! What of a view can fail on a row, in the words of its author: `validate` lists it, failing rows are counted by it.
//!
//! Not here: which operators can fail (`fallible.rs`).

use std::collections::BTreeSet;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::Expr;

use crate::error::DefinitionError;
use crate::fallible::guarded_parts;
use crate::plan::ViewPlans;

impl ViewPlans {
    /// The expressions before the aggregates that can fail on a row, as SQL: each is NULL there, and the row counts as
    /// such. [`crate::count_failures`] counts by these texts.
    ///
    /// # Errors
    /// None that the engine is known to have.
    pub fn fallible_inputs(&self) -> Result<Vec<String>, DefinitionError> {
        let mut exprs: Vec<Expr> = self.keys.iter().map(|(_, key)| key.clone()).collect();
        self.input.apply(|node| {
            exprs.extend(node.expressions());
            Ok(TreeNodeRecursion::Continue)
        })?;
        for call in &self.aggregates {
            exprs.extend(call.arguments.iter().chain(&call.filter).cloned());
        }
        let mut found = Vec::new();
        for expr in &exprs {
            found.extend(guarded_parts(expr)?);
        }
        let mut seen = BTreeSet::new();
        found.retain(|part| seen.insert(part.clone()));
        Ok(found)
    }

    /// The same with those of measures made of several aggregates behind them, as the whole measure.
    ///
    /// # Errors
    /// None that the engine is known to have.
    pub fn fallible_parts(&self) -> Result<Vec<String>, DefinitionError> {
        let mut found = self.fallible_inputs()?;
        for measure in &self.measures {
            if !guarded_parts(&measure.expression)?.is_empty() && !found.contains(&measure.text) {
                found.push(measure.text.clone());
            }
        }
        Ok(found)
    }
}
