//! The task that computes one group of buckets, or a part of one, and tells how far it is.
//!
//! Guarantee: its files bear names that no other attempt has, and nobody sees them before they are published. A view
//! that fails keeps no other of the group from being computed. Where another publisher was first, the task is no
//! failure, and gives nothing: the publication finds the same, and has another plan made.

mod run;

use std::sync::Arc;

use batch_layer::recompute::{Computed, GroupOutput, GroupProgress, Outcome, Round, report_round};
use workflow::{Assignment, Progress, TaskError, TaskOutput};

pub(super) use self::run::told_meanwhile;
use super::specs::is_of_former;
use super::tasks::RecomputeTasks;
use super::values::{
    ComputeParameters, ComputedGroup, Fault, Faults, is_obsolete, is_overtaken, is_transient, read, stored, task_error,
    views_error,
};

pub(super) async fn compute(
    tasks: &RecomputeTasks,
    work: &Assignment,
    progress: &Progress,
) -> Result<TaskOutput, TaskError> {
    let ComputeParameters { choose, plan, group, part } = read(&work.task.parameters)?;
    progress.set_phase("opening the plan");
    let opened = match tasks.open_plan(work, choose, plan).await {
        // It answers no more, and nobody waits for it: the publication says so.
        Err(TaskError::Superseded { .. }) if is_of_former(&work.run) => return Ok(nothing_of(group)),
        opened => opened?,
    };
    let plan = match opened {
        Ok(plan) => plan,
        Err(error) if is_obsolete(&error) => return Ok(nothing_of(group)),
        Err(error) => return Err(task_error(&error, work)),
    };
    // Saves the work of a run that has lost already, for however many tasks.
    if plan.is_overtaken().await.map_err(|error| task_error(&error, work))? {
        return Ok(nothing_of(group));
    }
    let part = part.map_or_else(|| plan.part(group.unwrap_or(usize::MAX)), Ok);
    let part = part.map_err(|error| task_error(&error, work))?;
    let (settings, name) = (&tasks.config.batch.recompute, work.file_prefix());
    let read_so_far = GroupProgress::default();
    let mut told = Told::new("computing", work.task.weight_bytes, plan.rows_to_read(&part), progress);
    let computing = plan.compute_part(&part, &name, settings, &read_so_far);
    let computed = told_meanwhile(computing, || told.tell(&read_so_far)).await;
    let computed = computed.map_err(|error| {
        tasks.forget_plans();
        task_error(&error, work)
    })?;
    // Of a view that somebody else published meanwhile there is nothing, and its publication has another plan made.
    let errors = || computed.iter().flat_map(|computed| &computed.errors).filter(|(_, error)| !is_overtaken(error));
    if let Some((_, error)) = errors().find(|(_, error)| is_transient(error)) {
        tasks.forget_plans();
        return Err(task_error(error, work));
    }
    told.tell_all(&read_so_far);
    let failed: Faults = errors().map(|(view, error)| (view.clone(), Fault::of(error))).collect();
    let is_of_all = plan.plan().views.len() == work.run.views.len();
    let is_in_vain = is_of_all && failed.len() == plan.plan().views.len();
    let (mut outputs, mut round) = (Vec::new(), Round::new());
    for Computed { output, errors } in computed {
        outputs.push(output);
        round.extend(errors.into_iter().map(|(view, error)| match is_overtaken(&error) {
            true => (view, Ok(Outcome::LostRace)),
            false => (view, Err(Arc::new(error))),
        }));
    }
    report_round(&round, 0.0);
    // Where there are other views, they are published, and the publication tells of these.
    if is_in_vain {
        return Err(views_error(&failed, work));
    }
    Ok(TaskOutput { output: stored(&ComputedGroup::of(outputs, failed)), next: Vec::new() })
}

fn nothing_of(group: Option<usize>) -> TaskOutput {
    let output = group.map(|group| GroupOutput { group, ..GroupOutput::default() });
    let nothing = ComputedGroup { output, ..ComputedGroup::default() };
    TaskOutput { output: stored(&nothing), next: Vec::new() }
}

/// What was told of a group so far, or of a merge of files.
pub(super) struct Told<'a> {
    verb: &'static str,
    weight_bytes: u64,
    rows_to_read: u64,
    rows: u64,
    bytes: u64,
    signs: u64,
    progress: &'a Progress,
}

impl<'a> Told<'a> {
    pub(super) fn new(verb: &'static str, weight_bytes: u64, rows_to_read: u64, progress: &'a Progress) -> Self {
        progress.set_total_bytes(weight_bytes);
        Self { verb, weight_bytes, rows_to_read, rows: 0, bytes: 0, signs: 0, progress }
    }

    /// Rows as they are read; bytes as the share of the group's files that these rows are, so that they reach its
    /// weight, however few columns are needed and however often a file is read. What runs elsewhere reads no rows here,
    /// and does not stand still as long as there are signs of it.
    pub(super) fn tell(&mut self, read: &GroupProgress) {
        let rows = read.read_so_far().rows.max(self.rows);
        let share = if self.rows_to_read == 0 { 0.0 } else { (rows as f64 / self.rows_to_read as f64).min(1.0) };
        self.tell_bytes(rows, (share * self.weight_bytes as f64) as u64);
        let signs = read.signs().count();
        if signs > self.signs {
            self.progress.step();
            self.signs = signs;
        }
        self.progress.set_phase(format!("{} {}", self.verb, read.step()));
    }

    /// It is computed.
    pub(super) fn tell_all(&mut self, read: &GroupProgress) {
        self.tell_bytes(read.read_so_far().rows.max(self.rows), self.weight_bytes);
    }

    fn tell_bytes(&mut self, rows: u64, bytes: u64) {
        let bytes = bytes.max(self.bytes);
        self.progress.add(rows - self.rows, bytes - self.bytes);
        (self.rows, self.bytes) = (rows, bytes);
    }
}
