//! `GET /v1/views/{view}/explain`: what the answer to a rows request was made of, and a receipt of it.
//!
//! In: the parameters of rows that say which groups, and when; `samples`. Out: rows and envelope, the files and row
//! groups of the batch version, the runs, the events of the groups by their places, and a receipt.
//! Guarantee: bounded in rows, events, memory, time and requests at one time, on a thread beside those of the process.
//! It is for principals that see all rows: places and runs are of all groups. Events themselves are shown to those
//! alone who may operate the system, and to no page of a browser. Nothing of an answer is kept.
//! Not here: looking it up (`explain.rs`).
//! Why not `key=`: that is how a page shows its key (`edge/src/access.rs`), and rows have names for all of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Error;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRef, Path, State};
use axum::http::header::ORIGIN;
use axum::http::{HeaderMap, Uri};
use axum::routing::get;
use axum::{Json, Router};
use batch_layer::RecomputeSettings;
use batch_layer::recompute::CountedEvent;
use edge::{Parameters, Principal, Problem, ProblemKind};
use lake::Lake;
use positions::{Offset, PartitionId};
use query_gateway::{
    AccountPartition, CurrentGateway, Extent, Gateway, GatewayError, GatewaySettings, Integers, RowsAnswer,
    RowsRequest, beside_answers,
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::explain::files::GroupFile;
use crate::explain::samples::Sample;
use crate::explain::{ExplainLimits, Explained, GroupEvents, explain};

/// The route.
pub const ROUTE: &str = "/v1/views/{view}/explain";
/// The route in words, for answers that name the routes of a process.
pub const ROUTES: [&str; 1] = ["GET /v1/views/{view}/explain"];
/// Events that an answer shows as they were sent, at most.
pub const MAX_SAMPLES: usize = 20;
const DEFAULT_SAMPLES: usize = 3;
const MAX_AT_ONCE: usize = 2;

/// Why no event is shown.
const WITHHELD: &str = "events as they were sent are shown to those alone who may operate the system, and to no page of a \
                        browser: use a key whose grant has `operate = true`, or, where no keys are used, ask on the \
                        machine of the process";
const NO_WHY: &str = "what it was made of cannot be read now, and whoever may operate the system is told why";
const REJECTED_NOTE: &str = "records between the first and the last of these events, of which no event could be read: nobody knows their groups";

#[derive(Clone)]
struct ExplainRoute {
    gateway: CurrentGateway,
    lake: Lake,
    recompute: RecomputeSettings,
    /// A request may read the keys of all events of a source: only so many at one time.
    places: Arc<Semaphore>,
}

/// The route for the views of a gateway. `recompute` says where what does not fit into memory is spilled to.
pub fn explain_router(gateway: impl Into<CurrentGateway>, lake: Lake, recompute: RecomputeSettings) -> Router {
    let router = Router::new().route(ROUTE, get(read));
    let places = Arc::new(Semaphore::new(MAX_AT_ONCE));
    let state = ExplainRoute { gateway: gateway.into(), lake, recompute, places };
    edge::refuse_other_methods(router, &ROUTES).with_state(state)
}

async fn read(
    State(route): State<ExplainRoute>,
    principal: Principal,
    headers: HeaderMap,
    view: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    let view = edge::path_text(view)?;
    if !principal.sees_all_rows() {
        let detail = "an account names offsets and runs, which are of all groups, and is for those who see all rows";
        return Err(Problem::new(ProblemKind::Forbidden, detail));
    }
    // A browser speaks for whatever page it shows.
    let is_shown = principal.may_operate() && !headers.contains_key(ORIGIN);
    let mut parameters = Parameters::of(&uri)?;
    let samples = parameters.number::<usize>("samples", 0..=MAX_SAMPLES)?.unwrap_or(DEFAULT_SAMPLES);
    let request = RowsRequest { view, parameters: parameters.into_left() };
    let gateway: Arc<Gateway> = Arc::from_ref(&route.gateway);
    let account = gateway.account(&principal, &request).await?;
    let _place = route.places.try_acquire().map_err(|_| overloaded())?;
    let limits = limits_of(gateway.settings(), &route.recompute, if is_shown { samples } else { 0 });
    let explained = beside_answers(explain(route.lake.clone(), account, limits)).await?;
    let explained = explained.map_err(|error| unavailable(&error, principal.may_operate()))?;
    Ok(Json(describe(&explained, is_shown)?))
}

fn limits_of(settings: &GatewaySettings, recompute: &RecomputeSettings, samples: usize) -> ExplainLimits {
    ExplainLimits {
        rows: settings.explain_rows,
        events: settings.explain_events,
        samples,
        time: settings.explain_time_limit,
        recompute: RecomputeSettings {
            memory_bytes: settings.explain_memory_bytes,
            target_partitions: 1,
            ..recompute.clone()
        },
    }
}

fn overloaded() -> Problem {
    let detail = format!("{MAX_AT_ONCE} accounts are being made, the maximum");
    Problem::new(ProblemKind::Overloaded, detail).with_retry_after(1)
}

/// What a store says is for operators.
fn unavailable(error: &Error, is_operator: bool) -> Problem {
    let told = if is_operator { format!("{error:#}") } else { NO_WHY.to_owned() };
    Problem::new(ProblemKind::Unavailable, told).with_retry_after(5)
}

/// The account as JSON.
fn describe(explained: &Explained, is_shown: bool) -> Result<Value, GatewayError> {
    let account = &explained.account;
    let answer = RowsAnswer {
        rows: account.rows.clone(),
        envelope: account.envelope.clone(),
        extent: Extent { truncated: false, groups: account.rows.num_rows(), next: None, bucket: None },
        integers: Integers::Numbers,
        max_bytes: GatewaySettings::default().max_answer_bytes,
    };
    let answer: Value = serde_json::from_str(&answer.to_json()?).expect("an answer is written as JSON");
    let version = account.version.as_ref().map(|version| {
        let files = explained.files.as_ref().map(|files| files.iter().map(describe_file).collect::<Vec<Value>>());
        json!({ "number": version.number(), "published_at": answer["envelope"]["published_at"], "files": files })
    });
    let partitions: BTreeMap<String, Value> = account
        .partitions
        .iter()
        .map(|(partition, pin)| (partition.to_string(), describe_partition(*partition, pin, explained.events.as_ref())))
        .collect();
    Ok(json!({
        "view": account.view.name.as_str(),
        "rows": answer["rows"],
        "columns": answer["columns"],
        "envelope": answer["envelope"],
        "version": version,
        "partitions": partitions,
        "events": explained.events.as_ref().map(|events| describe_events(explained, events)),
        "cut_short": explained.cut_short,
        "not_archived": explained.not_archived,
        "samples": explained.samples.iter().map(|sample| describe_sample(explained, sample)).collect::<Vec<Value>>(),
        "withheld": (!is_shown).then_some(WITHHELD),
        "receipt": explained.receipt,
    }))
}

fn describe_file(file: &GroupFile) -> Value {
    json!({
        "path": file.path,
        "size_bytes": file.size_bytes,
        "rows": file.rows,
        "states": file.states,
        "row_groups": file.row_groups,
    })
}

/// Cut, head and runs; of each run how many of the events that are named it counted.
fn describe_partition(partition: PartitionId, pin: &AccountPartition, events: Option<&GroupEvents>) -> Value {
    let counted = |from: Offset, to: Offset| {
        events.map(|events| {
            let is_in = |event: &&CountedEvent| {
                event.partition == partition && from <= event.offset && event.offset < to && !event.is_copy
            };
            events.counted.first.iter().filter(is_in).count()
        })
    };
    let runs = pin.runs.iter().map(|run| {
        let (id, from, to) = (run.id.to_string(), run.from, run.to);
        json!({ "id": id, "from": from, "to": to, "states": run.states, "events": counted(from, to) })
    });
    let runs: Vec<Value> = runs.collect();
    json!({
        "cut": pin.cut.offset,
        "head": pin.head.offset,
        "incarnation": pin.head.incarnation,
        "batch_events": counted(Offset(0), pin.cut.offset),
        "runs": runs,
    })
}

fn describe_events(explained: &Explained, events: &GroupEvents) -> Value {
    let GroupEvents { counted, rejected } = events;
    let first: Vec<Value> = counted.first.iter().map(|event| describe_event(explained, event)).collect();
    let places = rejected.first.iter().map(|(partition, offset)| json!({ "partition": partition, "offset": offset }));
    let places: Vec<Value> = places.collect();
    json!({
        "total": counted.total,
        "late": counted.late,
        "copies": counted.copies,
        "first": first,
        "rejected": { "total": rejected.total, "first": places, "note": REJECTED_NOTE },
    })
}

fn describe_event(explained: &Explained, event: &CountedEvent) -> Value {
    let cut = explained.receipt.cut.offset(event.partition);
    json!({
        "partition": event.partition,
        "offset": event.offset,
        "item": event.item,
        "layer": if event.offset < cut { "batch" } else { "realtime" },
        "late": event.is_late,
        "copy": event.is_copy,
    })
}

fn describe_sample(explained: &Explained, sample: &Sample) -> Value {
    let mut told = describe_event(explained, &sample.event);
    told["payload"] = json!(sample.payload);
    told["encoding"] = json!(sample.encoding);
    told["payload_bytes"] = json!(sample.payload_bytes);
    told
}
