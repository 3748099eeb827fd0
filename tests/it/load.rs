//! Loading a file through a collector whose log misbehaves: every line is answered for once, or named as open.

use std::path::PathBuf;
use std::time::Duration;

use collector::CollectorSettings;
use tempfile::TempDir;
use twofold::client::Client;
use twofold::load::{LoadPlan, LoadReport, load_file};
use views::SourceDefinition;

use crate::collector::fake::Mood;
use crate::collector::{Server, event};
use crate::decode::clicks;

/// A collector, and a file of three good lines around a bad one.
struct World {
    server: Server,
    folder: TempDir,
}

impl World {
    async fn start(source: SourceDefinition) -> Self {
        let settings = CollectorSettings { retry_after: Duration::from_secs(1), ..Default::default() };
        let world = Self { server: Server::start_for(source, settings).await, folder: tempfile::tempdir().unwrap() };
        let lines = [event("a"), "bad".to_owned(), event("b"), event("c")];
        std::fs::write(world.file(), lines.join("\n")).unwrap();
        world
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("clicks.jsonl")
    }

    async fn load(&self, give_up_after: Duration) -> (Result<(), String>, LoadReport) {
        let plan = LoadPlan { file: self.file(), source: "clicks".to_owned(), rate: None, give_up_after };
        let mut report = LoadReport::default();
        let client = Client::new(&self.server.address).unwrap();
        let outcome = load_file(&client, &plan, &mut report).await;
        (outcome.map_err(|error| format!("{error:#}")), report)
    }

    /// Loads into a log that is well again only after it was asked twice.
    async fn load_past_two_refusals(&self) -> LoadReport {
        self.server.log.set(Mood::Perverse);
        let recover = async {
            self.server.log.asked().await;
            self.server.log.asked().await;
            self.server.log.set(Mood::Well);
        };
        let ((outcome, report), ()) = tokio::join!(self.load(LONG), recover);
        outcome.unwrap();
        report
    }
}

fn without_ids() -> SourceDefinition {
    SourceDefinition { event_id: None, ..clicks() }
}

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_line_is_told_once_although_nothing_else_was_taken() {
    let world = World::start(clicks()).await;
    let report = world.load_past_two_refusals().await;
    assert_eq!((report.accepted, report.rejected, report.open), (3, 1, None));
    assert_eq!(report.findings.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2]);
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
        let ((outcome, report), ()) = tokio::join!(world.load(Duration::from_millis(1_500)), fail);
        let error = outcome.unwrap_err();
        assert!(error.contains("took no line for 1500ms") && error.contains("no broker answers"), "{error}");
        assert_eq!((report.accepted, report.rejected, report.open), (2, 0, Some((2, 4, 2))));
        let told = report.describe();
        assert!(told.contains("all lines before 2 are answered for; of lines 2 to 4, 2 are not known"), "{told}");
        assert!(told.contains(advice), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_may_count_twice_are_counted() {
    let world = World::start(without_ids()).await;
    let report = world.load_past_two_refusals().await;
    assert_eq!(report.repeated, 3);
    assert!(report.describe().contains("3 lines were sent again after an answer was lost and may count twice"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_cannot_begin_reads_nothing() {
    let world = World::start(clicks()).await;
    let plan =
        |source: &str| LoadPlan { file: world.file(), source: source.to_owned(), rate: None, give_up_after: SHORT };
    let load = async |address: &str, plan: LoadPlan| {
        let mut report = LoadReport::default();
        let error = load_file(&Client::new(address).unwrap(), &plan, &mut report).await.unwrap_err();
        assert!(report.is_empty(), "{report:?}");
        format!("{error:#}")
    };
    let error = load(&world.server.address, plan("klicks")).await;
    assert!(error.contains("there is no source `klicks`") && error.contains("known: clicks"), "{error}");
    let error = load("http://127.0.0.1:1", plan("clicks")).await;
    assert!(error.contains("nothing answers at http://127.0.0.1:1"), "{error}");
    let missing = LoadPlan { file: world.folder.path().join("nothing"), ..plan("clicks") };
    assert!(load(&world.server.address, missing).await.contains("cannot open"));
    assert!(world.server.log.payloads().is_empty());
}
