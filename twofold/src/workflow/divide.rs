//! Tasks that are divided because they stand still.
//!
//! Guarantee: pure. Parts of parts are parts of the same group, and together they cover it exactly once.
//! Why a quarter of `batch.task_bytes` is the least that is divided: a task that stands still because of its size, on
//! its way through memory and spill folder, gets on with less; one that hangs for another reason does not, and each
//! part may be taken away as often as a task may. So a task of full size becomes a few of them, and one that is small
//! already is done again as it is.

use batch_layer::recompute::GroupPart;
use workflow::{TaskKind, TaskPart, TaskSpec};

use super::values::{ComputeParameters, read, stored};

/// The least share of `batch.task_bytes` that is divided: one in so many.
const LEAST_SHARE: u64 = 4;

/// Two parts of a task that computes several buckets, if it is large; `None`: it is done again as a whole, as are those
/// that an older version planned.
pub(super) fn divide(task: &TaskSpec, task_bytes: u64) -> Option<Vec<TaskPart>> {
    if task.kind != TaskKind::Compute || task.weight_bytes <= task_bytes / LEAST_SHARE {
        return None;
    }
    let ComputeParameters { choose, plan, part, .. } = read(&task.parameters).ok()?;
    let part_of = |half: GroupPart| TaskPart {
        weight_bytes: half.bytes,
        parameters: stored(&ComputeParameters { choose, plan, group: None, part: Some(half) }),
    };
    Some(part?.halves()?.into_iter().map(part_of).collect())
}
