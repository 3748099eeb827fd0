//! Groups that other machines compute: the same tables as by the worker itself, whichever of them is lost.

mod bytes;
mod data;
mod machines;
mod parts;

use std::sync::Arc;

use batch_layer::PlanEngine;
use batch_layer::recompute::{Mode, OpenPlan, Outcome};
use positions::IdSource;
use serving_layer::always;

use super::steps::{choose, compute_one, open, task_bytes};
use super::world::World;

/// All plans of some views, opened for a worker that has `engine`.
async fn opened(world: &World, views: &[&str], mode: Mode, tasks: u64, engine: &Arc<dyn PlanEngine>) -> Vec<OpenPlan> {
    let (plans, _) = choose(world, views, mode, task_bytes(world, tasks).await).await;
    let mut opened = Vec::new();
    for plan in &plans {
        opened.push(open(world, plan).await.with_engine(Arc::clone(engine)));
    }
    opened
}

/// Computes all groups of some views elsewhere, and publishes them; says of how many groups.
async fn recompute(world: &World, views: &[&str], mode: Mode, tasks: u64, engine: &Arc<dyn PlanEngine>) -> usize {
    let mut groups = 0;
    for plan in opened(world, views, mode, tasks, engine).await {
        let mut outputs = Vec::new();
        for part in plan.parts() {
            let computed = compute_one(&plan, &part, &format!("elsewhere-{:032x}", world.ids.next_id())).await;
            assert!(computed.errors.is_empty(), "{:?}", computed.errors);
            outputs.push(computed.output);
        }
        groups += outputs.len();
        let round = plan.publish(&outputs, None, &always).await;
        assert!(round.values().all(|outcome| matches!(outcome, Ok(Outcome::Published(_)))), "{round:?}");
    }
    groups
}
