//! Loading files through a collector whose log misbehaves: every event is answered for once, or named as open; and what
//! each kind of file gives.

mod columns;
mod csv;
mod damage;
mod files;
mod kinds;
mod lines;
mod objects;

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::PathBuf;
use std::time::Duration;

use collector::CollectorSettings;
use indicatif::ProgressBar;
use tempfile::TempDir;
use twofold::client::{Client, OnError};
use twofold::load::event::{Event, ReadError};
use twofold::load::open::open_stream;
use twofold::load::{Input, LoadPlan, LoadReport, load_files};
use views::{SourceDefinition, Unreadable};

use crate::collector::fake::Mood;
use crate::collector::{Server, event};
use crate::decode::clicks;

/// A collector, and a folder with a file of three good lines around a bad one.
struct World {
    server: Server,
    folder: TempDir,
}

impl World {
    async fn start(source: SourceDefinition) -> Self {
        let settings = CollectorSettings { retry_after: Duration::from_secs(1), ..Default::default() };
        let world = Self { server: Server::start_for(source, settings).await, folder: tempfile::tempdir().unwrap() };
        world.write("clicks.jsonl", [event("a"), "bad".to_owned(), event("b"), event("c")].join("\n"));
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> Input {
        std::fs::write(self.path(name), bytes).unwrap();
        Input::File(self.path(name))
    }

    fn plan(&self) -> LoadPlan {
        LoadPlan {
            inputs: vec![Input::File(self.path("clicks.jsonl"))],
            source: "clicks".to_owned(),
            rate: None,
            on_error: OnError::Keep,
            give_up_after: LONG,
            give_up_after_bad: 1_000,
        }
    }

    async fn load(&self, plan: &LoadPlan) -> (Result<(), String>, LoadReport) {
        let mut report = LoadReport::default();
        let client = Client::new(&self.server.address).unwrap();
        let outcome = load_files(&client, plan, &mut report).await;
        (outcome.map_err(|error| format!("{error:#}")), report)
    }

    /// Loads files that must all be read.
    async fn load_all(&self, inputs: Vec<Input>) -> LoadReport {
        let (outcome, report) = self.load(&LoadPlan { inputs, ..self.plan() }).await;
        outcome.unwrap();
        report
    }

    /// Loads files of which one is refused, or ends early.
    async fn fail(&self, plan: LoadPlan) -> (String, LoadReport) {
        let (outcome, report) = self.load(&plan).await;
        (outcome.unwrap_err(), report)
    }

    /// Loads into a log that is well again only after it was asked twice.
    async fn load_past_two_refusals(&self) -> LoadReport {
        self.server.log.set(Mood::Perverse);
        let recover = async {
            self.server.log.asked().await;
            self.server.log.asked().await;
            self.server.log.set(Mood::Well);
        };
        let plan = self.plan();
        let ((outcome, report), ()) = tokio::join!(self.load(&plan), recover);
        outcome.unwrap();
        report
    }
}

fn without_ids() -> SourceDefinition {
    SourceDefinition { event_id: Vec::new(), ..clicks() }
}

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(1);

/// Gives a few bytes at a time, as a pipe does.
struct Trickle<R>(R, usize);

impl<R: Read> Read for Trickle<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = buffer.len().min(self.1);
        self.0.read(&mut buffer[..most])
    }
}

/// The columns that files are read for, with their types.
fn declared() -> BTreeMap<String, String> {
    let columns = [("id", "VARCHAR"), ("time", "TIMESTAMP"), ("n", "BIGINT"), ("is_new", "BOOLEAN"), ("doc", "JSON")];
    columns.map(|(name, data_type)| (name.to_owned(), data_type.to_owned())).into()
}

type Results = Vec<Result<Event, ReadError>>;

/// What a stream holds, or why it is not read.
fn try_read(stream: impl Read + 'static, max_bytes: usize) -> Result<Results, String> {
    let opened = open_stream(Box::new(stream), &ProgressBar::hidden()).map_err(|error| format!("{error:#}"))?;
    let events = opened.events(&declared(), max_bytes).map_err(|error| format!("{error:#}"))?;
    Ok(events.collect())
}

