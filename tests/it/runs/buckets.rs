//! The buckets of a backfill as its run goes on: chosen, at work, computed, published, left out.

use std::collections::BTreeMap;
use std::sync::Arc;

use batch_layer::recompute::{BucketGroup, RecomputePlan, ViewPlan};
use lake::Version;
use positions::{Cut, DefinitionHash, RecomputeId, TimestampMicros, ViewName};
use serde_json::{Value, json};
use serving_layer::{BucketRanges, Folded};
use twofold::runs::buckets::grids_of;
use twofold::runs::grid::BucketState::{self, AtWork, Computed, Kept, LeftOut, Pending, Published};
use views::Pipeline;
use workflow::{Run, RunId, RunMode, TaskId, TaskKind, TaskOutput, TaskSpec, Token, Work, Worker, Workflow};

use super::shown::spec;
use super::{NOW, PIPELINE};
use crate::lake::memory_lake;
use crate::support::seams::{ManualClock, SeededIds};

const HOUR: i64 = 3_600_000_000;

fn group(from: TimestampMicros, to: TimestampMicros) -> BucketGroup {
    BucketGroup { from, to, buckets: 2, rows: 10, bytes: 100 }
}

/// Two groups, of the first two hours and of those behind them; the third hour is not touched.
fn plan() -> RecomputePlan {
    let hours = |from, to| (TimestampMicros(from * HOUR), TimestampMicros(to * HOUR));
    let border = TimestampMicros(2 * HOUR);
    RecomputePlan {
        master_version: Version(1),
        cut: Cut::default(),
        since: Some(Cut::default()),
        touched: Some(BucketRanges::from(vec![hours(0, 2), hours(3, 4)])),
        folded: Folded::default(),
        views: vec![ViewPlan {
            name: ViewName::new("by_hour"),
            hash: DefinitionHash(7),
            previous: None,
            recompute: RecomputeId(1),
        }],
        groups: vec![group(TimestampMicros::MIN, border), group(border, TimestampMicros(i64::MAX))],
        counters: BTreeMap::new(),
        holes: Vec::new(),
        erased: 0,
    }
}

fn task(id: u32, kind: TaskKind, after: &[u32], parameters: Value) -> TaskSpec {
    let after = after.iter().copied().map(TaskId).collect();
    TaskSpec { id: TaskId(id), kind, after, parameters, weight_bytes: 100 }
}

struct World {
    workflow: Workflow,
    worker: Worker,
    pipeline: Pipeline,
}

impl World {
    async fn run(&self) -> Arc<Run> {
        self.workflow.run(RunId(1)).await.unwrap()
    }

    async fn take(&self) -> Token {
        self.worker.take(1).await.unwrap()[0]
    }

    async fn done(&self, token: Token, output: Value, next: Vec<TaskSpec>) {
        let done = Ok(TaskOutput { output, next });
        assert!(self.worker.report(token, &done, Work::default()).await.unwrap());
    }

    /// The states of the stretches, in their order.
    async fn states(&self) -> Vec<BucketState> {
        let run = self.run().await;
        let grids = grids_of(&self.workflow, &self.pipeline, &run).await.unwrap();
        grids.iter().flat_map(|grid| &grid.stretches).map(|stretch| stretch.state).collect()
    }
}

#[tokio::test]
async fn buckets_stand_where_the_tasks_of_their_groups_do() {
    let workflow = Workflow::new(&memory_lake(5), Arc::new(ManualClock::at(NOW)), Arc::new(SeededIds::new(5)));
    let pipeline = Pipeline::read(PIPELINE, &BTreeMap::new()).unwrap();
    let world = World { worker: Worker::new(&workflow), workflow, pipeline };
    let range = RunMode::Buckets { from: TimestampMicros(0), to: TimestampMicros(4 * HOUR), only_missing: true };
    let choose = task(1, TaskKind::Choose, &[], json!({}));
    world.workflow.start(spec(range), &[choose]).await.unwrap();
    assert!(world.states().await.is_empty());

    let token = world.take().await;
    let compute = |id, group| task(id, TaskKind::Compute, &[1], json!({ "choose": 1, "plan": 0, "group": group }));
    let publish = task(4, TaskKind::Publish, &[1, 2, 3], json!({ "choose": 1, "plan": 0 }));
    world.done(token, json!({ "plans": [plan()] }), vec![compute(2, 0), compute(3, 1), publish]).await;
    assert_eq!(world.states().await, [Pending, Kept, Pending]);
    let first = world.take().await;
    assert_eq!(world.states().await, [AtWork, Kept, Pending]);
    world.done(first, json!({}), Vec::new()).await;
    assert_eq!(world.states().await, [Computed, Kept, Pending]);

    world.workflow.cancel(RunId(1)).await.unwrap();
    assert_eq!(world.states().await, [Computed, Kept, LeftOut]);
    world.workflow.retry(RunId(1)).await.unwrap();
    for _ in 0..2 {
        let token = world.take().await;
        world.done(token, json!({}), Vec::new()).await;
    }
    assert_eq!(world.states().await, [Published, Kept, Published]);
}
