//! A disk that is full: named, nothing that was acknowledged is lost, and it goes on when there is room.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use ::event_log::embedded::{EmbeddedLog, EmbeddedSettings};
use ::event_log::{EventLog, EventLogError};
use positions::{Offset, PartitionId};
use tokio::time::Instant;

use super::embedded::ids;
use super::{EPOCH, PATIENCE, clock, read, reader_of, record};
use crate::support::seams::ManualClock;

/// Bytes of the file system that fills up.
const SIZE: &str = "size=96m";
/// A file that takes room away until it is removed.
const BALLAST: &str = "ballast";
/// Ballast that is taken away bit by bit.
const PIECES: usize = 12;
const PIECE_BYTES: usize = 5 << 20;
const ONE: PartitionId = PartitionId(0);

/// A small file system in memory; unmounted at the end.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(folder.path()).output();
        if mount.is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        println!("skipped: a full disk needs the right to mount a small file system");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).output();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_named_loses_nothing_and_goes_on_when_there_is_room() {
    let Some(disk) = SmallDisk::mount() else { return };
    let ballast = disk.path().join(BALLAST);
    std::fs::write(&ballast, vec![0; 48 << 20]).unwrap();
    let settings = EmbeddedSettings::new(disk.path().join("log"));
    let log = EmbeddedLog::open(settings.clone(), clock(), ids()).await.unwrap();
    log.ensure_topic("t", 1).await.unwrap();
    let mut acknowledged = Vec::new();
    let error = fill(&log, &mut acknowledged).await;
    assert!(matches!(&error, EventLogError::Full(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains(disk.path().to_str().unwrap()) && text.contains("No space left on device"), "{text}");
    assert!(acknowledged.len() > 1_000, "{} were acknowledged before it was full", acknowledged.len());

    std::fs::remove_file(&ballast).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while log.append("t", vec![record(None, "more", 0)]).await[0].is_err() {
        assert!(Instant::now() < deadline, "it did not go on");
    }
    let high = log.bounds("t", ONE).await.unwrap().high;
    let records = read(reader_of(&log, "t").await.as_mut(), high.0 as usize).await;
    assert!(records.iter().enumerate().all(|(at, record)| record.offset == Offset(at as i64)));
    assert!(acknowledged.iter().all(|(_, offset)| *offset < high), "acknowledged records are gone");
    log.close().await;
    // And also after a restart.
    let log = EmbeddedLog::open(settings, clock(), ids()).await.unwrap();
    assert_eq!(log.bounds("t", ONE).await.unwrap().high, high);
}

/// Appends until a record is refused.
async fn fill(log: &EmbeddedLog, acknowledged: &mut Vec<(PartitionId, Offset)>) -> EventLogError {
    loop {
        let records = (0..100).map(|number| record(None, vec![b'x'; 2_000], number)).collect();
        let answers = tokio::time::timeout(PATIENCE, log.append("t", records)).await.expect("an append was answered");
        for answer in answers {
            match answer {
                Ok(place) => acknowledged.push(place),
                Err(error) => return error,
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_again_and_again_is_full_each_time() {
    let Some(disk) = SmallDisk::mount() else { return };
    let ballast = |number: usize| disk.path().join(format!("{BALLAST}-{number}"));
    for number in 0..PIECES {
        std::fs::write(ballast(number), vec![0; PIECE_BYTES]).unwrap();
    }
    let log = EmbeddedLog::open(EmbeddedSettings::new(disk.path().join("log")), clock(), ids()).await.unwrap();
    log.ensure_topic("t", 1).await.unwrap();
    let mut acknowledged = Vec::new();
    // Each piece of room leaves flushes and merges at another place, and some of them die over it twice.
    for number in 0..PIECES {
        for _ in 0..3 {
            let error = fill(&log, &mut acknowledged).await;
            assert!(matches!(&error, EventLogError::Full(_)), "piece {number}: {error}");
        }
        std::fs::remove_file(ballast(number)).unwrap();
    }
    let high = log.bounds("t", ONE).await.unwrap().high;
    assert!(acknowledged.iter().all(|(_, offset)| *offset < high), "acknowledged records are gone");
}

/// Writes a file until not a byte more fits.
fn take_all_room(file: &Path) {
    let mut file = std::fs::File::create(file).unwrap();
    for block in [1 << 20, 4 << 10, 1] {
        while std::io::Write::write_all(&mut file, &vec![1; block]).is_ok() {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_fails_takes_nothing_from_readers() {
    let Some(disk) = SmallDisk::mount() else { return };
    let ballast = disk.path().join(BALLAST);
    let hour = Duration::from_secs(3_600);
    let settings = EmbeddedSettings { retention: hour, ..EmbeddedSettings::new(disk.path().join("log")) };
    let clock = Arc::new(ManualClock::at(EPOCH));
    let log = EmbeddedLog::open(settings, clock.clone(), ids()).await.unwrap();
    log.ensure_topic("t", 1).await.unwrap();
    super::append(&log, "t", super::numbered(100)).await;
    take_all_room(&ballast);
    // The engine is found dead by the first write that does not fit.
    let big = record(None, vec![b'x'; 500_000], 0);
    assert!(matches!(log.append("t", vec![big]).await.remove(0), Err(EventLogError::Full(_))));
    log.release("t", &BTreeMap::from([(ONE, Offset(100))]));
    for _ in 0..3 {
        clock.advance(2 * hour);
        // The writer looks for what is old behind each command, so that it has done so once at least.
        log.ensure_topic("t", 1).await.unwrap();
    }
    assert_eq!(log.bounds("t", ONE).await.unwrap().low, Offset(0));
    assert_eq!(read(reader_of(&log, "t").await.as_mut(), 100).await.len(), 100);

    std::fs::remove_file(&ballast).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while log.bounds("t", ONE).await.unwrap().low != Offset(100) {
        assert!(Instant::now() < deadline, "it was not removed when there was room");
        clock.advance(2 * hour);
        log.ensure_topic("t", 1).await.unwrap();
    }
}
