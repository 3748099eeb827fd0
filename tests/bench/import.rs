//! Files into the master dataset: from Parquet whose columns are those of the source, from Parquet that has to be
//! decoded, and from lines of JSON; stage by stage on one core, and as a whole on two.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use batch_layer::import::{Committed, FileId, Import, ImportComponents, Portion, read_file};
use futures::stream;
use object_store::local::LocalFileSystem;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use positions::{IdSource, Offset, PartitionId};
use records::decode::{ImportDecoder, ImportPlace};
use records::master::MasterDataset;
use serde_json::Value;
use tokio::sync::mpsc;
use views::SourceDefinition;

use crate::data::{RandomIds, SystemClock, Traffic, source};
use crate::report::{Report, rate, rate_async};

const EVENTS: usize = 2_000_000;
/// Rows of one batch of a file.
const ROWS: usize = 8_192;

/// Events imported per second.
pub async fn measure(report: &mut Report) {
    let source = source();
    let mut traffic = Traffic::new(EVENTS);
    let payloads: Vec<String> = (0..EVENTS).map(|_| traffic.next_payload().0).collect();
    let batches: Vec<RecordBatch> = payloads.chunks(ROWS).map(columns).collect();
    let limit = measure_stages(report, &source, &batches).await;
    let file = parquet(&batches);
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().with_batch_size(ROWS).build().unwrap();
    let ours = import(&source, reader.map(|batch| Portion::Rows(batch.unwrap()))).await;
    report.add("import, Parquet to committed files", ours, "events/s", ("its slowest stage alone, one core", limit));
    let ours = import(&source, payloads.chunks(ROWS).map(lines_of)).await;
    report.note("import, lines of JSON to committed files", ours, "events/s");
}

fn lines_of(payloads: &[String]) -> Portion {
    Portion::Events(payloads.iter().map(|payload| payload.as_bytes().to_vec()).collect())
}

/// Imports what `portions` gives, which is read while the parts before it are worked on; how many events a second.
async fn import(source: &Arc<SourceDefinition>, portions: impl Iterator<Item = Portion>) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap());
    let lake = lake::Lake::new(store, object_store::path::Path::default());
    let components = ImportComponents {
        master: MasterDataset::new(&lake, Arc::clone(source)),
        source: Arc::clone(source),
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds),
        workers: 2,
        give_up_after_bad: 0,
        keeps_rejected: true,
    };
    let mut import = Import::open(components).await.unwrap();
    let file = FileId { name: "file".to_owned(), identity: "file".to_owned() };
    rate_async(EVENTS, async {
        let (sender, receiver) = mpsc::channel(4);
        let sending = async {
            for portion in portions {
                sender.send(Ok(portion)).await.unwrap();
            }
            drop(sender);
        };
        let (outcome, ()) = tokio::join!(read_file(&mut import, file, receiver, |_| ()), sending);
        let outcome = outcome.unwrap();
        assert_eq!((outcome.records, outcome.rejected), (EVENTS as u64, 0));
        assert_eq!(import.commit().await.unwrap(), Committed::Done);
    })
    .await
}

/// What each event costs on one core, stage by stage; answers the rate of the slowest.
async fn measure_stages(report: &mut Report, source: &Arc<SourceDefinition>, batches: &[RecordBatch]) -> f64 {
    let decoder = ImportDecoder::new(Arc::clone(source));
    let now = positions::Clock::now(&SystemClock);
    let mut rows = Vec::new();
    let taking = rate(EVENTS, || {
        for (number, batch) in batches.iter().enumerate() {
            let first = Offset((number * ROWS) as i64);
            let place = ImportPlace { partition: PartitionId::FIRST_IMPORTED, first, now };
            rows.extend(decoder.decode_rows(place, batch).unwrap());
        }
    });
    report.note("import, columns taken and payloads written, one core", taking, "events/s");
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap());
    let lake = lake::Lake::new(store, object_store::path::Path::default());
    let master = MasterDataset::new(&lake, Arc::clone(source));
    let on = master.create().await.unwrap();
    let writing = rate_async(EVENTS, async {
        let first = (PartitionId::FIRST_IMPORTED, Offset(0));
        master.write_imported(&on, RandomIds.next_id(), first, stream::iter(rows)).await.unwrap();
    })
    .await;
    report.note("import, encoding and putting a file, one core", writing, "events/s");
    taking.min(writing)
}

/// Payloads in columns of the source's own types.
fn columns(payloads: &[String]) -> RecordBatch {
    let events: Vec<Value> = payloads.iter().map(|payload| serde_json::from_str(payload).unwrap()).collect();
    let text = |name: &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(events.iter().map(|event| event[name].as_str().unwrap())))
    };
    let number = |name: &str| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(events.iter().map(|event| event[name].as_i64().unwrap())))
    };
    let time = |event: &Value| {
        chrono::DateTime::parse_from_rfc3339(event["time"].as_str().unwrap()).unwrap().timestamp_micros()
    };
    let times = TimestampMicrosecondArray::from_iter_values(events.iter().map(time)).with_timezone("+00:00");
    let durations = Float64Array::from_iter_values(events.iter().map(|event| event["duration"].as_f64().unwrap()));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("event_id", text("event_id")),
        ("time", Arc::new(times)),
        ("user", number("user")),
        ("url", text("url")),
        ("country", text("country")),
        ("bytes", number("bytes")),
        ("duration", Arc::new(durations)),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn parquet(batches: &[RecordBatch]) -> bytes::Bytes {
    let mut writer = ArrowWriter::try_new(Vec::new(), batches[0].schema(), None).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.into_inner().unwrap().into()
}
