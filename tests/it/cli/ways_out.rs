//! From what a message says to a system that goes on: the command is taken out of the message itself, and run.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Place, check, text, twofold};
use crate::support::process::{DEADLINE, Running, Setup};
use crate::support::unready::Unready;

fn event(id: usize) -> String {
    format!(r#"{{"id":"{id}","time":"2026-01-05T10:00:00Z","page":"/"}}"#)
}

/// The words of the first command that a text names in backquotes.
fn command_in(text: &str) -> Vec<&str> {
    let command = text.split('`').skip(1).step_by(2).find(|quoted| quoted.starts_with("twofold "));
    command.unwrap_or_else(|| panic!("no command is named: {text}")).split_whitespace().skip(1).collect()
}

/// What the status lists of a kind, once it does.
async fn problem(address: &str, kind: &str) -> Value {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let mut status = Value::Null;
        if let Ok(answer) = reqwest::get(format!("{address}/v1/status")).await {
            status = answer.json().await.unwrap();
            let mut problems = status["problems"].as_array().into_iter().flatten();
            if let Some(found) = problems.find(|problem| problem["kind"] == kind) {
                return found.clone();
            }
        }
        assert!(Instant::now() < deadline, "nothing of kind {kind}: {status:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn until_nothing_is_wrong(running: &Running) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let status = running.status().await;
        if status["problems"] == json!([]) {
            return;
        }
        assert!(Instant::now() < deadline, "{status:#}\n{}", running.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the view counts so many events.
async fn until_counted(running: &Running, hits: i64) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let (status, answer) = running.try_rows("hits_by_page", &[("by", "")]).await;
        if status == 200 && answer["rows"][0]["hits"] == hits {
            return;
        }
        assert!(Instant::now() < deadline, "{status}: {answer:#}\n{}", running.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

impl Place {
    /// Runs the command that a text names, on this place.
    fn run_told(&self, told: &str, more: &[&str]) -> Output {
        self.run(&command_in(told), more)
    }

    /// With rounds in short order, and failures tried again soon.
    fn quick_setup(&self) -> Setup {
        self.setup().with_short_waits().with("BATCH__INTERVAL", "300ms").with("BATCH__TABLE_CHECK_INTERVAL", "100ms")
    }

    fn table(&self) -> PathBuf {
        self.path("data/lake/raw/hits")
    }

    /// Leaves what a system leaves that has archived two events, each by a commit of its own.
    async fn after_two_events(&self) {
        let running = Running::start(&self.quick_setup()).await;
        for id in 1..=2 {
            running.post("hits", &[event(id).as_str()]).await;
            running.wait_until_archived(id as i64).await;
        }
        assert!(running.terminate().success());
    }
}

fn files_of(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_str().unwrap().ends_with(ending)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_changed_by_another_tool_are_left_out_beside_the_running_system() {
    let place = Place::new();
    let running = Running::start(&place.setup().with_short_waits()).await;
    running.post("hits", &[event(1).as_str(), event(2).as_str()]).await;
    running.wait_until_archived(2).await;
    let log = place.table().join("_delta_log");
    let next = files_of(&log, ".json").len();
    let info = json!({"commitInfo": {"timestamp": 1, "operation": "WRITE", "engineInfo": "delta-rs:py-1.2.0"}});
    let add = json!({"add": {
        "path": "part-1.parquet", "partitionValues": {}, "size": 9, "modificationTime": 1, "dataChange": true,
        "stats": r#"{"numRecords":5}"#,
    }});
    std::fs::write(log.join(format!("{next:020}.json")), format!("{info}\n{add}\n")).unwrap();
    // The log keeps it, so it is taken.
    running.post("hits", &[event(3).as_str()]).await;
    let told = problem(&running.address, "archive-retrying").await["problem"].as_str().unwrap().to_owned();
    let words = format!("version {next} of delta-rs:py-1.2.0 (WRITE) adds file part-1.parquet");
    assert!(told.contains(&words), "{told}");
    check(&place.run_told(&told, &[]), 3, &["FOUND raw/hits", &words, "run it again with --yes; nothing was changed"]);
    check(&place.run_told(&told, &["--yes"]), 0, &["FOUND raw/hits", &words, "mended: version"]);
    running.wait_until_archived(3).await;
    until_nothing_is_wrong(&running).await;
    check(&place.run_told(&told, &["--yes"]), 0, &["ok    raw/hits"]);
    until_counted(&running, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_file_is_told_of_at_once_and_its_rows_are_read_again() {
    let place = Place::new();
    place.after_two_events().await;
    let running = Running::start(&place.quick_setup()).await;
    until_counted(&running, 2).await;
    let lost = files_of(&place.table(), ".parquet").pop().unwrap();
    std::fs::remove_file(&lost).unwrap();
    let told = problem(&running.address, "files-missing").await;
    let name = lost.file_name().unwrap().to_str().unwrap();
    assert!(told["problem"].as_str().unwrap().contains(name), "{told}");
    let way_out = told["way_out"].as_str().unwrap().to_owned();
    // The embedded log is the running system's.
    check(&place.run_told(&way_out, &["--yes"]), 1, &["in use by another process", "stop it"]);
    assert!(running.terminate().success());
    check(&place.run_told(&way_out, &[]), 3, &["FOUND raw/hits", name, "are in the log still", "nothing was changed"]);
    check(&place.run_told(&way_out, &["--yes"]), 0, &["mended: version"]);
    check(&place.run_told(&way_out, &["--yes"]), 0, &["ok    raw/hits"]);
    let running = Running::start(&place.quick_setup()).await;
    until_nothing_is_wrong(&running).await;
    check(&running.run_batch(&["--full"]).await, 0, &["published, 2 records below its cut"]);
    running.post("hits", &[event(3).as_str()]).await;
    until_counted(&running, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_view_that_lost_a_file_is_computed_again() {
    let place = Place::new();
    place.after_two_events().await;
    let published = Instant::now() + DEADLINE;
    while !String::from_utf8_lossy(&place.run(&["batch", "run", "--full"], &[]).stdout).contains("published,") {
        assert!(Instant::now() < published, "never published");
    }
    let views = std::fs::read_dir(place.path("data/lake/views")).unwrap().map(|entry| entry.unwrap().path());
    let view = views.into_iter().next().unwrap();
    for file in files_of(&view, ".parquet") {
        std::fs::remove_file(file).unwrap();
    }
    let refused = place.run(&["lake", "repair"], &["--yes"]);
    check(&refused, 1, &["ok    raw/hits", "FOUND views/hits_by_page-", "ok    definitions", "tables were not mended"]);
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    check(&place.run_told(&said, &[]), 0, &["hits_by_page: version ", "published, 2 records below its cut"]);
    check(&place.run(&["lake", "repair"], &[]), 0, &["ok    raw/hits", "ok    views/hits_by_page-"]);
    let running = Running::start(&place.quick_setup()).await;
    until_counted(&running, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_whose_log_is_lost_goes_on_as_it_is_told() {
    let place = Place::new();
    place.after_two_events().await;
    std::fs::remove_dir_all(place.path("data/log")).unwrap();
    let stopped = Unready::start(&place.quick_setup());
    let told = problem(&stopped.address, "source-stopped").await;
    let way_out = told["way_out"].as_str().unwrap().to_owned();
    let url = format!("{}/v1/sources/hits/events", stopped.address);
    let request = reqwest::Client::new().post(url).header("content-type", "application/json").body(event(3));
    assert_eq!(request.send().await.unwrap().status().as_u16(), 503, "nobody would keep it");
    drop(stopped);
    check(&place.run_told(&way_out, &[]), 0, &["source hits: life 1 of topic hits begins"]);
    let running = Running::start(&place.quick_setup()).await;
    running.post("hits", &[event(3).as_str()]).await;
    until_counted(&running, 3).await;
    until_nothing_is_wrong(&running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_dataset_in_another_folder_is_not_begun_anew() {
    let place = Place::new();
    place.after_two_events().await;
    let elsewhere = place.path("data/lake/raw/hits-before");
    std::fs::rename(place.table(), &elsewhere).unwrap();
    let stopped = Unready::start(&place.quick_setup());
    let told = problem(&stopped.address, "source-stopped").await;
    let reason = told["problem"].as_str().unwrap();
    assert!(reason.contains("is not in raw/hits, but in raw/hits-before") && reason.contains("move it back"), "{told}");
    drop(stopped);
    assert!(!place.table().exists(), "a new table was made");
    std::fs::rename(&elsewhere, place.table()).unwrap();
    let running = Running::start(&place.quick_setup()).await;
    running.wait_until_archived(2).await;
    until_counted(&running, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_commit_gives_way_to_the_one_before_and_the_log_is_read_again() {
    let place = Place::new();
    place.after_two_events().await;
    let mut commits = files_of(&place.table().join("_delta_log"), ".json");
    commits.sort();
    let newest = commits.pop().unwrap();
    let whole = std::fs::read(&newest).unwrap();
    std::fs::write(&newest, &whole[..whole.len() / 2]).unwrap();
    let stopped = Unready::start(&place.quick_setup());
    let told = problem(&stopped.address, "source-stopped").await;
    let name = newest.file_name().unwrap().to_str().unwrap();
    assert!(told["problem"].as_str().unwrap().contains(name), "{told}");
    let way_out = told["way_out"].as_str().unwrap().to_owned();
    drop(stopped);
    check(&place.run_told(&way_out, &[]), 3, &["FOUND raw/hits", name, "read from the log again"]);
    check(&place.run_told(&way_out, &["--yes"]), 0, &["mended: version"]);
    let running = Running::start(&place.quick_setup()).await;
    running.wait_until_archived(2).await;
    running.post("hits", &[event(3).as_str()]).await;
    until_counted(&running, 3).await;
}

/// Nothing is left that could take their place: that is said before anything is asked for with --yes.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_a_whole_commit_of_ours_is_archived_again_from_the_log() {
    let place = Place::new();
    place.after_two_events().await;
    let mut commits = files_of(&place.table().join("_delta_log"), ".json");
    commits.sort();
    for commit in &commits[1..] {
        std::fs::write(commit, "torn").unwrap();
    }
    let beyond = ["FOUND raw/hits", "nothing of Twofold is in it yet", "move raw/hits out of the lake"];
    check(&place.run(&["lake", "repair"], &[]), 1, &beyond);
    check(&place.run(&["lake", "repair"], &["--yes"]), 1, &beyond);
    std::fs::rename(place.table(), place.path("away")).unwrap();
    let _ = std::fs::remove_dir_all(place.path("data/lake/views"));
    let running = Running::start(&place.quick_setup()).await;
    running.wait_until_archived(2).await;
    until_counted(&running, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_format_file_is_told_with_what_was_in_it() {
    let place = Place::new();
    place.after_two_events().await;
    let format = place.path("data/format.json");
    for damaged in [Some(""), Some("{\"for"), None] {
        match damaged {
            Some(damaged) => std::fs::write(&format, damaged).unwrap(),
            None => std::fs::remove_file(&format).unwrap(),
        }
        let refused = place.run(&["batch", "run"], &[]);
        check(&refused, 1, &["format.json"]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        let content = said.split("write `").nth(1).and_then(|rest| rest.split('`').next());
        std::fs::write(&format, content.unwrap_or_else(|| panic!("no way out: {said}"))).unwrap();
        check(&place.run(&["batch", "run"], &[]), 0, &["hits_by_page: "]);
    }
    // A first start that ended in the middle: nothing else is there yet.
    let begun = tempfile::tempdir().unwrap();
    std::fs::write(begun.path().join("format.json"), "").unwrap();
    let pipeline = text(&place.path("pipeline.sql"));
    let data = text(begun.path());
    check(&twofold(&["batch", "run", "--pipeline", &pipeline, "--data-dir", &data]), 0, &["no data yet"]);
}
