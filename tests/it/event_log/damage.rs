//! Folders of the embedded log whose journal was damaged, in any way and at any place: refused by name and unchanged,
//! or opened with a beginning of what was appended and nothing else.
//!
//! Not here: the tables of the engine, which it guards by checksums of its own.

use ::event_log::embedded::{EmbeddedLog, EmbeddedSettings};
use ::event_log::{EventLog, EventLogError, Poll, Record};
use positions::{Offset, PartitionId};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;
use tokio::time::Instant;

use super::embedded::{ids, open};
use super::torn::{copy_folder, journal_of};
use super::{PATIENCE, append, clock, limit, numbered, reader_of};
use crate::support::damage::damage;
use crate::support::seeds::seeds;

const ONE: PartitionId = PartitionId(0);
/// Records of a commit.
const EACH: i64 = 10;
const COMMITS: i64 = 5;

/// Five commits to one partition. Closed, and without the room that a new journal is made with.
async fn closed() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for commits in [1, COMMITS - 1] {
        let log = open(folder.path()).await.unwrap();
        log.ensure_topic("t", 1).await.unwrap();
        for _ in 0..commits {
            append(&log, "t", numbered(EACH)).await;
        }
        log.close().await;
    }
    folder
}

/// All that the log says it has, or why it cannot be read.
async fn read_all(log: &EmbeddedLog) -> Result<(i64, Vec<Record>), EventLogError> {
    let high = log.bounds("t", ONE).await?.high.0;
    let (mut consumer, mut records) = (reader_of(log, "t").await, Vec::new());
    let deadline = Instant::now() + PATIENCE;
    while (records.len() as i64) < high {
        assert!(Instant::now() < deadline, "{} of {high} records came", records.len());
        match consumer.poll(limit()).await? {
            Poll::Records(more) => records.extend(more),
            Poll::Assigned(partitions) => panic!("assigned {partitions:?} while reading"),
        }
    }
    Ok((high, records))
}

/// What was read is what was appended, from the first record on.
fn check_beginning(high: i64, records: &[Record], context: &str) {
    assert!(high <= EACH * COMMITS && high % EACH == 0, "{high} records\n{context}");
    for (at, record) in records.iter().enumerate() {
        let expected = format!("event {}", at as i64 % EACH);
        assert!(record.offset == Offset(at as i64) && record.payload == expected, "{record:?}\n{context}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_journal_is_refused_or_holds_a_beginning_of_what_was_appended() {
    let whole = closed().await;
    let journal = std::fs::read(journal_of(whole.path())).unwrap();
    let (mut opened, mut refused) = (0, 0);
    for seed in seeds(60) {
        let mut random = StdRng::seed_from_u64(seed);
        let is_synced = random.random_bool(0.5);
        let context = format!("TWOFOLD_SEED={seed}, synced: {is_synced}");
        let folder = tempfile::tempdir().unwrap();
        copy_folder(whole.path(), folder.path());
        let mut damaged = journal.clone();
        damage(&mut damaged, &journal, &mut random);
        std::fs::write(journal_of(folder.path()), &damaged).unwrap();

        let settings = EmbeddedSettings { is_synced, ..EmbeddedSettings::new(folder.path()) };
        match EmbeddedLog::open(settings, clock(), ids()).await {
            Err(EventLogError::Unusable(reason)) => {
                refused += 1;
                let name = folder.path().to_str().unwrap();
                assert!(reason.contains(name), "{reason}\n{context}");
                // Of what the engine refuses, a torn end is cut off before.
                let is_changed = std::fs::read(journal_of(folder.path())).unwrap() != damaged;
                assert!(!is_changed || !reason.contains("is damaged at byte"), "{reason}\n{context}");
            }
            Err(error) => panic!("{error:?}\n{context}"),
            Ok(log) => {
                opened += 1;
                match read_all(&log).await {
                    Ok((high, records)) => check_beginning(high, &records, &context),
                    // The first commit makes the topic.
                    Err(EventLogError::Unusable(reason)) => {
                        assert!(reason.contains("topic t") || reason.contains("is damaged"), "{reason}\n{context}");
                    }
                    Err(error) => panic!("{error:?}\n{context}"),
                }
                log.close().await;
            }
        }
    }
    eprintln!("{opened} opened, {refused} refused");
    assert!(std::env::var("TWOFOLD_SEED").is_ok() || (opened > 10 && refused > 10), "{opened} and {refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_lacks_files_is_refused_with_the_way_out() {
    let folder = closed().await;
    let aside = tempfile::tempdir().unwrap();
    for part in ["keyspaces/0/current", "keyspaces", "0.jnl"] {
        let (path, away) = (folder.path().join(part), aside.path().join("away"));
        std::fs::rename(&path, &away).unwrap();
        // What the engine made anew at the first attempt would pass at the second.
        for _ in 0..2 {
            let reason = match open(folder.path()).await {
                Err(EventLogError::Unusable(reason)) => reason,
                other => panic!("without {part}: {other:?}"),
            };
            for words in [folder.path().to_str().unwrap(), "from a copy", "`twofold source reset SOURCE`"] {
                assert!(reason.contains(words), "no {words} in {reason}");
            }
        }
        std::fs::rename(&away, &path).unwrap();
    }
    open(folder.path()).await.unwrap().close().await;
}
