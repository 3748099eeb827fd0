//! Rows that former rules archived: read as the rules of today read their records.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray, new_null_array};
use batch_layer::recompute::Mode;
use lake::Change;
use records::decode::column;
use records::master::MasterFacts;

use super::recompute::check_equals_fold;
use super::world::World;
use crate::support::seeds::seeds;

/// A batch as rules left it that could read no record at all: but for identities, all that a rule has a say in is gone.
fn as_rejected(rows: &RecordBatch, declared: usize) -> RecordBatch {
    let schema = rows.schema();
    let columns = rows.columns().iter().enumerate().map(|(at, stored)| -> ArrayRef {
        match schema.field(at).name().as_str() {
            column::ERROR => Arc::new(StringArray::from(vec!["no such form"; rows.num_rows()])),
            column::SCHEMA => Arc::new(Int32Array::from(vec![1; rows.num_rows()])),
            column::LATE => new_null_array(stored.data_type(), rows.num_rows()),
            _ if at < declared => new_null_array(stored.data_type(), rows.num_rows()),
            _ => Arc::clone(stored),
        }
    });
    RecordBatch::try_new(schema.clone(), columns.collect()).unwrap()
}

/// Puts such rows in the place of all that is archived, and counts them as they would have been counted.
pub async fn forget_what_was_read(world: &World) {
    let declared = world.source().declared.fields().len();
    let table = world.lake.table("raw/hits");
    let on = table.open().await.unwrap().unwrap();
    let mut facts: MasterFacts = on.facts().unwrap().unwrap();
    for partition in facts.partitions.values_mut() {
        (partition.counters.rejected, partition.counters.late) = (partition.counters.rows, 0);
    }
    let mut add = Vec::new();
    for (number, file) in on.files().iter().enumerate() {
        let rows = on.read(std::slice::from_ref(file), None).await.unwrap();
        let rows: Vec<RecordBatch> = rows.iter().map(|batch| as_rejected(batch, declared)).collect();
        add.push(on.write_file(&format!("former-{}-{number}", on.version().0), &rows).await.unwrap());
    }
    let remove = on.files().iter().map(|file| file.path.clone()).collect();
    table.commit(&on, Change { add, remove, changes_data: true }, &facts, 77).await.unwrap();
}

#[tokio::test]
async fn what_former_rules_could_not_read_counts_once_today_s_can() {
    for seed in seeds(6) {
        let mut world = World::new(seed).await;
        world.send(60).await;
        world.archive().await;
        forget_what_was_read(&world).await;
        world.recompute(Mode::Full).await;
        check_equals_fold(&world).await;
        // From here on rows of both rules stand side by side.
        world.send(40).await;
        world.archive().await;
        world.recompute(Mode::Incremental).await;
        check_equals_fold(&world).await;
        let end = world.snapshot().await;
        assert!(end.has_rows_read_again());
        end.check_ledger().unwrap();
    }
}
