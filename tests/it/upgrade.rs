//! Stored formats through releases: what an older build wrote is opened, answered from and gone on with; what a later
//! one wrote is refused by both numbers, and stays as it is.
//!
//! `tests/upgrades` has a data directory of each release; `make.py` there makes that of the next one. A system on
//! Kafka, Redis and S3 whose roles are replaced one by one: `upgrade/rolling.rs`.

mod rolling;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use lake::LakeError;
use positions::PositionToken;
use serde_json::{Value, json};
use serving_layer::blob;
use twofold::data_dir::FORMAT_VERSION;

use crate::lake::memory_lake;
use crate::support::process::{DEADLINE, Running, Setup, binary};
use crate::support::redis::RedisServer;

/// So many events are in each of the directories; the last hundred in the log alone.
const STORED: u32 = 600;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("upgrades")
}

/// The data directories of former releases, packed.
fn releases() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut packed: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|ending| ending == "gz")).collect();
    packed.sort();
    assert!(!packed.is_empty(), "no release is tested");
    packed
}

/// The lines of one event, as `make.py` wrote those that are stored.
fn event(number: u32) -> Vec<String> {
    let amount = if number % 50 == 7 { json!("many") } else { json!(number) };
    let line = json!({
        "id": format!("e{number}"),
        "time": format!("2026-01-05T{:02}:{:02}:00Z", number / 60 % 24, number % 60),
        "page": format!("/{}", number % 4),
        "amount": amount,
        "price": f64::from(number) + 0.25,
        "weight": f64::from(number) / 2.0,
        "tags": [format!("t{}", number % 3)],
    });
    let mut lines = vec![line.to_string()];
    if number % 40 == 3 {
        lines.push(line.to_string());
    }
    if number % 100 == 99 {
        lines.push(format!("no event {number}"));
    }
    lines
}

/// Sends events; the token.
async fn send(running: &Running, numbers: Range<u32>) -> String {
    let lines: Vec<String> = numbers.flat_map(event).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let (status, receipt) = running.try_post("hits", &lines).await.unwrap();
    assert_eq!(status, 200, "{receipt}\n{}", running.log());
    receipt["token"].as_str().unwrap().to_owned()
}

/// Rows of the present definition: that of a former release may have to be built anew first.
async fn rows(running: &Running, view: &str, by: &str, token: &str) -> Value {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let (status, answer) = running.try_rows(view, &[("by", by), ("after", token), ("timeout", "30s")]).await;
        if status == 200 && answer["envelope"]["former"].is_null() {
            return answer;
        }
        assert!(status == 200 || status == 503, "{status} {answer}\n{}", running.log());
        assert!(Instant::now() < deadline, "never built: {answer}\n{}", running.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What both views say of the events below `count`, and nothing of them is lost or doubled.
async fn check_answers(running: &Running, token: &str, count: u32) -> Value {
    let numbers = || 0..u64::from(count);
    let has_amount = |number: &u64| number % 50 != 7;
    let cents: u64 = numbers().map(|number| 100 * number + 25).sum();
    let expected = json!([{
        "hits": count,
        "amount": numbers().filter(has_amount).sum::<u64>(),
        "least": 0,
        "dearest": format!("{}.25", count - 1),
        "turnover": format!("{}.{:02}", cents / 100, cents % 100),
    }]);
    let answer = rows(running, "by_hour", "", token).await;
    let envelope = &answer["envelope"];
    assert_eq!(answer["rows"], expected, "{envelope}\n{}", running.log());
    let ends = |at: usize, of: usize| numbers().filter(|number| *number as usize % of == at).count();
    let counted = json!({ "copies": ends(3, 40), "rejected": ends(99, 100), "holes": [], "lost": 0 });
    for (name, expected) in counted.as_object().unwrap() {
        assert_eq!(&envelope[name], expected, "{name}: {envelope}");
    }

    let owners = rows(running, "by_owner", "owner", token).await;
    for (index, owner) in ["ann", "bob"].into_iter().enumerate() {
        let own = || numbers().filter(move |number| *number as usize % 4 / 2 == index);
        let row = owners["rows"].as_array().unwrap().iter().find(|row| row["owner"] == owner);
        let row = row.unwrap_or_else(|| panic!("{owner} is missing: {owners}"));
        let expected = (json!(own().count()), json!(own().filter(has_amount).count()));
        assert_eq!((&row["hits"], &row["amounts"]), (&expected.0, &expected.1), "{owner}: {owners}");
    }
    answer
}

/// Everything from the master dataset; again while a view waits for the silence behind its last record.
async fn recompute(running: &Running) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let output = running.run_batch(&["--full"]).await;
        match output.status.code() {
            Some(0) => return,
            Some(3) => assert!(Instant::now() < deadline, "never done: {output:?}"),
            _ => panic!("{output:?}\n{}", running.log()),
        }
    }
}

