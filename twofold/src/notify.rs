//! Who is told of runs: a webhook, a command, and whoever collects lineage.
//!
//! ```text
//!  RunEvent --> Judge ----> Notice --> queue --> webhook: signed JSON, posted
//!     |         (failing)     +------> queue --> command: JSON on its standard input
//!     +------> OpenLineage event ----> queue --> OpenLineage: JSON, posted
//! ```
//!
//! In: each change of a run's state, in order, and deadlines that were missed. Out: what [`run::send_all`] sends.
//! Guarantee: telling never waits and never fails a run. Each receiver has a queue and a loop of its own, so that none
//! holds another up; what finds its queue full, or is not taken after the last attempt, is dropped, counted and logged.
//! A receiver may get a notice twice, each time under the same id.
//! Not here: what is told (`notify/judge.rs`, `notify/notice.rs`, `notify/lineage.rs`), sending it (`notify/run.rs`).
//! Why not in the journal: a notice is of use while it is new; the history of runs says everything that it would.

mod event;
mod judge;
mod lineage;
pub mod metrics;
mod notice;
mod outbox;
pub mod run;
mod signature;

use positions::TimestampMicros;
use serde_json::Value;

pub(crate) use event::COMPACT;
pub use event::{MissedDeadline, RunEvent};
pub use judge::Judge;
pub use lineage::lineage_event;
pub use notice::{Notice, notice_of_deadline, notice_of_run};
pub use outbox::{Message, Outbox, Receiver, Waiting};
pub use signature::{SIGNATURE_HEADER, TIMESTAMP_HEADER, signature};

use crate::config::{NoticeKind, NotifySettings};

/// Tells of runs.
#[derive(Debug)]
pub struct Notifier {
    on: Vec<NoticeKind>,
    namespace: String,
    judge: Judge,
    notices: Vec<Outbox>,
    lineage: Option<Outbox>,
}

impl Notifier {
    /// Begins with what was failing before. Gives the receiving ends of the queues, for [`run::send_all`].
    pub fn new(settings: &NotifySettings, judge: Judge) -> (Self, Vec<Waiting>) {
        let mut waiting = Vec::new();
        let mut open = |receiver: Receiver| {
            let (outbox, end) = Outbox::new(receiver, settings.queue);
            waiting.push(end);
            outbox
        };
        let webhook = settings.webhook.as_ref().map(|_| open(Receiver::Webhook));
        let command = (!settings.command.is_empty()).then(|| open(Receiver::Command));
        let lineage = settings.openlineage.as_ref().map(|_| open(Receiver::OpenLineage));
        let namespace = settings.openlineage.as_ref().map(|lineage| lineage.namespace.clone()).unwrap_or_default();
        let notices = webhook.into_iter().chain(command).collect();
        (Self { on: settings.on.clone(), namespace, judge, notices, lineage }, waiting)
    }

    /// Whether anybody is told of anything.
    pub fn has_receivers(&self) -> bool {
        !self.notices.is_empty() || self.lineage.is_some()
    }

    /// Goes on from what another process found to be failing.
    pub fn resume(&mut self, judge: Judge) {
        self.judge = judge;
    }

    /// What is failing now: to be kept, so that a recovery is told after a restart, too.
    pub fn judge(&self) -> &Judge {
        &self.judge
    }

    /// Tells of a run that has come into another state.
    pub fn run_changed(&mut self, event: &RunEvent) {
        if let Some(kind) = self.judge.judge(event) {
            self.tell(&notice_of_run(kind, event));
        }
        if let Some(outbox) = &self.lineage
            && let Some(body) = lineage_event(event, &self.namespace)
        {
            outbox.offer(message(&event.id(), &body));
        }
    }

    /// Tells of a run that is not done in time.
    pub fn deadline_missed(&self, missed: &MissedDeadline, at: TimestampMicros) {
        self.tell(&notice_of_deadline(missed, at));
    }

    fn tell(&self, notice: &Notice) {
        if self.on.contains(&notice.kind) {
            self.notices.iter().for_each(|outbox| outbox.offer(message(&notice.id, &notice.body)));
        }
    }
}

fn message(id: &str, body: &Value) -> Message {
    Message { id: id.to_owned(), body: body.to_string().into() }
}
