//! One history of a test, lived through by both layers: the only place here that starts tasks and waits.
//!
//! In: the records of a test, and how they come. Out: what the view answers in the end. Guarantee: every record is in
//! the answer, and nothing goes on once that is given. The next step is taken when realtime has all records of the one
//! before, so that the seed decides what the layers meet, not the speed of the machine.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use batch_layer::RecomputeSettings;
use batch_layer::archive::{ArchiveStatus, run_archive};
use batch_layer::recompute::{Mode, recompute};
use bytes::Bytes;
use edge::Principal;
use event_log::{EventLog, NewRecord};
use positions::{Clock, Index, Offset, PartitionId, PositionToken, TimestampMicros, format_span};
use query_gateway::RowsRequest;
use serde::Deserialize;
use serving_layer::{PartitionKey, RealtimeStore};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use views::PlannedView;

use super::arrivals::{Arrival, Arrivals};
use super::compare::Answered;
use super::expected::{MAX_ROWS, Row};
use super::history::{History, Kind, Sending, Step};
use super::surroundings::Surroundings;

/// Between two looks at how far realtime is.
const PAUSE: Duration = Duration::from_millis(1);
/// So many looks in vain, and the clock of the history goes on with each further one: whatever failed is tried again
/// only some time later. Before that it stands, so that records get the timestamps that the history says.
const LOOKS_WITHOUT_TIME: usize = 1_000;
/// Before it no index says when it was right.
const EARLIEST: TimestampMicros = TimestampMicros(1_000_000);
/// Offsets behind the last record of each partition.
type Ends = BTreeMap<PartitionId, Offset>;

/// What a view answers after a history of a kind.
///
/// # Errors
/// What a layer fails with, or that the time is over.
pub async fn answer_after(
    view: &PlannedView,
    arrivals: &Arrivals,
    history: &History,
    kind: Kind,
    limit: Duration,
) -> Result<Answered> {
    let lived = timeout(limit, live(view, arrivals, history, kind)).await;
    lived.unwrap_or_else(|_| Err(anyhow!("there was no answer within {}: see `--time-limit`", format_span(limit))))
}

async fn live(view: &PlannedView, arrivals: &Arrivals, history: &History, kind: Kind) -> Result<Answered> {
    let start = arrivals.records.first().map_or(EARLIEST, |first| first.at.max(EARLIEST));
    let world = Surroundings::new(view, history, start);
    world.log.ensure_topic(&world.source.topic, history.partitions).await?;
    let shutdown = CancellationToken::new();
    let (status, told) = watch::channel(ArchiveStatus::default());
    // Aborted where this is dropped, as it is when the time is over.
    let mut roles: JoinSet<Result<()>> = JoinSet::new();
    let ((components, settings), stop) = (world.archive(status), shutdown.clone());
    roles.spawn(async move { run_archive(components, settings, stop).await.context("the archive failed") });
    let ((components, settings), stop) = (world.speed(history), shutdown.clone());
    roles.spawn(async move { speed_layer::run::run(components, settings, stop).await.context("realtime failed") });
    let answered = tokio::select! {
        biased;
        ended = roles.join_next() => return Err(why_ended(ended)),
        answered = act(&world, &arrivals.records, (history, kind), told) => answered?,
    };
    shutdown.cancel();
    while let Some(ended) = roles.join_next().await {
        ended.context("a role panicked")??;
    }
    Ok(answered)
}

/// Why a role ended that was not told to.
fn why_ended(ended: Option<Result<Result<()>, JoinError>>) -> anyhow::Error {
    match ended {
        Some(Ok(Err(error))) => error,
        Some(Err(error)) => anyhow!(error).context("a role panicked"),
        Some(Ok(Ok(()))) | None => anyhow!("a role ended by itself: a defect"),
    }
}

async fn act(
    world: &Surroundings,
    records: &[Arrival],
    (history, kind): (&History, Kind),
    mut told: watch::Receiver<ArchiveStatus>,
) -> Result<Answered> {
    let mut ends = Ends::new();
    for step in &history.steps {
        match step {
            Step::Send(sendings) => {
                send(world, records, (sendings.as_slice(), history.salt), &mut ends).await?;
                wait_for_realtime(world, &ends).await?;
            }
            Step::Publish(mode) => {
                told.wait_for(|status| is_archived(status, &ends)).await.context("the archive ended")?;
                publish(world, *mode).await?;
            }
        }
    }
    wait_for_realtime(world, &ends).await?;
    ask(world, &ends, kind).await
}

