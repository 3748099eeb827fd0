//! Runs by hand: each command beside a system and without one, what is refused, and the exit codes.

use std::process::Output;
use std::time::Instant;

use serde_json::{Value, json};

use super::{PIPELINE, Place, check, text, twofold};
use crate::support::process::{DEADLINE, Running};

fn event(id: usize) -> String {
    format!(r#"{{"id":"{id}","time":"2026-01-05T10:00:00Z","page":"/"}}"#)
}

/// `twofold runs COMMAND --data-dir ..`.
fn runs(place: &Place, command: &[&str]) -> Output {
    twofold(&[&["runs"][..], command, &["--data-dir", &text(&place.path("data"))]].concat())
}

fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(printed.lines().next().unwrap()).unwrap()
}

/// A system with events whose partitions have been silent for the gap, so that a run publishes them.
async fn started(place: &Place) -> Running {
    started_with(place, &["up"]).await
}

async fn started_with(place: &Place, role: &[&str]) -> Running {
    let running = Running::start_role(&place.setup(), role).await;
    running.post("hits", &[event(1).as_str(), event(2).as_str()]).await;
    running.wait_until_archived(2).await;
    let deadline = Instant::now() + DEADLINE;
    loop {
        check(&runs(place, &["start", "--wait"]), 0, &["run ", "started: source hits, 1 views"]);
        if has_version(&running).await {
            return running;
        }
        assert!(Instant::now() < deadline, "nothing was published in time\n{}", running.log());
    }
}

