//! `GET /v1/runs/{run}/events`: server-sent events of one run.
//!
//! Guarantee: each event holds the run as it stands, so that one that was missed is made good by the next; the last one
//! is `end`. They come in the order of the journal, since one reader reads for all of them. A stream ends with its run,
//! with its client and with the process, whichever is first.
//! # Source
//! WHATWG HTML, section 9.2, server-sent events.

use std::convert::Infallible;

use axum::extract::State;
use axum::http::Uri;
use axum::response::sse::{Event, KeepAlive, Sse};
use edge::{Principal, Problem, ProblemKind};
use futures::Stream;
use futures::stream::unfold;
use tokio::sync::{OwnedSemaphorePermit, watch};
use workflow::{Overview, Run, RunId};

use super::feed::Latest;
use super::refusals::{RunPath, check_look, path_run, problem};
use super::state::RunsRoute;
use crate::runs::view::RunDetails;

/// Tasks at work that an event tells of.
const MAX_TASKS: usize = 100;

pub(super) async fn events(
    State(route): State<RunsRoute>,
    principal: Principal,
    run: RunPath,
    uri: Uri,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    check_look(&principal)?;
    let id = path_run(run)?;
    edge::no_parameters(&uri)?;
    let place = route.stream_place()?;
    let latest = route.feed().follow();
    if route.feed().has_ended() {
        return Err(Problem::new(ProblemKind::ShuttingDown, "this process is stopping").with_retry_after(2));
    }
    let failed = |error| problem(&route, error);
    let run = route.workflow().run(id).await.map_err(failed)?;
    let mut following = Following { id, latest, told: String::new(), last: None, is_over: false, _place: place };
    if run.state.is_ended() {
        // Its tasks may be in the history alone, which nobody follows.
        let overview = route.workflow().overview().await.map_err(failed)?;
        following.last = following.event(&overview, &run);
    }
    Ok(Sse::new(unfold(following, next)).keep_alive(KeepAlive::default()))
}

/// A stream, as far as it has come.
struct Following {
    id: RunId,
    latest: watch::Receiver<Latest>,
    /// What was told last.
    told: String,
    /// Of a run that had ended before it was asked for.
    last: Option<Event>,
    is_over: bool,
    _place: OwnedSemaphorePermit,
}

async fn next(mut following: Following) -> Option<(Result<Event, Infallible>, Following)> {
    let event = following.next().await?;
    Some((Ok(event), following))
}

impl Following {
    async fn next(&mut self) -> Option<Event> {
        if let Some(last) = self.last.take() {
            return Some(last);
        }
        while !self.is_over {
            self.latest.changed().await.ok()?;
            let latest = self.latest.borrow_and_update().clone();
            let event = match latest {
                Latest::Nothing => None,
                Latest::Read(overview) => match overview.state.runs.get(&self.id) {
                    Some(run) => self.event(&overview, run),
                    // Read before it was started.
                    None if self.told.is_empty() => None,
                    // It ended long ago.
                    None => return None,
                },
                Latest::Ended => return None,
            };
            if event.is_some() {
                return event;
            }
        }
        None
    }

    /// What is to be told; `None` where it was.
    fn event(&mut self, overview: &Overview, run: &Run) -> Option<Event> {
        let details = RunDetails::at_work(overview, run, MAX_TASKS);
        let text = serde_json::to_string(&details).expect("what is shown is plain data with text keys");
        self.is_over = run.state.is_ended();
        if text == self.told && !self.is_over {
            return None;
        }
        let name = if self.is_over { "end" } else { "progress" };
        let event = Event::default().event(name).data(&text);
        self.told = text;
        Some(event)
    }
}
