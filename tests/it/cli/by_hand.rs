//! Rounds by hand: a data directory that is not there, what keeps a view from being published, and busy loops beside.

use std::process::{Command, Output, Stdio};
use std::time::Instant;

use super::{PIPELINE, Place, check, text, twofold};
use crate::support::process::{DEADLINE, Running, binary};

fn event(id: usize) -> String {
    format!(r#"{{"id":"{id}","time":"2026-01-05T10:00:00Z","page":"/"}}"#)
}

/// Runs rounds until one publishes: after its last record a partition must have been silent for the gap.
async fn publish(running: &Running) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let output = running.run_batch(&[]).await;
        assert!(output.status.success(), "{output:?}");
        if printed(&output).contains("published,") {
            return;
        }
        assert!(Instant::now() < deadline, "{output:?}");
    }
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_mistyped_data_directory_is_refused_and_not_made() {
    let place = Place::new();
    let (typo, pipeline) = (text(&place.path("tpyo")), text(&place.path("pipeline.sql")));
    let at = |command: &[&str]| twofold(&[command, &["--data-dir", &typo]].concat());
    let refused = ["there is no data directory at ", "tpyo", "--data-dir", "nothing was made"];
    check(&at(&["batch", "run"]), 2, &refused);
    check(&at(&["batch", "run", "--full", "--pipeline", &pipeline]), 2, &refused);
    check(&at(&["batch", "loop", "--pipeline", &pipeline]), 2, &refused);
    check(&at(&["source", "reset", "hits", "--pipeline", &pipeline]), 2, &refused);
    let nobody = ["no system runs on data directory ", "tpyo, which does not exist: name another with --data-dir"];
    check(&at(&["status"]), 1, &nobody);
    check(&at(&["rejected", "hits"]), 1, &nobody);
    check(&at(&["query", "SELECT 1"]), 1, &nobody);
    assert!(!place.path("tpyo").exists());
    // An empty folder is no data directory either, and stays empty.
    std::fs::create_dir(place.path("tpyo")).unwrap();
    check(&at(&["batch", "run", "--pipeline", &pipeline]), 2, &refused);
    assert_eq!(std::fs::read_dir(place.path("tpyo")).unwrap().count(), 0);
}

#[test]
fn a_mistyped_lake_is_refused_and_not_made() {
    let place = Place::new();
    let lake = text(&place.path("laek"));
    for command in ["batch run", "batch run --full", "batch loop", "lake repair", "apply"] {
        let words: Vec<&str> = command.split(' ').collect();
        let pipeline = text(&place.path("pipeline.sql"));
        let output = Command::new(binary())
            .args(&words)
            .args(["--data-dir", &text(&place.path("data")), "--pipeline", &pipeline])
            .env("TWOFOLD_LAKE__LOCATION", &lake)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        check(&output, 2, &["there is no lake in ", "laek", "`lake.location`", "nothing was made"]);
        assert!(!place.path("laek").exists(), "{command}");
    }
}

