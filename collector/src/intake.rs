//! Intake: events are checked, given to the log, and what the log says of each of them is noted.

use std::iter::zip;

use arrow::array::{Array, AsArray};
use bytes::Bytes;
use metrics::{counter, histogram};
use positions::{Offset, PartitionId, TimestampMicros, format_span};
use tracing::warn;
use views::{Envelope, SourceDefinition};

use crate::envelope::{is_change, option_for, place_of_events};
use crate::metrics::{
    COLLECTOR_ACKNOWLEDGE, COLLECTOR_EVENTS, COLLECTOR_SHIFTED_EVENTS, COLLECTOR_SHIFTED_REQUESTS, OUTCOMES,
};
use crate::receipt::Receipt;
use crate::sent_at::Correction;
use crate::sources::Entered;
use crate::split::Sent;
use crate::{Collector, OnError};
use edge::{Problem, ProblemKind};
use event_log::{EventLogError, NewRecord, Record};
use records::RecordsError;
use records::decode::wire::{Schemas, schema_id};
use records::decode::{Decoder, Reason, column, event_ids, record_ends};

/// Events that are checked between two turns of other requests.
const EVENTS_PER_TURN: usize = 1_024;

/// An event with what decoding says of it: why it is rejected, and the id it is keyed by.
struct Checked {
    sent: Sent,
    rejection: Option<String>,
    id: Option<Bytes>,
}

impl Collector {
    /// Stores events and says what became of each.
    ///
    /// # Errors
    /// 500 for a defect; that the log does not answer is part of the receipt.
    pub(super) async fn store_events(
        &self,
        Entered { decoder, life, .. }: &Entered,
        events: Vec<Sent>,
        correction: Correction,
        on_error: OnError,
    ) -> Result<Receipt, Problem> {
        let source = decoder.source();
        // A record's own timestamp is none of the client's clock.
        let Correction { shift: clock_shift, passed_over: clock_passed_over } =
            if source.is_timed_by_record() { Correction::default() } else { correction };
        let mut receipt = Receipt { clock_shift, clock_passed_over, ..Receipt::default() };
        let now = self.record_time();
        let fitting = self.leave_out_large(events, &mut receipt);
        let fitting = leave_out_binary(source, fitting, &mut receipt);
        let mut checked = Vec::with_capacity(fitting.len());
        for events in fitting.chunks(EVENTS_PER_TURN) {
            let bytes = events.iter().map(|event| event.payload.len()).sum();
            let turn = self.admission.turn(bytes).await;
            let (judged, unreadable) = check(decoder, events, now, clock_shift).map_err(defect)?;
            drop(turn);
            checked.extend(judged);
            receipt.note_unreadable(source, &unreadable);
            tokio::task::yield_now().await;
        }
        let storable = leave_out_refused(checked, on_error, &mut receipt);
        let stored = self.append(source, &storable, now, clock_shift).await;
        for (event, stored) in zip(storable, &stored) {
            let stored = stored.as_ref().map(|(partition, at)| (*partition, life.offset(*partition, *at)));
            receipt.note(&source.name, event.sent.index, event.rejection, stored);
        }
        count(source, &receipt);
        Ok(receipt)
    }

    /// The present instant as a record can carry it: whole milliseconds.
    pub(super) fn record_time(&self) -> TimestampMicros {
        let now = self.components.clock.now().0;
        TimestampMicros(now - now.rem_euclid(1_000))
    }

    fn leave_out_large(&self, events: Vec<Sent>, receipt: &mut Receipt) -> Vec<Sent> {
        let limit = self.settings.max_event_bytes;
        let (fitting, large): (Vec<_>, Vec<_>) = events.into_iter().partition(|event| event.payload.len() <= limit);
        for event in large {
            let bytes = event.payload.len();
            let error = format!("too large: {bytes} bytes, the limit is {limit} (`collector.max_event_bytes`)");
            receipt.refuse(event.index, error);
        }
        fitting
    }

    /// What the log said of each event, in order.
    async fn append(
        &self,
        source: &SourceDefinition,
        events: &[Checked],
        now: TimestampMicros,
        clock_shift: Option<i64>,
    ) -> Vec<Result<(PartitionId, Offset), EventLogError>> {
        if events.is_empty() {
            return Vec::new();
        }
        let record = |event: &Checked| NewRecord {
            key: event.id.clone(),
            payload: event.sent.payload.clone(),
            timestamp: now,
            clock_shift,
        };
        let started = tokio::time::Instant::now();
        let limit = self.settings.acknowledge_timeout;
        let appending = self.components.log.append(&source.topic, events.iter().map(record).collect());
        let stored = tokio::time::timeout(limit, appending).await.unwrap_or_default();
        histogram!(COLLECTOR_ACKNOWLEDGE).record(started.elapsed().as_secs_f64());
        let answered = stored.len();
        // No answer in time, or fewer answers than records: the log may hold the others or not.
        let unanswered = (answered..events.len())
            .map(|_| Err(EventLogError::Unreachable(format!("no acknowledgement within {}", format_span(limit)))));
        stored.into_iter().chain(unanswered).take(events.len()).collect()
    }
}

