//! The task that computes one group of buckets, and tells how far it is.
//!
//! Guarantee: its files bear names that no other attempt has, and nobody sees them before they are published. A view
//! that fails keeps no other of the group from being computed.

mod run;

use std::sync::Arc;

use batch_layer::recompute::{GroupOutput, GroupProgress, Round, report_round};
use serde_json::Value;
use workflow::{Assignment, Progress, TaskError, TaskOutput};

use self::run::told_meanwhile;
use super::tasks::RecomputeTasks;
use super::values::{
    ComputeParameters, ComputedGroup, Fault, Faults, is_obsolete, is_transient, read, stored, task_error, views_error,
};

pub(super) async fn compute(
    tasks: &RecomputeTasks,
    work: &Assignment,
    progress: &Progress,
) -> Result<TaskOutput, TaskError> {
    let ComputeParameters { choose, plan, group } = read(&work.task.parameters)?;
    progress.set_phase("opening the plan");
    let plan = match tasks.open_plan(work, choose, plan).await? {
        Ok(plan) => plan,
        // The publication finds the same, and has another plan made.
        Err(error) if is_obsolete(&error) => return Ok(TaskOutput { output: nothing_of(group), next: Vec::new() }),
        Err(error) => return Err(task_error(&error, work)),
    };
    let (settings, name) = (&tasks.config.batch.recompute, work.file_prefix());
    let read_so_far = GroupProgress::default();
    let mut told = Told::new(work.task.weight_bytes, plan.rows_to_read(group), progress);
    let computing = plan.compute_group(group, &name, settings, &read_so_far);
    let computed = told_meanwhile(computing, || told.tell(&read_so_far)).await;
    let computed = computed.map_err(|error| {
        tasks.forget_plan();
        task_error(&error, work)
    })?;
    if let Some((_, error)) = computed.errors.iter().find(|(_, error)| is_transient(error)) {
        tasks.forget_plan();
        return Err(task_error(error, work));
    }
    told.tell_all(&read_so_far);
    let failed = computed.errors.iter().map(|(view, error)| (view.clone(), Fault::of(error))).collect();
    let is_of_all = plan.plan().views.len() == work.run.views.len();
    let is_in_vain = is_of_all && computed.output.parts.is_empty() && !computed.errors.is_empty();
    let errors = computed.errors.into_iter().map(|(view, error)| (view, Err(Arc::new(error))));
    report_round(&errors.collect::<Round>(), 0.0);
    let given = ComputedGroup { output: computed.output, failed };
    // Where there are other views, they are published, and the publication tells of these.
    if is_in_vain {
        return Err(views_error(&given.failed, work));
    }
    Ok(TaskOutput { output: stored(&given), next: Vec::new() })
}

fn nothing_of(group: usize) -> Value {
    let output = GroupOutput { group, ..GroupOutput::default() };
    stored(&ComputedGroup { output, failed: Faults::new() })
}

/// What was told of a group so far.
struct Told<'a> {
    weight_bytes: u64,
    rows_to_read: u64,
    rows: u64,
    bytes: u64,
    progress: &'a Progress,
}

impl<'a> Told<'a> {
    fn new(weight_bytes: u64, rows_to_read: u64, progress: &'a Progress) -> Self {
        progress.set_total_bytes(weight_bytes);
        Self { weight_bytes, rows_to_read, rows: 0, bytes: 0, progress }
    }

    /// Rows as they are read; bytes as the share of the group's files that these rows are, so that they reach its
    /// weight, however few columns are needed and however often a file is read.
    fn tell(&mut self, read: &GroupProgress) {
        let rows = read.read_so_far().rows.max(self.rows);
        let share = if self.rows_to_read == 0 { 0.0 } else { (rows as f64 / self.rows_to_read as f64).min(1.0) };
        self.tell_bytes(rows, (share * self.weight_bytes as f64) as u64);
        self.progress.set_phase(format!("computing {}", read.step()));
    }

    /// It is computed.
    fn tell_all(&mut self, read: &GroupProgress) {
        self.tell_bytes(read.read_so_far().rows.max(self.rows), self.weight_bytes);
    }

    fn tell_bytes(&mut self, rows: u64, bytes: u64) {
        let bytes = bytes.max(self.bytes);
        self.progress.add(rows - self.rows, bytes - self.bytes);
        (self.rows, self.bytes) = (rows, bytes);
    }
}
