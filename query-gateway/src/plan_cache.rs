//! Plans of texts that were asked before, so that a panel that asks each second is planned once.
//!
//! Guarantee: holds at most so many plans and, about, so many bytes; the one that was not asked for longest goes first.
//! A plan is one over columns only, with its placeholders: it holds no state, no parameter and no instant, and it is of
//! one set of definitions, as the gateway around it. Whose texts it is of is part of the key: engines over other views
//! have plans of their own. Rules of rows are in none, since they are of the states that a plan is run over.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;

/// More texts than any set of dashboards asks for at one time.
const MAX_PLANS: usize = 1_024;
/// What a step of a plan takes; measured roughly, on the large side, as the others are.
const STEP_BYTES: usize = 2_048;
/// What a column takes in the schema of a step.
const COLUMN_BYTES: usize = 128;
/// What a node of an expression takes.
const NODE_BYTES: usize = 256;

/// See the module.
#[derive(Debug)]
pub(crate) struct PlanCache {
    max_bytes: usize,
    // Written by every query that is planned or found, for as long as it takes to look up a text.
    kept: Mutex<Kept>,
    scopes: AtomicU64,
}

/// Whose texts: no two engines share a scope, so none finds a plan of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlanScope(u64);

impl PlanScope {
    /// Ends before the text begins, whatever that is.
    fn key(self, text: &str) -> String {
        format!("{}:{text}", self.0)
    }
}

#[derive(Debug, Default)]
struct Kept {
    plans: HashMap<Arc<str>, Entry>,
    by_use: BTreeMap<u64, Arc<str>>,
    bytes: usize,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    plan: Arc<LogicalPlan>,
    bytes: usize,
    last_use: u64,
}

impl PlanCache {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, kept: Mutex::default(), scopes: AtomicU64::default() }
    }

    /// A scope that nobody has had before.
    pub(crate) fn new_scope(&self) -> PlanScope {
        PlanScope(self.scopes.fetch_add(1, Ordering::Relaxed))
    }

    /// The plan of a text, where it is kept.
    pub(crate) fn get(&self, scope: PlanScope, text: &str) -> Option<Arc<LogicalPlan>> {
        let text = scope.key(text);
        self.with(|kept| {
            kept.uses += 1;
            let now = kept.uses;
            let entry = kept.plans.get_mut(text.as_str())?;
            let key = kept.by_use.remove(&entry.last_use)?;
            entry.last_use = now;
            kept.by_use.insert(now, key);
            Some(entry.plan.clone())
        })
    }

    /// Keeps a plan, where it is not larger than all may be.
    pub(crate) fn put(&self, scope: PlanScope, text: &str, plan: &Arc<LogicalPlan>) -> Result<()> {
        let text = scope.key(text);
        let bytes = text.len() + size_of(plan)?;
        if bytes <= self.max_bytes {
            self.with(|kept| kept.put(&text, plan.clone(), bytes, self.max_bytes));
        }
        Ok(())
    }

    fn with<T>(&self, work: impl FnOnce(&mut Kept) -> T) -> T {
        work(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Kept {
    fn put(&mut self, text: &str, plan: Arc<LogicalPlan>, bytes: usize, max_bytes: usize) {
        self.remove(text);
        while self.plans.len() >= MAX_PLANS || self.bytes + bytes > max_bytes {
            let Some((_, oldest)) = self.by_use.first_key_value() else { break };
            let oldest = oldest.clone();
            self.remove(&oldest);
        }
        self.uses += 1;
        let key: Arc<str> = text.into();
        self.by_use.insert(self.uses, key.clone());
        self.plans.insert(key, Entry { plan, bytes, last_use: self.uses });
        self.bytes += bytes;
    }

    fn remove(&mut self, text: &str) {
        if let Some(entry) = self.plans.remove(text) {
            self.by_use.remove(&entry.last_use);
            self.bytes -= entry.bytes;
        }
    }
}

/// About what a plan takes.
fn size_of(plan: &LogicalPlan) -> Result<usize> {
    let mut bytes = 0;
    plan.apply_with_subqueries(|node| {
        bytes += STEP_BYTES + node.schema().fields().len() * COLUMN_BYTES;
        node.apply_expressions(|expr| {
            expr.apply(|_| {
                bytes += NODE_BYTES;
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(bytes)
}
