//! Feeds as the world sends them: the events of three examples give, through either layer and both together, the
//! answers that stand beside them, which are those of a fold that knows nothing of pipelines.

mod github;
mod web_analytics;
mod wikimedia;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use batch_layer::recompute::Mode;
use serde_json::{Value, json};
use twofold::client::{Client, OnError};
use twofold::config::{Config, ConfigInputs};
use twofold::load::{Input, LoadPlan, LoadReport, load_files};
use twofold::system::System;
use views::Pipeline;

use crate::support::parts::AT_ONCE;

const DEADLINE: Duration = Duration::from_secs(60);

/// An example with events of its own.
struct Feed {
    /// Its folder.
    name: &'static str,
    source: &'static str,
    /// What the events amount to: the rows of each view, in the order of its dimensions.
    fold: fn(&[Value]) -> Value,
    /// Lines of the file, and those of them that are no event, or one that stands before.
    lines: u64,
    rejected: u64,
    copies: u64,
    /// A question of its README, and the rows that answer it.
    question: &'static str,
    told: Value,
}

impl Feed {
    fn folder(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(self.name)
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.folder().join(file)).unwrap()
    }

    fn events(&self) -> Vec<Value> {
        self.read("events.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The rows of each view, as they stand beside the events.
    fn answers(&self) -> Value {
        serde_json::from_str(&self.read("answers.json")).unwrap()
    }

    fn pipeline(&self) -> Pipeline {
        let sql = self.read("pipeline.sql");
        // A silence is a border, so that batch soon covers everything.
        let close = sql.replacen("event_time '", "gap '200ms', event_time '", 1);
        assert_ne!(close, sql, "the example names its event time");
        Pipeline::read(&close, &BTreeMap::new()).unwrap_or_else(|problems| panic!("{}:\n{problems}", self.name))
    }

    /// Loaded once and once more, and published after each of these, the answers are the same.
    async fn check(&self) {
        let answers = self.answers();
        let folded = (self.fold)(&self.events());
        let views: BTreeSet<String> = self.pipeline().views.iter().map(|view| view.name.to_string()).collect();
        assert_eq!(answers.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>(), views);
        for view in &views {
            assert_eq!(folded[view], answers[view], "{view}: the fold, and answers.json");
        }
        assert!(self.read("README.md").contains(self.question));

        let world = World::start(self).await;
        let token = world.load(self).await;
        let layers = world.compare(&answers, &token, "from realtime").await;
        assert!(layers.iter().all(|layers| *layers == (false, true)), "{layers:?}");
        world.publish_all(&answers, &token).await;
        let layers = world.compare(&answers, &token, "from batch").await;
        assert!(layers.iter().all(|layers| *layers == (true, false)), "{layers:?}");
        world.assert_counted(&answers, &token, self.rejected, self.copies).await;

        let token = world.load(self).await;
        let layers = world.compare(&answers, &token, "from both layers, loaded twice").await;
        assert!(layers.iter().all(|layers| *layers == (true, true)), "{layers:?}");
        world.publish_all(&answers, &token).await;
        world.compare(&answers, &token, "from batch, loaded twice").await;
        let rolled_up: Value = serde_json::from_str(&world.client.sql(self.question).await.unwrap()).unwrap();
        assert_eq!(rolled_up["rows"], self.told);
        let again = self.copies + self.lines - self.rejected;
        world.assert_counted(&answers, &token, 2 * self.rejected, again).await;
        world.system.stop().await.unwrap();
    }
}

struct World {
    system: System,
    client: Client,
    _data: tempfile::TempDir,
}

impl World {
    async fn start(feed: &Feed) -> Self {
        let data = tempfile::tempdir().unwrap();
        let flags = vec![("system.data_dir".to_owned(), data.path().to_str().unwrap().to_owned())];
        let files = vec![("test".to_owned(), AT_ONCE.to_owned())];
        let config = Config::read(ConfigInputs { files, flags, environment: Vec::new() }).unwrap();
        let system = System::start(config, feed.pipeline()).await.unwrap();
        let client = Client::new(&system.url()).unwrap();
        Self { system, client, _data: data }
    }

    /// As `twofold load` does; the token of what is stored then.
    async fn load(&self, feed: &Feed) -> String {
        let plan = LoadPlan {
            inputs: vec![Input::File(feed.folder().join("events.jsonl"))],
            source: feed.source.to_owned(),
            rate: None,
            on_error: OnError::Keep,
            give_up_after: DEADLINE,
            give_up_after_bad: 1_000,
        };
        let mut report = LoadReport::default();
        load_files(&self.client, &plan, &mut report).await.unwrap();
        let [file] = report.files.as_slice() else { panic!("one file is loaded: {report:?}") };
        assert_eq!((file.accepted, file.rejected), (feed.lines - feed.rejected, feed.rejected), "{file:?}");
        assert!(report.has_ids, "loading twice is safe");
        report.token.encode()
    }

    async fn answer(&self, view: &str, token: &str) -> Value {
        let parameters = [("after", token), ("timeout", "30s")];
        self.client.get(&format!("/v1/views/{view}/rows"), &parameters).await.unwrap()
    }

    /// Holds the rows of every view against what is expected; whether batch and whether realtime had records in each.
    async fn compare(&self, expected: &Value, token: &str, when: &str) -> Vec<(bool, bool)> {
        let mut layers = Vec::new();
        for (view, rows) in expected.as_object().unwrap() {
            let answer = self.answer(view, token).await;
            let envelope = &answer["envelope"];
            assert_eq!(answer["rows"], *rows, "{view} {when}: {envelope}");
            layers.push((envelope["batch_rows"] != 0, envelope["realtime_rows"] != 0));
        }
        layers
    }

    /// Recomputes until nothing of any view's answer is realtime's.
    async fn publish_all(&self, views: &Value, token: &str) {
        let deadline = Instant::now() + DEADLINE;
        for view in views.as_object().unwrap().keys() {
            loop {
                let envelope = self.answer(view, token).await["envelope"].take();
                if envelope["realtime_rows"] == 0 && !envelope["version"].is_null() {
                    break;
                }
                assert!(Instant::now() < deadline, "batch never covered all of {view}: {envelope}");
                let round = self.system.recompute(Mode::Incremental).await.unwrap();
                assert!(round.values().all(|outcome| outcome.is_ok()), "{round:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// What is told of the records that are in no answer.
    async fn assert_counted(&self, views: &Value, token: &str, rejected: u64, copies: u64) {
        for view in views.as_object().unwrap().keys() {
            let envelope = self.answer(view, token).await["envelope"].take();
            assert_eq!((&envelope["rejected"], &envelope["copies"]), (&json!(rejected), &json!(copies)), "{view}");
        }
    }
}

/// The rows of a view: one for each group of events of equal keys, in the order of these.
fn rows<'a>(
    events: impl IntoIterator<Item = &'a Value>,
    keys: impl Fn(&Value) -> Vec<Value>,
    row: impl Fn(&[Value], &[&Value]) -> Value,
) -> Value {
    let mut groups: BTreeMap<Vec<String>, (Vec<Value>, Vec<&Value>)> = BTreeMap::new();
    for event in events {
        let keys = keys(event);
        groups.entry(keys.iter().map(text).collect()).or_insert((keys, Vec::new())).1.push(event);
    }
    groups.values().map(|(keys, events)| row(keys, events)).collect()
}

/// A text as it is, any other value as JSON.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// How many different values there are; null is none.
fn distinct<'a>(values: impl IntoIterator<Item = &'a Value>) -> usize {
    let mut known: Vec<String> = values.into_iter().filter(|value| !value.is_null()).map(text).collect();
    known.sort_unstable();
    known.dedup();
    known.len()
}

/// Null where there is nothing to sum.
fn sum(values: impl IntoIterator<Item = Option<i64>>) -> Option<i64> {
    values.into_iter().flatten().reduce(|sum, value| sum + value)
}

/// The least value that `rank` of the values do not exceed.
fn percentile(values: impl IntoIterator<Item = Option<i64>>, rank: f64) -> Option<i64> {
    let mut known: Vec<i64> = values.into_iter().flatten().collect();
    known.sort_unstable();
    let place = (rank * known.len() as f64).ceil() as usize;
    known.get(place.checked_sub(1)?).copied()
}
