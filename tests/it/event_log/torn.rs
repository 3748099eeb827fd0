//! What a power cut or a kill leaves of the last commit: the log opens with all that was acknowledged before, and cuts
//! the rest off. And what is left of a topic whose removal was cut off.
//!
//! How a commit lies in the journal: `event-log/src/embedded/store/journal.rs`.

use std::path::{Path, PathBuf};

use ::event_log::embedded::{EmbeddedLog, EmbeddedSettings};
use ::event_log::{EventLog, EventLogError};
use positions::{Offset, PartitionId};
use tempfile::TempDir;

use super::embedded::{ids, open};
use super::{append, clock, numbered, read, reader_of, record};

const ONE: PartitionId = PartitionId(0);
/// Ends each commit in a journal.
const MARK: &[u8] = b"FJL\x03";
/// Records of a commit, and of all before the last one.
const EACH: i64 = 10;
const BEFORE: i64 = 3 * EACH;
/// Records of the last commit, each so many bytes: it takes many blocks of a disk.
const LAST: i64 = 40;
const LAST_BYTES: usize = 1_000;
/// What a disk writes as a whole.
const SECTOR: usize = 512;

/// The folder of a log that was closed, and its journal.
struct Closed {
    folder: TempDir,
    journal: Vec<u8>,
    /// Where each commit ends.
    ends: Vec<usize>,
}

impl Closed {
    /// Three commits, then a large one.
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = open(folder.path()).await.unwrap();
        log.ensure_topic("t", 1).await.unwrap();
        for _ in 0..3 {
            append(&log, "t", numbered(EACH)).await;
        }
        log.close().await;
        // The second start gives up the room that the journal was made with.
        let log = open(folder.path()).await.unwrap();
        append(&log, "t", (0..LAST).map(|number| record(None, vec![b'x'; LAST_BYTES], number)).collect()).await;
        log.close().await;
        let journal = std::fs::read(journal_of(folder.path())).unwrap();
        let ends = ends_of(&journal);
        assert_eq!(ends.last(), Some(&journal.len()), "the journal ends in a commit");
        Self { folder, journal, ends }
    }

    /// Where the last commit begins.
    fn last_from(&self) -> usize {
        self.ends[self.ends.len() - 2]
    }

    /// A copy of the folder with another journal.
    fn with_journal(&self, journal: &[u8]) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(self.folder.path(), copy.path());
        std::fs::write(journal_of(copy.path()), journal).unwrap();
        copy
    }

    /// Places inside the last commit: close together where its head and its end lie.
    fn places(&self) -> Vec<usize> {
        let (from, to) = (self.last_from(), self.journal.len());
        let middle = (from + 60..to - 40).step_by((to - from) / 12);
        (from + 1..from + 60).step_by(4).chain(middle).chain((to - 20..to).step_by(3)).collect()
    }
}

pub(super) fn journal_of(folder: &Path) -> PathBuf {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "jnl")).max().unwrap()
}

fn ends_of(journal: &[u8]) -> Vec<usize> {
    let marks = journal.windows(MARK.len()).enumerate().filter(|(_, bytes)| *bytes == MARK);
    marks.map(|(at, _)| at + MARK.len()).collect()
}

