//! What the routes of runs work with.

use std::sync::Arc;

use edge::{Problem, ProblemKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use views::{Pipeline, PlannedView};
use workflow::Workflow;

use super::feed::RunsFeed;
use crate::config::Config;
use crate::definitions::Definitions;
use crate::runs::dry_run::Planning;

/// Requests that read or write the journal at one time.
const MAX_AT_ONCE: usize = 16;
/// Runs that are planned at one time, without being started: each takes up to `batch.memory`.
const MAX_PLANNED: usize = 1;
/// Streams of events at one time.
pub(super) const MAX_STREAMS: usize = 64;

/// See the module.
#[derive(Clone)]
pub struct RunsRoute {
    feed: Arc<RunsFeed>,
    definitions: Definitions,
    planning: Planning,
    places: Arc<Semaphore>,
    planners: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

impl RunsRoute {
    /// For the sources and views of the moment.
    pub fn new(feed: Arc<RunsFeed>, definitions: Definitions, planning: Planning) -> Self {
        let [places, planners, streams] =
            [MAX_AT_ONCE, MAX_PLANNED, MAX_STREAMS].map(|most| Arc::new(Semaphore::new(most)));
        Self { feed, definitions, planning, places, planners, streams }
    }

    pub(super) fn workflow(&self) -> &Workflow {
        self.feed.workflow()
    }

    pub(super) fn feed(&self) -> &RunsFeed {
        &self.feed
    }

    pub(super) fn config(&self) -> &Config {
        &self.planning.config
    }

    pub(super) fn planning(&self) -> &Planning {
        &self.planning
    }

    pub(super) fn pipeline(&self) -> Arc<Pipeline> {
        self.definitions.current().pipeline
    }

    /// The replaced definitions that batch goes on with.
    pub(super) fn former(&self) -> Vec<PlannedView> {
        self.definitions.current().former_views().cloned().collect()
    }

    /// A place among the requests at one time.
    pub(super) fn place(&self) -> Result<SemaphorePermit<'_>, Problem> {
        self.places.try_acquire().map_err(|_| overloaded("requests for runs are running", MAX_AT_ONCE))
    }

    /// A place among those that plan.
    pub(super) fn planner(&self) -> Result<SemaphorePermit<'_>, Problem> {
        self.planners.try_acquire().map_err(|_| overloaded("dry run is at work", MAX_PLANNED))
    }

    /// A place among the streams, which is free again when the stream ends.
    pub(super) fn stream_place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let place = Arc::clone(&self.streams).try_acquire_owned();
        place.map_err(|_| overloaded("streams of events of runs are open", MAX_STREAMS))
    }
}

fn overloaded(what: &str, most: usize) -> Problem {
    Problem::new(ProblemKind::Overloaded, format!("{most} {what}, the maximum")).with_retry_after(1)
}
