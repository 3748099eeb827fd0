//! The waits of a command that does a run itself: for a sign of life of whoever has the run, and beside its own work.

use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

use super::{CommandRun, Taken, take};
use crate::beat::{Beat, read_beat};
use crate::config::WorkflowSettings;
use crate::entry::Work;
use crate::error::WorkflowError;
use crate::executor::{TaskError, TaskOutput};
use crate::handle::Workflow;
use crate::ids::RunId;
use crate::refused::Refused;
use crate::spec::{RunSpec, TaskKind};
use crate::watched::Watched;

/// So long a command that has ended tries to say so; then others see that it is silent.
const FAREWELL: Duration = Duration::from_secs(10);

/// How a command begins.
pub enum CommandStart {
    /// The run is this process's.
    Begun(CommandRun),
    /// Another process that lives does the same.
    Elsewhere {
        /// Its run.
        run: RunId,
        /// The process, as it calls itself.
        process: String,
    },
    /// No task is to be had now, and why.
    NotNow(&'static str),
}

/// Starts a run of one task of `kind`, and takes it. Where the same work is another process's, this waits for a sign of
/// life of it: for some of [`WorkflowSettings::beat`] where it lives; where it is silent for
/// [`WorkflowSettings::lease_patience`], its run is cancelled, and a new one is begun.
///
/// # Errors
/// The journal does not answer, or refuses the run: nothing is held, and the command may go on unseen.
pub async fn begin_command(
    workflow: &Workflow,
    spec: &RunSpec,
    kind: TaskKind,
    settings: &WorkflowSettings,
) -> Result<CommandStart, WorkflowError> {
    let (mut watched, mut first) = (Watched::default(), None);
    loop {
        let lease = match take(workflow, spec, kind).await? {
            Taken::Here(run) => return Ok(CommandStart::Begun(run)),
            Taken::NotNow(why) => return Ok(CommandStart::NotNow(why)),
            Taken::Elsewhere(lease) => lease,
        };
        let found = read_beat(workflow.journal().objects(), &lease.worker).await?;
        let beat = found.as_ref().map(|beat| beat.beat);
        let (of_worker, seen) = first.get_or_insert((lease.worker.clone(), beat));
        if let Some(found) = found.filter(|_| *of_worker != lease.worker || *seen != beat) {
            return Ok(CommandStart::Elsewhere { run: lease.token.run, process: found.name });
        }
        if watched.silence(&lease.worker, beat, Instant::now()) >= settings.lease_patience {
            match workflow.cancel(lease.token.run).await {
                Ok(()) => warn!(run = %lease.token.run, "run cancelled, since the command that did it is silent"),
                Err(WorkflowError::Refused(Refused::Ended(_) | Refused::NoRun(_))) => {}
                Err(error) => return Err(error),
            }
        } else {
            sleep(settings.beat).await;
        }
    }
}

impl CommandRun {
    /// Does `work`, and tells each `beat` that this process lives. That is all that is watched: whoever called the
    /// command sees whether it goes on.
    pub async fn during<T>(&self, name: &str, beat: Duration, work: impl Future<Output = T>) -> T {
        let (worker, slots) = (self.worker.clone(), self.slots.clone());
        let (progress, name) = (self.progress.clone(), name.to_owned());
        // Ends with this call. On a thread of its own, so that work without a pause is not taken for silence.
        let mut telling = JoinSet::new();
        telling.spawn(async move {
            for number in 1.. {
                progress.step();
                let at_work = slots.at_work(Instant::now());
                let name = name.clone();
                let told = Beat { beat: number, name, slots: 1, full_size: 1, at_work, ..Beat::default() };
                if let Err(error) = worker.tell(&told).await {
                    debug!(%error, "this command cannot tell that it lives");
                }
                sleep(beat).await;
            }
        });
        work.await
    }

    /// Says how it ended. What cannot be said is logged, and changes nothing of what was done.
    pub async fn end(self, outcome: Result<Value, TaskError>) {
        let reached = self.progress.reached();
        let took_millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let work = Work { rows: reached.rows, bytes: reached.bytes, took_millis };
        let result = outcome.map(|output| TaskOutput { output, next: Vec::new() });
        let said = timeout(FAREWELL, async {
            let is_counted = self.worker.report(self.token(), &result, work).await?;
            self.worker.fall_silent().await?;
            Ok::<_, WorkflowError>(is_counted)
        });
        let run = self.run();
        match said.await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => warn!(%run, "this run was ended by others; what this command did is done nevertheless"),
            Ok(Err(error)) => warn!(%run, %error, "how this command ended is not in the list of runs"),
            Err(_) => warn!(%run, "how this command ended is not in the list of runs: its journal did not answer"),
        }
    }
}