async fn send(
    world: &Surroundings,
    records: &[Arrival],
    (sendings, salt): (&[Sending], u64),
    ends: &mut Ends,
) -> Result<()> {
    // No record is older than what batch took for a silence.
    let now = world.clock.now();
    let sent = sendings.iter().map(|sending| {
        let record = &records[sending.record];
        NewRecord {
            key: Some(key_of(record, sending.record, salt)),
            payload: record.payload.clone(),
            timestamp: if sending.at < EARLIEST { sending.at } else { sending.at.max(now) },
            clock_shift: None,
        }
    });
    let sent: Vec<NewRecord> = sent.collect();
    if let Some(last) = sendings.last() {
        world.clock.advance_to(last.at);
    }
    for answer in world.log.append(&world.source.topic, sent).await {
        let (partition, offset) = answer.context("an event does not fit into the log")?;
        ends.insert(partition, offset.next());
    }
    Ok(())
}

/// Records of equal ids meet; those without lie anywhere.
fn key_of(record: &Arrival, number: usize, salt: u64) -> Bytes {
    let mut key = salt.to_be_bytes().to_vec();
    match &record.id {
        Some(id) => key.extend_from_slice(id),
        None => key.extend_from_slice(&number.to_be_bytes()),
    }
    key.into()
}

/// Until every partition was read to its end, empty ones among them: no view answers before.
async fn wait_for_realtime(world: &Surroundings, ends: &Ends) -> Result<()> {
    for partition in world.partitions() {
        let key = PartitionKey::new(&world.source.name, partition);
        let end = ends.get(&partition).copied().unwrap_or_default();
        let is_read = |index: Index| index.head.offset >= end && index.as_of > TimestampMicros(0);
        let mut looks = 0;
        while !world.store.read_index(&key).await?.is_some_and(is_read) {
            looks += 1;
            if looks > LOOKS_WITHOUT_TIME {
                world.clock.advance(PAUSE);
            }
            sleep(PAUSE).await;
        }
    }
    Ok(())
}

fn is_archived(status: &ArchiveStatus, ends: &Ends) -> bool {
    ends.iter().all(|(partition, end)| {
        let known = status.facts.partitions.get(partition);
        known.is_some_and(|known| known.archived.end.offset >= *end)
    })
}

async fn publish(world: &Surroundings, mode: Mode) -> Result<()> {
    let settings = RecomputeSettings { target_partitions: 1, ..RecomputeSettings::default() };
    for outcome in recompute(&world.recompute(), mode, &settings).await.into_values() {
        outcome.context("batch failed")?;
    }
    Ok(())
}

/// The members of an answer that are compared.
#[derive(Deserialize)]
struct Body {
    rows: Vec<Row>,
}

async fn ask(world: &Surroundings, ends: &Ends, kind: Kind) -> Result<Answered> {
    let mut token = PositionToken::default();
    for (partition, end) in ends {
        token.cover(&world.source.name, *partition, *end);
    }
    let request = RowsRequest::new(world.view.name.as_str()).with("limit", MAX_ROWS.to_string());
    let request = request.with("after", token.encode()).with("timeout", "30s");
    let answer = world.gateway()?.rows(&Principal::anyone(), request).await.context("the view does not answer")?;
    let envelope = &answer.envelope;
    ensure!(!answer.extent.truncated, "the answer has {} rows, more than {MAX_ROWS}", answer.extent.groups);
    ensure!(kind != Kind::Batch || envelope.realtime_rows == 0, "batch does not cover all events: a defect");
    ensure!(kind != Kind::Realtime || envelope.version.is_none(), "batch has published: a defect");
    let body: Body = serde_json::from_str(&answer.to_json()?).context("the answer is not JSON")?;
    Ok(Answered { rows: body.rows, rejected: envelope.rejected, late: envelope.late, copies: envelope.copies })
}
