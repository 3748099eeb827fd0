//! JSON records to columns on one core, beside arrow-json's decoder (which is not strict): events as their source
//! declares them, events in other forms, and topics in which some records are not events.
//!
//! The limit is always arrow-json on the events as declared: of the other forms it takes none, and a record that is no
//! event ends its batch. What is aimed at: 0.85 of it for events as declared, 0.75 for those in other forms.

use std::hint::black_box;
use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow::json::ReaderBuilder;
use bytes::Bytes;
use chrono::DateTime;
use event_log::Record;
use positions::PartitionId;
use records::decode::{Decoder, rejections};
use serde_json::{Map, Value};
use views::{SourceDefinition, Unreadable};

use crate::data::{Traffic, source};
use crate::report::{Report, rate};

const EVENTS: usize = 500_000;
const BATCH: usize = 8_192;
/// The best of so many runs counts: whoever else uses the machine can only make one slower.
const RUNS: usize = 3;

/// Events decoded per second.
pub fn measure(report: &mut Report) {
    let source = source();
    let strict = Decoder::new(Arc::new(SourceDefinition { unreadable: Unreadable::Reject, ..(*source).clone() }));
    let lenient = Decoder::new(source.clone());
    let records = Traffic::new(EVENTS).next_records(PartitionId(0), 0, EVENTS);
    let arrow = best(|| read_by_arrow(&source, &records));

    let clean = decoded(&strict, &records, 0);
    let limit = ("arrow-json, not strict", arrow);
    report.add("decode, strict, with identity and payload, one core", clean, "events/s", limit);
    let limit = ("arrow-json, the events as declared", arrow);
    let figure = decoded(&strict, &rewritten(&records, |_, event| loosen(event)), 0);
    report.add("the same, numbers as text, times in epoch ms, keys in other capitals", figure, "events/s", limit);
    let holed = |at: usize, event: &mut Map<String, Value>| {
        make_unreadable(at, event);
        loosen(event);
    };
    let figure = decoded(&lenient, &rewritten(&records, holed), 0);
    report.add("the same, not strict, every tenth value unreadable", figure, "events/s", limit);

    let limit = ("the topic without them", clean);
    for (every, what) in [(10, "decode, one record in ten rejected"), (1, "decode, every record rejected")] {
        let rejected = BATCH.div_ceil(every) as u64;
        report.add(what, decoded(&strict, &poisoned(&records, every), rejected), "events/s", limit);
    }
    let alone = best(|| decode_all(&strict, &records, 1));
    let limit = ("in batches", clean);
    report.add("decode, each record by itself, as requests of one event are", alone, "events/s", limit);
}

/// Events per second of records of whose first batch so many are rejected.
fn decoded(decoder: &Decoder, records: &[Record], rejected: u64) -> f64 {
    let first = decoder.decode(&records[..BATCH]).unwrap();
    assert_eq!(rejections(&first).unwrap().values().sum::<u64>(), rejected, "another path would be measured");
    best(|| decode_all(decoder, records, BATCH))
}

fn best(work: impl Fn()) -> f64 {
    (0..RUNS).map(|_| rate(EVENTS, &work)).fold(0.0, f64::max)
}

fn decode_all(decoder: &Decoder, records: &[Record], batch: usize) {
    for batch in records.chunks(batch) {
        black_box(decoder.decode(batch).unwrap());
    }
}

fn read_by_arrow(source: &SourceDefinition, records: &[Record]) {
    let fields: Vec<_> =
        source.declared.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let mut decoder = ReaderBuilder::new(schema).with_batch_size(BATCH).build_decoder().unwrap();
    for batch in records.chunks(BATCH) {
        for record in batch {
            decoder.decode(&record.payload).unwrap();
        }
        black_box(decoder.flush().unwrap());
    }
}

/// The same events with something changed in each.
fn rewritten(records: &[Record], change: impl Fn(usize, &mut Map<String, Value>)) -> Vec<Record> {
    let rewrite = |(at, record): (usize, &Record)| {
        let mut event: Map<String, Value> = serde_json::from_slice(&record.payload).unwrap();
        change(at, &mut event);
        Record { payload: serde_json::to_vec(&event).unwrap().into(), ..record.clone() }
    };
    records.iter().enumerate().map(rewrite).collect()
}

/// As many feeds write events: every column but the id is in another form, or under a key that is only near its name.
fn loosen(event: &mut Map<String, Value>) {
    for name in ["user", "bytes", "duration"] {
        if event[name].is_number() {
            let text = event[name].to_string();
            event.insert(name.to_owned(), text.into());
        }
    }
    let time = DateTime::parse_from_rfc3339(event["time"].as_str().unwrap()).unwrap();
    event.insert("time".to_owned(), time.timestamp_millis().into());
    for name in ["url", "country"] {
        let value = event.remove(name).unwrap();
        event.insert(name.to_uppercase(), value);
    }
}

/// One of the five nullable values of every second event: each tenth of all.
fn make_unreadable(at: usize, event: &mut Map<String, Value>) {
    if at.is_multiple_of(2) {
        let name = ["user", "bytes", "duration"][at / 2 % 3];
        event.insert(name.to_owned(), "unknown".into());
    }
}

/// The same topic with every so many-th record rejected, for one of three reasons in turn.
fn poisoned(records: &[Record], every: usize) -> Vec<Record> {
    let poison = |(at, record): (usize, &Record)| match at % every {
        0 => Record { payload: spoiled(at / every, &record.payload), ..record.clone() },
        _ => record.clone(),
    };
    records.iter().enumerate().map(poison).collect()
}

fn spoiled(number: usize, payload: &Bytes) -> Bytes {
    let text = std::str::from_utf8(payload).unwrap();
    match number % 3 {
        // Found out at the last value.
        0 => text.replace("\"duration\":", "\"duration\":\"slow\",\"was\":").into(),
        1 => payload.slice(..payload.len() / 2),
        _ => text.replace("\"event_id\":", "\"id\":").into(),
    }
}
