//! `GET /v1/sources/{source}/log`: the records of a source as the log holds them, whatever log it is.
//!
//! In: `partition`, `from` (an offset), `next` (as an answer gave it), `limit`, `wait`. Out: records, and where to go
//! on.
//! Guarantee: for who may operate the system; bounded in records, bytes and time; reads under no group, so that no
//! layer notices. `log tail` reads a
//! folder that no system runs on in the same way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::routing::get;
use axum::{Json, Router};
use edge::{Parameters, Principal, Problem, ProblemKind};
use event_log::{EventLog, EventLogError, Poll, PollLimit, Record};
use positions::{Offset, PartitionId};
use serde_json::{Value, json};

use crate::definitions::Definitions;
use crate::lives::Lives;
use crate::runs::instant::instant_text;
use crate::source_route::source_named;

/// The route.
pub const ROUTE: &str = "/v1/sources/{source}/log";
/// The route in words, for answers that name the routes of a process.
pub const ROUTES: [&str; 1] = ["GET /v1/sources/{source}/log"];
const DEFAULT_RECORDS: usize = 10;
const MAX_RECORDS: usize = 1_000;
const MAX_BYTES: usize = 4 << 20;
const MAX_WAIT: Duration = Duration::from_secs(10);
/// Kafka's client needs a moment to fetch anything at all.
const MIN_WAIT: Duration = Duration::from_millis(500);

#[derive(Clone)]
struct LogRoute {
    log: Arc<dyn EventLog>,
    lives: Arc<Lives>,
    definitions: Definitions,
}

/// Which records are wanted.
#[derive(Debug)]
pub(crate) struct Asked {
    /// This partition alone.
    pub(crate) partition: Option<i32>,
    /// Begin there; without it a few records before the end.
    pub(crate) from: Option<i64>,
    /// Go on where an answer ended.
    pub(crate) next: Option<String>,
    /// Records at most.
    pub(crate) limit: usize,
    /// Wait so long for the first one.
    pub(crate) wait: Duration,
}

impl Asked {
    fn of(uri: &Uri) -> Result<Self, Problem> {
        let mut parameters = Parameters::of(uri)?;
        let asked = Self {
            partition: parameters.number::<i32>("partition", 0..)?,
            from: parameters.number::<i64>("from", 0..)?,
            next: parameters.take("next")?,
            limit: parameters.number::<usize>("limit", 1..=MAX_RECORDS)?.unwrap_or(DEFAULT_RECORDS),
            wait: parameters.span("wait", MAX_WAIT)?.unwrap_or_default(),
        };
        parameters.finish()?;
        Ok(asked)
    }
}

/// Why there are no records to show.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShowError {
    /// The topic has no such place: ask for another one.
    #[error("{0}")]
    NoSuchPlace(String),
    /// What the log says.
    #[error(transparent)]
    Log(#[from] EventLogError),
}

impl From<ShowError> for Problem {
    fn from(error: ShowError) -> Self {
        let kind = match error {
            ShowError::NoSuchPlace(_) => ProblemKind::BadRequest,
            ShowError::Log(EventLogError::Expired { .. } | EventLogError::AnotherTopic { .. }) => ProblemKind::NotInLog,
            ShowError::Log(_) => ProblemKind::LogUnavailable,
        };
        Self::new(kind, error.to_string())
    }
}

/// The route for the sources of the moment.
pub fn log_router(log: Arc<dyn EventLog>, lives: Arc<Lives>, definitions: Definitions) -> Router {
    let router = Router::new().route(ROUTE, get(read));
    edge::refuse_other_methods(router, &ROUTES).with_state(LogRoute { log, lives, definitions })
}

async fn read(
    State(route): State<LogRoute>,
    principal: Principal,
    source: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    let source = edge::path_text(source)?;
    let asked = Asked::of(&uri)?;
    principal.check_operates("the log of a source is")?;
    let found = source_named(&route.definitions, &source, &principal)?;
    let log = route.lives.log(route.log.clone(), &found).await;
    let log = log.map_err(|error| Problem::new(ProblemKind::LogUnavailable, error.to_string()))?;
    Ok(Json(read_log(&log, &found.topic, &asked).await?))
}

/// Records of a topic, and where to go on: `{"records": [..], "next": ".."}`.
///
/// # Errors
/// What the log says, and where `asked` names a place that it does not have.
pub(crate) async fn read_log(log: &dyn EventLog, topic: &str, asked: &Asked) -> Result<Value, ShowError> {
    let partitions = log.partitions(topic).await?;
    let mut next = match &asked.next {
        Some(text) => parse_next(text, &partitions)?,
        None => starts(log, topic, &partitions, asked).await?,
    };
    let mut consumer = log.consumer(topic, None).await?;
    consumer.seek(&next).await?;
    let polled =
        consumer.poll(PollLimit { records: asked.limit, bytes: MAX_BYTES, wait: asked.wait.max(MIN_WAIT) }).await?;
    let records = match polled {
        Poll::Records(records) => records,
        Poll::Assigned(_) => Vec::new(),
    };
    for record in &records {
        next.insert(record.partition, record.offset.next());
    }
    let next: Vec<String> = next.iter().map(|(partition, offset)| format!("{partition}:{offset}")).collect();
    let records: Vec<Value> = records.iter().map(describe).collect();
    Ok(json!({ "records": records, "next": next.join(",") }))
}

/// Where reading begins: at the offset asked for, as far as the log has it, or a few records before the end.
async fn starts(
    log: &dyn EventLog,
    topic: &str,
    partitions: &BTreeSet<PartitionId>,
    asked: &Asked,
) -> Result<BTreeMap<PartitionId, Offset>, ShowError> {
    let mut starts = BTreeMap::new();
    for partition in partitions.iter().copied() {
        if asked.partition.is_some_and(|only| only != partition.0) {
            continue;
        }
        let bounds = log.bounds(topic, partition).await?;
        let from = asked.from.unwrap_or_else(|| bounds.high.0.saturating_sub_unsigned(asked.limit as u64));
        starts.insert(partition, Offset(from.clamp(bounds.low.0, bounds.high.0.max(bounds.low.0))));
    }
    if starts.is_empty() {
        let partition = asked.partition.unwrap_or_default();
        return Err(ShowError::NoSuchPlace(format!("topic {topic} has no partition {partition}")));
    }
    Ok(starts)
}

fn parse_next(text: &str, partitions: &BTreeSet<PartitionId>) -> Result<BTreeMap<PartitionId, Offset>, ShowError> {
    let parse = |pair: &str| {
        let (partition, offset) = pair.split_once(':')?;
        let partition = partition.parse().ok().map(PartitionId).filter(|id| partitions.contains(id))?;
        Some((partition, offset.parse().ok().map(Offset).filter(|offset| offset.0 >= 0)?))
    };
    let parsed: Option<BTreeMap<_, _>> = text.split(',').map(parse).collect();
    parsed.ok_or_else(|| ShowError::NoSuchPlace(format!("`next` must be as an answer gave it, got `{text}`")))
}

fn describe(record: &Record) -> Value {
    json!({
        "partition": record.partition.0,
        "offset": record.offset.0,
        "time": instant_text(record.timestamp),
        "payload": String::from_utf8_lossy(&record.payload),
    })
}
