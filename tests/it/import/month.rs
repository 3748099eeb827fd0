//! A month of history: generated, imported from files of both kinds, computed and backfilled by a worker of its own
//! while somebody watches, in bounded memory. Takes half a minute: less history would fit into any memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMillisecondArray};
use arrow::record_batch::RecordBatch;
use batch_layer::import::PART_MEMORY_BYTES;
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};

use super::{printed, token, told};
use crate::support::process::{DEADLINE, Running, Setup, memory_peak};

const DAYS: i64 = 30;
const PER_DAY: i64 = 20_000;
const EVENTS: i64 = DAYS * PER_DAY;
const DAY_MILLIS: i64 = 86_400_000;
/// 2025-03-01T00:00:00Z in milliseconds.
const MARCH: i64 = 1_740_787_200_000;
const PAGES: i64 = 7;
const VIEW: &str = "hits_by_day";

/// `batch.memory` of all processes: one part of an import at a time, and what a worker may hold for one group.
const MEMORY: u64 = 64 << 20;
/// What a worker takes beyond that once it works: pages of Parquet in the making and being read, code, what is cached.
const SLACK: u64 = 256 << 20;

const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (
  id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, page VARCHAR NOT NULL, amount BIGINT NOT NULL
) STORED AS JSON LOCATION 'kafka://hits'
  OPTIONS (event_time 'time', event_id 'id', grid '64', gap '500ms', partitions '2');

CREATE MATERIALIZED VIEW hits_by_day WITH (bucket = 'day') AS
SELECT date_bin(INTERVAL '1 day', time) AS day, page, count(*) AS hits, sum(amount) AS amount, max(amount) AS most
FROM hits GROUP BY day, page;
";

fn millis(number: i64) -> i64 {
    MARCH + number / PER_DAY * DAY_MILLIS + number % PER_DAY * (DAY_MILLIS / PER_DAY)
}

fn page(number: i64) -> String {
    format!("/page-{}", number % PAGES)
}

fn amount(number: i64) -> i64 {
    number * 31 % 1_000
}

/// The answer of the view, folded from the events themselves: by day of the month and page.
fn folded() -> BTreeMap<(i64, String), [i64; 3]> {
    let mut groups = BTreeMap::new();
    for number in 0..EVENTS {
        let group = groups.entry((number / PER_DAY + 1, page(number))).or_insert([0, 0, 0]);
        *group = [group[0] + 1, group[1] + amount(number), group[2].max(amount(number))];
    }
    groups
}

fn write_lines(path: &Path, numbers: impl Iterator<Item = i64>) {
    let line = |number: i64| {
        let time = chrono::DateTime::from_timestamp_millis(millis(number)).unwrap();
        let time = time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        let (page, amount) = (page(number), amount(number));
        format!("{{\"id\":\"e{number}\",\"time\":\"{time}\",\"page\":\"{page}\",\"amount\":{amount}}}\n")
    };
    std::fs::write(path, numbers.map(line).collect::<String>()).unwrap();
}

fn write_parquet(path: &Path, numbers: Range<i64>) {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(StringArray::from_iter_values(numbers.clone().map(|number| format!("e{number}"))))),
        ("time", Arc::new(TimestampMillisecondArray::from_iter_values(numbers.clone().map(millis)))),
        ("page", Arc::new(StringArray::from_iter_values(numbers.clone().map(page)))),
        ("amount", Arc::new(Int64Array::from_iter_values(numbers.map(amount)))),
    ];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
}

/// A file for each day, in turn of both kinds, and one of copies from all over the month.
fn write_history(folder: &Path) {
    for day in 0..DAYS {
        let numbers = day * PER_DAY..(day + 1) * PER_DAY;
        match day % 2 {
            0 => write_parquet(&folder.join(format!("{day:02}.parquet")), numbers),
            _ => write_lines(&folder.join(format!("{day:02}.jsonl")), numbers),
        }
    }
    write_lines(&folder.join("copies.jsonl"), (0..EVENTS).step_by(997));
}

fn set_up(folder: &Path) -> Setup {
    let lake = folder.join("lake");
    std::fs::create_dir(&lake).unwrap();
    let settings = [
        ("LAKE__LOCATION", lake.to_str().unwrap()),
        ("BATCH__INTERVAL", "1d"),
        ("BATCH__MEMORY", "64MiB"),
        // Some days each.
        ("BATCH__TASK_BYTES", "2MiB"),
        ("WORKFLOW__SLOTS", "0"),
        ("WORKFLOW__POLL", "100ms"),
        ("WORKFLOW__BEAT", "200ms"),
    ];
    settings.iter().fold(Setup::new(folder, PIPELINE, Vec::new()), |setup, (key, value)| setup.with(key, value))
}

