//! The same law where the engine works in two phases, over several partitions, and spills: as the batch layer runs it.

use std::sync::Arc;

use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::{SessionConfig, SessionContext};
use rand::SeedableRng;
use rand::rngs::StdRng;
use views::{session_state, session_state_builder};

use super::cases::{KEYS, ORDERED, PLAIN, STATISTICS};
use super::compare::assert_same;
use super::events::{random_events, random_split};
use super::plans::{Measures, Plans};

/// A context with four partitions and small batches, and a memory that does not hold the groups.
fn context(memory_bytes: usize) -> SessionContext {
    let config: SessionConfig = session_state().config().clone().with_target_partitions(4).with_batch_size(64);
    let runtime = RuntimeEnvBuilder::new().with_memory_limit(memory_bytes, 1.0).build_arc().unwrap();
    let state = session_state_builder().with_config(config).with_runtime_env(runtime).build();
    SessionContext::new_with_state(state)
}

/// Compares states of two phases with the direct answer, and returns how often the engine spilled.
async fn check(keys: &[(&str, &str)], measures: &Measures, rows: usize, memory_bytes: usize) -> usize {
    let mut spilled = 0;
    let plans = Plans::new(keys, measures, "FROM events LEFT JOIN names ON events.k = names.k").await;
    for seed in 0..5 {
        let random = &mut StdRng::seed_from_u64(seed);
        let events = random_events(&plans.view.source, rows, random);
        let table = MemTable::try_new(Arc::clone(&plans.view.source.events), random_split(&events, random)).unwrap();
        let scan = LogicalPlanBuilder::scan("events", provider_as_source(Arc::new(table)), None).unwrap();
        let plan = plans.view.plans.state_plan(scan.build().unwrap(), &["_partition"]).unwrap();
        let context = context(memory_bytes);
        let frame = context.execute_logical_plan(plan).await.unwrap();
        let physical = frame.create_physical_plan().await.unwrap();
        let states = collect(Arc::clone(&physical), context.task_ctx()).await.unwrap();
        spilled += spills(&physical);
        let states = states.iter().map(|batch| batch.project(&(1..batch.num_columns()).collect::<Vec<_>>()).unwrap());
        let grain = &plans.grains[keys.len()];
        let merged = grain.finish.execute(states.collect()).await.unwrap();
        let direct = grain.direct.execute(vec![events]).await.unwrap();
        assert_same(&plans.view, grain.by, &merged, &direct, &format!("{rows} rows, seed {seed}"));
    }
    spilled
}

fn spills(plan: &Arc<dyn ExecutionPlan>) -> usize {
    let own = plan.metrics().and_then(|metrics| metrics.spill_count()).unwrap_or(0);
    own + plan.children().into_iter().map(spills).sum::<usize>()
}

#[tokio::test]
async fn plain_measures_survive_two_phases() {
    check(KEYS, PLAIN, 20_000, 64 << 20).await;
}

#[tokio::test]
async fn statistics_and_sketches_survive_two_phases() {
    check(KEYS, STATISTICS, 20_000, 64 << 20).await;
}

#[tokio::test]
async fn ordered_measures_survive_two_phases() {
    check(KEYS, ORDERED, 3_000, 64 << 20).await;
}

#[tokio::test]
async fn many_groups_survive_spilling() {
    let keys = [("s", "s"), ("hour", "date_bin(INTERVAL '1 hour', time)")];
    let spilled = check(&keys, PLAIN, 20_000, 3 << 20).await;
    assert!(spilled > 0, "the memory held all groups: the case shows nothing");
}

/// The engine's own plan of the same SELECT says what is right.
#[tokio::test]
async fn items_of_arrays_survive_two_phases() {
    let keys = [("k", "events.k"), ("tag", "unnest(string_to_array(s, '1'))")];
    check(&keys, PLAIN, 5_000, 64 << 20).await;
}
