//! A source that changes its mind about unreadable values: what is archived is read by what it says now.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use batch_layer::archive::Pending;
use event_log::Record;
use positions::{Clock, IdSource, Offset, PartitionId, TimestampMicros};
use records::decode::column;
use records::master::{MasterDataset, RejectedSearch};
use views::{Pipeline, SourceDefinition};

use super::world::{SECOND, START};
use crate::decode::decode_counting;
use crate::support::surroundings::Surroundings;

const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (time TIMESTAMP NOT NULL, uid BIGINT)
STORED AS JSON LOCATION 'kafka://hits' OPTIONS (event_time 'time', partitions '1');
";

/// The uid of each archived record, `None` for one that is rejected, in the order of their offsets.
type Uids = Vec<Option<Option<i64>>>;

struct Archive(Surroundings);

impl Archive {
    fn source(&self, is_lenient: bool) -> Arc<SourceDefinition> {
        let option = if is_lenient { "event_time 'time'" } else { "event_time 'time', strict 'true'" };
        let pipeline = Pipeline::read(&PIPELINE.replace("event_time 'time'", option), &BTreeMap::new()).unwrap();
        Arc::clone(&pipeline.sources[0])
    }

    fn master(&self, is_lenient: bool) -> MasterDataset {
        MasterDataset::new(&self.0.lake, self.source(is_lenient))
    }

    /// Archives two events from this offset on, the second with a uid that cannot be read; answers what is counted.
    async fn append(&self, is_lenient: bool, from: i64) -> BTreeMap<usize, u64> {
        let source = self.source(is_lenient);
        let record = |offset: i64, uid: &str| Record {
            partition: PartitionId(0),
            offset: Offset(offset),
            timestamp: TimestampMicros(START + offset * SECOND),
            payload: format!(r#"{{"time":"2023-11-14T22:13:20Z","uid":{uid}}}"#).into(),
            event_id: None,
            clock_shift: None,
        };
        let records = [record(from, "7"), record(from + 1, r#""""#)];
        let on = self.master(is_lenient).create().await.unwrap();
        let mut pending = Pending::new(&on.facts, source.border);
        let (rows, counts) = decode_counting(&source, &records).unwrap();
        pending.take(&records, rows, self.0.clock.now()).unwrap();
        pending.note_unreadable(&counts);
        let (facts, nonce) = (pending.facts().clone(), self.0.ids.next_id());
        self.master(is_lenient).append(&on, pending.batches(), facts, nonce).await.unwrap();
        pending.unreadable().clone()
    }

    async fn uids(&self, is_lenient: bool) -> Uids {
        let snapshot = self.master(is_lenient).open().await.unwrap().unwrap();
        let mut uids = Uids::new();
        for batch in snapshot.read_range(PartitionId(0), Offset(0), Offset(100)).await.unwrap() {
            let errors = batch.column_by_name(column::ERROR).unwrap();
            let values = batch.column_by_name("uid").unwrap().as_primitive::<Int64Type>();
            let uid = |row: usize| values.is_valid(row).then(|| values.value(row));
            uids.extend((0..batch.num_rows()).map(|row| errors.is_null(row).then(|| uid(row))));
        }
        uids
    }

    /// How many records are rejected as the source reads them, which two ways to look agree on.
    async fn rejected(&self, is_lenient: bool) -> usize {
        let snapshot = self.master(is_lenient).open().await.unwrap().unwrap();
        let all = RejectedSearch { limit: 100, kind: None, payload_bytes: 100, max_files: 100, max_rows: 1_000 };
        let shown = snapshot.rejected(&all).await.unwrap().records.len();
        assert_eq!(snapshot.count_rejected().await.unwrap(), shown as u64);
        shown
    }
}

#[tokio::test]
async fn archived_records_are_read_as_the_source_says_now() {
    let archive = Archive(Surroundings::new(PIPELINE, START, 1));
    assert_eq!(archive.append(false, 0).await, BTreeMap::new());
    let (good, null, rejected) = (Some(Some(7)), Some(None), None);
    assert_eq!(archive.uids(false).await, [good, rejected]);
    assert_eq!(archive.uids(true).await, [good, null], "what was rejected counts once it can be read");
    assert_eq!((archive.rejected(false).await, archive.rejected(true).await), (1, 0));
    // From here on rows of both rules stand side by side.
    assert_eq!(archive.append(true, 2).await, BTreeMap::from([(1, 1)]));
    assert_eq!(archive.uids(true).await, [good, null, good, null]);
    assert_eq!(archive.uids(false).await, [good, rejected, good, rejected]);
    assert_eq!((archive.rejected(false).await, archive.rejected(true).await), (2, 0));
}