/// Starts a run by a command, and watches it over HTTP until it is done: how far it was said to be in between.
async fn watched(setup: &Setup, up: &Running, words: &[&str]) -> BTreeSet<u64> {
    let before = newest_run(up).await;
    let started = setup.run_command(words).await;
    assert!(started.status.success(), "{}", printed(&started));
    let (deadline, mut run, mut tasks_done, mut seen) = (Instant::now() + DEADLINE, before, 0, BTreeSet::new());
    while run == before {
        assert!(Instant::now() < deadline, "no run was started: {}", printed(&started));
        run = newest_run(up).await;
    }
    loop {
        let shown = get(up, &format!("/v1/runs/{run}?tasks=0")).await;
        let done = shown["task_counts"]["done"].as_u64().unwrap();
        assert!(done >= tasks_done, "{tasks_done} tasks were done before: {shown}");
        tasks_done = done;
        if shown["state"] == "done" {
            assert!(shown["progress"]["rows"].as_u64().unwrap() >= EVENTS.unsigned_abs(), "{shown}");
            return seen;
        }
        assert!(shown["state"] == "running" || shown["state"] == "queued", "{shown}\n{}", up.log());
        let percent = shown["progress"]["fraction"].as_f64().map(|fraction| (fraction * 100.0) as u64);
        seen.extend(percent.filter(|percent| (1..100).contains(percent)));
        assert!(Instant::now() < deadline, "{shown}\n{}", up.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn get(up: &Running, path: &str) -> Value {
    reqwest::get(format!("{}{path}", up.address)).await.unwrap().json().await.unwrap()
}

/// The number of the newest run; 0 before the first.
async fn newest_run(up: &Running) -> u64 {
    get(up, "/v1/runs?limit=1").await["runs"][0]["run"].as_u64().unwrap_or(0)
}

/// Every answer equals the fold over the events; the version that gave it.
async fn check_answers(up: &Running, token: &str) -> i64 {
    let answer = up.rows(VIEW, &[("limit", "1000"), ("after", token), ("timeout", "30s")]).await;
    let rows = answer["rows"].as_array().unwrap();
    let found: BTreeMap<(i64, String), [i64; 3]> = rows
        .iter()
        .map(|row| {
            let day = row["day"].as_str().unwrap();
            assert!(day.starts_with("2025-03-"), "{row}");
            let measures = ["hits", "amount", "most"].map(|measure| row[measure].as_i64().unwrap());
            ((day[8..10].parse::<i64>().unwrap(), row["page"].as_str().unwrap().to_owned()), measures)
        })
        .collect();
    assert_eq!(found, folded(), "{}", answer["envelope"]);
    assert_eq!(answer["envelope"]["realtime_rows"], json!(0), "{}", answer["envelope"]);
    answer["envelope"]["version"].as_i64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_is_imported_and_backfilled_with_live_progress_in_bounded_memory() {
    let folder = tempfile::tempdir().unwrap();
    let setup = set_up(folder.path());
    let up = Running::start(&setup).await;
    let history = folder.path().join("history");
    std::fs::create_dir(&history).unwrap();
    write_history(&history);

    let pattern = history.join("*");
    let (imported, peak) = setup.run_watched(&["import", "--source", "hits", pattern.to_str().unwrap()]).await;
    assert!(imported.status.success(), "{}", printed(&imported));
    told(&imported, &format!("{} files imported: {} rows, 0 of them rejected", DAYS + 1, EVENTS + EVENTS / 997 + 1));
    let most = PART_MEMORY_BYTES as u64 + MEMORY;
    eprintln!("the import held {} MiB at most, {} MiB are allowed", peak >> 20, most >> 20);
    assert!(0 < peak && peak <= most, "it held {} MiB, {} MiB is the most", peak >> 20, most >> 20);

    let worker = Running::start_role(&setup.beside("worker").with("WORKFLOW__SLOTS", "1"), &["worker"]).await;
    let at_start = memory_peak(worker.process_id());
    let seen = watched(&setup, &up, &["runs", "start", "--view", VIEW, "--full"]).await;
    assert!(seen.len() >= 3, "its progress was not seen: {seen:?}");
    let version = check_answers(&up, &token(&imported)).await;

    let march = ["runs", "backfill", "--view", VIEW, "--from", "2025-03-01", "--to", "2025-03-31"];
    let seen = watched(&setup, &up, &[&march[..], &["--yes"]].concat()).await;
    assert!(seen.len() >= 3, "its progress was not seen: {seen:?}");
    let grown = memory_peak(worker.process_id()) - at_start;
    eprintln!("the worker held {} MiB at the start, {} MiB more at most", at_start >> 20, grown >> 20);
    assert!(grown <= MEMORY + SLACK, "it held {} MiB more, {} MiB is the most", grown >> 20, (MEMORY + SLACK) >> 20);
    let deadline = Instant::now() + DEADLINE;
    while check_answers(&up, &token(&imported)).await <= version {
        assert!(Instant::now() < deadline, "no later version than {version} is served\n{}", up.log());
    }
    assert!(worker.terminate().success() && up.terminate().success());
}
