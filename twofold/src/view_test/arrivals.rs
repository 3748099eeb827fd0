//! The events of a test as records of the log: when each arrives, and what decoding says of it.
//!
//! In: given events. Out: records in the order in which they arrive. Guarantee: pure; the decoder is the one of both
//! layers. An event arrives at its own time, or as soon as those before it have: so one that stands behind a later one
//! is out of order, and late by as much.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use bytes::Bytes;
use event_log::Record;
use positions::{EventKey, MAX_RAISE, Offset, PartitionId, TimestampMicros, is_plausible, micros};
use records::decode::{decode, event_ids, event_keys, reasons, record_ends};
use views::{SourceDefinition, SourceFormat};

use super::case::Case;

/// When the first events arrive of which none can be read: 2026-01-01T00:00:00Z.
const SOME_TIME: TimestampMicros = TimestampMicros(1_767_225_600_000_000);
/// The log keeps timestamps in milliseconds.
const MILLISECOND: i64 = 1_000;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// What it holds.
    pub payload: Bytes,
    /// When it arrives, in whole milliseconds.
    pub at: TimestampMicros,
    /// The id that chooses its partition; none where the source has none.
    pub id: Option<Bytes>,
    /// How many events it holds.
    pub events: u64,
    /// Whether it may come later and elsewhere without being another event: everything in it can be read, and no other
    /// record holds a copy of anything in it.
    pub is_alone: bool,
    /// Whether a copy of it would be known as such.
    pub is_recognised: bool,
}

/// A record, or an event in it, that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Rejected {
    /// Which: `given 1, line 3`.
    pub place: String,
    /// Why.
    pub reason: String,
}

/// Everything that arrives in one test.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// In the order of arrival.
    pub records: Vec<Arrival>,
    /// What could not be read.
    pub rejected: Vec<Rejected>,
    /// Whether records may come in another order and lie in several partitions.
    pub is_free: bool,
    /// Whether copies may be added.
    pub takes_copies: bool,
}

/// What decoding says of a record.
struct Read {
    time: Option<TimestampMicros>,
    id: Option<Bytes>,
    keys: Vec<Option<EventKey>>,
    reasons: Vec<String>,
}

impl Arrivals {
    /// The records of a case.
    ///
    /// # Errors
    /// Where it cannot be told when they arrive, or the source needs more than payloads to be read.
    pub fn of(case: &Case) -> Result<Self> {
        let source = &case.view.source;
        ensure!(
            source.format == SourceFormat::Json,
            "source {} is STORED AS {}, whose payloads name schemas of a registry: tests give events as JSON, of sources \
             that are STORED AS JSON",
            source.name,
            source.format.as_str()
        );
        let given = case.given.iter().flat_map(|given| given.events.iter().map(|(_, payload)| payload.clone()));
        let payloads: Vec<Bytes> = given.collect();
        // At an instant that no clock gave, so that nothing is in its future.
        let unread: Vec<TimestampMicros> = vec![TimestampMicros(0); payloads.len()];
        let times: Vec<_> = read(source, &payloads, &unread)?.into_iter().map(|read| read.time).collect();
        let arrivals = arrivals(case, source, &times)?;
        let read = read(source, &payloads, &arrivals)?;
        Ok(assemble(case, source, payloads, (arrivals, read)))
    }
}

/// When each record arrives.
fn arrivals(case: &Case, source: &SourceDefinition, times: &[Option<TimestampMicros>]) -> Result<Vec<TimestampMicros>> {
    let first = times.iter().flatten().next().copied().unwrap_or(SOME_TIME);
    let mut times = times.iter();
    let (mut arrivals, mut last) = (Vec::new(), None);
    for (number, given) in case.given.iter().enumerate() {
        let place = || format!("{}:{}: test `{}`: given {}", case.file.display(), case.line, case.name, number + 1);
        ensure!(
            given.arrive.is_some() || !source.is_timed_by_record(),
            "{}: events of source {} have the time of their record: say when they `arrive`",
            place(),
            source.name
        );
        for _ in &given.events {
            let time = times.next().copied().flatten();
            let at = match given.arrive {
                Some(at) => whole_milliseconds(at),
                None => whole_milliseconds(time.or(last).unwrap_or(first)).max(last.unwrap_or(TimestampMicros::MIN)),
            };
            ensure!(last.is_none_or(|last| last <= at), "{}: it arrives before the events above it", place());
            last = Some(at);
            arrivals.push(at);
        }
    }
    Ok(arrivals)
}

