//! Operators that keep all they read: what the engine does not count of it is counted here. And those that make many
//! rows of few: here they get pauses, and ends.
//!
//! In: a physical plan. Out: the same plan with a counter under each window operator, pauses over each join, and under
//! both a look at each batch whether the query was given up.
//! Guarantee: what a window has read, what it makes of it (`window_growth.rs`), and each batch that a join builds on, takes
//! its share of the memory of all SQL queries; beyond it the query is refused. What a join hands on lets others run now
//! and then; one that finds nothing ends at the next batch that it reads, once nobody waits for the query any more.
//! Why so: sorts, joins and aggregates count what they keep, windows do not, and a cross join feeds them without end.
//! The engine pauses where it reads, and a join of few rows reads a few times only, whatever it makes of them.

use std::fmt;
use std::sync::Arc;

use datafusion::common::exec_err;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
};
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use crate::window_growth::{Read, WindowGrowth};

/// Puts a counter under each operator that keeps what it reads, and pauses over each that makes more of it.
///
/// Whether a query was given up is told by a [`CancellationToken`] among the extensions of its session.
pub(crate) fn count_buffered(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let counted = plan.transform_up(|node| {
        if is_join(&node) {
            let joined = with_duties(node, |child| if child == 0 { Duty::Build } else { Duty::Watch })?;
            return Ok(Transformed::yes(Arc::new(CooperativeExec::new(joined)) as Arc<dyn ExecutionPlan>));
        }
        match growth_of(&node)? {
            Some(growth) => with_duties(node, |_| Duty::Keep(growth.clone())).map(Transformed::yes),
            None => Ok(Transformed::no(node)),
        }
    })?;
    Ok(counted.data)
}

/// How the results of a window operator grow; `None` for any other.
fn growth_of(node: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<WindowGrowth>>> {
    let growth = if let Some(window) = node.downcast_ref::<WindowAggExec>() {
        WindowGrowth::of(window.window_expr(), true)?
    } else if let Some(window) = node.downcast_ref::<BoundedWindowAggExec>() {
        WindowGrowth::of(window.window_expr(), false)?
    } else {
        return Ok(None);
    };
    Ok(Some(Arc::new(growth)))
}

/// The same operator, with a duty done at all that it reads, by the number of the child.
fn with_duties(node: Arc<dyn ExecutionPlan>, duty_of: impl Fn(usize) -> Duty) -> Result<Arc<dyn ExecutionPlan>> {
    let watched = |(number, child): (usize, &Arc<dyn ExecutionPlan>)| {
        Arc::new(PassingExec { input: child.clone(), duty: duty_of(number) }) as Arc<dyn ExecutionPlan>
    };
    let children = node.children().into_iter().enumerate().map(watched).collect();
    node.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
}

fn is_join(node: &Arc<dyn ExecutionPlan>) -> bool {
    node.downcast_ref::<CrossJoinExec>().is_some()
        || node.downcast_ref::<NestedLoopJoinExec>().is_some()
        || node.downcast_ref::<HashJoinExec>().is_some()
        || node.downcast_ref::<SortMergeJoinExec>().is_some()
}

/// What is done at each batch that an operator reads, besides a look whether the query was given up.
#[derive(Clone, Debug)]
enum Duty {
    /// All of it is counted until the end, and what becomes of it.
    Keep(Arc<WindowGrowth>),
    /// The batch itself is counted until the end: a join counts the values that it builds on, and of a cross join whose
    /// columns nobody wants there are none, in millions of batches.
    Build,
    /// Nothing.
    Watch,
}

/// Bytes of a batch without its values, about.
const BATCH_BYTES: usize = 256;

/// Hands on what it reads, and does its duty.
#[derive(Debug)]
struct PassingExec {
    input: Arc<dyn ExecutionPlan>,
    duty: Duty,
}

impl DisplayAs for PassingExec {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("PassingExec")
    }
}

impl ExecutionPlan for PassingExec {
    fn name(&self) -> &str {
        "PassingExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().expect("the engine gives one child for one");
        Ok(Arc::new(Self { input, duty: self.duty.clone() }))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.input.execute(partition, context.clone())?;
        let (duty, given_up) = (self.duty.clone(), context.session_config().get_extension::<CancellationToken>());
        let reservation = MemoryConsumer::new("what windows and joins keep").register(context.memory_pool());
        let (mut kept, mut read) = (0, Read::default());
        let passed = rows.map(move |batch| {
            let batch = batch?;
            if given_up.as_ref().is_some_and(|given_up| given_up.is_cancelled()) {
                // Told to nobody.
                return exec_err!("the query was given up");
            }
            match &duty {
                Duty::Keep(growth) => {
                    kept += batch.get_array_memory_size();
                    reservation.try_resize(growth.add(&batch, &mut read)?.saturating_add(kept))?;
                }
                Duty::Build => reservation.try_grow(BATCH_BYTES)?,
                Duty::Watch => {}
            }
            Ok(batch)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.input.schema(), passed)))
    }
}
