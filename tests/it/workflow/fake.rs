//! An executor that computes nothing, and publishes as the batch layer does: on exactly the version that it has seen,
//! with facts by which another attempt recognises what was published before.

use std::sync::Mutex;

use async_trait::async_trait;
use futures::TryStreamExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use workflow::{
    Assignment, Executor, Progress, RunSpec, TaskError, TaskId, TaskKind, TaskOutput, TaskPart, TaskSpec, Token,
};

use super::task;

/// What was published.
#[derive(Clone, Debug)]
pub struct Version {
    /// The key of its run.
    pub run_key: String,
    /// By which lease.
    pub token: Token,
    /// The outputs of the groups that it is made of: task and attempt.
    pub groups: Vec<(TaskId, u32)>,
}

/// A run's parameters say how many `groups` it has, and how much each weighs.
pub struct Fake {
    ledger: Mutex<Vec<Version>>,
    rng: Mutex<StdRng>,
    /// How many tasks of a hundred fail for the moment.
    fail_percent: u32,
    /// A group that weighs more hangs.
    hang_above: u64,
}

impl Fake {
    pub fn new(seed: u64, fail_percent: u32) -> Self {
        let rng = Mutex::new(StdRng::seed_from_u64(seed));
        Self { ledger: Mutex::default(), rng, fail_percent, hang_above: u64::MAX }
    }

    /// Groups of more bytes hang, and can be halved.
    pub fn hanging_above(bytes: u64) -> Self {
        Self { hang_above: bytes, ..Self::new(0, 0) }
    }

    pub fn versions(&self) -> Vec<Version> {
        self.ledger.lock().unwrap().clone()
    }

    fn draws_failure(&self) -> bool {
        self.rng.lock().unwrap().random_range(0..100) < self.fail_percent
    }

    async fn publish(&self, work: &Assignment) -> Result<TaskOutput, TaskError> {
        let outputs: Vec<(TaskId, Value)> = work.outputs(|_| true).try_collect().await?;
        let groups = outputs.iter().filter(|(_, output)| output["attempt"].is_u64());
        let attempt = |output: &Value| u32::try_from(output["attempt"].as_u64().unwrap()).unwrap();
        let groups = groups.map(|(task, output)| (*task, attempt(output))).collect();
        let (seen, is_there) = {
            let ledger = self.ledger.lock().unwrap();
            (ledger.len(), ledger.iter().any(|version| *version.run_key == *work.run_key))
        };
        if is_there {
            return Ok(TaskOutput::default());
        }
        if !work.lease.is_current().await {
            return Err(TaskError::Transient { reason: "the lease is lost".to_owned() });
        }
        let mut ledger = self.ledger.lock().unwrap();
        if ledger.len() != seen {
            return Err(TaskError::Transient { reason: "another version was published".to_owned() });
        }
        ledger.push(Version { run_key: work.run_key.to_string(), token: work.token, groups });
        Ok(TaskOutput::default())
    }
}

/// One task for each group, and one that publishes them.
fn chosen(run: &RunSpec) -> TaskOutput {
    let groups = u32::try_from(run.parameters["groups"].as_u64().unwrap()).unwrap();
    let weight_bytes = run.parameters["weight"].as_u64().unwrap_or(100);
    let compute = |id| TaskSpec { weight_bytes, ..task(id, TaskKind::Compute, [0]) };
    let mut next: Vec<TaskSpec> = (1..=groups).map(compute).collect();
    next.push(task(groups + 1, TaskKind::Publish, 0..=groups));
    TaskOutput { output: json!({ "groups": groups }), next }
}

#[async_trait]
impl Executor for Fake {
    async fn execute(&self, work: &Assignment, progress: &Progress) -> Result<TaskOutput, TaskError> {
        if self.draws_failure() {
            return Err(TaskError::Transient { reason: "bad luck".to_owned() });
        }
        match work.task.kind {
            TaskKind::Choose => Ok(chosen(&work.run)),
            TaskKind::Compute if work.task.weight_bytes > self.hang_above => std::future::pending().await,
            TaskKind::Compute => {
                progress.add(1, work.task.weight_bytes);
                // Some outputs are too large for the journal.
                let filler = "x".repeat(if work.task.id.0.is_multiple_of(2) { 2_000 } else { 10 });
                let output = json!({ "attempt": work.token.attempt, "filler": filler });
                Ok(TaskOutput { output, next: vec![] })
            }
            TaskKind::Publish => self.publish(work).await,
            _ => Err(TaskError::Permanent {
                reason: "it cannot be done: change the definition".to_owned(),
                cause_key: None,
            }),
        }
    }

    fn split(&self, _run: &RunSpec, task: &TaskSpec) -> Option<Vec<TaskPart>> {
        let half = task.weight_bytes / 2;
        let part = |weight_bytes| TaskPart { parameters: json!({}), weight_bytes };
        (half > 0).then(|| vec![part(half), part(task.weight_bytes - half)])
    }
}
