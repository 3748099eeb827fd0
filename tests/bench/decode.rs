//! JSON records to columns on one core, beside arrow-json's decoder (which is not strict) on the same bytes.

use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow::json::ReaderBuilder;
use positions::PartitionId;

use crate::data::{Traffic, source};
use crate::report::{Report, rate};

const EVENTS: usize = 500_000;
const BATCH: usize = 8_192;

/// Events decoded per second.
pub fn measure(report: &mut Report) {
    let source = source();
    let records = Traffic::new(EVENTS).next_records(PartitionId(0), 0, EVENTS);
    let ours = rate(EVENTS, || {
        for batch in records.chunks(BATCH) {
            std::hint::black_box(records::decode::decode(&source, batch).unwrap());
        }
    });
    let fields: Vec<_> =
        source.declared.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let limit = rate(EVENTS, || {
        let mut decoder = ReaderBuilder::new(schema).with_batch_size(BATCH).build_decoder().unwrap();
        for batch in records.chunks(BATCH) {
            for record in batch {
                decoder.decode(&record.payload).unwrap();
            }
            std::hint::black_box(decoder.flush().unwrap());
        }
    });
    report.add(
        "decode, strict, with identity and payload, one core",
        ours,
        "events/s",
        ("arrow-json, not strict", limit),
    );
}
