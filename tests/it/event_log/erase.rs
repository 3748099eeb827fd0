//! Payloads taken out of a closed folder of the embedded log: every record keeps its place, no file holds what was
//! replaced, and a rewriting that was cut short at any step leaves the folder as it was, or changed as a whole.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::event_log::embedded::{Replacement, replace_payloads};
use ::event_log::{EventLog, Record};
use bytes::Bytes;
use tempfile::TempDir;

use super::embedded::open;
use super::torn::copy_folder;
use super::{append, numbered, read, reader_of, record};
use crate::support::traces::traces_in_folder;

const SECRET: &str = "secret-8c1f2b";
const COUNT: usize = 40;

/// Takes the secret out of the topic `t`.
fn replacement() -> Replacement {
    Arc::new(|topic: &str, record: &Record| {
        let is_secret = topic == "t" && String::from_utf8_lossy(&record.payload).contains(SECRET);
        is_secret.then(|| Bytes::from_static(b"gone"))
    })
}

/// A closed log below a folder: secrets among other records, keys that are secrets, a clock's correction.
async fn closed() -> (TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("log");
    let log = open(&folder).await.unwrap();
    for topic in ["t", "u"] {
        log.ensure_topic(topic, 2).await.unwrap();
        append(&log, topic, numbered(COUNT as i64 / 2)).await;
    }
    let mut records = Vec::new();
    for number in 0..COUNT as i64 / 2 {
        let payload = if number % 3 == 0 { format!("{SECRET} {number}") } else { format!("plain {number}") };
        let mut record = record(Some(&format!("key {SECRET}")), payload, number);
        record.clock_shift = (number % 2 == 0).then_some(number);
        records.push(record);
    }
    append(&log, "t", records).await;
    log.close().await;
    (parent, folder)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    copy_folder(from, to);
}

/// All records of a topic.
async fn records_of(folder: &Path, topic: &str, count: usize) -> Vec<Record> {
    let log = open(folder).await.unwrap();
    let mut records = read(reader_of(&log, topic).await.as_mut(), count).await;
    records.sort_by_key(|record| (record.partition, record.offset));
    log.close().await;
    records
}

/// What the records of a topic are to be afterwards.
fn without_secrets(records: Vec<Record>) -> Vec<Record> {
    let change = replacement();
    let changed = |record: Record| match change("t", &record) {
        Some(payload) => Record { payload, ..record },
        None => record,
    };
    records.into_iter().map(changed).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_are_replaced_where_they_stand_and_no_file_holds_them() {
    let (parent, folder) = closed().await;
    let (of_t, of_u) = (records_of(&folder, "t", COUNT).await, records_of(&folder, "u", COUNT / 2).await);
    assert!(!traces_in_folder(parent.path(), SECRET).is_empty(), "nothing to replace");
    let replaced = replace_payloads(&folder, replacement()).await.unwrap();
    assert_eq!(replaced, of_t.iter().filter(|record| replacement()("t", record).is_some()).count() as u64);
    assert!(traces_in_folder(parent.path(), SECRET).is_empty());
    assert_eq!(records_of(&folder, "t", COUNT).await, without_secrets(of_t));
    assert_eq!(records_of(&folder, "u", COUNT / 2).await, of_u);
    assert_eq!(replace_payloads(&folder, replacement()).await.unwrap(), 0, "nothing is left to do");

    // It goes on where it ended.
    let log = open(&folder).await.unwrap();
    let before = log.bounds("u", positions::PartitionId(0)).await.unwrap().high;
    append(&log, "u", numbered(10)).await;
    assert!(log.bounds("u", positions::PartitionId(0)).await.unwrap().high > before);
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_held_is_left_alone() {
    let (_parent, folder) = closed().await;
    let log = open(&folder).await.unwrap();
    let error = replace_payloads(&folder, replacement()).await.unwrap_err();
    assert!(error.to_string().contains("another process holds it"), "{error}");
    log.close().await;
    assert_eq!(records_of(&folder, "t", COUNT).await.len(), COUNT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewriting_that_was_cut_short_is_ended_by_the_next_opening() {
    let (parent, folder) = closed().await;
    let before = records_of(&folder, "t", COUNT).await;
    let beside = |suffix: &str| parent.path().join(format!("log.{suffix}"));
    let (copy_of, old) = (beside("erasing"), beside("erased"));
    // While the copy was made.
    std::fs::create_dir(&copy_of).unwrap();
    std::fs::write(copy_of.join("half"), SECRET).unwrap();
    assert_eq!(records_of(&folder, "t", COUNT).await, before);
    assert!(!copy_of.exists());

    // The copy is whole, and the folder was moved away for it.
    let whole = tempfile::tempdir().unwrap();
    copy(&folder, &whole.path().join("log"));
    replace_payloads(&whole.path().join("log"), replacement()).await.unwrap();
    copy(&whole.path().join("log"), &copy_of);
    std::fs::rename(&folder, &old).unwrap();
    assert_eq!(records_of(&folder, "t", COUNT).await, without_secrets(before.clone()));
    assert!(!copy_of.exists() && !old.exists());

    // The copy has its place, and what it replaces was not deleted yet.
    copy(&folder, &old);
    std::fs::write(old.join("left"), SECRET).unwrap();
    assert_eq!(records_of(&folder, "t", COUNT).await, without_secrets(before));
    assert!(!old.exists() && traces_in_folder(parent.path(), SECRET).is_empty());
}
