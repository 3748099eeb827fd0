//! `twofold import` on a whole system: files of every kind are in once, beside one that runs; whichever step it is
//! killed at, the next call ends with the same rows; nothing of a person is left after `twofold erase`.

mod kinds;
mod month;

use std::path::Path;
use std::process::Output;
use std::sync::mpsc::TryRecvError;
use std::time::{Duration, Instant, UNIX_EPOCH};

use positions::{Offset, PositionToken};
use serde_json::Value;

use crate::support::parts::{Kind, Parts};
use crate::support::process::{DEADLINE, FAIL_POINTS_MISSING, Running, Setup};
use crate::support::traces::traces_in_folder;

const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (
  id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, user_id VARCHAR NOT NULL, amount BIGINT
) STORED AS JSON LOCATION 'kafka://hits'
  OPTIONS (event_time 'time', event_id 'id', grid '64', gap '500ms', partitions '2');

CREATE MATERIALIZED VIEW by_user AS
SELECT user_id, count(*) AS hits, sum(amount) AS amount FROM hits GROUP BY user_id;
";

/// A name as no other text has it.
const PERSON: &str = "person-0-9b3ef2";

fn user(number: usize) -> &'static str {
    if number.is_multiple_of(10) { PERSON } else { "others" }
}

/// Event `number` of one history.
pub fn line(number: usize) -> String {
    let (day, minute, user) = (1 + number / 60 % 28, number % 60, user(number));
    format!(r#"{{"id":"e{number}","time":"2025-03-{day:02}T10:{minute:02}:00Z","user_id":"{user}","amount":{number}}}"#)
}

async fn set_up(folder: &Path) -> Setup {
    let parts = Parts::of(Kind::Embedded).await.unwrap();
    Setup::new(folder, &parts.pipeline(PIPELINE), parts.settings())
        .with("BATCH__INTERVAL", "300ms")
        .with("ARCHIVE__COMMIT_INTERVAL", "50ms")
        .with("SPEED__COURTESY", "200ms")
}

async fn import(setup: &Setup, files: &[&str], more: &[&str]) -> Output {
    let command: &[&str] = &["import", "--source", "hits"];
    setup.run_to_its_end(&[command, more, files].concat()).await
}

fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn told(output: &Output, text: &str) {
    assert!(printed(output).contains(text), "{text:?} is not in:\n{}", printed(output));
}

/// The token that an import printed, for who waits until views have its rows.
fn token(output: &Output) -> String {
    let text = printed(output);
    let token = text.lines().find_map(|line| line.strip_prefix("token "));
    token.unwrap_or_else(|| panic!("no token in {text}")).to_owned()
}

fn total(answer: &Value, column: &str) -> i64 {
    answer["rows"].as_array().unwrap().iter().filter_map(|row| row[column].as_i64()).sum()
}

/// Waits until the view counts so many hits; the answer.
async fn wait_for(running: &Running, hits: i64) -> Value {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let (status, answer) = running.try_rows("by_user", &[("by", "user_id")]).await;
        if status == 200 && total(&answer, "hits") == hits && answer["envelope"]["stale"] == false {
            return answer;
        }
        assert!(Instant::now() < deadline, "{answer}, not {hits} hits\n{}", running.log());
    }
}

