//! The second other engine, which shares no line of code: DuckDB in Python, asked all at once.
//!
//! `scripts/duckdb.sh` fetches it where it is not there yet. Where it cannot be had the test fails, unless
//! `TWOFOLD_TEST_WITHOUT_DUCKDB` is set: then it says that it compared with one engine alone.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::answer::{Row, rows_of_duckdb};
use super::vocabulary::SOURCE;

const WITHOUT: &str = "TWOFOLD_TEST_WITHOUT_DUCKDB";

/// Whether it is asked; fetched, if it has to be. Before the long part of a test.
pub fn is_there() -> bool {
    if std::env::var_os(WITHOUT).is_some() {
        eprintln!("NOT compared with DuckDB, the second engine: {WITHOUT} is set");
        return false;
    }
    run(&["install"]);
    true
}

/// A query over the first so many events.
pub struct Question {
    pub events: usize,
    pub sql: String,
}

/// What it answers to each, or says against it.
pub fn ask(events: &[Value], questions: &[Question]) -> Vec<Result<Vec<Row>, String>> {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["questions.json", "answers.json"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    let (_, columns) = SOURCE.split_once('(').unwrap();
    let (columns, _) = columns.split_once(") STORED AS").unwrap();
    let sql: Vec<Value> =
        questions.iter().map(|question| json!({"events": question.events, "sql": question.sql})).collect();
    fs::write(&paths[0], json!({"columns": columns, "events": events, "questions": sql}).to_string()).unwrap();
    run(&["answer", &paths[0], &paths[1]]);
    let answers: Vec<Value> = serde_json::from_slice(&fs::read(&paths[1]).unwrap()).unwrap();
    assert_eq!(answers.len(), questions.len());
    let read = |answer: &Value| match answer["error"].as_str() {
        Some(error) => Err(error.to_owned()),
        None => Ok(rows_of_duckdb(&answer["rows"])),
    };
    answers.iter().map(read).collect()
}

fn run(arguments: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/duckdb.sh");
    let output = Command::new(script).args(arguments).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    let is_done = output.status.success();
    assert!(is_done, "DuckDB cannot be asked ({WITHOUT}=1 leaves it out): {told}");
}
