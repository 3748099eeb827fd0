//! Each kind of file, and Delta tables that others wrote.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMillisecondArray};
use arrow::record_batch::RecordBatch;
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;

use super::{import, line, printed, set_up, told, total, user, wait_for};
use crate::support::process::Running;

/// 2025-03-01T00:00:00Z in milliseconds.
const MARCH: i64 = 1_740_787_200_000;

fn millis(number: usize) -> i64 {
    let number = number as i64;
    MARCH + (number / 60 % 28) * 86_400_000 + 10 * 3_600_000 + (number % 60) * 60_000
}

/// The events of `line` in columns of the source's own types.
fn columns(numbers: std::ops::Range<usize>, with_user: bool) -> RecordBatch {
    let ids: StringArray = numbers.clone().map(|number| Some(format!("e{number}"))).collect();
    let times = TimestampMillisecondArray::from_iter_values(numbers.clone().map(millis));
    let users: StringArray = numbers.clone().map(|number| Some(user(number))).collect();
    let amounts = Int64Array::from_iter_values(numbers.map(|number| number as i64));
    let mut columns: Vec<(&str, ArrayRef)> =
        vec![("id", Arc::new(ids)), ("time", Arc::new(times)), ("amount", Arc::new(amounts))];
    if with_user {
        columns.push(("user_id", Arc::new(users)));
    }
    RecordBatch::try_from_iter(columns).unwrap()
}

fn write_parquet(path: &Path, rows: &RecordBatch) -> u64 {
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), rows.schema(), None).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
    path.metadata().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_every_kind_give_the_same_events() {
    let folder = tempfile::tempdir().unwrap();
    let setup = set_up(folder.path()).await;
    let running = Running::start(&setup).await;
    let path = |name: &str| folder.path().join(name);
    // Each file has half of its events in common with the next one.
    let mut packed = GzEncoder::new(File::create(path("a.jsonl.gz")).unwrap(), Compression::fast());
    (0..100).for_each(|number| writeln!(packed, "{}", line(number)).unwrap());
    packed.finish().unwrap();
    let rows: String = (50..150)
        .map(|number| {
            let (day, minute) = (1 + number / 60 % 28, number % 60);
            format!("e{number},2025-03-{day:02}T10:{minute:02}:00Z,{},{number}\n", user(number))
        })
        .collect();
    std::fs::write(path("b.csv"), format!("id,time,user_id,amount\n{rows}")).unwrap();
    write_parquet(&path("c.parquet"), &columns(100..200, true));
    let files = ["a.jsonl.gz", "b.csv", "c.parquet"].map(|name| path(name).to_str().unwrap().to_owned());
    let imported = import(&setup, &files.each_ref().map(String::as_str), &[]).await;
    assert!(imported.status.success(), "{}", printed(&imported));
    told(&imported, "3 files imported: 300 rows, 0 of them rejected");
    let answer = wait_for(&running, 200).await;
    assert_eq!(total(&answer, "amount"), (0..200).sum::<i64>());
    let torn = path("torn.parquet");
    std::fs::write(&torn, &std::fs::read(path("c.parquet")).unwrap()[..500]).unwrap();
    let refused = import(&setup, &[torn.to_str().unwrap(), "-"], &[]).await;
    assert!(!refused.status.success());
    told(&refused, "standard input cannot be imported");
    let refused = import(&setup, &[torn.to_str().unwrap()], &[]).await;
    assert!(!refused.status.success());
    told(&refused, "torn.parquet is not imported: ");
    assert!(running.terminate().success());
}

/// A table as another tool writes it, of two days.
fn write_table(folder: &Path) {
    std::fs::create_dir_all(folder.join("_delta_log")).unwrap();
    let mut actions = vec![
        r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}"#.to_owned(),
        r#"{"metaData":{"id":"7f0c2b1e","format":{"provider":"parquet","options":{}},"schemaString":"{}","partitionColumns":["user_id"],"configuration":{}}}"#
            .to_owned(),
    ];
    // Whole tens are of one user.
    for (name, user, numbers) in [("a", "others", 1..10), ("b", "others", 11..20), ("c", "gone", 21..30)] {
        let path = format!("user_id={user}/{name}.parquet");
        std::fs::create_dir_all(folder.join(format!("user_id={user}"))).unwrap();
        let size = write_parquet(&folder.join(&path), &columns(numbers, false));
        actions.push(format!(
            r#"{{"add":{{"path":"{path}","partitionValues":{{"user_id":"{user}"}},"size":{size},"modificationTime":0,"dataChange":true}}}}"#
        ));
    }
    std::fs::write(folder.join("_delta_log/00000000000000000000.json"), actions.join("\n")).unwrap();
    let removed = r#"{"remove":{"path":"user_id=gone/c.parquet","deletionTimestamp":0,"dataChange":true}}"#;
    std::fs::write(folder.join("_delta_log/00000000000000000001.json"), removed).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delta_table_is_the_files_that_are_live_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let setup = set_up(folder.path()).await;
    let running = Running::start(&setup).await;
    let table = folder.path().join("table");
    write_table(&table);
    let named = table.to_str().unwrap();
    let imported = import(&setup, &[named], &[]).await;
    assert!(imported.status.success(), "{}", printed(&imported));
    told(&imported, "2 files imported: 18 rows, 0 of them rejected");
    let answer = wait_for(&running, 18).await;
    assert_eq!(total(&answer, "amount"), (1..10).chain(11..20).sum::<i64>());
    told(&import(&setup, &[named], &[]).await, "2 files skipped");

    // Compacted: the same rows in another file.
    write_parquet(&table.join("user_id=others/d.parquet"), &columns(1..20, false));
    let actions = [
        r#"{"remove":{"path":"user_id=others/a.parquet","deletionTimestamp":0,"dataChange":false}}"#,
        r#"{"remove":{"path":"user_id=others/b.parquet","deletionTimestamp":0,"dataChange":false}}"#,
        r#"{"add":{"path":"user_id=others/d.parquet","partitionValues":{"user_id":"others"},"size":1,"modificationTime":0,"dataChange":false}}"#,
    ];
    std::fs::write(table.join("_delta_log/00000000000000000002.json"), actions.join("\n")).unwrap();
    let refused = import(&setup, &[named], &[]).await;
    assert!(!refused.status.success());
    told(&refused, "2 of the files that are in are not in the table any more");
    // With event ids it does no harm: only number 10 is new.
    let again = import(&setup, &[named], &["--again"]).await;
    assert!(again.status.success(), "{}", printed(&again));
    wait_for(&running, 19).await;
    assert!(running.terminate().success());
}
