//! What all streams of events of a process are told by: one reading for all of them.
//!
//! Not here: the loop that reads (`runs_route/run.rs`), what a stream makes of it (`events.rs`).

use std::sync::Arc;

use tokio::sync::{Notify, watch};
use workflow::{Overview, Workflow};

/// What was read last.
#[derive(Clone, Debug, Default)]
pub(super) enum Latest {
    /// Nothing yet.
    #[default]
    Nothing,
    /// This.
    Read(Arc<Overview>),
    /// Nothing more will be: the process stops.
    Ended,
}

/// See the module.
pub struct RunsFeed {
    workflow: Workflow,
    // Written by the one loop, read by the streams; whoever follows wakes the loop.
    latest: watch::Sender<Latest>,
    wanted: Notify,
}

impl RunsFeed {
    /// Of a workflow; nothing is read yet.
    pub fn new(workflow: Workflow) -> Self {
        Self { workflow, latest: watch::Sender::new(Latest::Nothing), wanted: Notify::new() }
    }

    pub(super) fn workflow(&self) -> &Workflow {
        &self.workflow
    }

    /// What is read from now on.
    pub(super) fn follow(&self) -> watch::Receiver<Latest> {
        let mut followed = self.latest.subscribe();
        followed.mark_unchanged();
        self.wanted.notify_one();
        followed
    }

    /// Returns once somebody follows.
    pub(super) async fn wanted(&self) {
        while self.latest.receiver_count() == 0 {
            self.wanted.notified().await;
        }
    }

    /// Returns once somebody follows anew.
    pub(super) async fn joined(&self) {
        self.wanted.notified().await;
    }

    pub(super) fn tell(&self, latest: Latest) {
        self.latest.send_replace(latest);
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(*self.latest.borrow(), Latest::Ended)
    }
}
