//! `POST /v1/sources/{source}/rejected/read-again`: has all that is archived of a source judged again, now.
//!
//! In: the name. Out: how many records were rejected when they were archived, how many are as the source is read today,
//! and what became of each view.
//! Guarantee: it is a full recompute by a run, asked for in a process with the batch role, and answers when that has
//! ended; a request that is given up stops nothing. One at a time; for who may operate the system, and for no page of a
//! browser.
//! Why no way of its own: rows of another reading are decoded again at every recompute (`records::master`), so what was
//! mended counts by that alone.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::routing::post;
use axum::{Json, Router};
use batch_layer::BatchError;
use batch_layer::recompute::{Mode, Outcome, Round};
use edge::{Principal, Problem, ProblemKind};
use lake::Lake;
use records::RecordsError;
use records::master::MasterDataset;
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;
use views::SourceDefinition;

use crate::definitions::Definitions;
use crate::json_body::refuse_pages;
use crate::source_route::source_named;
use crate::workflow::by_hand::{NONE_HERE, RoundsByHand};

/// The route.
pub const ROUTE: &str = "/v1/sources/{source}/rejected/read-again";
/// The route in words, for answers that name the routes of a process.
pub const ROUTES: [&str; 1] = ["POST /v1/sources/{source}/rejected/read-again"];

/// After which a refused request is sent again: recomputes take from seconds to hours.
const OTHER_REQUEST_SECONDS: u64 = 30;

#[derive(Clone)]
struct ReadAgainRoute {
    lake: Lake,
    definitions: Definitions,
    /// `None`: this process has no batch role.
    rounds: Option<Arc<RoundsByHand>>,
    /// A request reads all that is archived of a source: one at a time.
    place: Arc<Semaphore>,
}

/// How many records of a source are archived, and how many of them no event could be or can be read from.
#[derive(Default)]
struct Counts {
    records: u64,
    rejected_when_archived: u64,
    rejected_now: u64,
}

/// The route for the sources of the moment; `rounds` where this process has the batch role.
pub fn read_again_router(lake: Lake, definitions: Definitions, rounds: Option<RoundsByHand>) -> Router {
    let router = Router::new().route(ROUTE, post(read_again));
    let state = ReadAgainRoute { lake, definitions, rounds: rounds.map(Arc::new), place: Arc::new(Semaphore::new(1)) };
    edge::refuse_other_methods(router, &ROUTES).with_state(state)
}

async fn read_again(
    State(route): State<ReadAgainRoute>,
    principal: Principal,
    source: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    let source = edge::path_text(source)?;
    edge::no_parameters(&uri)?;
    principal.check_operates("rejected records are read again")?;
    refuse_pages(&headers, "rejected records are read again", "ask with `twofold rejected SOURCE --read-again`")?;
    let found = source_named(&route.definitions, &source, &principal)?;
    let _place = route.place.try_acquire().map_err(|_| overloaded())?;
    let rounds = route.rounds.as_ref().ok_or_else(|| no_round(&found, NONE_HERE))?;
    let round = rounds.recompute(&found.name, Mode::Full).await;
    let round = round.map_err(|error| no_round(&found, &format!("{error:#}")))?;
    let counts = count(&MasterDataset::new(&route.lake, found.clone())).await;
    let counts = counts.map_err(|error| uncounted(&found, &error))?;
    Ok(Json(describe(&found, &round, &counts)))
}

fn overloaded() -> Problem {
    let detail = "records are being read again for another request, and one is at a time";
    Problem::new(ProblemKind::Overloaded, detail).with_retry_after(OTHER_REQUEST_SECONDS)
}

fn no_round(source: &SourceDefinition, why: &str) -> Problem {
    let detail = format!("records of source {} cannot be read again: {why}", source.name);
    Problem::new(ProblemKind::Unavailable, detail)
        .with_hint("ask a process that has the batch role, or run `twofold batch run --full`")
}

fn uncounted(source: &SourceDefinition, error: &RecordsError) -> Problem {
    let detail = format!("records of source {} were read again, but cannot be counted: {error}", source.name);
    Problem::new(ProblemKind::Unavailable, detail).with_retry_after(5)
}

async fn count(master: &MasterDataset) -> Result<Counts, RecordsError> {
    let Some(newest) = master.open().await? else { return Ok(Counts::default()) };
    Ok(Counts {
        records: newest.facts.rows,
        rejected_when_archived: newest.facts.rejected(),
        rejected_now: newest.count_rejected().await?,
    })
}

fn describe(source: &SourceDefinition, round: &Round, counts: &Counts) -> Value {
    let views: Map<String, Value> =
        round.iter().map(|(view, outcome)| (view.to_string(), describe_outcome(outcome))).collect();
    json!({
        "source": source.name.as_str(),
        "records": counts.records,
        "rejected_when_archived": counts.rejected_when_archived,
        "rejected_now": counts.rejected_now,
        "came_back": counts.rejected_when_archived.saturating_sub(counts.rejected_now),
        "views": views,
    })
}

fn describe_outcome(outcome: &Result<Outcome, Arc<BatchError>>) -> Value {
    let (state, version, error) = match outcome {
        Ok(Outcome::Published(version)) => ("published", Some(version.number().0), None),
        Ok(Outcome::NoData) => ("nothing is archived yet", None, None),
        Ok(Outcome::NothingNew) => ("nothing new", None, None),
        Ok(Outcome::AwaitsSilence { .. }) => ("waits for a silence", None, None),
        Ok(Outcome::LostRace) => ("another publisher was first", None, None),
        Err(error) => ("failed", None, Some(error.to_string())),
    };
    json!({ "state": state, "version": version, "error": error })
}