fn whole_milliseconds(at: TimestampMicros) -> TimestampMicros {
    // Never before the event, which would else come from the future.
    let behind = at.0.rem_euclid(MILLISECOND);
    if behind == 0 { at } else { TimestampMicros(at.0.saturating_add(MILLISECOND - behind)) }
}

fn read(source: &SourceDefinition, payloads: &[Bytes], at: &[TimestampMicros]) -> Result<Vec<Read>> {
    let record = |(number, (payload, at)): (usize, (&Bytes, &TimestampMicros))| Record {
        partition: PartitionId(0),
        offset: Offset(number as i64),
        timestamp: *at,
        payload: payload.clone(),
        event_id: None,
        clock_shift: None,
    };
    let records: Vec<Record> = payloads.iter().zip(at).enumerate().map(record).collect();
    let rows = decode(source, &records).context("the events cannot be decoded")?;
    let (ids, keys, reasons) = (event_ids(source, &rows)?, event_keys(&rows)?, reasons(&rows)?);
    let mut all = Vec::new();
    let mut begin = 0;
    for end in record_ends(&rows)? {
        let id = ids.as_ref().filter(|ids| ids.is_valid(begin)).map(|ids| ids.value(begin).to_owned());
        all.push(Read {
            time: latest(source, &rows, begin..end),
            id: id.map(Bytes::from),
            keys: keys[begin..end].to_vec(),
            reasons: reasons.range(begin..end).map(|(_, reason)| reason.clone()).collect(),
        });
        begin = end;
    }
    ensure!(all.len() == payloads.len(), "{} records were decoded to {}: a defect", payloads.len(), all.len());
    Ok(all)
}

/// The latest time of the events in these rows.
fn latest(source: &SourceDefinition, rows: &RecordBatch, of: std::ops::Range<usize>) -> Option<TimestampMicros> {
    let times = rows.column_by_name(source.event_time_name())?.as_primitive_opt::<TimestampMicrosecondType>()?;
    let known = of.filter(|row| times.is_valid(*row)).map(|row| TimestampMicros(times.value(row)));
    known.max()
}

fn assemble(
    case: &Case,
    source: &SourceDefinition,
    payloads: Vec<Bytes>,
    (at, read): (Vec<TimestampMicros>, Vec<Read>),
) -> Arrivals {
    let mut known: BTreeMap<EventKey, usize> = BTreeMap::new();
    for key in read.iter().flat_map(|read| read.keys.iter().flatten()) {
        *known.entry(*key).or_default() += 1;
    }
    let has_copy = |read: &Read| read.keys.iter().flatten().any(|key| known[key] > 1);
    // Copies in records of several events may lie in partitions of their own, where nothing finds them.
    let scatters = read.iter().any(|read| read.keys.len() > 1 && has_copy(read));
    // Then another time of arrival, or another place, makes another event of it.
    let by_record = source.is_timed_by_record();
    // Then what else lies in a partition has a say in how long a copy is remembered there.
    let is_slow = !is_within_a_raise(&at);
    let is_apart = is_slow && read.iter().any(has_copy);
    let record = |((payload, at), read): ((Bytes, TimestampMicros), &Read)| {
        let is_alone = read.reasons.is_empty() && !has_copy(read);
        let is_recognised = is_alone && !read.keys.is_empty() && read.keys.iter().all(Option::is_some);
        Arrival { payload, at, id: read.id.clone(), events: read.keys.len() as u64, is_alone, is_recognised }
    };
    let records = payloads.into_iter().zip(at).zip(&read).map(record).collect();
    let places = case.given.iter().enumerate().flat_map(|(number, given)| {
        given.events.iter().map(move |(line, _)| format!("given {}, line {line}", number + 1))
    });
    let rejected = places.zip(&read).flat_map(|(place, read)| {
        read.reasons.iter().map(move |reason| Rejected { place: place.clone(), reason: reason.clone() })
    });
    Arrivals {
        rejected: rejected.collect(),
        records,
        is_free: !case.keep_order && !by_record && !scatters && !is_apart,
        takes_copies: !by_record && !is_slow,
    }
}

/// Whether the running maximum of any partition, whichever of the records it holds, is the time of its last one.
fn is_within_a_raise(at: &[TimestampMicros]) -> bool {
    let (Some(first), Some(last)) = (at.first(), at.last()) else { return true };
    is_plausible(*first) && is_plausible(*last) && last.micros_since(*first) <= micros(MAX_RAISE)
}