/// Each event with its place, or what is said in its stead.
fn read_within(bytes: impl Into<Vec<u8>>, max_bytes: usize) -> Vec<String> {
    let results = try_read(Cursor::new(bytes.into()), max_bytes).unwrap();
    let shown = |result| match result {
        Ok(Event { place, json }) => format!("{place}: {}", String::from_utf8_lossy(&json)),
        Err(error) => format!("{error}"),
    };
    results.into_iter().map(shown).collect()
}

fn read(bytes: impl Into<Vec<u8>>) -> Vec<String> {
    read_within(bytes, 1_000_000)
}

/// What is said of a stream that is not read.
fn refusal(bytes: impl Into<Vec<u8>>) -> String {
    try_read(Cursor::new(bytes.into()), 1_000_000).unwrap_err()
}

fn zstd(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    zstd::stream::encode_all(bytes.as_ref(), 1).unwrap()
}

fn bzip2(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut packed = Vec::new();
    bzip2::bufread::BzEncoder::new(bytes.as_ref(), bzip2::Compression::fast()).read_to_end(&mut packed).unwrap();
    packed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_event_is_told_once_although_nothing_else_was_taken() {
    let world = World::start(clicks()).await;
    let report = world.load_past_two_refusals().await;
    assert_eq!((report.accepted(), report.rejected(), report.files[0].open), (3, 1, None));
    let places: Vec<String> = report.files[0].findings.iter().map(|(place, _)| place.to_string()).collect();
    assert_eq!(places, ["line 2"]);
    assert_eq!(world.server.log.payloads(), ["bad".to_owned(), event("a"), event("b"), event("c")]);
    assert!(!report.describe().contains("twice"), "{}", report.describe());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_ends_early_says_how_far_it_came_and_whether_to_repeat_it() {
    for (source, advice) in [(clicks(), "it is safe to load the file again"), (without_ids(), "it is NOT safe to load")]
    {
        let world = World::start(source).await;
        world.server.log.set(Mood::Half);
        // The first and the third of the four are stored, then nothing.
        let fail = async {
            world.server.log.asked().await;
            world.server.log.set(Mood::Down);
        };
        let plan = LoadPlan { give_up_after: Duration::from_millis(1_500), ..world.plan() };
        let ((outcome, report), ()) = tokio::join!(world.load(&plan), fail);
        let error = outcome.unwrap_err();
        assert!(error.contains("took no event for 1500ms") && error.contains("no broker answers"), "{error}");
        assert_eq!((report.accepted(), report.rejected()), (2, 0));
        let told = report.describe();
        let open = "all events before line 2 are answered for; from line 2 to line 4, 2 are not known to be stored";
        assert!(told.contains(open), "{told}");
        assert!(told.contains(advice), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_may_count_twice_are_counted() {
    let world = World::start(without_ids()).await;
    let report = world.load_past_two_refusals().await;
    assert_eq!(report.repeated, 3);
    assert!(report.describe().contains("3 events were sent again after an answer was lost and may count twice"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_cannot_begin_reads_nothing() {
    let world = World::start(clicks()).await;
    let plan = LoadPlan { give_up_after: SHORT, ..world.plan() };
    let (error, report) = world.fail(LoadPlan { source: "klicks".to_owned(), ..plan.clone() }).await;
    assert!(error.contains("there is no source `klicks`") && error.contains("known: clicks"), "{error}");
    assert!(report.is_empty());
    let missing = LoadPlan { inputs: vec![Input::File(world.path("nothing"))], ..plan.clone() };
    let (error, report) = world.fail(missing).await;
    assert!(error.contains("cannot open") && report.is_empty(), "{error}");
    let mut report = LoadReport::default();
    let nowhere = Client::new("http://127.0.0.1:1").unwrap();
    let error = format!("{:#}", load_files(&nowhere, &plan, &mut report).await.unwrap_err());
    assert!(error.contains("nothing answers at http://127.0.0.1:1") && report.is_empty(), "{error}");
    assert!(world.server.log.payloads().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_events_are_kept_or_left_out_as_asked() {
    let world = World::start(clicks()).await;
    let (outcome, report) = world.load(&LoadPlan { on_error: OnError::Refuse, ..world.plan() }).await;
    assert_eq!((outcome, report.accepted(), report.rejected()), (Ok(()), 3, 1));
    assert_eq!(world.server.log.payloads(), [event("a"), event("b"), event("c")]);
    let (_, report) = world.load(&world.plan()).await;
    assert_eq!(report.rejected(), 1);
    assert!(world.server.log.payloads().contains(&"bad".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_their_column_cannot_take_are_told_by_column() {
    let world = World::start(SourceDefinition { unreadable: Unreadable::Null, ..clicks() }).await;
    let inputs =
        vec![world.write("rows.csv", "time,page,bytes\n2026-01-31T12:00:00Z,/,many\n2026-01-31T12:00:00Z,/,7\n")];
    let report = world.load_all(inputs).await;
    assert_eq!((report.accepted(), report.rejected()), (2, 0));
    let told = report.describe();
    assert!(told.contains("1 values of column bytes are NULL: the column cannot take them\n"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_of_which_nothing_is_accepted_has_failed_with_the_first_reason() {
    let world = World::start(clicks()).await;
    let inputs = vec![world.write("bad.jsonl", "{\"id\":\"1\"}\n\n{\"id\":\"2\"}\n")];
    let (error, report) = world.fail(LoadPlan { inputs, ..world.plan() }).await;
    for part in ["nothing was accepted: all 2 events were rejected", "bad.jsonl", "JSON lines", "line 1: "] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert_eq!((report.accepted(), report.rejected()), (0, 2));
    // So has one of nothing: what was to be piped in may have failed.
    let inputs = vec![world.write("empty", ""), world.write("blank", "\n \r\n")];
    let (error, report) = world.fail(LoadPlan { inputs: inputs.clone(), ..world.plan() }).await;
    assert!(error.contains("nothing was accepted: there was no event to load"), "{error}");
    assert_eq!((report.accepted(), report.rejected(), report.files[1].bytes), (0, 0, 4));
    // Among others an empty file is none to speak of.
    let one = world.write("one", event("a"));
    assert_eq!(world.load_all([inputs, vec![one]].concat()).await.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_bad_events_ends_with_one_error_and_one_good_event_begins_anew() {
    let world = World::start(clicks()).await;
    let inputs = vec![world.write("bad.jsonl", "{}\n".repeat(5_000)), world.write("next.jsonl", event("a"))];
    let plan = LoadPlan { inputs: inputs.clone(), give_up_after_bad: 40, ..world.plan() };
    let (error, report) = world.fail(plan).await;
    let said = "read as JSON lines: 40 events in a row were rejected, from line 1 to line 40; line 1: ";
    assert!(error.contains(said) && error.contains("--give-up-after-bad 40"), "{error}");
    // No more than the run may have is sent before the first good event is seen, and little of it is printed.
    assert_eq!((report.rejected(), world.server.log.payloads().len()), (40, 40));
    let told = report.describe();
    assert!(told.lines().count() < 10 && told.contains("and 37 more") && told.contains("not begun: 1 files"), "{told}");

    let (outcome, report) = world.load(&LoadPlan { inputs, give_up_after_bad: 0, ..world.plan() }).await;
    assert_eq!((outcome, report.accepted(), report.rejected()), (Ok(()), 1, 5_000));
    let mixed = format!("{}{}\n{}", "{}\n".repeat(39), event("b"), "{}\n".repeat(39));
    let inputs = vec![world.write("mixed.jsonl", mixed)];
    let (outcome, report) = world.load(&LoadPlan { inputs, give_up_after_bad: 40, ..world.plan() }).await;
    assert_eq!((outcome, report.accepted(), report.rejected()), (Ok(()), 1, 78));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_cannot_be_sent_count_as_rejected_in_a_row() {
    let world = World::start(clicks()).await;
    let inputs = vec![world.write("rows.csv", format!("id,time\n{}", "1,2,3\n".repeat(100)))];
    let (error, report) = world.fail(LoadPlan { inputs, give_up_after_bad: 5, ..world.plan() }).await;
    assert!(error.contains("5 events in a row were rejected, from line 2 to line 6; line 2: 3 fields"), "{error}");
    assert_eq!((report.rejected(), world.server.log.payloads().len()), (5, 0));
}
