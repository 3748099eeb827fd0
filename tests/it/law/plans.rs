//! The compiled plans of one law: a view's own, and the engine's direct answers to ask it against.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::MemTable;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::SessionContext;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use views::{Compiled, Pipeline, PlannedView, ViewDefinition};

use super::events::{NAMES, SOURCE, random_split};

/// A way to ask: some of the dimensions, the plan that finishes them, the direct answer.
pub struct Grain {
    /// How many of the dimensions, from the left.
    pub by: usize,
    /// States to answers.
    pub finish: Compiled,
    /// Events to answers.
    pub direct: Compiled,
}

/// Everything that one law runs.
pub struct Plans {
    /// The definition.
    pub view: PlannedView,
    /// Events to states.
    pub state: Compiled,
    /// States to states.
    pub merge: Compiled,
    /// All dimensions, one, none.
    pub grains: Vec<Grain>,
}

/// Per measure: its name, how the view computes it, how the engine is asked directly.
pub type Measures = [(&'static str, &'static str, &'static str)];

/// Reads a view over the law's source: `keys` are (name, expression).
pub fn read_view(keys: &[(&str, &str)], measures: &Measures, from: &str) -> PlannedView {
    let keys: Vec<String> = keys.iter().map(|(name, key)| format!("{key} AS {name}")).collect();
    let items: Vec<String> = measures.iter().map(|(name, view, _)| format!("{view} AS {name}")).collect();
    let grouped: Vec<&str> = keys.iter().map(|key| key.split(" AS ").next().unwrap()).collect();
    let sql = format!(
        "{SOURCE}CREATE MATERIALIZED VIEW law AS SELECT {}, {} {from} GROUP BY {}",
        keys.join(", "),
        items.join(", "),
        grouped.join(", ")
    );
    let files = BTreeMap::from([("names.csv".to_owned(), Bytes::from_static(NAMES.as_bytes()))]);
    let pipeline = Pipeline::read(&sql, &files).unwrap_or_else(|problems| panic!("{problems}"));
    pipeline.view("law").unwrap().clone()
}

impl Plans {
    /// Compiles a view and its direct answers.
    pub async fn new(keys: &[(&str, &str)], measures: &Measures, from: &str) -> Self {
        let view = read_view(keys, measures, from);
        let state =
            Compiled::new(Arc::clone(&view.source.events), |scan| view.plans.state_plan(scan, &[])).await.unwrap();
        let merge = Compiled::new(Arc::clone(&view.states), |scan| view.plans.merge_plan(scan, &[])).await.unwrap();
        let mut grains = Vec::new();
        for by in 0..=keys.len() {
            let names: Vec<&str> = keys[..by].iter().map(|(name, _)| *name).collect();
            let finish =
                Compiled::new(Arc::clone(&view.states), |scan| view.plans.finish_plan(scan, &names)).await.unwrap();
            let direct = direct_plan(&view, &keys[..by], measures, from).await;
            let events = Arc::clone(&view.source.events);
            let direct = Compiled::new(events, |scan| Ok(over(direct, &scan))).await.unwrap();
            grains.push(Grain { by, finish, direct });
        }
        Self { view, state, merge, grains }
    }

    /// The states of events that were split at random, merged in any order and tree, not always to the end.
    pub async fn merged_states(&self, events: &RecordBatch, random: &mut StdRng) -> Vec<RecordBatch> {
        let mut states: Vec<RecordBatch> = Vec::new();
        for part in random_split(events, random) {
            states.extend(self.state.execute(part).await.unwrap());
        }
        states.shuffle(random);
        while states.len() > 1 && random.random_bool(0.8) {
            let two = states.split_off(states.len() - 2);
            states.splice(0..0, self.merge.execute(two).await.unwrap());
        }
        states
    }
}

/// Batches of one answer as one.
pub fn whole(batches: &[RecordBatch]) -> RecordBatch {
    concat_batches(&batches[0].schema(), batches).unwrap()
}

/// The engine's own plan of the same question, over an empty table `events`.
async fn direct_plan(view: &ViewDefinition, keys: &[(&str, &str)], measures: &Measures, from: &str) -> LogicalPlan {
    let context = SessionContext::new_with_state(views::session_state());
    let events = MemTable::try_new(Arc::clone(&view.source.events), vec![vec![]]).unwrap();
    context.register_table("events", Arc::new(events)).unwrap();
    let names = "SELECT column1 AS k, column2 AS name FROM (VALUES ('a', 'Anna'), ('b', 'Bert'), ('b', 'Berta'))";
    let from = from.replace("JOIN names", &format!("JOIN ({names}) AS names"));
    let items = keys.iter().map(|(name, key)| format!("{key} AS {name}"));
    let items: Vec<String> =
        items.chain(measures.iter().map(|(name, _, direct)| format!("{direct} AS {name}"))).collect();
    let grouped: Vec<&str> = keys.iter().map(|(_, key)| *key).collect();
    let group_by = if keys.is_empty() { String::new() } else { format!("GROUP BY {}", grouped.join(", ")) };
    let sql = format!("SELECT {} {from} {group_by}", items.join(", "));
    context.state().create_logical_plan(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn over(plan: LogicalPlan, scan: &LogicalPlan) -> LogicalPlan {
    let replaced = plan.transform_up(|node| {
        Ok(match &node {
            LogicalPlan::TableScan(table) if table.table_name.table() == "events" => {
                Transformed::yes(LogicalPlanBuilder::from(scan.clone()).alias("events")?.build()?)
            }
            _ => Transformed::no(node),
        })
    });
    replaced.unwrap().data
}