/// As of a variable of the shell that was not set: every rejected record holds it.
#[test]
fn an_empty_text_to_be_erased_is_refused() {
    check(&twofold(&["erase", "--source", "hits", "--containing", "", "--yes"]), 2, &["--containing"]);
    check(&twofold(&["erase", "--source", "hits", "--where", "", "--yes"]), 2, &["--where"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_data_a_silence_to_wait_for_and_nothing_new_are_told_apart() {
    let place = Place::new();
    place.write("pipeline.sql", &PIPELINE.replace("200ms", "1h"));
    let running = Running::start(&place.setup()).await;
    check(&running.run_batch(&[]).await, 0, &["hits_by_page: no data yet: nothing of its source is archived"]);
    let undone = "1 of 1 views were not published, for the reasons above";
    check(&running.run_batch(&["--full"]).await, 3, &["hits_by_page: no data yet", undone]);
    running.post("hits", &[event(1).as_str(), event(2).as_str()]).await;
    running.wait_until_archived(2).await;
    let waits = "hits_by_page: waits for a silence of 1h in its partition (option gap)";
    check(&running.run_batch(&[]).await, 0, &[waits, "2 archived records are above the cut"]);
    check(&running.run_batch(&["--full"]).await, 3, &[waits, undone]);
    assert!(running.terminate().success());

    let place = Place::new();
    let running = Running::start(&place.setup()).await;
    running.post("hits", &[event(1).as_str()]).await;
    running.wait_until_archived(1).await;
    publish(&running).await;
    let nothing_new = "hits_by_page: nothing new: all that is archived is in the published version";
    check(&running.run_batch(&[]).await, 0, &[nothing_new]);
    check(&running.run_batch(&["--full"]).await, 0, &["hits_by_page: version ", "published, 1 records"]);
    check(&place.run(&["verify", "hits_by_page"], &[]), 0, &["hits_by_page: version ", "all as published"]);
    check(&place.run(&["verify", "hits_by_page", "--json"], &[]), 0, &["\"is_same\":true", "\"groups\":1"]);
    let stretch = ["--from", "2026-01-05T10:30:00Z", "--to", "2026-01-05T11:00:00Z"];
    check(&place.run(&["verify", "hits_by_page"], &stretch), 1, &["within a bucket", "2026-01-05T10:00:00Z"]);
    check(&place.run(&["verify", "nothing"], &[]), 1, &["there is no view `nothing`", "hits_by_page"]);
    check_receipt(&place);
    assert!(running.terminate().success());
}

/// One event, published: explained, and its receipt verified beside the running system.
fn check_receipt(place: &Place) {
    let data = text(&place.path("data"));
    let account = ["hits_by_page: 1 row as of ", "1 event, ", "\"page\":\"/\"", "receipt: sha256:"];
    check(&twofold(&["explain", "hits_by_page", "--key", "page=/", "--data-dir", &data]), 0, &account);
    let receipt = twofold(&["explain", "hits_by_page", "--key", "page=/", "--receipt", "--data-dir", &data]);
    place.write("receipt.json", &printed(&receipt));
    let path = text(&place.path("receipt.json"));
    check(&place.run(&["verify", &path], &[]), 0, &["hits_by_page: equal, to the last bit"]);
    check(&place.run(&["verify", &path, "--json"], &[]), 0, &["\"verdict\":\"equal\""]);
    place.write("receipt.json", &printed(&receipt).replace("sha256:", "sha256:0"));
    check(&place.run(&["verify", &path], &[]), 1, &["hits_by_page: different: exact values are not those"]);
    check(&place.run(&["verify", "./nothing"], &[]), 1, &["cannot read the receipt in ./nothing"]);
    check(&twofold(&["explain", "hits_by_page", "--key", "page", "--data-dir", &data]), 2, &["a name and a value"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_recompute_beside_a_busy_loop_is_done_each_time() {
    let place = Place::new();
    let setup = place.setup().with("BATCH__INTERVAL", "10ms");
    let running = Running::start(&setup).await;
    running.post("hits", &[event(0).as_str()]).await;
    running.wait_until_archived(1).await;
    let recomputing = async {
        for _ in 0..6 {
            check(&running.run_batch(&["--full"]).await, 0, &["hits_by_page: version ", "published, "]);
        }
    };
    let sending = async {
        for id in 1.. {
            running.post("hits", &[event(id).as_str()]).await;
        }
    };
    // Until there is a version, a full recompute may have to wait for a place for the first cut.
    let deadline = Instant::now() + DEADLINE;
    while running.rows("hits_by_page", &[]).await["envelope"]["version"].is_null() {
        assert!(Instant::now() < deadline, "nothing is published\n{}", running.log());
    }
    tokio::select! {
        biased;
        () = recomputing => {}
        () = sending => unreachable!("it sends without end"),
    }
    // The loop goes on afterwards.
    let token = running.post("hits", &[event(usize::MAX).as_str()]).await;
    let deadline = Instant::now() + DEADLINE;
    loop {
        let answer = running.rows("hits_by_page", &[("after", &token), ("timeout", "30s")]).await;
        if answer["envelope"]["realtime_rows"] == serde_json::json!(0) {
            break;
        }
        assert!(Instant::now() < deadline, "the loop stands still: {}\n{}", answer["envelope"], running.log());
    }
    assert!(running.terminate().success());
}
