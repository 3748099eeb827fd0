//! Operators that keep all they read: what the engine does not count of it is counted here. And those that make many
//! rows of few: here they get pauses, and ends.
//!
//! In: a physical plan. Out: the same plan with a counter under each window operator, pauses over each join, and under
//! both, and under UNNEST, a look at each batch whether the query was given up, and whether there is room for what may
//! be made of it.
//! Guarantee: what a window has read, what it makes of it (`window_growth.rs`), and each batch that a join builds on,
//! takes its share of the memory of all SQL queries; beyond it the query is refused. What a join hands on lets others
//! run now and then; one that finds nothing ends at the next batch that it reads, once nobody waits for the query.
//! Why so: sorts, joins and aggregates count what they keep, windows do not, and a cross join feeds them without end.
//! The engine pauses where it reads, and a join of few rows reads a few times only, whatever it makes of them.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
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
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
};
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use crate::expression_cost::list_lengths;
use crate::row_sizes::{largest_row, largest_value};
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
        if let Some(unnest) = node.downcast_ref::<UnnestExec>() {
            let lists: Arc<[usize]> =
                unnest.list_column_indices().iter().map(|list| list.index_in_input_schema).collect();
            return with_duties(node, |_| Duty::Repeat(lists.clone())).map(Transformed::yes);
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
    /// Each row is made as many times as its lists, in these columns, have items.
    Repeat(Arc<[usize]>),
}

/// Copies of a row that take less are made without a look whether there is room for them.
const SMALL_BYTES: usize = 16 << 20;

/// Bytes that an operator may make of a batch at one time, as it copies the rows of its input.
fn copied(batch: &RecordBatch, duty: &Duty, batch_size: usize) -> usize {
    match duty {
        Duty::Keep(_) => 0,
        Duty::Build | Duty::Watch => largest_row(batch).saturating_mul(batch_size),
        Duty::Repeat(lists) => {
            let items: usize = lists.iter().map(|list| list_lengths(batch.column(*list).as_ref()).sum::<usize>()).sum();
            let others = batch.columns().iter().enumerate().filter(|(column, _)| !lists.contains(column));
            let largest: usize = others.map(|(_, column)| largest_value(column.as_ref())).sum();
            largest.saturating_mul(items)
        }
    }
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
        let batch_size = context.session_config().batch_size();
        let (mut kept, mut read) = (0, Read::default());
        let passed = rows.map(move |batch| {
            let batch = batch?;
            if given_up.as_ref().is_some_and(|given_up| given_up.is_cancelled()) {
                // Told to nobody.
                return exec_err!("the query was given up");
            }
            let bytes = copied(&batch, &duty, batch_size);
            if bytes > SMALL_BYTES {
                reservation.try_grow(bytes)?;
                reservation.shrink(bytes);
            }
            match &duty {
                Duty::Keep(growth) => {
                    kept += batch.get_array_memory_size();
                    reservation.try_resize(growth.add(&batch, &mut read)?.saturating_add(kept))?;
                }
                Duty::Build => reservation.try_grow(BATCH_BYTES)?,
                Duty::Watch | Duty::Repeat(_) => {}
            }
            Ok(batch)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.input.schema(), passed)))
    }
}