pub(super) fn copy_folder(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The log opens with exactly `count` records, takes more, and keeps them.
async fn check_opens(folder: &Path, count: i64, what: &str) {
    let log = open(folder).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(log.bounds("t", ONE).await.unwrap().high, Offset(count), "{what}");
    let records = read(reader_of(&log, "t").await.as_mut(), count as usize).await;
    let expected = |at: usize| format!("event {}", at as i64 % EACH);
    assert!(records.iter().enumerate().all(|(at, record)| record.payload == expected(at)), "{what}");
    assert_eq!(append(&log, "t", numbered(1)).await, [(ONE, Offset(count))], "{what}");
    log.close().await;
    let log = open(folder).await.unwrap_or_else(|error| panic!("{what}, once more: {error}"));
    assert_eq!(log.bounds("t", ONE).await.unwrap().high, Offset(count + 1), "{what}");
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_was_not_written_is_cut_off() {
    let closed = Closed::start().await;
    for at in closed.places() {
        let folder = closed.with_journal(&closed.journal[..at]);
        check_opens(folder.path(), BEFORE, &format!("cut at {at}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_of_zeros_is_cut_off() {
    let closed = Closed::start().await;
    for at in closed.places() {
        let mut journal = closed.journal.clone();
        journal[at..].fill(0);
        // The room that the journal was made with.
        journal.resize(journal.len() + 100_000, 0);
        let folder = closed.with_journal(&journal);
        check_opens(folder.path(), BEFORE, &format!("zeros from {at}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_with_a_hole_is_cut_off() {
    let closed = Closed::start().await;
    let (from, to) = (closed.last_from(), closed.journal.len());
    let sectors = (from / SECTOR..=(to - 1) / SECTOR).map(|sector| sector * SECTOR);
    for sector in sectors.step_by(4) {
        let mut journal = closed.journal.clone();
        journal[sector.max(from)..(sector + SECTOR).min(to)].fill(0);
        let folder = closed.with_journal(&journal);
        check_opens(folder.path(), BEFORE, &format!("a hole at {sector}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_before_a_whole_commit_is_refused_unchanged() {
    let closed = Closed::start().await;
    let mut journal = closed.journal.clone();
    // In the third commit of records; what follows it was acknowledged after it was synced.
    let damaged_from = closed.ends[closed.ends.len() - 3];
    let inside = (damaged_from + closed.last_from()) / 2;
    journal[inside] ^= 1;
    let folder = closed.with_journal(&journal);
    let error = open(folder.path()).await.map(drop).unwrap_err();
    assert!(matches!(error, EventLogError::Unusable(_)), "{error:?}");
    let (error, name) = (error.to_string(), journal_of(folder.path()));
    let at = [format!("at byte {damaged_from}"), format!("from byte {}", closed.last_from())];
    for part in [name.to_str().unwrap(), &at[0], &at[1], "from a copy", "log.embedded_sync = false"] {
        assert!(error.contains(part), "`{part}` is missing in: {error}");
    }
    assert!(std::fs::read(&name).unwrap() == journal, "it was changed");
    // The way out works.
    let settings = EmbeddedSettings { is_synced: false, ..EmbeddedSettings::new(folder.path()) };
    EmbeddedLog::open(settings, clock(), ids()).await.unwrap().close().await;
    check_opens(folder.path(), BEFORE - EACH, "given up").await;
}

/// How often the journal names the chunks of the first topic: once when they are written, once more when they go.
fn chunks_named(folder: &Path) -> usize {
    let key = [2, 0, 0, 0, 1, 0, 0, 0, 0];
    std::fs::read(journal_of(folder)).unwrap().windows(key.len()).filter(|bytes| *bytes == key).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_a_topic_that_was_made_again_goes_with_the_next_start() {
    let closed = Closed::start().await;
    let written = chunks_named(closed.folder.path());
    assert!(written >= 4, "{written}");
    let log = open(closed.folder.path()).await.unwrap();
    log.recreate_topic("t").await.unwrap();
    log.close().await;
    // A kill right behind the commit that makes the new topic.
    let journal = std::fs::read(journal_of(closed.folder.path())).unwrap();
    let folder = closed.with_journal(&journal[..ends_of(&journal)[closed.ends.len()]]);
    assert_eq!(chunks_named(folder.path()), written);

    let log = open(folder.path()).await.unwrap();
    // The writer removes behind each command while there is more.
    for _ in 0..3 {
        log.ensure_topic("t", 1).await.unwrap();
    }
    assert_eq!(log.bounds("t", ONE).await.unwrap().high, Offset(0));
    assert_eq!(append(&log, "t", numbered(1)).await, [(ONE, Offset(0))]);
    log.close().await;
    assert_eq!(chunks_named(folder.path()), 2 * written);
    let log = open(folder.path()).await.unwrap();
    assert_eq!(read(reader_of(&log, "t").await.as_mut(), 1).await.len(), 1);
}