/// Leaves out what names a schema: the layers would wait for it, and what is sent here is text.
fn leave_out_binary(source: &SourceDefinition, events: Vec<Sent>, receipt: &mut Receipt) -> Vec<Sent> {
    let (binary, text): (Vec<_>, Vec<_>) =
        events.into_iter().partition(|event| schema_id(source, &event.payload).is_some());
    for event in binary {
        let error = "not JSON: it begins with byte 0, as payloads do that name a schema; send those to the log itself";
        receipt.refuse(event.index, error.to_owned());
    }
    text
}

/// Checks events by the rules that both layers decode with; and tells of each declared column how many values are lost.
fn check(
    decoder: &Decoder,
    events: &[Sent],
    now: TimestampMicros,
    clock_shift: Option<i64>,
) -> Result<(Vec<Checked>, Vec<u64>), RecordsError> {
    let record = |(at, event): (usize, &Sent)| Record {
        partition: PartitionId(0),
        offset: Offset(at as i64),
        timestamp: now,
        payload: event.payload.clone(),
        event_id: None,
        clock_shift,
    };
    let records: Vec<Record> = events.iter().enumerate().map(record).collect();
    let (rows, unreadable) = decoder.decode_with(&Schemas::none(), &records)?;
    let errors = rows.column_by_name(column::ERROR).expect("decoding always gives this column").as_string::<i32>();
    let source = decoder.source();
    let ids = event_ids(source, &rows)?;
    let ends = record_ends(&rows)?;
    let starts = std::iter::once(0).chain(ends.iter().copied());
    // What was sent as one event may hold several: it is as good as the worst of them, and keyed by the first.
    let check = |(event, (start, end)): (&Sent, (usize, &usize))| Checked {
        sent: event.clone(),
        rejection: (start..*end)
            .find(|row| errors.is_valid(*row))
            .map(|row| with_way_out(source, event, errors.value(row))),
        id: ids
            .as_ref()
            .filter(|ids| ids.is_valid(start))
            .map(|ids| Bytes::copy_from_slice(ids.value(start).as_bytes())),
    };
    Ok((events.iter().zip(starts.zip(&ends)).map(check).collect(), unreadable))
}

/// What the sender is told of a rejected event: the error that both layers store, and the way out where only the
/// collector knows it.
fn with_way_out(source: &SourceDefinition, event: &Sent, error: &str) -> String {
    if event.is_line && event.payload.starts_with(b"[") {
        return format!("{error}; this line begins an array: arrays are sent with `Content-Type: application/json`");
    }
    let lacks_value = ["no_value", "no_event_time"].contains(&Reason::of(error).kind);
    if !lacks_value || source.envelope != Envelope::None {
        return error.to_owned();
    }
    if is_change(&event.payload) {
        return format!(
            "{error}; if it is a change of Debezium, the source says so with the option envelope 'debezium'"
        );
    }
    let Some(key) = place_of_events(source, &event.payload) else { return error.to_owned() };
    format!("{error}; if its events stand at `{key}`, the source says so with the option {}", option_for(&key))
}

fn leave_out_refused(checked: Vec<Checked>, on_error: OnError, receipt: &mut Receipt) -> Vec<Checked> {
    if on_error == OnError::Keep {
        return checked;
    }
    let mut good = Vec::with_capacity(checked.len());
    for event in checked {
        match event.rejection {
            None => good.push(event),
            Some(error) => receipt.refuse(event.sent.index, error),
        }
    }
    good
}

fn count(source: &SourceDefinition, receipt: &Receipt) {
    for (outcome, events) in OUTCOMES.into_iter().zip([receipt.accepted, receipt.rejected, receipt.unacknowledged]) {
        let labels = [("source", source.name.to_string()), ("outcome", outcome.to_owned())];
        counter!(COLLECTOR_EVENTS, &labels).increment(events as u64);
    }
    if receipt.clock_shift.is_some() {
        let source = [("source", source.name.to_string())];
        counter!(COLLECTOR_SHIFTED_REQUESTS, &source).increment(1);
        counter!(COLLECTOR_SHIFTED_EVENTS, &source).increment(receipt.accepted as u64);
    }
    if receipt.unacknowledged > 0 {
        let (source, events) = (source.name.as_str(), receipt.unacknowledged);
        let first = receipt.errors.iter().find(|error| error.stored.is_none());
        let error = first.map(|error| error.error.as_str());
        warn!(source, events, error, "event log did not acknowledge events");
    }
}

fn defect(error: RecordsError) -> Problem {
    tracing::error!(%error, "collector failed");
    Problem::new(ProblemKind::Defect, format!("{error}; nothing was stored"))
}