async fn has_version(running: &Running) -> bool {
    let (status, answer) = running.try_rows("hits_by_page", &[("consistency", "batch")]).await;
    status == 200 && answer["rows"].as_array().is_some_and(|rows| !rows.is_empty())
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_started_shown_and_commanded_beside_a_system() {
    let place = Place::new();
    let running = started(&place).await;
    check(&runs(&place, &["list"]), 0, &["process ", "slots at work", "run", "done", "hits_by_page"]);
    let listed = json_of(&runs(&place, &["list", "--json"]));
    let newest = listed["runs"][0]["run"].as_u64().unwrap();
    assert_eq!(listed["runs"][0]["state"], "done", "{listed}");
    let none = ["list", "--state", "done", "--view", "hits_by_page", "--since", "2999-01-01"];
    check(&runs(&place, &none), 0, &["none of the ", " runs that are known is asked for"]);
    let shown = runs(&place, &["show", &newest.to_string()]);
    check(&shown, 0, &[&format!("run {newest}: done"), "choose"]);

    check(&runs(&place, &["start", "--full", "--wait", "--key", "a"]), 0, &["started: source hits"]);
    check(&runs(&place, &["start", "--full", "--key", "a"]), 0, &["does that already: source hits"]);
    check(&runs(&place, &["start", "--key", "a"]), 1, &["the idempotency key belongs to run"]);

    let kept = json_of(&runs(&place, &["start", "--housekeeping", "--source", "hits", "--wait", "--json"]));
    for (at, done) in [(0, ["compact", "files to merge"]), (1, ["vacuum", "nothing to delete"])] {
        let run = kept["runs"][at]["run"].as_u64().unwrap().to_string();
        let told = [&format!("run {run}: done, housekeeping of hits"), done[0], done[1]];
        check(&runs(&place, &["show", &run]), 0, &told);
    }
    let dry = ["start", "--housekeeping", "--source", "hits", "--dry-run"];
    let told = json_of(&runs(&place, &[&dry[..], &["--json"]].concat()));
    let tasks: Vec<&Value> = told["housekeeping"].as_array().unwrap().iter().map(|task| &task["task"]).collect();
    assert_eq!((&told["started"], tasks), (&json!(false), vec![&json!("compact"), &json!("vacuum"), &json!("trim")]));
    check(&runs(&place, &dry), 0, &["compact", "vacuum", "Nothing was started. Leave --dry-run out to start it."]);
    check(&runs(&place, &["start", "--full", "--dry-run"]), 0, &["recompute of hits_by_page", "Nothing was started."]);
    check(&runs(&place, &["start", "--housekeeping", "--source", "hit"]), 1, &["there is no source `hit`"]);

    check(&runs(&place, &["pause"]), 0, &["all runs are paused", "`twofold runs resume`"]);
    let undone = runs(&place, &["start", "--full", "--wait"]);
    check(&undone, 3, &["is not done: runs are paused, `twofold runs resume` ends that"]);
    let run = json_of(&runs(&place, &["list", "--json"]))["runs"][0]["run"].as_u64().unwrap().to_string();
    check(&runs(&place, &["cancel", &run]), 0, &[&format!("run {run} is cancelled")]);
    check(&runs(&place, &["cancel", &run]), 1, &[&format!("run {run} has ended")]);
    check(&runs(&place, &["watch", &run]), 3, &[&format!("run {run} was cancelled")]);
    check(&runs(&place, &["retry", &run]), 0, &[&format!("`twofold runs watch {run}`")]);
    check(&runs(&place, &["pause", &run]), 0, &[&format!("run {run} is paused")]);
    check(&runs(&place, &["resume", &run]), 0, &["goes on once the pause of all runs ends"]);
    check(&runs(&place, &["resume"]), 0, &["runs go on"]);
    check(&runs(&place, &["watch", &run]), 0, &[&format!("run {run} done")]);
    check(&runs(&place, &["watch"]), 0, &[]);
    assert!(running.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_says_first_what_it_computes_and_then_computes_that() {
    let place = Place::new();
    let running = started(&place).await;
    let day = ["backfill", "--view", "hits_by_page", "--from", "2026-01-05", "--to", "2026-01-06"];
    let before = json_of(&runs(&place, &["list", "--json"]))["runs"].as_array().unwrap().len();
    let told =
        ["backfill of hits_by_page, source hits", "buckets (hour)", "2026-01-05", "estimated time:", "estimated cost:"];
    check(&runs(&place, &day), 0, &told);
    check(&runs(&place, &day), 0, &["Nothing was started. Add --yes to compute it."]);
    let dry = json_of(&runs(&place, &[&day[..], &["--json"]].concat()));
    assert_eq!((&dry["started"], &dry["plans"][0]["views"][0]), (&Value::Bool(false), &json!("hits_by_page")));
    assert!(dry["plans"][0]["cost"]["store_reads"].as_u64() > Some(0), "{dry}");
    assert_eq!(json_of(&runs(&place, &["list", "--json"]))["runs"].as_array().unwrap().len(), before);

    check(&runs(&place, &[&day[..], &["--yes", "--wait"]].concat()), 0, &["started: source hits", "done"]);
    let listed = json_of(&runs(&place, &["list", "--json"]));
    let run = &listed["runs"][0];
    assert_eq!((&run["kind"], &run["mode"], &run["retries"]), (&json!("backfill"), &json!("buckets"), &json!(0)));
    let shown = runs(&place, &["show", &run["run"].to_string()]);
    check(&shown, 0, &["event time 2026-01-05T00:00:00Z", "buckets (hour) of hits_by_page", "# published 24"]);

    let missing = [&day[..], &["--only-missing"]].concat();
    check(
        &runs(&place, &missing),
        0,
        &["hits_by_page: nothing to compute: all buckets that may hold events are there"],
    );
    let crooked = ["backfill", "--view", "hits_by_page", "--from", "2026-01-05T10:30:00Z", "--to", "2026-01-06"];
    check(&runs(&place, &crooked), 1, &["the nearest bounds are", "10:00:00", "11:00:00"]);
    assert!(running.terminate().success());
}

/// As the page about runs says: `jq 'select(any(.spans[]?; .run == 7) or .fields.run == 7)'`.
fn is_of_run(line: &Value, run: u64) -> bool {
    let of_span = |span: &Value| span["run"] == run;
    line["spans"].as_array().is_some_and(|spans| spans.iter().any(of_span)) || line["fields"]["run"] == run
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_a_run_are_found_by_its_number() {
    let place = Place::new();
    let running = started_with(&place, &["up", "--log-format", "json"]).await;
    let start = json_of(&runs(&place, &["start", "--full", "--wait", "--json"]));
    let run = start["runs"][0]["run"].as_u64().unwrap();
    let log = running.log();
    // Panics and the like aside, each line is an object.
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of_run: Vec<&Value> = lines.iter().filter(|line| is_of_run(line, run)).collect();
    let said = |of: &str| of_run.iter().filter(|line| line["fields"]["message"] == of).count();
    // It chose, computed one group, and published.
    assert_eq!((said("task done"), said("batch view published")), (3, 1), "{log}");
    let published = of_run.iter().find(|line| line["fields"]["message"] == "batch view published").unwrap();
    assert!(published["target"].as_str().unwrap().starts_with("batch_layer"), "{published}");
    assert!(lines.iter().any(|line| !is_of_run(line, run)), "every line is of the run: {log}");
    assert!(running.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_refused_with_the_way_out() {
    let place = Place::new();
    check(&runs(&place, &["list"]), 2, &["there is no data directory at ", "nothing was made"]);
    assert!(!place.path("data").exists());
    place.write("pipeline.sql", &PIPELINE.replace("200ms", "1h"));
    let running = Running::start(&place.setup()).await;
    check(&runs(&place, &["list"]), 0, &["no run was started yet"]);
    check(&runs(&place, &["list", "--state", "old"]), 2, &["must be one of all, open, queued", "got `old`"]);
    check(
        &runs(&place, &["show", "7"]),
        1,
        &["there is no run 7, since none was ever started here: `twofold runs start`"],
    );
    check(&runs(&place, &["start", "--view", "hits_by_pag"]), 1, &["there is no view `hits_by_pag`", "hits_by_page"]);
    check(&runs(&place, &["start", "--source", "hit"]), 1, &["there is no source `hit`", "hits"]);
    check(&runs(&place, &["start", "--key", "with blank"]), 1, &["an idempotency key must be"]);
    check(&runs(&place, &["start"]), 0, &["run 1 started", "`twofold runs watch 1`"]);
    for command in ["show", "watch", "pause", "resume", "cancel", "retry"] {
        let told = ["there is no run 9 yet; the newest ones are 1", "`twofold runs list`"];
        check(&runs(&place, &[command, "9"]), 1, &told);
        check(&runs(&place, &[command, "0"]), 2, &["'0'"]);
    }
    check(&runs(&place, &["watch", "1"]), 0, &["run 1 done"]);
    check(&runs(&place, &["retry", "1"]), 1, &["run 1 has not failed and was not cancelled"]);
    let range = ["backfill", "--view", "hits_by_page", "--from", "yesterday", "--to", "2026-01-06"];
    check(&runs(&place, &range), 2, &["must be a date such as `2026-01-31`", "got `yesterday`"]);
    let never = ["backfill", "--view", "hits_by_page", "--from", "2026-01-05", "--to", "2026-01-06"];
    running.post("hits", &[event(1).as_str()]).await;
    running.wait_until_archived(1).await;
    check(&runs(&place, &[&never[..], &["--yes"]].concat()), 1, &["it has no version yet", "nothing was started"]);
    assert!(running.terminate().success());
}