/// Unpacks what a release has left.
fn unpack(packed: &Path, place: &Path) -> Setup {
    let unpacked = Command::new("tar").arg("-xzf").arg(packed).arg("-C").arg(place).status().unwrap();
    assert!(unpacked.success(), "{}", packed.display());
    std::fs::copy(folder().join("pages.csv"), place.join("pages.csv")).unwrap();
    let pipeline = std::fs::read_to_string(folder().join("pipeline.sql")).unwrap();
    Setup::new(place, &pipeline, Vec::new()).with("ARCHIVE__COMMIT_INTERVAL", "50ms").with("BATCH__INTERVAL", "1s")
}

/// Puts into a Redis what it held then.
async fn fill(server: &RedisServer, place: &Path) {
    let keys = std::fs::read(place.join("realtime.json")).unwrap();
    let keys: BTreeMap<String, String> = serde_json::from_slice(&keys).unwrap();
    assert!(keys.keys().any(|key| key.ends_with(":index")), "no index among {:?}", keys.keys());
    let mut connection = server.connection().await.unwrap();
    for (key, value) in keys {
        let bytes = STANDARD.decode(value).unwrap();
        redis::cmd("SET").arg(key).arg(bytes).exec_async(&mut connection).await.unwrap();
    }
}

async fn check_release(setup: &Setup) {
    let running = Running::start(setup).await;
    let token = send(&running, STORED..STORED + 100).await;
    check_answers(&running, &token, STORED + 100).await;
    recompute(&running).await;
    let answer = check_answers(&running, &token, STORED + 100).await;
    assert!(answer["envelope"]["batch_rows"].as_u64() > Some(0), "{}", answer["envelope"]);
    let token = send(&running, STORED + 100..STORED + 200).await;
    check_answers(&running, &token, STORED + 200).await;
    assert!(running.terminate().success());
    let running = Running::start(setup).await;
    check_answers(&running, &token, STORED + 200).await;
    assert!(!running.log().contains("index discarded"), "{}", running.log());
    assert!(running.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_each_release_left_is_opened_answered_from_and_gone_on_with() {
    for packed in releases() {
        eprintln!("{}", packed.file_name().unwrap().display());
        let place = tempfile::tempdir().unwrap();
        let server = RedisServer::start().await;
        let setup = unpack(&packed, place.path());
        fill(&server, place.path()).await;
        check_release(&setup.with("REALTIME__STORE", &server.url())).await;
        // The same where the realtime views are gone.
        let place = tempfile::tempdir().unwrap();
        check_release(&unpack(&packed, place.path())).await;
    }
}

/// The files below a folder, with their contents.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            found.push((path, bytes));
        }
    }
    found.sort();
    found
}

