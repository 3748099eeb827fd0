//! `GET /v1/sources/{source}/rejected`: the newest records of a source that no event could be read from, and why.
//!
//! In: `limit`, `reason` (a kind). Out: counts by reason, records newest first, and how far the archive has come.
//! Guarantee: bounded in files, rows, bytes, time and requests at one time. Sentences and payloads are told to those
//! alone who may operate the system: a sentence quotes the record. Counts are told to who may write to the source, too.
//! Why here: it reads the master dataset, which the gateway never does. Every process reaches the object store, so each
//! has the route, whatever its roles: a collector tells its producers where to look as well.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::routing::get;
use axum::{Json, Router};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use edge::{Parameters, Principal, Problem, ProblemKind};
use lake::Lake;
use positions::{Offset, PartitionId, format_span};
use query_gateway::RejectedUnread;
use records::RecordsError;
use records::decode::{REASON_KINDS, Reason};
use records::master::{MasterDataset, MasterFacts, PayloadStart, RejectedRecord, RejectedRecords, RejectedSearch};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use views::SourceDefinition;

use crate::definitions::Definitions;
use crate::runs::instant::instant_text;
use crate::source_route::source_named;

/// The route.
pub const ROUTE: &str = "/v1/sources/{source}/rejected";
/// The route in words, for answers that name the routes of a process.
pub const ROUTES: [&str; 1] = ["GET /v1/sources/{source}/rejected"];
const DEFAULT_RECORDS: usize = 20;
/// Records of an answer at most.
pub const MAX_RECORDS: usize = 100;
/// Bytes of each payload that an answer shows.
pub const MAX_PAYLOAD_BYTES: usize = 4 << 10;
/// Files of the master dataset that an answer is looked for in.
pub const MAX_FILES: usize = 64;
/// No further file is begun behind so many rows.
pub(crate) const MAX_ROWS: u64 = 2_000_000;
const MAX_TIME: Duration = Duration::from_secs(10);
const MAX_AT_ONCE: usize = 4;

/// Why sentences and payloads are not told.
pub(crate) const WITHHELD: &str = "reasons in words and payloads are told to those alone who may operate the system: use \
                                   a key whose grant has `operate = true`, or, where no keys are used, ask on the machine \
                                   of the process";
const NO_WHY: &str = "its rejected records cannot be read now, and whoever may operate the system is told why";
const NOT_YET: &str =
    "`archived` names the next offset of each partition: what was rejected from there on is not archived yet";
const NOTHING_YET: &str = "nothing of this source is archived yet: what was rejected shows once it is";

#[derive(Clone)]
struct RejectedRoute {
    lake: Lake,
    definitions: Definitions,
    /// A request reads up to `MAX_FILES` files: only so many at one time.
    places: Arc<Semaphore>,
}

/// What is asked for.
struct Asked {
    limit: usize,
    kind: Option<&'static str>,
}

impl Asked {
    fn of(uri: &Uri) -> Result<Self, Problem> {
        let mut parameters = Parameters::of(uri)?;
        let asked = Self {
            limit: parameters.number::<usize>("limit", 1..=MAX_RECORDS)?.unwrap_or(DEFAULT_RECORDS),
            kind: parameters.one_of("reason", &REASON_KINDS.map(|kind| (kind, kind)))?,
        };
        parameters.finish()?;
        Ok(asked)
    }

    /// Payloads are read where they will be shown.
    fn search(&self, is_shown: bool) -> RejectedSearch {
        RejectedSearch {
            limit: self.limit,
            kind: self.kind,
            payload_bytes: if is_shown { MAX_PAYLOAD_BYTES } else { 0 },
            max_files: MAX_FILES,
            max_rows: MAX_ROWS,
        }
    }
}

/// The route for the sources of the moment.
pub fn rejected_router(lake: Lake, definitions: Definitions) -> Router {
    let router = Router::new().route(ROUTE, get(read));
    let state = RejectedRoute { lake, definitions, places: Arc::new(Semaphore::new(MAX_AT_ONCE)) };
    edge::refuse_other_methods(router, &ROUTES).with_state(state)
}

async fn read(
    State(route): State<RejectedRoute>,
    principal: Principal,
    source: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    let source = edge::path_text(source)?;
    let asked = Asked::of(&uri)?;
    let found = source_named(&route.definitions, &source, &principal)?;
    let is_shown = principal.may_operate();
    let _place = route.places.try_acquire().map_err(|_| overloaded())?;
    let read = read_rejected(&route.lake, &found, &asked.search(is_shown)).await;
    let read = read.map_err(|unread| unavailable(&unread, is_shown))?;
    Ok(Json(describe(&found, read.as_ref(), is_shown)))
}