fn write_lines(path: &Path, numbers: std::ops::Range<usize>) {
    std::fs::write(path, numbers.map(|number| line(number) + "\n").collect::<String>()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_streamed_and_imported_counts_once_and_answers_are_fresh() {
    let folder = tempfile::tempdir().unwrap();
    let setup = set_up(folder.path()).await;
    let running = Running::start(&setup).await;
    let streamed: Vec<String> = (90..120).map(line).collect();
    running.post("hits", &streamed.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let (one, two) = (folder.path().join("one.jsonl"), folder.path().join("two.jsonl"));
    write_lines(&one, 0..100);
    write_lines(&two, 100..200);
    let pattern = folder.path().join("*.jsonl");
    let imported = import(&setup, &[pattern.to_str().unwrap()], &[]).await;
    assert!(imported.status.success(), "{}", printed(&imported));
    told(&imported, "2 files imported: 200 rows, 0 of them rejected");
    told(&imported, "partition 1000000");
    // Events of a year ago are there: an answer is as old as the log, not as they are.
    let answer = wait_for(&running, 200).await;
    assert_eq!(total(&answer, "amount"), (0..200).sum::<i64>());
    assert_eq!(answer["envelope"]["head"]["1000000"], 200);
    let with_token = running.rows("by_user", &[("by", "user_id"), ("after", &token(&imported))]).await;
    assert_eq!(total(&with_token, "hits"), 200);

    // What comes later is fresh, and the archive went on.
    let later = running.post("hits", &[&line(500)]).await;
    let answer = running.rows("by_user", &[("by", "user_id"), ("after", &later)]).await;
    assert_eq!(total(&answer, "hits"), 201, "{answer}");
    running.wait_until_archived(31).await;

    let again = import(&setup, &[pattern.to_str().unwrap()], &[]).await;
    assert!(again.status.success(), "{}", printed(&again));
    told(&again, "0 files imported");
    told(&again, "2 files skipped");
    write_lines(&two, 100..210);
    let changed = import(&setup, &[two.to_str().unwrap()], &[]).await;
    assert!(!changed.status.success());
    told(&changed, "another file was imported under this name");
    let twice = [two.to_str().unwrap(), two.to_str().unwrap()];
    let changed = import(&setup, &twice, &["--again"]).await;
    assert!(changed.status.success(), "{}", printed(&changed));
    told(&changed, "1 files imported: 110 rows");
    let position = PositionToken::decode(&token(&changed)).unwrap();
    assert!(position.sources.values().all(|ends| ends.values().eq([&Offset(310)])), "{position:?}");
    // An older version would lose the list of what is in.
    let format = std::fs::read_to_string(setup.data_dir.join("lake/format.json")).unwrap();
    assert_eq!(format, r#"{"format":2}"#);
    wait_for(&running, 211).await;
    assert!(running.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_written_to_meanwhile_is_not_in() {
    let folder = tempfile::tempdir().unwrap();
    let setup = set_up(folder.path()).await;
    assert!(Running::start(&setup).await.terminate().success());
    let path = folder.path().join("hits.jsonl");
    // Long enough for the other thread to have its turn.
    write_lines(&path, 0..60_000);
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let written = path.clone();
    let writer = std::thread::spawn(move || {
        let file = std::fs::File::options().write(true).open(written).unwrap();
        let mut second = 0;
        // Until the other end is dropped.
        while stopped.try_recv() == Err(TryRecvError::Empty) {
            second += 1;
            file.set_modified(UNIX_EPOCH + Duration::from_secs(second)).unwrap();
        }
    });
    let refused = import(&setup, &[path.to_str().unwrap()], &[]).await;
    drop(stop);
    writer.join().unwrap();
    assert_eq!(refused.status.code(), Some(1), "{}", printed(&refused));
    told(&refused, "it was written to while it was read");
    let imported = import(&setup, &[path.to_str().unwrap()], &[]).await;
    told(&imported, "1 files imported: 60000 rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_import_is_gone_on_with() {
    let points = [
        "lake.master.file.before",
        "lake.master.file.after",
        "lake.imports.before",
        "lake.imports.after",
        "lake.master.facts.after",
        "lake.master.commit.before",
        "lake.master.commit.after",
    ];
    let folder = tempfile::tempdir().unwrap();
    let setup = set_up(folder.path()).await;
    let running = Running::start(&setup).await;
    for (round, point) in points.into_iter().enumerate() {
        let path = folder.path().join(format!("{round}.jsonl"));
        write_lines(&path, 100 * round..100 * (round + 1));
        let path = path.to_str().unwrap();
        let killed = import(&setup.clone().dying_at(point, 1), &[path], &[]).await;
        assert!(!killed.status.success(), "{point}: {}; {FAIL_POINTS_MISSING}", printed(&killed));
        let finished = import(&setup, &[path], &[]).await;
        assert!(finished.status.success(), "{point}: {}", printed(&finished));
        let expected = if point == "lake.master.commit.after" { "1 files skipped" } else { "1 files imported" };
        told(&finished, expected);
        wait_for(&running, 100 * (round as i64 + 1)).await;
    }
    assert!(running.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_person_is_left_of_an_import_after_an_erasing() {
    let folder = tempfile::tempdir().unwrap();
    let setup = set_up(folder.path()).await;
    let running = Running::start(&setup).await;
    let path = folder.path().join("hits.jsonl");
    write_lines(&path, 0..200);
    // One that is rejected names the person, too.
    let bad = format!("{{\"user_id\":\"{PERSON}\"}}\n");
    let text = std::fs::read_to_string(&path).unwrap() + &bad;
    std::fs::write(&path, text).unwrap();
    let imported = import(&setup, &[path.to_str().unwrap()], &[]).await;
    assert!(imported.status.success(), "{}", printed(&imported));
    told(&imported, "201 rows, 1 of them rejected");
    told(&imported, "record 201: ");
    wait_for(&running, 200).await;
    assert!(running.terminate().success());
    assert!(!traces_in_folder(&setup.data_dir, PERSON).is_empty(), "nothing to erase");
    let condition = format!("user_id = '{PERSON}'");
    let command = ["erase", "--source", "hits", "--where", &condition, "--containing", PERSON, "--yes"];
    let erased = setup.run_to_its_end(&command).await;
    assert!(erased.status.success(), "{}", printed(&erased));
    assert_eq!(traces_in_folder(&setup.data_dir, PERSON), Vec::<String>::new(), "{}", printed(&erased));
    let running = Running::start(&setup).await;
    wait_for(&running, 180).await;
    // It is in still, so nothing of it comes back.
    let again = import(&setup, &[path.to_str().unwrap()], &[]).await;
    told(&again, "1 files skipped");
    assert!(running.terminate().success());
}