/// A downgrade: the lake was written by a later version, the directory about it is as ever.
#[test]
fn a_process_refuses_a_lake_of_a_later_format_by_name_and_leaves_it_alone() {
    let place = tempfile::tempdir().unwrap();
    let (data, pipeline) = (place.path().join("data"), folder().join("pipeline.sql"));
    std::fs::create_dir_all(data.join("lake")).unwrap();
    std::fs::write(data.join("format.json"), format!(r#"{{"format":{FORMAT_VERSION}}}"#)).unwrap();
    std::fs::write(data.join("lake/format.json"), r#"{"format":999}"#).unwrap();
    let before = contents(&data.join("lake"));
    for command in [&["up", "--listen", "127.0.0.1:0"][..], &["batch", "run"], &["apply"]] {
        let mut refused = Command::new(binary());
        refused.args(command).arg("--pipeline").arg(&pipeline).arg("--data-dir").arg(&data).stdin(Stdio::null());
        let output = refused.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
        for part in ["format.json", "has format 999", "knows formats 1 to 2 only", "lake.location"] {
            assert!(said.contains(part), "{command:?}: `{part}` is missing in: {said}");
        }
    }
    assert_eq!(contents(&data.join("lake")), before);
}

#[tokio::test]
async fn a_lake_notes_its_format_and_takes_no_other() {
    let lake = memory_lake(10);
    let path = lake.path("format.json");
    for _ in 0..2 {
        lake.check_format().await.unwrap();
        assert_eq!(lake.get(&path).await.unwrap(), Some(Bytes::from(r#"{"format":1}"#)));
    }
    lake.put(&path, Bytes::from(format!(r#"{{"format":{}}}"#, lake::FORMAT + 1))).await.unwrap();
    let error = lake.check_format().await.unwrap_err();
    assert!(matches!(error, LakeError::Unusable { .. }), "{error}");
    for damage in ["", "{}", "null"] {
        lake.put(&path, Bytes::from(damage)).await.unwrap();
        let error = lake.check_format().await.unwrap_err();
        assert!(matches!(error, LakeError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains(r#"put the text {"format":2} into it"#), "{error}");
    }
}

/// Older builds know nothing of imported files, and would drop the list of them with their next commit.
#[tokio::test]
async fn a_format_is_raised_once_and_never_lowered() {
    let lake = memory_lake(10);
    let path = lake.path("format.json");
    for before in [None, Some(r#"{"format":1}"#), Some(r#"{"format":2}"#)] {
        if let Some(before) = before {
            lake.put(&path, Bytes::from(before)).await.unwrap();
        }
        lake.raise_format(lake::FORMAT_WITH_IMPORTS).await.unwrap();
        assert_eq!(lake.get(&path).await.unwrap(), Some(Bytes::from(r#"{"format":2}"#)));
        lake.raise_format(1).await.unwrap();
        lake.check_format().await.unwrap();
        assert_eq!(lake.get(&path).await.unwrap(), Some(Bytes::from(r#"{"format":2}"#)));
    }
    lake.put(&path, Bytes::from(r#"{"format":3}"#)).await.unwrap();
    let error = lake.raise_format(lake::FORMAT_WITH_IMPORTS).await.unwrap_err();
    assert!(matches!(error, LakeError::Unusable { .. }), "{error}");
    assert_eq!(lake.get(&path).await.unwrap(), Some(Bytes::from(r#"{"format":3}"#)));
}

#[test]
fn a_blob_of_a_later_format_is_called_that() {
    let column: ArrayRef = std::sync::Arc::new(Int64Array::from(vec![1, 2]));
    let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
    let mut bytes = blob::encode(std::slice::from_ref(&batch)).unwrap().to_vec();
    bytes[7] = b'2';
    let error = blob::decode(&Bytes::from(bytes), &batch.schema()).unwrap_err();
    assert!(error.to_string().contains("it has format 2, and this version knows format 1 only"), "{error}");
}

#[test]
fn a_token_with_a_part_of_a_later_version_is_not_read_by_half() {
    let hex = |text: &str| -> String { text.bytes().map(|byte| format!("{byte:02x}")).collect() };
    assert!(PositionToken::decode(&hex(r#"{"s":{}}"#)).is_ok());
    let error = PositionToken::decode(&hex(r#"{"s":{},"lives":{}}"#)).unwrap_err();
    assert!(error.to_string().contains("unknown field `lives`"), "{error}");
}