fn overloaded() -> Problem {
    let detail = format!("{MAX_AT_ONCE} requests for rejected records are running, the maximum");
    Problem::new(ProblemKind::Overloaded, detail).with_retry_after(1)
}

/// What a store says is for operators.
fn unavailable(unread: &RejectedUnread, is_operator: bool) -> Problem {
    let told = if is_operator { unread.to_string() } else { format!("{}: {NO_WHY}", unread.name) };
    Problem::new(ProblemKind::Unavailable, told).with_retry_after(5)
}

/// What the newest version of a master dataset says and holds; `None` where there is none yet.
///
/// # Errors
/// The object store failed, or was too slow.
pub(crate) async fn read_rejected(
    lake: &Lake,
    source: &Arc<SourceDefinition>,
    search: &RejectedSearch,
) -> Result<Option<(MasterFacts, RejectedRecords)>, RejectedUnread> {
    let unread = |reason: String| RejectedUnread { name: source.name.clone(), reason };
    let master = MasterDataset::new(lake, source.clone());
    let read = timeout(MAX_TIME, read_newest(&master, search)).await;
    let read = read.map_err(|_| unread(format!("not read within {}", format_span(MAX_TIME))))?;
    read.map_err(|error| unread(error.to_string()))
}

async fn read_newest(
    master: &MasterDataset,
    search: &RejectedSearch,
) -> Result<Option<(MasterFacts, RejectedRecords)>, RecordsError> {
    let Some(newest) = master.open().await? else { return Ok(None) };
    let found = newest.rejected(search).await?;
    Ok(Some((newest.facts, found)))
}

fn describe(source: &SourceDefinition, read: Option<&(MasterFacts, RejectedRecords)>, is_shown: bool) -> Value {
    let records = read.map_or(&[][..], |(_, found)| found.records.as_slice()).iter().filter(|_| is_shown);
    let facts = read.map(|(facts, _)| facts);
    let archived = facts.map(archived_of).unwrap_or_default();
    json!({
        "source": source.name.as_str(),
        "total": facts.map_or(0, MasterFacts::rejected),
        "looked_at": read.map_or(0, |(_, found)| found.looked_at()),
        "reasons": read.map_or_else(Vec::new, |(_, found)| describe_reasons(found)),
        "records": records.map(describe_record).collect::<Vec<Value>>(),
        "withheld": (!is_shown).then_some(WITHHELD),
        "note": note_on(&archived),
        "archived": archived,
    })
}

/// The next offset of each partition that is archived.
pub(crate) fn archived_of(facts: &MasterFacts) -> BTreeMap<PartitionId, Offset> {
    facts.partitions.iter().map(|(partition, known)| (*partition, known.archived.end.offset)).collect()
}

/// What is to be said of what is not archived yet.
pub(crate) fn note_on(archived: &BTreeMap<PartitionId, Offset>) -> &'static str {
    if archived.is_empty() { NOTHING_YET } else { NOT_YET }
}

/// The most frequent one first.
fn describe_reasons(found: &RejectedRecords) -> Vec<Value> {
    let mut reasons: Vec<(&str, u64)> = found.reasons.iter().map(|(kind, records)| (*kind, *records)).collect();
    reasons.sort_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(other.0)));
    reasons.into_iter().map(|(kind, records)| json!({ "reason": kind, "records": records })).collect()
}

fn describe_record(record: &RejectedRecord) -> Value {
    let reason = Reason::of(&record.error);
    let (payload, encoding) = text_of(&record.payload);
    json!({
        "partition": record.partition.0,
        "offset": record.offset.0,
        "time": instant_text(record.timestamp),
        "reason": reason.kind,
        "column": reason.column,
        "error": record.error,
        "payload": payload,
        "encoding": encoding,
        "payload_bytes": record.payload_bytes,
        "truncated": record.payload.size_bytes() < record.payload_bytes,
    })
}

/// How a payload begins, as text, and the encoding of that.
pub(crate) fn text_of(payload: &PayloadStart) -> (String, &'static str) {
    match payload {
        PayloadStart::Text(text) => (text.clone(), "utf-8"),
        PayloadStart::Bytes(bytes) => (BASE64_STANDARD.encode(bytes), "base64"),
    }
}
